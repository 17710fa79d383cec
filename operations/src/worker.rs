//! Queues the due runs of some files' schedules, and executes queued operations on the collections
//! of these files, one per collection at a time. Worker and server use it. An [`Operator`] executes
//! each operation, as in `semantik run`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use metadata::{
    OperationEvent, OperationLease, OperationStatus, OperationSummary, Postgres, WaitPolicy,
};
use pipeline::{BoxError, OperationRequest, RetrySpec};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::cancellation::{Cancellation, StopOutcome};
use crate::loaded_pipeline::LoadedPipeline;
use crate::operation::Leased;
use crate::operator::{Operator, PROGRAM_VERSION, finish};
use crate::pipeline_files::PipelineFiles;
use crate::runtime::Runtime;
use crate::{scheduler, webhooks};

/// Interval of the heartbeat, of polling for operations without a notification, and of checking
/// files for changes.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(2);

/// Interval of the scheduler.
const SCHEDULE_INTERVAL: Duration = Duration::from_secs(1);

/// Configuration of an executor.
#[derive(Clone, Copy, Debug)]
pub struct WorkerConfig {
    /// Maximum number of concurrent operations.
    pub max_concurrent: usize,
    /// Time limit for storing batches in flight at shutdown.
    pub grace: Duration,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self { max_concurrent: 2, grace: Duration::from_secs(30) }
    }
}

/// Executes queued operations.
pub struct Worker {
    id: Uuid,
    runtime: Runtime,
    files: PipelineFiles,
    config: WorkerConfig,
}

/// An operation in execution.
#[derive(Clone)]
struct RunningOperation {
    operation: Uuid,
    cancellation: Cancellation,
    /// Drops the work at any point, once the operation is requeued.
    abort: CancellationToken,
    task: Option<tokio::task::Id>,
}

impl Worker {
    /// A worker for these files with a new id; [`Worker::run`] registers it.
    pub fn new(runtime: Runtime, files: PipelineFiles, manner: WorkerConfig) -> Self {
        Self { id: Uuid::new_v4(), runtime, files, config: manner }
    }

