//! Operations: changes of a collection, from the request to the end. The command, the worker and
//! the server all use this crate.
//!
//! An [`Operator`] has the pipeline file, the models and the options of an operation. Each type of
//! operation has its own file; this module has the parts they share: it opens the stores, leases
//! the collection, detects cancellation, and ends the operation in every case. The program passes
//! its node types, models and environment as a [`Composition`].

mod check;
mod composition;
mod delegate;
mod dry_run;
mod generations;
mod model_downloads;
mod operation_metrics;
mod pipeline_files;
mod progress;
mod removal;
mod request;
mod runtime;
pub mod scheduler;
mod search_target;
mod shards;
mod stop_outcome;
mod stores;
mod sync;
mod text;
mod verify;
mod webhooks;
mod worker;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use metadata::{
    Collection, Generation, GenerationSettings, OperationLease, OperationOutcome, OperationType,
    WaitPolicy,
};
use pipeline::{
    BoxError, Cache, Embedder, ExportedRun, Metrics, ModelInfo, ModelProvider, PipelineSpec, Plan,
    Progress, ProgressSampler, RejectionLog, RunReport,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use uuid::Uuid;

pub use self::composition::{Composition, Models, UnreadableFile};
pub use self::dry_run::{ChangeCause, DryRunReport, Tally, dry_run};
use self::generations::DiscardPolicy;
pub use self::model_downloads::{fetch_on_thread, missing_models};
use self::operation_metrics::run_metrics;
pub use self::pipeline_files::{LoadedPipeline, PipelineFiles};
pub use self::removal::RemovalResult;
pub use self::request::{GenerationRef, GenerationSwap, ModelTime, OperationRequest};
pub use self::runtime::Runtime;
pub use self::search_target::build_target;
pub use self::shards::Shards;
use self::stop_outcome::{StopOutcome, StopPolicy};
pub use self::stores::{
    Database, GenerationVectors, IfMissing, embed_options, generation_settings, has_model_of,
    new_collection, resolve_model, store_name,
};
pub use self::text::{format_count, left_out_summary, shown};
pub use self::verify::{DocumentFault, VerifyReport};
pub use self::worker::{Worker, WorkerConfig};

/// Options of an operation request.
#[derive(Clone, Copy, Debug, Default)]
pub struct OperationOptions {
    /// Deletes missing documents whatever their number.
    pub allow_deletes: bool,
    /// Also tries failed documents again whose delay has passed.
    pub retry_failed: bool,
    /// Waits while another operation works on the collection; without it, that is an error.
    pub wait: bool,
    /// Builds a new generation even if the settings are unchanged.
    pub rebuild: bool,
}

/// Executes operations on the collection of a pipeline file.
pub struct Operator {
    /// The pipeline file, which names the collection.
    pub spec: Arc<PipelineSpec>,
    /// Node types, models and environment of the program.
    composition: Arc<Composition>,
    models: Arc<dyn ModelProvider>,
    /// Cached results of extraction and embedding; [`Operator::models`] uses it too.
    cache: Option<Arc<dyn Cache>>,
    metrics: Arc<Metrics>,
    /// Publishes the metrics until it is dropped.
    _exposed: ExportedRun,
    rejection_log: RejectionLog,
    /// The initial state; each observer clones it.
    progress_sampler: ProgressSampler,
    /// Cancellation: the operation ends once the batches in flight are stored.
    pub stop: CancellationToken,
    /// A second cancellation, after `stop`: batches that the model has not started are left to the
    /// next run.
    cut_short_token: CancellationToken,
    /// Options of the request.
    pub options: OperationOptions,
    /// Keeps the embedded cluster running until it is dropped.
    pub database: Database,
    /// The embedded vector stores that this process has open.
    shards: Shards,
    /// `true` in a worker or server: it executes operations itself and never delegates them.
    is_worker: bool,
    /// The queued operation that this operator executes; taken when execution starts.
    leased_operation: Mutex<Option<OperationLease>>,
    /// The fate of the operation if it stops early.
    on_stop: StopPolicy,
    /// Progress of an operation that another process executes.
    remote_progress: Mutex<Option<Progress>>,
    /// Set when the first run loads the model.
    embedder: OnceLock<Arc<dyn Embedder>>,
    model: ModelInfo,
    settings: GenerationSettings,
}

/// The result of an operation.
pub struct RunSummary {
    /// The report of all passes of the operation.
    pub report: RunReport,
    /// The swapped generations; `None` if the same generation is live.
    pub swap: Option<GenerationSwap>,
    /// Tokens and time of the model in this operation.
    pub model: ModelTime,
}

/// The reason why an operation ended early.
#[derive(Debug, thiserror::Error)]
pub enum Interrupted {
    /// A client cancelled it, or another process took it over as orphaned.
    #[error("operation {0} was cancelled")]
    Cancelled(Uuid),
    /// A signal stopped it before it had the lease.
    #[error("stopped while waiting for another operation on the collection")]
    Stopped,
}

impl Operator {
    /// Creates an operator on an open runtime, with the cache of the file.
    pub fn with_runtime(
        runtime: Runtime,
        spec: Arc<PipelineSpec>,
        plan: &Plan,
        stop: CancellationToken,
        wish: OperationOptions,
    ) -> Result<Self, BoxError> {
        let cache = stores::open_cache(&spec);
        let models = runtime.composition.models.provider(cache.clone());
        Ok(Self { models, cache, ..Self::without_cache(runtime, spec, plan, stop, wish)? })
    }

    /// Creates an operator without a cache.
    fn without_cache(
        runtime: Runtime,
        spec: Arc<PipelineSpec>,
        plan: &Plan,
        stop: CancellationToken,
        wish: OperationOptions,
    ) -> Result<Self, BoxError> {
        let model = model_of(plan)?;
        let settings = generation_settings(&spec, plan, &model);
        let metrics = Arc::new(Metrics::new(plan.name()));
        let feed = RejectionLog::default();
        let nodes = plan.graph().map(|(id, _, _)| id.to_owned()).collect();
        let watch = ProgressSampler::new(nodes, Arc::clone(&metrics), feed.clone());
        let Runtime { database, shards, composition, models: _, metrics: exporter } = runtime;
        let exposed = exporter.export(&metrics);
        Ok(Self {
            spec,
            models: composition.models.provider(None),
            composition,
            cache: None,
            metrics,
            _exposed: exposed,
            rejection_log: feed,
            progress_sampler: watch,
            stop,
            cut_short_token: CancellationToken::new(),
            options: wish,
            database,
            shards,
            is_worker: false,
            leased_operation: Mutex::default(),
            on_stop: StopPolicy::default(),
            remote_progress: Mutex::default(),
            embedder: OnceLock::new(),
            model,
            settings,
        })
    }

    /// Makes the operator execute a leased operation.
    fn with_operation(self, operation: OperationLease, on_stop: StopPolicy) -> Self {
        Self { is_worker: true, leased_operation: Mutex::new(Some(operation)), on_stop, ..self }
    }

    /// Ends the leased operation if its execution has not started.
    async fn abandon(&self, ended: Result<(), BoxError>) -> Result<(), BoxError> {
        let given = self.leased_operation.lock().unwrap_or_else(PoisonError::into_inner).take();
        match given {
            Some(operation) => finish_operation(operation, ended, &[]).await,
            None => ended,
        }
    }

    /// `true` if another operation, which may have done a part of the work, precedes the leased one
    /// (`continues`).
    async fn is_continued(&self) -> Result<bool, BoxError> {
        let given = self
            .leased_operation
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .map(OperationLease::id);
        let Some(id) = given else { return Ok(false) };
        let found = self.database.postgres().operations().find(id).await?;
        Ok(found.is_some_and(|it| it.continues.is_some()))
    }

    /// The fingerprint of the file's settings, as documents record it.
    fn fingerprint(&self) -> String {
        self.settings.fingerprint.to_string()
    }

    async fn open_vectors(
        &self,
        generation: &Generation,
        model: &ModelInfo,
        absent: IfMissing,
    ) -> Result<GenerationVectors, BoxError> {
        GenerationVectors::open(&self.spec, generation, model, absent, &self.shards).await
    }

    fn plan(&self) -> Result<Plan, BoxError> {
        Ok(self.composition.compile(&self.spec, self.models.as_ref())?)
    }

    /// Stores new and changed documents and deletes missing ones. Builds a new generation if the
    /// live one has other vector settings than the file, or if the options request it.
    pub async fn run(&self) -> Result<RunSummary, BoxError> {
        self.run_readmitting(&[]).await
    }

    /// Like [`Operator::run`], and restores documents that were deleted on request.
    async fn run_readmitting(&self, undelete: &[Uuid]) -> Result<RunSummary, BoxError> {
        let request = OperationRequest::run_readmitting(undelete.to_vec(), self.options);
        self.check_quota().await?;
        if let Some(result) = self.delegate(&request).await? {
            return Ok(result.into_summary());
        }
        loop {
            let collection = self.collection().await?;
            let asked = self.run_type(&collection).await?;
            let operation = self.acquire_lease(&collection, asked, request.details()).await?;
            // Another process may have changed the collection between this check and the lease.
            if !self.still_exists(&collection).await? {
                continue;
            }
            let kind = match self.run_type(&collection).await {
                Ok(kind) => kind,
                Err(error) => return finish_operation(operation, Err(error), &[]).await,
            };
            operation.change_type(kind).await?;
            if !undelete.is_empty()
                && let Err(error) = operation.readmit(undelete).await
            {
                return finish_operation(operation, Err(error.into()), &[]).await;
            }
            return match kind {
                OperationType::Reindex => self.reindex(operation).await,
                OperationType::Index
                | OperationType::Append
                | OperationType::RemoveSource
                | OperationType::Delete => self.append(operation, &collection).await,
            };
        }
    }

    /// Refuses a run of a collection that has reached a limit. Queued operations were checked when
    /// they were requested.
    async fn check_quota(&self) -> Result<(), BoxError> {
        if self.is_worker {
            return Ok(());
        }
        let (postgres, file) = (self.database.postgres(), &self.spec.file);
        let found = postgres.collections().find(Some(&file.owner), &file.collection).await?;
        match found.filter(|it| it.deleting_since.is_none()) {
            Some(collection) => Ok(postgres.limits().check_quota(&collection).await?),
            None => Ok(()),
        }
    }

    /// `true` if the collection still exists and is not being deleted.
    async fn still_exists(&self, collection: &Collection) -> Result<bool, BoxError> {
        let owner = Some(self.spec.file.owner.as_str());
        let found = self.database.postgres().collections().find(owner, &collection.name).await?;
        Ok(found.is_some_and(|it| it.id == collection.id && it.deleting_since.is_none()))
    }

    /// Returns the collection of the file. Creates it if it does not exist; first completes an
    /// interrupted deletion.
    async fn collection(&self) -> Result<Collection, BoxError> {
        let new = new_collection(&self.spec, self.settings.clone());
        loop {
            let collection = self.database.postgres().ensure_collection(&new).await?;
            if collection.deleting_since.is_none() {
                return Ok(collection);
            }
            tracing::warn!(
                collection = collection.name,
                "completing the interrupted deletion of the collection"
            );
            self.delete_collection(&collection).await?;
        }
    }

    /// Determines the type of operation that brings the collection to the settings of the file.
    async fn run_type(&self, collection: &Collection) -> Result<OperationType, BoxError> {
        let generations = self.database.postgres().generations().list(collection.id).await?;
        let status = |status| generations.iter().find(|it| it.status == status);
        let live = status(metadata::GenerationStatus::Live).ok_or("no generation is live")?;
        let of_file = |it: &&Generation| it.matches_settings(&self.settings);
        let rolled_back = generations.iter().filter(of_file).find(|it| it.rolled_back_at.is_some());
        if let Some(generation) = rolled_back
            && !self.options.rebuild
            && !live.matches_settings(&self.settings)
        {
            let number = generation.number;
            return Err(format!(
                "collection `{}` was rolled back from generation {number}, which has the settings \
                 of the file; change the file, or rebuild the generation with `semantik reindex`",
                collection.name
            )
            .into());
        }
        // A refused generation is built again only if the live one does not fit the settings of the
        // file.
        let half_built = status(metadata::GenerationStatus::Building)
            .filter(|it| of_file(it) && it.refused_at.is_none());
        if self.options.rebuild || half_built.is_some() || !live.is_compatible_with(&self.settings)
        {
            return Ok(OperationType::Reindex);
        }
        Ok(match live.fingerprint {
            // No run has completed yet.
            None => OperationType::Index,
            Some(_) => OperationType::Append,
        })
    }

    /// Leases the collection for an operation.
    async fn acquire_lease(
        &self,
        collection: &Collection,
        kind: OperationType,
        details: Value,
    ) -> Result<OperationLease, BoxError> {
        let given = self.leased_operation.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(operation) = given {
            return Ok(operation);
        }
        let config = self.config(details);
        let postgres = self.database.postgres();
        tokio::select! {
            started = postgres.start_operation(collection, kind, &config, self.wait_policy()) => Ok(started?),
            () = self.stop.cancelled() => Err(Interrupted::Stopped.into()),
        }
    }

    /// Returns the value of `operations.config`, with the fingerprints of the settings and the
    /// model.
    fn config(&self, details: Value) -> Value {
        let mut config = operation_config(&self.spec, details);
        config["fingerprint"] = self.settings.fingerprint.to_string().into();
        config["model"] = self.settings.model_fingerprint.clone().into();
        config
    }

    /// Sends pending notifications about the last operations of the collection to the webhooks of
    /// the file.
    pub async fn notify_webhooks(&self) -> Result<(), BoxError> {
        if self.spec.file.notify.is_empty() {
            return Ok(());
        }
        let (postgres, file) = (self.database.postgres(), &self.spec.file);
        let found = postgres.collections().find(Some(&file.owner), &file.collection).await?;
        match found {
            Some(collection) => webhooks::deliver(postgres, collection.id, &self.spec).await,
            None => Ok(()),
        }
    }

    fn wait_policy(&self) -> WaitPolicy {
        if self.options.wait { WaitPolicy::Wait } else { WaitPolicy::FailIfBusy }
    }

    /// Returns the live generation and its vectors. Its model may differ from the file's.
    async fn open_live(
        &self,
        collection: &Collection,
        absent: IfMissing,
    ) -> Result<(Generation, GenerationVectors), BoxError> {
        let live = self.database.postgres().generations().live(collection.id).await?;
        let model = resolve_model(&live, &self.plan()?, self.models.as_ref())?;
        let vectors = self.open_vectors(&live, &model, absent).await?;
        Ok((live, vectors))
    }

    /// Brings the live generation up to date.
    async fn append(
        &self,
        operation: OperationLease,
        collection: &Collection,
    ) -> Result<RunSummary, BoxError> {
        let ended = self
            .with_lease(&operation, async {
                self.drop_unfinished(&operation, DiscardPolicy::Refused).await?;
                let live = self.database.postgres().generations().live(collection.id).await?;
                // After a completed run the vectors exist, so absent ones are an error and not
                // created.
                let absent =
                    if live.fingerprint.is_none() { IfMissing::Create } else { IfMissing::Refuse };
                let vectors = self.open_vectors(&live, &self.model, absent).await?;
                vectors.ensure_writable().await?;
                let ended = self.append_to(&operation, &vectors).await;
                // Also after a failure, since a server keeps the vectors open.
                vectors.end_writing().await;
                ended
            })
            .await;
        self.finish_unswapped(operation, ended).await
    }

    async fn append_to(
        &self,
        operation: &OperationLease,
        vectors: &GenerationVectors,
    ) -> Result<RunReport, BoxError> {
        let report = self.sync(operation, metadata::GenerationSlot::Live, vectors).await?;
        if !report.stopped {
            operation.record_settings(&self.settings).await?;
            self.purge_deleted(operation).await?;
            self.drop_retired(operation).await?;
            self.optimize(vectors).await?;
        }
        Ok(report)
    }

    /// Builds the search index unless the operation is being cancelled: the documents are stored
    /// already, and a later run can build the index.
    async fn optimize(&self, vectors: &GenerationVectors) -> Result<(), BoxError> {
        tokio::select! {
            optimized = vectors.optimize() => optimized,
            () = self.stop.cancelled() => Ok(()),
        }
    }

    /// Runs `work` while the lease lasts. Once it is lost, `work` may still end; it can write
    /// nothing more.
    async fn with_lease<T>(
        &self,
        operation: &OperationLease,
        work: impl Future<Output = Result<T, BoxError>>,
    ) -> Result<T, BoxError> {
        let pipeline = &self.spec.file.name;
        let span = tracing::info_span!("operation", operation = %operation.id(), pipeline);
        let work = work.instrument(span);
        tokio::pin!(work);
        let mut watch = self.progress_sampler();
        tokio::select! {
            ended = &mut work => ended,
            () = operation.lost_while_reporting(|| Some(self.progress(&mut watch))) => {
                self.stop.cancel();
                if let Err(error) = work.await {
                    tracing::debug!(
                        %error,
                        "failed to store the batches in flight after the lease was lost",
                    );
                }
                Err(Interrupted::Cancelled(operation.id()).into())
            }
        }
    }

    /// Records the result of a run in the operation.
    async fn record_result(
        &self,
        operation: &OperationLease,
        report: &RunReport,
        swap: Option<GenerationSwap>,
    ) -> Result<(), BoxError> {
        let result = request::OperationResult {
            report: Some(report.clone()),
            model: Some(self.model_time()),
            swap,
            documents: None,
        };
        let progress = self.progress(&mut self.progress_sampler());
        Ok(operation.record_result(&serde_json::to_value(result)?, Some(&progress)).await?)
    }

    /// Ends an operation according to the result of its run.
    async fn finish_run(
        &self,
        operation: OperationLease,
        ended: Result<RunReport, BoxError>,
    ) -> Result<RunReport, BoxError> {
        if let Ok(report) = &ended {
            self.record_result(&operation, report, None).await?;
        }
        match ended {
            Ok(report) if report.stopped => {
                match self.on_stop.outcome() {
                    StopOutcome::Cancelled => {
                        operation
                            .finish(&OperationOutcome::Cancelled, &run_metrics(&report))
                            .await?;
                    }
                    StopOutcome::Requeued => {
                        let operations = self.database.postgres().operations();
                        operations.return_to_queue(operation.id(), None).await?;
                        operation.release().await;
                    }
                    StopOutcome::Failed(message) => {
                        operation
                            .finish(&OperationOutcome::Failed(message), &run_metrics(&report))
                            .await?;
                    }
                }
                Ok(report)
            }
            ended => {
                let metrics = ended.as_ref().map_or_else(|_| Vec::new(), run_metrics);
                finish_operation(operation, ended, &metrics).await
            }
        }
    }
}

/// Returns the value of `operations.config` that depends on the request and not on the file's later
/// options.
fn operation_config(spec: &PipelineSpec, details: Value) -> Value {
    let mut config = json!({ "pipeline": spec.file.name });
    if let (Value::Object(config), Value::Object(details)) = (&mut config, details) {
        config.extend(details);
    }
    if !spec.file.notify.is_empty() {
        let notify = spec.file.notify.iter();
        config["notify"] = notify.map(|it| json!({ "target": it.webhook, "on": it.on })).collect();
    }
    config
}

/// The model of a file's vectors.
pub fn model_of(plan: &Plan) -> Result<ModelInfo, BoxError> {
    Ok(plan.model().cloned().ok_or("no node of the pipeline runs a model; add an `embed` node")?)
}

/// Ends an operation with the status of `ended`, and returns `ended`.
async fn finish_operation<T>(
    operation: OperationLease,
    ended: Result<T, BoxError>,
    metrics: &[(String, f64)],
) -> Result<T, BoxError> {
    let ending = match &ended {
        Ok(_) => OperationOutcome::Completed,
        Err(error) if error.is::<Interrupted>() => OperationOutcome::Cancelled,
        Err(error) => OperationOutcome::Failed(pipeline::error_chain(error.as_ref())),
    };
    let finished = operation.finish(&ending, metrics).await;
    // The error of the operation takes precedence over the error of recording it.
    let given = ended?;
    finished?;
    Ok(given)
}

/// Smallest number of missing documents that can stop a run.
const ALWAYS_DELETABLE: i64 = 20;

/// `true` if losing `lost` of `of` documents needs `--allow-deletes`.
fn exceeds_ratio(lost: i64, of: i64, ratio: f64) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    let is_much = lost as f64 > ratio * of as f64;
    lost >= ALWAYS_DELETABLE && is_much
}
