//! Removes wrong points, and marks documents with missing or damaged points, so that the next run
//! rewrites them.

use metadata::{Generation, GenerationSlot, OperationLease};
use pipeline::BoxError;

use super::Completion;
use crate::context::Context;
use crate::result::OperationResult;
use crate::stores::{GenerationVectors, IfMissing};
use crate::sync;
use crate::verify::{VerifyReport, compare};

pub(super) async fn execute(
    context: &Context,
    lease: &OperationLease,
) -> Result<Completion, BoxError> {
    lease.delete_unlocated().await?;
    let (live, vectors) = context.open_live(lease.collection(), IfMissing::Refuse).await?;
    let removed = remove_wrong(context, lease, &live, &vectors).await;
    // Also after a failure, since a server keeps the vectors open.
    vectors.end_writing().await;
    Ok(Completion::Done(OperationResult::default(), removed?.as_metrics()))
}

async fn remove_wrong(
    context: &Context,
    lease: &OperationLease,
    live: &Generation,
    vectors: &GenerationVectors,
) -> Result<VerifyReport, BoxError> {
    let metadata = lease.metadata(GenerationSlot::Live, context.settings.fingerprint);
    sync::purge(&metadata, vectors.store.as_ref()).await?;
    let (findings, expected, foreign) =
        compare(context.postgres(), lease.collection(), live, vectors).await?;
    sinks::remove_orphaned_points(vectors.store.as_ref(), &expected).await?;
    for fault in &findings.surplus {
        // Also for documents with missing points, whose number of points may be right.
        let chunks = expected.get(&fault.document).copied().unwrap_or(0);
        vectors.store.truncate(fault.document, u32::try_from(chunks)?).await?;
    }
    let stale = findings.missing.iter().chain(&findings.damaged);
    let stale: Vec<_> = stale.map(|it| it.document).collect();
    // Marked before points are removed, so that the next run repairs the documents after a crash.
    lease.mark_stale(&stale).await?;
    // A run overwrites points under the right ids, but not those under other ids.
    vectors.store.remove(&foreign).await?;
    vectors.store.flush().await?;
    Ok(findings)
}
