//! Reindexing without downtime, and rollback (docs/adr/0010-generations.md).
//!
//! A new generation is built beside the live one, checked, and made live in one transaction. The
//! live generation keeps serving searches in every case, and a rebuild continues after a crash with
//! the part that is already built.

use metadata::{Generation, GenerationStatus, Operation, OperationType, Side, Swapped};
use pipeline::BoxError;

use super::errand::{self, Errand, Swap};
use super::measures::{counted, metrics_of};
use super::{Done, Operator, finish};
use crate::wiring::{self, Absent, Vectors};

/// The unfinished generations to drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GiveUp {
    /// Those with other settings than the file's.
    Others,
    /// The same, and one that failed the checks.
    Refused,
}

impl Operator {
    /// Builds a generation with the settings of the file and makes it live.
    pub(super) async fn reindex(&self, operation: Operation) -> Result<Done, BoxError> {
        let ended = self.while_ours(&operation, self.build(&operation)).await;
        let (report, swapped) = match ended {
            Ok((report, Some(swapped))) => (report, swapped),
            ended => return self.not_swapped(operation, ended.map(|(report, _)| report)).await,
        };
        // The operation has completed with the swap; an error in the clean-up must not make it
        // fail.
        if let Err(error) = self.drop_retired(&operation).await {
            tracing::warn!(
                error = pipeline::chain(error.as_ref()),
                "failed to drop an old generation"
            );
        }
        operation.let_go().await;
        Ok(Done { report, swap: Some((&swapped).into()), model: self.model_time() })
    }

    /// Ends an operation that left the same generation live.
    pub(super) async fn not_swapped(
        &self,
        operation: Operation,
        ended: Result<pipeline::RunReport, BoxError>,
    ) -> Result<Done, BoxError> {
        let report = self.end(operation, ended).await?;
        Ok(Done { report, swap: None, model: self.model_time() })
    }

    async fn build(
        &self,
        operation: &Operation,
    ) -> Result<(pipeline::RunReport, Option<Swapped>), BoxError> {
        let give_up = if self.wish.anew { GiveUp::Refused } else { GiveUp::Others };
        self.forget_unfinished(operation, give_up).await?;
        let (generation, vectors) = self.begin(operation).await?;
        let mut report = self.bring_up_to_date(operation, Side::Building, &vectors).await?;
        if report.stopped {
            return Ok((report, None));
        }
        self.optimize(&vectors).await?;
        // Includes the changes in the sources since the first pass.
        report.add_pass(self.bring_up_to_date(operation, Side::Building, &vectors).await?);
        if report.stopped {
            return Ok((report, None));
        }
        if let Err(error) = self.check(operation, &generation, &vectors).await {
            operation.refuse(&generation).await?;
            return Err(error);
        }
        // The operation ends with the swap, so its result is recorded before.
        let swap = self.swap_to(operation, &generation).await?;
        self.note(operation, &report, Some(swap)).await?;
        let swapped = operation.swap(&generation, &metrics_of(&report)).await?;
        Ok((report, Some(swapped)))
    }

    /// The result of the swap, in advance.
    async fn swap_to(&self, operation: &Operation, next: &Generation) -> Result<Swap, BoxError> {
        let live = self.database.postgres().generations().live(operation.collection()).await?;
        Ok(Swap { live: next.into(), retired: (&live).into() })
    }

    /// Returns the generation to build, new or continued. If vectors of an unfinished generation
    /// were deleted, it is recreated.
    async fn begin(&self, operation: &Operation) -> Result<(Generation, Vectors), BoxError> {
        loop {
            let generation = operation.building(&self.settings).await?;
            let vectors = self.open_vectors(&generation, &self.model, Absent::Make).await?;
            let built = operation.compare().await?.chunks.unsigned_abs();
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
    pub(crate) async fn roll_back(&self) -> Result<Swap, BoxError> {
        let errand = Errand::RollBack;
        if let Some(result) = self.elsewhere(&errand).await? {
            return Ok(result
                .swap
                .ok_or("the result of the operation lacks the live generation")?);
        }
        let collection = self.database.collection(&self.spec).await?;
        let operation = self.claim(&collection, OperationType::Reindex, errand.details()).await?;
        let ended = self
            .while_ours(&operation, async {
                let to = self.before(&collection).await?;
                let model = wiring::model_of(&to, &self.plan()?, self.engine.as_ref())?;
                let vectors = self.open_vectors(&to, &model, Absent::Refuse).await?;
                // Documents that were deleted since must not return.
                let deleted = operation.unpurged_of(&to).await?;
                vectors.store.remove(&deleted).await?;
                vectors.store.flush().await?;
                let (held, chunks) =
                    (vectors.store.count().await?, operation.chunks_of(&to).await?);
                if held < chunks {
                    let number = to.number;
                    return Err(format!(
                        "cannot roll back to generation {number}: it has only {held} points for \
                         {chunks} chunks"
                    )
                    .into());
                }
                let swap = Some(self.swap_to(&operation, &to).await?);
                let result = errand::Result { swap, ..errand::Result::default() };
                operation.note(&serde_json::to_value(result)?, None).await?;
                let metrics = counted("chunks", Some(chunks));
                Ok(operation.roll_back(&to, &metrics).await?)
            })
            .await;
        match ended {
            Ok(swapped) => {
                operation.let_go().await;
                Ok((&swapped).into())
            }
            Err(error) => finish(operation, Err(error), &[]).await,
        }
    }

    /// The generation that was live before the current one.
    async fn before(&self, collection: &metadata::Collection) -> Result<Generation, BoxError> {
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
    pub(super) async fn forget_unfinished(
        &self,
        operation: &Operation,
        give_up: GiveUp,
    ) -> Result<(), BoxError> {
        let generations =
            self.database.postgres().generations().list(operation.collection()).await?;
        for generation in generations {
            let is_other = !generation.is_of(&self.settings);
            let is_refused = give_up == GiveUp::Refused && generation.refused_at.is_some();
            if generation.status == GenerationStatus::Building && (is_other || is_refused) {
                self.drop_generation(operation, &generation).await?;
            }
        }
        Ok(())
    }

    /// Drops retired generations beyond `retain_generations` of the file.
    pub(super) async fn drop_retired(&self, operation: &Operation) -> Result<(), BoxError> {
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
        operation: &Operation,
        generation: &Generation,
    ) -> Result<(), BoxError> {
        tracing::info!(generation = generation.number, "dropping a generation");
        Vectors::delete(&self.spec, &generation.vector_store_name).await?;
        Ok(operation.forget(generation).await?)
    }
}
