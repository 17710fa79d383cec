//! The generations of a collection: which are dropped, and what a swap reports
//! (docs/adr/0010-generations.md).

use metadata::{Generation, GenerationStatus, OperationLease};
use pipeline::BoxError;

use crate::context::Context;
use crate::result::GenerationSwap;
use crate::stores::GenerationVectors;

/// The unfinished generations to drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiscardPolicy {
    /// Those with other settings than the file's.
    Others,
    /// The same, and one that failed the checks.
    Refused,
}

/// The result of a swap, in advance.
pub(crate) async fn swap_summary(
    context: &Context,
    lease: &OperationLease,
    next: &Generation,
) -> Result<GenerationSwap, BoxError> {
    let live = context.postgres().generations().live(lease.collection()).await?;
    Ok(GenerationSwap { live: next.into(), retired: (&live).into() })
}

/// Drops unfinished generations that will not be continued.
pub(crate) async fn drop_unfinished(
    context: &Context,
    lease: &OperationLease,
    discard: DiscardPolicy,
) -> Result<(), BoxError> {
    for generation in context.postgres().generations().list(lease.collection()).await? {
        let is_other = !generation.matches_settings(&context.settings);
        let is_refused = discard == DiscardPolicy::Refused && generation.refused_at.is_some();
        if generation.status == GenerationStatus::Building && (is_other || is_refused) {
            drop_generation(context, lease, &generation).await?;
        }
    }
    Ok(())
}

/// Drops retired generations beyond `retain_generations` of the file.
pub(crate) async fn drop_retired(
    context: &Context,
    lease: &OperationLease,
) -> Result<(), BoxError> {
    let mut retired = context.postgres().generations().list(lease.collection()).await?;
    retired.retain(|it| it.status == GenerationStatus::Retired);
    retired.sort_by_key(|it| std::cmp::Reverse(it.retired_at));
    for generation in retired.iter().skip(context.spec.file.lifecycle.retain_generations) {
        drop_generation(context, lease, generation).await?;
    }
    Ok(())
}

/// Deletes the vectors first: as long as the metadata has the generation, the next attempt drops it
/// again.
pub(crate) async fn drop_generation(
    context: &Context,
    lease: &OperationLease,
    generation: &Generation,
) -> Result<(), BoxError> {
    tracing::info!(generation = generation.number, "dropping a generation");
    GenerationVectors::delete(&context.spec, &generation.vector_store_name).await?;
    Ok(lease.delete_generation(generation).await?)
}
