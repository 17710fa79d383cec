//! Has runs take place that are due by the schedules of some files, and carries out operations that are handed over, of
//! the collections of these files, one of each collection at a time: the worker does, and the server. There is no second
//! path: each is carried out by an [`Operator`], as `semantik run` does it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use metadata::{Change, Operation, OperationStatus, OperationSummary, Postgres};
use pipeline::{BoxError, RetrySpec};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::files::{Files, Loaded};
use super::{Errand, OnStop, Operator, Stopped, Workplace, clock, finish, webhooks};

/// How often an executor says that it lives, looks for work that nobody told it of, and looks whether files have
/// changed.
const BEAT: Duration = Duration::from_secs(2);

/// How often it is looked whether a run is due.
const TICK: Duration = Duration::from_secs(1);

/// How an executor works.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// How many operations it carries out at once.
    pub(crate) at_once: usize,
    /// How long what is in flight may take when it is to stop.
    pub(crate) grace: Duration,
}

impl Default for Manner {
    fn default() -> Self {
        Self { at_once: 2, grace: Duration::from_secs(30) }
    }
}

/// Carries out operations that are handed over.
pub(crate) struct Executor {
    id: Uuid,
    workplace: Workplace,
    files: Files,
    manner: Manner,
}

/// An operation that is being carried out.
#[derive(Clone)]
struct Job {
    operation: Uuid,
    stop: CancellationToken,
    on_stop: OnStop,
    /// Ends the work wherever it is, once the operation is somebody else's.
    cut_off: CancellationToken,
    task: Option<tokio::task::Id>,
}

impl Executor {
    pub(crate) fn new(workplace: Workplace, files: Files, manner: Manner) -> Self {
        Self { id: Uuid::new_v4(), workplace, files, manner }
    }

