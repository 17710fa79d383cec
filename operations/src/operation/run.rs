//! Stores new and changed documents and deletes missing ones. Builds a new generation if the live
//! one has other vector settings than the file, or if the request says so.

use std::sync::Arc;
use std::time::Duration;

use metadata::{
    Generation, GenerationSlot, GenerationStatus, OperationLease, OperationType, RunMetadata,
};
use pipeline::{
    BoxError, MetadataStore as _, Resources, RunOptions, RunReport, RunRequest, VectorStore,
};
use uuid::Uuid;

use super::Completion;
use crate::composition;
use crate::context::Context;
use crate::generations::{DiscardPolicy, drop_retired, drop_unfinished};
use crate::operation_metrics::run_metrics;
use crate::result::OperationResult;
use crate::stores::{GenerationVectors, IfMissing};
use crate::sync::{DeletionLimit, sync};
use crate::vocabulary::VocabularyRecorder;

/// A run in execution.
pub(crate) struct Run<'a> {
    pub(crate) context: &'a Context,
    pub(crate) lease: &'a OperationLease,
    pub(crate) request: &'a RunRequest,
}

pub(super) async fn execute(
    context: &Context,
    lease: &OperationLease,
    request: &RunRequest,
) -> Result<Completion, BoxError> {
    // Another process may have changed the collection since the operation was requested.
    let kind = run_type(context, lease.collection(), request.rebuild).await?;
    lease.change_type(kind).await?;
    if !request.undelete.is_empty() {
        lease.readmit(&request.undelete).await?;
    }
    let run = Run { context, lease, request };
    match kind {
        OperationType::Reindex => run.rebuild().await,
        OperationType::Index
        | OperationType::Append
        | OperationType::RemoveSource
        | OperationType::Delete => run.update().await,
    }
}