    /// Executes operations until `stop` is cancelled; then batches in flight are stored within the
    /// grace period, and the operations are requeued.
    ///
    /// # Errors
    /// If the database cannot be reached at the start; later outages are waited out.
    pub async fn run(&self, stop: &CancellationToken) -> Result<(), BoxError> {
        let postgres = self.runtime.database.postgres();
        let mut changes = postgres.listen().await?;
        let mut beat = tokio::time::interval(HEARTBEAT_INTERVAL);
        let mut tick = tokio::time::interval(SCHEDULE_INTERVAL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut served: HashMap<Uuid, Arc<LoadedPipeline>> = HashMap::new();
        let mut tasks: JoinSet<Uuid> = JoinSet::new();
        let mut telling: JoinSet<()> = JoinSet::new();
        let mut jobs: HashMap<Uuid, RunningOperation> = HashMap::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = beat.tick() => match self.heartbeat().await {
                    Ok(now) => {
                        served = now;
                        if telling.is_empty() {
                            self.notify_webhooks(&served, &mut telling);
                        }
                    }
                    Err(error) => tracing::warn!(
                        error = pipeline::error_chain(error.as_ref()),
                        "failed to send the heartbeat",
                    ),
                },
                _ = tick.tick() => {
                    self.tick().await;
                    continue;
                }
                change = changes.next() => match change {
                    OperationEvent::StatusChanged { status: OperationStatus::Processing, .. } | OperationEvent::Progress(_) => continue,
                    OperationEvent::StatusChanged { .. } | OperationEvent::Lagged => {}
                },
                Some(_) = telling.join_next(), if !telling.is_empty() => continue,
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                    match ended {
                        Ok(collection) => drop(jobs.remove(&collection)),
                        // The task panicked; its operation is detected as orphaned and continues as
                        // another one.
                        Err(error) => jobs.retain(|_, job| job.task != Some(error.id())),
                    }
                }
            }
            while jobs.len() < self.config.max_concurrent {
                let free: Vec<Uuid> =
                    served.keys().copied().filter(|id| !jobs.contains_key(id)).collect();
                let taken = match postgres.dequeue(&free).await {
                    Ok(taken) => taken,
                    Err(error) => {
                        tracing::warn!(
                            error = pipeline::error_chain(&error),
                            "failed to lease a queued operation"
                        );
                        None
                    }
                };
                let Some((lease, summary)) = taken else { break };
                let collection = summary.collection_id;
                let loaded = Arc::clone(&served[&collection]);
                let job = RunningOperation {
                    operation: summary.id,
                    cancellation: Cancellation::default(),
                    abort: CancellationToken::new(),
                    task: None,
                };
                let task = OperationTask {
                    runtime: self.runtime.clone(),
                    files: self.files.clone(),
                    loaded,
                    lease,
                    summary,
                    job: job.clone(),
                };
                let handle = Handle::current();
                // On a blocking thread: reading files and opening shards must not delay other
                // tasks.
                let task = tasks.spawn_blocking(move || {
                    handle.block_on(task.run());
                    collection
                });
                jobs.insert(collection, RunningOperation { task: Some(task.id()), ..job });
            }
        }
        self.shut_down(jobs, tasks).await;
        Ok(())
    }

    /// Queues due runs.
    async fn tick(&self) {
        if let Err(error) = scheduler::tick(self.runtime.database.postgres(), &self.files).await {
            let error = pipeline::error_chain(error.as_ref());
            tracing::warn!(error, "cannot process the schedules");
        }
    }

    /// Sends the heartbeat and returns the served collections with their files.
    async fn heartbeat(&self) -> Result<HashMap<Uuid, Arc<LoadedPipeline>>, BoxError> {
        tokio::task::block_in_place(|| self.files.refresh());
        let postgres = self.runtime.database.postgres();
        let mut served = HashMap::new();
        for loaded in self.files.loaded() {
            let file = &loaded.spec.file;
            let found = postgres.collections().find(Some(&file.owner), &file.collection).await?;
            if let Some(collection) = found {
                served.entry(collection.id).or_insert(loaded);
            }
        }
        let collections: Vec<Uuid> = served.keys().copied().collect();
        postgres.workers().heartbeat(self.id, &collections, &self.files.status()).await?;
        Ok(served)
    }

    /// Delivers pending notifications in the background.
    fn notify_webhooks(
        &self,
        served: &HashMap<Uuid, Arc<LoadedPipeline>>,
        telling: &mut JoinSet<()>,
    ) {
        let served: Vec<_> = served
            .iter()
            .filter(|(_, loaded)| !loaded.spec.file.notify.is_empty())
            .map(|(collection, loaded)| (*collection, Arc::clone(loaded)))
            .collect();
        if served.is_empty() {
            return;
        }
        let (database, handle) = (self.runtime.database.clone(), Handle::current());
        telling.spawn_blocking(move || {
            handle.block_on(async {
                for (collection, loaded) in served {
                    let postgres = database.postgres();
                    if let Err(error) = webhooks::deliver(postgres, collection, &loaded.spec).await
                    {
                        tracing::debug!(%error, "failed to deliver notifications");
                    }
                }
            });
        });
    }

    /// Stops the running operations: batches in flight are stored, and the operations are requeued
    /// for any worker.
    async fn shut_down(&self, jobs: HashMap<Uuid, RunningOperation>, mut tasks: JoinSet<Uuid>) {
        let postgres = self.runtime.database.postgres();
        // From here on no client delegates to this process.
        if let Err(error) = postgres.workers().remove(self.id).await {
            tracing::debug!(%error, "failed to remove the worker registration");
        }
        for job in jobs.values() {
            job.cancellation.requeue();
        }
        let all = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(self.config.grace, all).await.is_ok() {
            return;
        }
        for job in jobs.values() {
            match postgres.operations().return_to_queue(job.operation, None).await {
                Ok(Some(_)) => {
                    tracing::warn!(
                        operation = %job.operation,
                        "grace period exceeded: the operation is dropped and requeued",
                    );
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "failed to requeue an operation"),
            }
        }
        for job in jobs.values() {
            job.abort.cancel();
        }
        while tasks.join_next().await.is_some() {}
    }
}

/// An operation with everything needed to execute it.
struct OperationTask {
    runtime: Runtime,
    files: PipelineFiles,
    loaded: Arc<LoadedPipeline>,
    lease: OperationLease,
    summary: OperationSummary,
    job: RunningOperation,
}