    /// Carries out operations until it is to stop; then what is in flight is stored within the grace period, and
    /// the rest of it is handed back.
    ///
    /// # Errors
    /// If the database is not there at the beginning; later it is waited for.
    pub(crate) async fn run(&self, stop: &CancellationToken) -> Result<(), BoxError> {
        let postgres = self.workplace.database.postgres();
        let mut changes = postgres.listen().await?;
        let mut beat = tokio::time::interval(BEAT);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut served: HashMap<Uuid, Arc<Loaded>> = HashMap::new();
        let mut tasks: JoinSet<Uuid> = JoinSet::new();
        let mut telling: JoinSet<()> = JoinSet::new();
        let mut jobs: HashMap<Uuid, Job> = HashMap::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = beat.tick() => match self.beat().await {
                    Ok(now) => {
                        served = now;
                        if telling.is_empty() {
                            self.tell(&served, &mut telling);
                        }
                    }
                    Err(error) => tracing::warn!(error = pipeline::chain(error.as_ref()), "no sign of life could be given"),
                },
                _ = tick.tick() => {
                    self.tick().await;
                    continue;
                }
                change = changes.next() => match change {
                    Change::Operation { status: OperationStatus::Processing, .. } | Change::Progress(_) => continue,
                    Change::Operation { .. } | Change::Missed => {}
                },
                Some(_) = telling.join_next(), if !telling.is_empty() => continue,
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                    match ended {
                        Ok(collection) => drop(jobs.remove(&collection)),
                        // It panicked. Its operation is found dead, and goes on.
                        Err(error) => jobs.retain(|_, job| job.task != Some(error.id())),
                    }
                }
            }
            while jobs.len() < self.manner.at_once {
                let free: Vec<Uuid> =
                    served.keys().copied().filter(|id| !jobs.contains_key(id)).collect();
                let taken = match postgres.take_up(&free).await {
                    Ok(taken) => taken,
                    Err(error) => {
                        tracing::warn!(
                            error = pipeline::chain(&error),
                            "no operation could be taken up"
                        );
                        None
                    }
                };
                let Some((operation, summary)) = taken else { break };
                let collection = summary.collection_id;
                let loaded = Arc::clone(&served[&collection]);
                let job = Job {
                    operation: summary.id,
                    stop: CancellationToken::new(),
                    on_stop: OnStop::default(),
                    cut_off: CancellationToken::new(),
                    task: None,
                };
                let task = Task {
                    workplace: self.workplace.clone(),
                    files: self.files.clone(),
                    loaded,
                    operation,
                    summary,
                    job: job.clone(),
                };
                let runtime = Handle::current();
                // On a thread of its own: reading files and opening shards holds nobody else up.
                let task = tasks.spawn_blocking(move || {
                    runtime.block_on(task.carry_out());
                    collection
                });
                jobs.insert(collection, Job { task: Some(task.id()), ..job });
            }
        }
        self.wind_up(jobs, tasks).await;
        Ok(())
    }

    /// Has what is due take place.
    async fn tick(&self) {
        if let Err(error) = clock::tick(self.workplace.database.postgres(), &self.files).await {
            let error = pipeline::chain(error.as_ref());
            tracing::warn!(error, "schedules could not be looked at");
        }
    }

    /// Says that it lives, and finds out what it serves.
    async fn beat(&self) -> Result<HashMap<Uuid, Arc<Loaded>>, BoxError> {
        tokio::task::block_in_place(|| self.files.refresh());
        let postgres = self.workplace.database.postgres();
        let mut served = HashMap::new();
        for loaded in self.files.loaded() {
            let file = &loaded.spec.file;
            let found = postgres.collections().find(Some(&file.owner), &file.collection).await?;
            if let Some(collection) = found {
                served.entry(collection.id).or_insert(loaded);
            }
        }
        let collections: Vec<Uuid> = served.keys().copied().collect();
        postgres.executors().beat(self.id, &collections, &self.files.status()).await?;
        Ok(served)
    }

    /// Tells webhooks what they are still to be told, beside everything else.
    fn tell(&self, served: &HashMap<Uuid, Arc<Loaded>>, telling: &mut JoinSet<()>) {
        let served: Vec<_> = served
            .iter()
            .filter(|(_, loaded)| !loaded.spec.file.notify.is_empty())
            .map(|(collection, loaded)| (*collection, Arc::clone(loaded)))
            .collect();
        if served.is_empty() {
            return;
        }
        let (database, runtime) = (self.workplace.database.clone(), Handle::current());
        telling.spawn_blocking(move || {
            runtime.block_on(async {
                for (collection, loaded) in served {
                    let postgres = database.postgres();
                    if let Err(error) = webhooks::deliver(postgres, collection, &loaded.spec).await
                    {
                        tracing::debug!(%error, "webhooks could not be told");
                    }
                }
            });
        });
    }

    /// Has what goes on end: what is in flight is stored, and the operations go on later, elsewhere perhaps.
    async fn wind_up(&self, jobs: HashMap<Uuid, Job>, mut tasks: JoinSet<Uuid>) {
        let postgres = self.workplace.database.postgres();
        // From here on nobody hands anything over.
        if let Err(error) = postgres.executors().forget(self.id).await {
            tracing::debug!(%error, "the executor could not be forgotten");
        }
        for job in jobs.values() {
            job.on_stop.hand_back();
            job.stop.cancel();
        }
        let all = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(self.manner.grace, all).await.is_ok() {
            return;
        }
        for job in jobs.values() {
            match postgres.operations().hand_back(job.operation, None).await {
                Ok(Some(_)) => {
                    tracing::warn!(operation = %job.operation, "cut off after the grace period, and handed back");
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "an operation could not be handed back"),
            }
        }
        for job in jobs.values() {
            job.cut_off.cancel();
        }
        while tasks.join_next().await.is_some() {}
    }
}

/// An operation on its way.
struct Task {
    workplace: Workplace,
    files: Files,
    loaded: Arc<Loaded>,
    operation: Operation,
    summary: OperationSummary,
    job: Job,
}

