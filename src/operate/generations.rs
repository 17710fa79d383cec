//! Reindexing without downtime, and going back (docs/adr/0010-generations.md).
//!
//! A new generation is built beside the live one, checked, and put in its place in one transaction. The live
//! one is not touched meanwhile, so it answers whatever happens; what was built before a crash is not built
//! again.

use metadata::{Generation, GenerationStatus, Operation, OperationType, Side, Swapped};
use pipeline::BoxError;

use super::errand::{self, Errand, Swap};
use super::measures::{counted, metrics_of};
use super::{Done, Operator, finish};
use crate::wiring::{self, Absent, Vectors};

/// Which generations that were begun are given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GiveUp {
    /// Those for other settings than the file's.
    Others,
    /// Those, and one that did not pass the checks.
    Refused,
}

impl Operator {
    /// Builds a generation as the file asks for it, and puts it in place.
    pub(super) async fn reindex(&self, operation: Operation) -> Result<Done, BoxError> {
        let ended = self.while_ours(&operation, self.build(&operation)).await;
        let (report, swapped) = match ended {
            Ok((report, Some(swapped))) => (report, swapped),
            ended => return self.not_swapped(operation, ended.map(|(report, _)| report)).await,
        };
        // The operation has ended with the swap; that there is something left to tidy up is no reason to say
        // that it failed.
        if let Err(error) = self.drop_retired(&operation).await {
            tracing::warn!(
                error = pipeline::chain(error.as_ref()),
                "an old generation was not dropped"
            );
        }
        operation.let_go().await;
        Ok(Done { report, swap: Some((&swapped).into()), model: self.model_time() })
    }

    /// Ends an operation after which the same generation is live.
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
        // What has changed in the sources meanwhile.
        report.add_pass(self.bring_up_to_date(operation, Side::Building, &vectors).await?);
        if report.stopped {
            return Ok((report, None));
        }
        if let Err(error) = self.check(operation, &generation, &vectors).await {
            operation.refuse(&generation).await?;
            return Err(error);
        }
        // The operation ends with the swap, so what came of it is noted before.
        let swap = self.swap_to(operation, &generation).await?;
        self.note(operation, &report, Some(swap)).await?;
        let swapped = operation.swap(&generation, &metrics_of(&report)).await?;
        Ok((report, Some(swapped)))
    }

    /// What a swap will say.
    async fn swap_to(&self, operation: &Operation, next: &Generation) -> Result<Swap, BoxError> {
        let live = self.database.postgres().generations().live(operation.collection()).await?;
        Ok(Swap { live: next.into(), retired: (&live).into() })
    }

    /// The generation to build, begun or continued. One whose vectors are not what the metadata says of them, since
    /// somebody has deleted them, is begun again.
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

    /// Goes back to the generation that was live before.
    pub(crate) async fn roll_back(&self) -> Result<Swap, BoxError> {
        let errand = Errand::RollBack;
        if let Some(result) = self.elsewhere(&errand).await? {
            return Ok(result
                .swap
                .ok_or("the operation does not say which generation is live now")?);
        }
        let collection = self.database.collection(&self.spec).await?;
        let operation = self.claim(&collection, OperationType::Reindex, errand.details()).await?;
        let ended = self
            .while_ours(&operation, async {
                let to = self.before(&collection).await?;
                let model = wiring::model_of(&to, &self.plan()?, self.engine.as_ref())?;
                let vectors = self.open_vectors(&to, &model, Absent::Refuse).await?;
                // What somebody has deleted since must not come back.
                let deleted = operation.unpurged_of(&to).await?;
                vectors.store.remove(&deleted).await?;
                vectors.store.flush().await?;
                let (held, chunks) = (vectors.store.count().await?, operation.chunks_of(&to).await?);
                if held < chunks {
                    let number = to.number;
                    return Err(format!(
                        "generation {number} has {held} points left for {chunks} chunks, so there is no going back to it"
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

    /// The generation that was live before the one that is.
    async fn before(&self, collection: &metadata::Collection) -> Result<Generation, BoxError> {
        let mut generations = self.database.postgres().generations().list(collection.id).await?;
        generations.retain(|it| it.status == GenerationStatus::Retired);
        generations.sort_by_key(|it| it.retired_at);
        let name = &collection.name;
        Ok(generations.pop().ok_or_else(|| {
            format!("there is no generation of `{name}` to go back to; see `retain_generations`")
        })?)
    }

    /// Drops a generation that was begun and is not to be continued.
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

    /// Drops retired generations beyond those that the file wants kept.
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

    /// Vectors first: a generation that is still known is dropped again by the next who tries.
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
