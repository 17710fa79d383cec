//! Reindexing without downtime, and rollback (docs/adr/0010-generations.md).
//!
//! A new generation is built beside the live one, checked, and made live in one transaction. The
//! live generation keeps serving searches in every case, and a rebuild continues after a crash with
//! the part that is already built.

use metadata::{
    Generation, GenerationSlot, GenerationStatus, OperationLease, OperationType, SwapResult,
};
use pipeline::BoxError;

use super::operation_metrics::{document_count_metric, run_metrics};
use super::request::{self, GenerationSwap, OperationRequest};
use super::{Operator, RunSummary, finish_operation};
use crate::stores::{self, GenerationVectors, IfMissing};

/// The unfinished generations to drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiscardPolicy {
    /// Those with other settings than the file's.
    Others,
    /// The same, and one that failed the checks.
    Refused,
}

impl Operator {
    /// Builds a generation with the settings of the file and makes it live.
    pub(crate) async fn reindex(&self, operation: OperationLease) -> Result<RunSummary, BoxError> {
        let ended = self.with_lease(&operation, self.build_generation(&operation)).await;
        let (report, swapped) = match ended {
            Ok((report, Some(swapped))) => (report, swapped),
            ended => {
                return self.finish_unswapped(operation, ended.map(|(report, _)| report)).await;
            }
        };
        // The operation has completed with the swap; an error in the clean-up must not make it
        // fail.
        if let Err(error) = self.drop_retired(&operation).await {
            tracing::warn!(
                error = pipeline::error_chain(error.as_ref()),
                "failed to drop an old generation"
            );
        }
        operation.release().await;
        Ok(RunSummary { report, swap: Some((&swapped).into()), model: self.model_time() })
    }

    /// Ends an operation that left the same generation live.
    pub(crate) async fn finish_unswapped(
        &self,
        operation: OperationLease,
        ended: Result<pipeline::RunReport, BoxError>,
    ) -> Result<RunSummary, BoxError> {
        let report = self.finish_run(operation, ended).await?;
        Ok(RunSummary { report, swap: None, model: self.model_time() })
    }

    async fn build_generation(
        &self,
        operation: &OperationLease,
    ) -> Result<(pipeline::RunReport, Option<SwapResult>), BoxError> {
        let give_up =
            if self.options.rebuild { DiscardPolicy::Refused } else { DiscardPolicy::Others };
        self.drop_unfinished(operation, give_up).await?;
        let (generation, vectors) = self.begin_generation(operation).await?;
        let mut report = self.sync(operation, GenerationSlot::Building, &vectors).await?;
        if report.stopped {
            return Ok((report, None));
        }
        self.optimize(&vectors).await?;
        // Includes the changes in the sources since the first pass.
        report.merge(self.sync(operation, GenerationSlot::Building, &vectors).await?);
        if report.stopped {
            return Ok((report, None));
        }
        if let Err(error) = self.check_generation(operation, &generation, &vectors).await {
            operation.mark_refused(&generation).await?;
            return Err(error);
        }
        // The operation ends with the swap, so its result is recorded before.
        let swap = self.swap_summary(operation, &generation).await?;
        self.record_result(operation, &report, Some(swap)).await?;
        let swapped = operation.swap(&generation, &run_metrics(&report)).await?;
        Ok((report, Some(swapped)))
    }

    /// The result of the swap, in advance.
    async fn swap_summary(
        &self,
        operation: &OperationLease,
        next: &Generation,
    ) -> Result<GenerationSwap, BoxError> {
        let live = self.database.postgres().generations().live(operation.collection()).await?;
        Ok(GenerationSwap { live: next.into(), retired: (&live).into() })
    }

    /// Returns the generation to build, new or continued. If vectors of an unfinished generation
    /// were deleted, it is recreated.
    async fn begin_generation(
        &self,
        operation: &OperationLease,
    ) -> Result<(Generation, GenerationVectors), BoxError> {
        loop {
            let generation = operation.building_generation(&self.settings).await?;
            let vectors = self.open_vectors(&generation, &self.model, IfMissing::Create).await?;
            let built = operation.compare_generations().await?.chunks.unsigned_abs();
            if vectors.store.count().await? >= built {
                let number = generation.number;
                tracing::info!(generation = number, "building beside the live generation");
                return Ok((generation, vectors));
            }
            drop(vectors);
            self.drop_generation(operation, &generation).await?;
        }
    }

