//! Deletes a collection from both stores.

use metadata::{DocumentStatus, GenerationStatus, OperationLease};
use pipeline::BoxError;

use super::Completion;
use crate::context::Context;
use crate::operation_metrics::count_metric;
use crate::result::OperationResult;
use crate::stores::GenerationVectors;

pub(super) async fn execute(
    context: &Context,
    lease: &OperationLease,
) -> Result<Completion, BoxError> {
    let counts = context.postgres().documents().count_by_status(lease.collection()).await?;
    let stored = counts.iter().filter(|(status, _)| *status == DocumentStatus::Completed);
    let documents = stored.map(|(_, count)| count.unsigned_abs()).sum();
    delete_vectors(context, lease).await?;
    let result = OperationResult { documents: Some(documents), ..OperationResult::default() };
    // The operation ends with the collection, so its result is recorded before.
    lease.record_result(&serde_json::to_value(&result)?, None).await?;
    lease.delete_collection(&count_metric("documents_deleted", documents)).await?;
    Ok(Completion::Recorded(result))
}

/// The metadata is marked first, so that no process relies on the vectors any more.
async fn delete_vectors(context: &Context, lease: &OperationLease) -> Result<(), BoxError> {
    lease.begin_deletion().await?;
    for generation in context.postgres().generations().list(lease.collection()).await? {
        GenerationVectors::delete(&context.spec, &generation.vector_store_name).await?;
        if generation.status != GenerationStatus::Live {
            lease.delete_generation(&generation).await?;
        }
    }
    Ok(())
}