impl OperationTask {
    /// Executes the operation, delivers its notifications and logs the outcome.
    async fn run(mut self) {
        // The requesting pipeline, if several fill the collection.
        let pipeline = self.summary.config["pipeline"].as_str().map(str::to_owned);
        // The client may have changed the file just before the request.
        self.files.refresh();
        let file = &self.loaded.spec.file;
        let found = self.files.find(&file.owner, &file.collection, pipeline.as_deref());
        self.loaded = found.unwrap_or(self.loaded);
        let (id, attempt) = (self.summary.id, self.summary.attempt);
        let cut_off = self.job.abort.clone();
        tracing::info!(operation = %id, pipeline, attempt, "operation started");
        let (postgres, loaded) = (self.runtime.database.clone(), Arc::clone(&self.loaded));
        let collection = self.summary.collection_id;
        let ended = tokio::select! {
            ended = self.run_to_end() => ended,
            () = cut_off.cancelled() => Err("the grace period was exceeded".into()),
        };
        let told = webhooks::deliver(postgres.postgres(), collection, &loaded.spec).await;
        if let Err(error) = told {
            tracing::warn!(
                error = pipeline::error_chain(error.as_ref()),
                "failed to deliver notifications"
            );
        }
        match ended {
            Ok(()) => tracing::info!(operation = %id, pipeline, "operation completed"),
            Err(error) => {
                let error = pipeline::error_chain(error.as_ref());
                tracing::error!(operation = %id, pipeline, error, "operation failed");
            }
        }
    }

    /// Executes the operation and ends it in every case.
    async fn run_to_end(self) -> Result<(), BoxError> {
        let (operator, request) = match self.prepare() {
            Ok(prepared) => prepared,
            Err(error) => return finish(self.lease, Err(error)).await,
        };
        let (id, job) = (self.summary.id, self.job.clone());
        let scheduled = self.loaded.spec.file.schedule.as_ref();
        let scheduled = scheduled.filter(|_| self.summary.schedule_run_id.is_some());
        let deadline = scheduled.and_then(|it| it.deadline.clone());
        let overdue = async {
            match &deadline {
                Some(deadline) => tokio::time::sleep(Duration::from_secs(deadline.as_secs())).await,
                None => std::future::pending().await,
            }
        };
        let is_continuation = self.summary.continues.is_some();
        let leased = Leased { lease: self.lease, request, is_continuation };
        let ended = {
            let execution = operator.execute_leased(leased);
            tokio::pin!(execution, overdue);
            tokio::select! {
                ended = &mut execution => ended,
                () = &mut overdue => {
                    let deadline = deadline.as_ref().map_or(0, pipeline::HumanDuration::as_secs);
                    let why = format!("exceeded the deadline of {deadline} s");
                    tracing::warn!(operation = %id, why, "stopping a run");
                    job.cancellation.fail(why);
                    execution.await
                }
            }
        };
        let is_overdue = matches!(job.cancellation.outcome(), StopOutcome::Failed(_));
        if let (Err(_), Some(schedule), false) = (&ended, scheduled, is_overdue) {
            let postgres = self.runtime.database.postgres();
            let attempt = self.summary.attempt.unsigned_abs();
            retry_later(postgres, id, attempt, &schedule.retry).await?;
        }
        ended.map(drop)
    }

    /// Returns the operator and the request. The file must have the fingerprint that the request
    /// names, unless another version of the program queued it.
    fn prepare(&self) -> Result<(Operator, OperationRequest), BoxError> {
        let Self { runtime, loaded, summary, job, .. } = self;
        let request: OperationRequest = serde_json::from_value(summary.config.clone())?;
        let operator = Operator::with_cancellation(
            runtime.clone(),
            Arc::clone(&loaded.spec),
            &loaded.plan,
            WaitPolicy::FailIfBusy,
            job.cancellation.clone(),
        )?;
        let is_comparable = summary.config["program"].as_str() == Some(PROGRAM_VERSION);
        let asked = summary.config["fingerprint"].as_str().filter(|_| is_comparable);
        let fingerprint = operator.context.settings.fingerprint.to_string();
        if asked.is_some_and(|asked| asked != fingerprint) {
            return Err(format!(
                "the request is for another version of the file than {}, which this process serves",
                loaded.path.display()
            )
            .into());
        }
        Ok((operator, request))
    }
}

/// Longest delay before a failed run is retried, in seconds.
const MAX_BACKOFF_SECONDS: u64 = 24 * 60 * 60;

/// Queues a retry of a failed run if its schedule allows one.
async fn retry_later(
    postgres: &Postgres,
    operation: Uuid,
    attempt: u32,
    retry: &RetrySpec,
) -> Result<(), BoxError> {
    let failed = postgres.operations().find(operation).await?;
    let has_failed = failed.is_some_and(|it| it.status == OperationStatus::Failed);
    if !has_failed || attempt > retry.attempts {
        return Ok(());
    }
    let wait = retry.backoff.as_secs().saturating_mul(1 << (attempt - 1).min(20));
    let wait = Duration::from_secs(wait.min(MAX_BACKOFF_SECONDS));
    let at = postgres.now().await? + chrono::Duration::from_std(wait)?;
    if let Some(next) = postgres.operations().retry_later(operation, at).await? {
        tracing::info!(%operation, %next, at = %at, "the run is retried");
    }
    Ok(())
}