    /// Makes the previous generation live again.
    pub async fn roll_back(&self) -> Result<GenerationSwap, BoxError> {
        let request = OperationRequest::RollBack;
        if let Some(result) = self.delegate(&request).await? {
            return Ok(result
                .swap
                .ok_or("the result of the operation lacks the live generation")?);
        }
        let collection = self.database.collection(&self.spec).await?;
        let operation =
            self.acquire_lease(&collection, OperationType::Reindex, request.details()).await?;
        let ended = self
            .with_lease(&operation, async {
                let to = self.previous_generation(&collection).await?;
                let model = stores::resolve_model(&to, &self.plan()?, self.models.as_ref())?;
                let vectors = self.open_vectors(&to, &model, IfMissing::Refuse).await?;
                // Documents that were deleted since must not return.
                let deleted = operation.unpurged_documents(&to).await?;
                vectors.store.remove(&deleted).await?;
                vectors.store.flush().await?;
                let (held, chunks) =
                    (vectors.store.count().await?, operation.expected_points(&to).await?);
                if held < chunks {
                    let number = to.number;
                    return Err(format!(
                        "cannot roll back to generation {number}: it has only {held} points for \
                         {chunks} chunks"
                    )
                    .into());
                }
                let swap = Some(self.swap_summary(&operation, &to).await?);
                let result =
                    request::OperationResult { swap, ..request::OperationResult::default() };
                operation.record_result(&serde_json::to_value(result)?, None).await?;
                let metrics = document_count_metric("chunks", Some(chunks));
                Ok(operation.roll_back(&to, &metrics).await?)
            })
            .await;
        match ended {
            Ok(swapped) => {
                operation.release().await;
                Ok((&swapped).into())
            }
            Err(error) => finish_operation(operation, Err(error), &[]).await,
        }
    }

    /// The generation that was live before the current one.
    async fn previous_generation(
        &self,
        collection: &metadata::Collection,
    ) -> Result<Generation, BoxError> {
        let mut generations = self.database.postgres().generations().list(collection.id).await?;
        generations.retain(|it| it.status == GenerationStatus::Retired);
        generations.sort_by_key(|it| it.retired_at);
        let name = &collection.name;
        Ok(generations.pop().ok_or_else(|| {
            format!(
                "collection `{name}` has no generation to roll back to; see `retain_generations`"
            )
        })?)
    }

    /// Drops unfinished generations that will not be continued.
    pub(crate) async fn drop_unfinished(
        &self,
        operation: &OperationLease,
        give_up: DiscardPolicy,
    ) -> Result<(), BoxError> {
        let generations =
            self.database.postgres().generations().list(operation.collection()).await?;
        for generation in generations {
            let is_other = !generation.matches_settings(&self.settings);
            let is_refused = give_up == DiscardPolicy::Refused && generation.refused_at.is_some();
            if generation.status == GenerationStatus::Building && (is_other || is_refused) {
                self.drop_generation(operation, &generation).await?;
            }
        }
        Ok(())
    }

    /// Drops retired generations beyond `retain_generations` of the file.
    pub(crate) async fn drop_retired(&self, operation: &OperationLease) -> Result<(), BoxError> {
        let generations =
            self.database.postgres().generations().list(operation.collection()).await?;
        let mut retired: Vec<_> =
            generations.into_iter().filter(|it| it.status == GenerationStatus::Retired).collect();
        retired.sort_by_key(|it| std::cmp::Reverse(it.retired_at));
        for generation in retired.iter().skip(self.spec.file.lifecycle.retain_generations) {
            self.drop_generation(operation, generation).await?;
        }
        Ok(())
    }

    /// Deletes the vectors first: as long as the metadata has the generation, the next attempt
    /// drops it again.
    async fn drop_generation(
        &self,
        operation: &OperationLease,
        generation: &Generation,
    ) -> Result<(), BoxError> {
        tracing::info!(generation = generation.number, "dropping a generation");
        GenerationVectors::delete(&self.spec, &generation.vector_store_name).await?;
        Ok(operation.delete_generation(generation).await?)
    }
}