impl Task {
    /// Carries the operation out, and says so.
    async fn carry_out(mut self) {
        // The pipeline that asked for it, where several fill the collection.
        let pipeline = self.summary.config["pipeline"].as_str().map(str::to_owned);
        // Whoever asked may have changed it just before.
        self.files.refresh();
        let file = &self.loaded.spec.file;
        let found = self.files.find(&file.owner, &file.collection, pipeline.as_deref());
        self.loaded = found.unwrap_or(self.loaded);
        let (id, attempt) = (self.summary.id, self.summary.attempt);
        let cut_off = self.job.cut_off.clone();
        tracing::info!(operation = %id, pipeline, attempt, "begun");
        let (postgres, loaded) = (self.workplace.database.clone(), Arc::clone(&self.loaded));
        let collection = self.summary.collection_id;
        let ended = tokio::select! {
            ended = self.its_end() => ended,
            () = cut_off.cancelled() => Err("it was cut off".into()),
        };
        let told = webhooks::deliver(postgres.postgres(), collection, &loaded.spec).await;
        if let Err(error) = told {
            tracing::warn!(error = pipeline::chain(error.as_ref()), "webhooks could not be told");
        }
        match ended {
            Ok(()) => tracing::info!(operation = %id, pipeline, "ended"),
            Err(error) => {
                let error = pipeline::chain(error.as_ref());
                tracing::error!(operation = %id, pipeline, error, "did not come to its end");
            }
        }
    }

    /// Carries the operation out; whatever happens, it is ended.
    async fn its_end(self) -> Result<(), BoxError> {
        let (operator, errand) = match self.prepare() {
            Ok(prepared) => prepared,
            Err(error) => return finish(self.operation, Err(error), &[]).await,
        };
        let (id, job) = (self.summary.id, self.job.clone());
        let scheduled = self.loaded.spec.file.schedule.as_ref();
        let scheduled = scheduled.filter(|_| self.summary.schedule_run_id.is_some());
        let deadline = scheduled.and_then(|it| it.deadline.clone());
        let overdue = async {
            match &deadline {
                Some(deadline) => tokio::time::sleep(Duration::from_secs(deadline.seconds())).await,
                None => std::future::pending().await,
            }
        };
        let operator = operator.taking_up(self.operation, job.on_stop.clone());
        let ended = {
            let carrying_out = operator.carry_out(&errand);
            tokio::pin!(carrying_out, overdue);
            tokio::select! {
                ended = &mut carrying_out => ended,
                () = &mut overdue => {
                    let deadline = deadline.as_ref().map_or(0, pipeline::Span::seconds);
                    let why = format!("it exceeded its deadline of {deadline} s");
                    tracing::warn!(operation = %id, why, "a run is ended");
                    job.on_stop.fail(why);
                    job.stop.cancel();
                    carrying_out.await
                }
            }
        };
        let ended = operator.give_up(ended).await;
        let is_overdue = matches!(job.on_stop.get(), Stopped::Failed(_));
        if let (Err(_), Some(schedule), false) = (&ended, scheduled, is_overdue) {
            let postgres = self.workplace.database.postgres();
            let attempt = self.summary.attempt.unsigned_abs();
            try_again(postgres, id, attempt, &schedule.retry).await?;
        }
        ended
    }

    /// Who carries it out, and what; the file must be what it was for who asked.
    fn prepare(&self) -> Result<(Operator, Errand), BoxError> {
        let Self { workplace, loaded, summary, job, .. } = self;
        let errand: Errand = serde_json::from_value(summary.config.clone())?;
        let (spec, stop) = (Arc::clone(&loaded.spec), job.stop.clone());
        let operator = Operator::at(workplace.clone(), spec, &loaded.plan, stop, errand.wish())?;
        let asked = summary.config["fingerprint"].as_str();
        if asked.is_some_and(|asked| asked != operator.fingerprint()) {
            return Err(format!(
                "it was asked for by another version of the file than {}, which this process serves",
                loaded.path.display()
            )
            .into());
        }
        Ok((operator, errand))
    }
}

/// The longest time before a run that has failed is tried again.
const LONGEST_BACKOFF: u64 = 24 * 60 * 60;

/// Has a run that has failed tried again, if its schedule says so.
async fn try_again(
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
    let wait = retry.backoff.seconds().saturating_mul(1 << (attempt - 1).min(20));
    let wait = Duration::from_secs(wait.min(LONGEST_BACKOFF));
    let at = postgres.now().await? + chrono::Duration::from_std(wait)?;
    if let Some(next) = postgres.operations().try_again(operation, at).await? {
        tracing::info!(%operation, %next, at = %at, "it is tried again");
    }
    Ok(())
}
