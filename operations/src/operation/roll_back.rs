//! Makes the previous generation live again.

use metadata::{Generation, GenerationStatus, OperationLease};
use pipeline::BoxError;

use super::Completion;
use crate::context::Context;
use crate::generations::swap_summary;
use crate::operation_metrics::count_metric;
use crate::result::OperationResult;
use crate::stores::{IfMissing, resolve_model};

pub(super) async fn execute(
    context: &Context,
    lease: &OperationLease,
) -> Result<Completion, BoxError> {
    let to = previous_generation(context, lease).await?;
    let model = resolve_model(&to, &context.plan()?, context.models.as_ref())?;
    let vectors = context.open_vectors(&to, &model, IfMissing::Refuse).await?;
    // Documents that were deleted since must not return.
    let deleted = lease.unpurged_documents(&to).await?;
    vectors.store.remove(&deleted).await?;
    vectors.store.flush().await?;
    let (held, chunks) = (vectors.store.count().await?, lease.expected_points(&to).await?);
    if held < chunks {
        let number = to.number;
        return Err(format!(
            "cannot roll back to generation {number}: it has only {held} points for {chunks} chunks"
        )
        .into());
    }
    let swap = Some(swap_summary(context, lease, &to).await?);
    let result = OperationResult { swap, ..OperationResult::default() };
    // The operation ends with the swap, so its result is recorded before.
    lease.record_result(&serde_json::to_value(&result)?, None).await?;
    let swapped = lease.roll_back(&to, &count_metric("chunks", chunks)).await?;
    Ok(Completion::Recorded(OperationResult { swap: Some((&swapped).into()), ..result }))
}

/// The generation that was live before the current one.
async fn previous_generation(
    context: &Context,
    lease: &OperationLease,
) -> Result<Generation, BoxError> {
    let mut generations = context.postgres().generations().list(lease.collection()).await?;
    generations.retain(|it| it.status == GenerationStatus::Retired);
    generations.sort_by_key(|it| it.retired_at);
    let name = &context.spec.file.collection;
    Ok(generations.pop().ok_or_else(|| {
        format!("collection `{name}` has no generation to roll back to; see `retain_generations`")
    })?)
}