impl Run<'_> {
    /// Brings the live generation up to date.
    async fn update(&self) -> Result<Completion, BoxError> {
        let Self { context, lease, .. } = *self;
        drop_unfinished(context, lease, DiscardPolicy::Refused).await?;
        let live = context.postgres().generations().live(lease.collection()).await?;
        // After a completed run the vectors exist, so absent ones are an error and not created.
        let absent = if live.fingerprint.is_none() { IfMissing::Create } else { IfMissing::Refuse };
        let vectors = context.open_vectors(&live, &context.model, absent).await?;
        vectors.ensure_writable().await?;
        let ended = self.update_vectors(&vectors).await;
        // Also after a failure, since a server keeps the vectors open.
        vectors.end_writing().await;
        Ok(self.completion(ended?))
    }

    async fn update_vectors(&self, vectors: &GenerationVectors) -> Result<RunReport, BoxError> {
        let Self { context, lease, .. } = *self;
        let report = self.sync(GenerationSlot::Live, vectors).await?;
        if !report.stopped {
            lease.record_settings(&context.settings).await?;
            self.purge_deleted().await?;
            drop_retired(context, lease).await?;
            context.optimize(vectors).await?;
        }
        Ok(report)
    }

    /// Brings a generation up to date with the sources.
    pub(super) async fn sync(
        &self,
        slot: GenerationSlot,
        vectors: &GenerationVectors,
    ) -> Result<RunReport, BoxError> {
        let Self { context, lease, request } = *self;
        let fingerprint = context.settings.fingerprint;
        let mut metadata = lease.metadata(slot, fingerprint).with_current_time().await?;
        if request.retry_failed {
            metadata = metadata.with_retries();
        }
        let metadata = Arc::new(metadata);
        let limit = DeletionLimit {
            is_lifted: request.allow_deletes,
            max_ratio: context.spec.file.lifecycle.max_delete_ratio,
        };
        context.attach_model();
        let before = context.usage();
        let encoder = vectors.sparse_encoder.as_deref();
        let store = self.recording_store(vectors);
        let pass = async || self.pass(&metadata, &store).await;
        let mut report =
            sync(metadata.as_ref(), vectors.store.as_ref(), encoder, limit, pass).await?;
        metadata.analyze().await;
        let after = context.usage();
        report.tokens = after.tokens - before.tokens;
        report.tokens_reused = after.reused_tokens - before.reused_tokens;
        Ok(report.without_roots())
    }

    /// The vectors of a generation for the sink of a run. The words of new points are recorded if
    /// queries can use them.
    fn recording_store(&self, vectors: &GenerationVectors) -> Arc<dyn VectorStore> {
        let store: Arc<dyn VectorStore> = Arc::clone(&vectors.store) as _;
        if vectors.sparse_encoder.is_none() {
            return store;
        }
        let vocabulary = self.context.postgres().vocabulary(vectors.generation);
        Arc::new(VocabularyRecorder::new(store, Arc::new(vocabulary)))
    }

    /// One pass over the sources. Expects that nothing is left to purge.
    async fn pass(
        &self,
        metadata: &Arc<RunMetadata>,
        vectors: &Arc<dyn VectorStore>,
    ) -> Result<RunReport, BoxError> {
        let Self { context, lease, .. } = *self;
        let plan = context.plan()?;
        let with = Resources {
            collection: lease.collection(),
            models: Arc::clone(&context.models),
            metadata: Arc::clone(metadata) as _,
            vectors: Arc::clone(vectors),
            known_hashes: Arc::new(metadata.known_hashes().await?),
            worker_program: context.composition.worker_program(&plan),
            cache: context.cache.clone(),
        };
        let options = RunOptions {
            stop: context.cancellation.stop.clone(),
            abort: context.cancellation.cut_short.clone(),
            metrics: Arc::clone(&context.metrics),
            rejections: context.rejections.clone(),
        };
        Ok(composition::engine(&context.spec).run(plan, &with, options).await?)
    }

    /// Deletes the records of documents that were deleted longer ago than the retention.
    async fn purge_deleted(&self) -> Result<(), BoxError> {
        let days = self.context.spec.file.lifecycle.retention_days;
        let retention = Duration::from_secs(u64::from(days) * 24 * 60 * 60);
        let forgotten = self.lease.purge_deleted(retention).await?;
        if forgotten > 0 {
            tracing::info!(
                documents = forgotten,
                "deleted the records of documents past their retention"
            );
        }
        Ok(())
    }

    /// The end of a run that left the same generation live.
    pub(super) fn completion(&self, report: RunReport) -> Completion {
        let (metrics, is_stopped) = (run_metrics(&report), report.stopped);
        let result = OperationResult {
            report: Some(report),
            model: Some(self.context.model_time()),
            ..OperationResult::default()
        };
        if is_stopped {
            Completion::Stopped(result, metrics)
        } else {
            Completion::Done(result, metrics)
        }
    }
}

/// Determines the type of operation that brings a collection to the settings of the file; `rebuild`
/// requests a new generation even if its settings are those of the live one.
pub(crate) async fn run_type(
    context: &Context,
    collection: Uuid,
    rebuild: bool,
) -> Result<OperationType, BoxError> {
    let generations = context.postgres().generations().list(collection).await?;
    let status = |status| generations.iter().find(|it| it.status == status);
    let live = status(GenerationStatus::Live).ok_or("no generation is live")?;
    let of_file = |it: &&Generation| it.matches_settings(&context.settings);
    let rolled_back = generations.iter().filter(of_file).find(|it| it.rolled_back_at.is_some());
    if let Some(generation) = rolled_back
        && !rebuild
        && !live.matches_settings(&context.settings)
    {
        let (name, number) = (&context.spec.file.collection, generation.number);
        return Err(format!(
            "collection `{name}` was rolled back from generation {number}, which has the settings \
             of the file; change the file, or rebuild the generation with `semantik reindex FILE`"
        )
        .into());
    }
    // A refused generation is built again only if the live one does not fit the settings of the
    // file.
    let half_built =
        status(GenerationStatus::Building).filter(|it| of_file(it) && it.refused_at.is_none());
    if rebuild || half_built.is_some() || !live.is_compatible_with(&context.settings) {
        return Ok(OperationType::Reindex);
    }
    Ok(match live.fingerprint {
        // No run has completed yet.
        None => OperationType::Index,
        Some(_) => OperationType::Append,
    })
}
