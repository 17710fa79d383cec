//! A run that builds a new generation beside the live one, checks it, and makes it live in one
//! transaction (docs/adr/0010-generations.md). The live generation keeps serving searches in every
//! case, and a rebuild continues after a crash with the part that is already built.

use metadata::{Generation, GenerationSlot};
use pipeline::BoxError;

use super::{Completion, Run};
use crate::check::check_generation;
use crate::generations::{
    DiscardPolicy, drop_generation, drop_retired, drop_unfinished, swap_summary,
};
use crate::operation_metrics::run_metrics;
use crate::result::OperationResult;
use crate::stores::{GenerationVectors, IfMissing};

impl Run<'_> {
    /// Builds a generation with the settings of the file and makes it live.
    pub(super) async fn rebuild(&self) -> Result<Completion, BoxError> {
        let Self { context, lease, request } = *self;
        let discard = if request.rebuild { DiscardPolicy::Refused } else { DiscardPolicy::Others };
        drop_unfinished(context, lease, discard).await?;
        let (generation, vectors) = self.begin_generation().await?;
        let mut report = self.sync(GenerationSlot::Building, &vectors).await?;
        if report.stopped {
            return Ok(self.completion(report));
        }
        context.optimize(&vectors).await?;
        // Includes the changes in the sources since the first pass.
        report.merge(self.sync(GenerationSlot::Building, &vectors).await?);
        if report.stopped {
            return Ok(self.completion(report));
        }
        if let Err(error) = check_generation(self, &generation, &vectors).await {
            lease.mark_refused(&generation).await?;
            return Err(error);
        }
        let metrics = run_metrics(&report);
        let result = OperationResult {
            report: Some(report),
            model: Some(context.model_time()),
            swap: Some(swap_summary(context, lease, &generation).await?),
            ..OperationResult::default()
        };
        // The operation ends with the swap, so its result is recorded before.
        let progress = context.progress(&mut context.progress_sampler());
        lease.record_result(&serde_json::to_value(&result)?, Some(&progress)).await?;
        let swapped = lease.swap(&generation, &metrics).await?;
        // A search in another process can open the live generation while old ones are dropped.
        vectors.end_writing().await;
        drop(vectors);
        // The operation has completed; an error in the clean-up must not make it fail.
        if let Err(error) = drop_retired(context, lease).await {
            let error = pipeline::error_chain(error.as_ref());
            tracing::warn!(error, "failed to drop an old generation");
        }
        Ok(Completion::Recorded(OperationResult { swap: Some((&swapped).into()), ..result }))
    }

    /// Returns the generation to build, new or continued. If vectors of an unfinished generation
    /// were deleted, it is recreated.
    async fn begin_generation(&self) -> Result<(Generation, GenerationVectors), BoxError> {
        let Self { context, lease, .. } = *self;
        loop {
            let generation = lease.building_generation(&context.settings).await?;
            let vectors =
                context.open_vectors(&generation, &context.model, IfMissing::Create).await?;
            let built = lease.compare_generations().await?.chunks.unsigned_abs();
            if vectors.store.count().await? >= built {
                let number = generation.number;
                tracing::info!(generation = number, "building beside the live generation");
                return Ok((generation, vectors));
            }
            drop(vectors);
            drop_generation(context, lease, &generation).await?;
        }
    }
}
