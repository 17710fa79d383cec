//! Operations: what is done to a collection, from the claim to the end. The command goes this way, and whoever
//! else executes operations; there is no second path.
//!
//! An [`Operator`] knows the file, the engine and what was wished. Each kind of operation is a file of its own;
//! here is what they share: the stores are opened, the collection is claimed, and whatever happens the operation
//! is ended. That somebody cancels an operation is noticed here, too.

mod check;
pub(crate) mod clock;
mod elsewhere;
mod errand;
mod executor;
mod files;
mod forecast;
mod generations;
mod measures;
mod pass;
mod removal;
mod stopped;
mod verify;
mod watched;
pub(crate) mod webhooks;
mod workplace;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use metadata::{
    Collection, Ending, Generation, GenerationSettings, Operation, OperationType, Turn,
};
use pipeline::{
    BoxError, Embedder, Exposed, Feed, Memo, Metrics, ModelInfo, PipelineSpec, Plan, Progress,
    RunReport, Watch,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use uuid::Uuid;

pub(crate) use self::errand::{Errand, ModelTime, Swap};
pub(crate) use self::executor::{Executor, Manner};
pub(crate) use self::files::{Files, Loaded};
pub(crate) use self::forecast::{Cause, Forecast, Tally, forecast};
use self::generations::GiveUp;
use self::measures::metrics_of;
use self::stopped::{OnStop, Stopped};
pub(crate) use self::verify::{Findings, Trouble};
pub(crate) use self::workplace::Workplace;
use crate::shards::Shards;
use crate::telemetry::Telemetry;
use crate::wiring::{self, Absent, Database, Vectors};

/// What the person who asks for an operation wishes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish {
    /// Deletes documents however many are gone.
    pub(crate) allow_deletes: bool,
    /// Tries documents again that failed, as far as their time has come.
    pub(crate) retry_failed: bool,
    /// Waits for its turn if somebody else works on the collection.
    pub(crate) wait: bool,
    /// Builds a new generation whatever has changed.
    pub(crate) anew: bool,
}

/// Carries out operations on the collection of a pipeline file.
pub(crate) struct Operator {
    pub(crate) spec: Arc<PipelineSpec>,
    pub(crate) engine: Arc<embedding::Engine>,
    /// What was computed before; [`Operator::engine`] asks it, too.
    memo: Option<Arc<dyn Memo>>,
    metrics: Arc<Metrics>,
    /// For as long as the operator lives.
    _exposed: Exposed,
    feed: Feed,
    /// As it looks at the beginning; every watcher clones it.
    watch: Watch,
    /// Cancelling it ends an operation when what is in flight is stored.
    pub(crate) stop: CancellationToken,
    /// Cancelling it, after that, leaves what the model has not begun with for the next run.
    cut_short: CancellationToken,
    pub(crate) wish: Wish,
    /// Held for as long as operations go on: the embedded cluster runs meanwhile.
    pub(crate) database: Database,
    /// The embedded shards of this process.
    shards: Shards,
    /// Whether this process carries out what others hand over, so that nothing is handed over from here.
    is_executor: bool,
    /// The operation that was taken up for this operator.
    given: Mutex<Option<Operation>>,
    /// What becomes of an operation that was asked to stop.
    on_stop: OnStop,
    /// How far an operation is that another process carries out.
    followed: Mutex<Option<Progress>>,
    /// The model, once a run has asked for it.
    embedder: OnceLock<Arc<dyn Embedder>>,
    model: ModelInfo,
    settings: GenerationSettings,
}

/// What an operation has done.
pub(crate) struct Done {
    pub(crate) report: RunReport,
    /// The generations concerned, if another one is live now.
    pub(crate) swap: Option<Swap>,
    /// What the model did for it.
    pub(crate) model: ModelTime,
}

/// Why an operation did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotDone {
    /// Somebody has cancelled it, or has taken it for dead.
    #[error("operation {0} was cancelled")]
    Cancelled(Uuid),
    /// It was asked to stop before its turn had come.
    #[error("stopped while it waited for its turn")]
    Stopped,
}

impl Operator {
    /// Opens the metadata store of a file, and brings its schema up to date.
    pub(crate) async fn new(
        spec: PipelineSpec,
        plan: &Plan,
        stop: CancellationToken,
        wish: Wish,
    ) -> Result<Self, BoxError> {
        // Before anything is made.
        model_of(plan)?;
        let workplace = Workplace::open(&spec, &Telemetry::new()).await?;
        Self::at(workplace, Arc::new(spec), plan, stop, wish)
    }

    /// The same for a verb that only reads: nothing is made or changed.
    pub(crate) async fn looking(
        spec: PipelineSpec,
        plan: &Plan,
        wish: Wish,
    ) -> Result<Self, BoxError> {
        model_of(plan)?;
        let workplace = Workplace::looking(&spec, &Telemetry::new()).await?;
        Self::at(workplace, Arc::new(spec), plan, CancellationToken::new(), wish)
    }

    /// An operator in a place that is open already.
    pub(crate) fn at(
        workplace: Workplace,
        spec: Arc<PipelineSpec>,
        plan: &Plan,
        stop: CancellationToken,
        wish: Wish,
    ) -> Result<Self, BoxError> {
        let memo = wiring::memo(&spec);
        let engine = Arc::new(workplace.engine.beside(memo.clone()));
        Ok(Self { engine, memo, ..Self::bare(workplace, spec, plan, stop, wish)? })
    }

    /// An operator that remembers nothing.
    fn bare(
        workplace: Workplace,
        spec: Arc<PipelineSpec>,
        plan: &Plan,
        stop: CancellationToken,
        wish: Wish,
    ) -> Result<Self, BoxError> {
        let model = model_of(plan)?;
        let settings = wiring::generation_settings(&spec, plan, &model);
        let metrics = Arc::new(Metrics::new(plan.name()));
        let feed = Feed::default();
        let nodes = plan.graph().map(|(id, _, _)| id.to_owned()).collect();
        let watch = Watch::new(nodes, Arc::clone(&metrics), feed.clone());
        let Workplace { database, shards, telemetry, engine } = workplace;
        let exposed = telemetry.exposition().expose(&metrics);
        Ok(Self {
            spec,
            engine: Arc::new(engine.beside(None)),
            memo: None,
            metrics,
            _exposed: exposed,
            feed,
            watch,
            stop,
            cut_short: CancellationToken::new(),
            wish,
            database,
            shards,
            is_executor: false,
            given: Mutex::default(),
            on_stop: OnStop::default(),
            followed: Mutex::default(),
            embedder: OnceLock::new(),
            model,
            settings,
        })
    }

    /// Has it carry out an operation that was taken up.
    fn taking_up(self, operation: Operation, on_stop: OnStop) -> Self {
        Self { is_executor: true, given: Mutex::new(Some(operation)), on_stop, ..self }
    }

    /// Ends the operation that was taken up, if nothing was begun with it.
    async fn give_up(&self, ended: Result<(), BoxError>) -> Result<(), BoxError> {
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner).take();
        match given {
            Some(operation) => finish(operation, ended, &[]).await,
            None => ended,
        }
    }

    /// Whether the operation that was taken up goes on with another one, which may have done a part of it.
    async fn is_continued(&self) -> Result<bool, BoxError> {
        let given =
            self.given.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Operation::id);
        let Some(id) = given else { return Ok(false) };
        let found = self.database.postgres().operations().find(id).await?;
        Ok(found.is_some_and(|it| it.continues.is_some()))
    }

    /// What the file asks for, as a document notes it.
    fn fingerprint(&self) -> String {
        self.settings.fingerprint.to_string()
    }

    async fn open_vectors(
        &self,
        generation: &Generation,
        model: &ModelInfo,
        absent: Absent,
    ) -> Result<Vectors, BoxError> {
        Vectors::open(&self.spec, generation, model, absent, &self.shards).await
    }

    fn plan(&self) -> Result<Plan, BoxError> {
        Ok(Plan::compile(&self.spec, &wiring::registry(), self.engine.as_ref())?)
    }

    /// Takes in what is new or changed. A file that asks for other vectors than the live generation holds gets a
    /// new generation, and so does one that wishes it.
    pub(crate) async fn run(&self) -> Result<Done, BoxError> {
        self.run_letting_in(&[]).await
    }

    /// The same, and lets documents in again that somebody had deleted.
    async fn run_letting_in(&self, undelete: &[Uuid]) -> Result<Done, BoxError> {
        let errand = Errand::run_letting_in(undelete.to_vec(), self.wish);
        self.may_take_in().await?;
        if let Some(result) = self.elsewhere(&errand).await? {
            return Ok(result.done());
        }
        loop {
            let collection = self.collection().await?;
            let asked = self.kind_of_run(&collection).await?;
            let operation = self.claim(&collection, asked, errand.details()).await?;
            // Somebody else may have been at work between the question and the claim.
            if !self.is_there(&collection).await? {
                continue;
            }
            let kind = match self.kind_of_run(&collection).await {
                Ok(kind) => kind,
                Err(error) => return finish(operation, Err(error), &[]).await,
            };
            operation.becomes(kind).await?;
            if !undelete.is_empty()
                && let Err(error) = operation.readmit(undelete).await
            {
                return finish(operation, Err(error.into()), &[]).await;
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

    /// Refuses a run of a collection that has reached a limit. One that was handed over was looked at before.
    async fn may_take_in(&self) -> Result<(), BoxError> {
        if self.is_executor {
            return Ok(());
        }
        let (postgres, file) = (self.database.postgres(), &self.spec.file);
        let found = postgres.collections().find(Some(&file.owner), &file.collection).await?;
        match found.filter(|it| it.deleting_since.is_none()) {
            Some(collection) => Ok(postgres.limits().may_take_in(&collection).await?),
            None => Ok(()),
        }
    }

    /// Whether a collection is there still, and is to stay.
    async fn is_there(&self, collection: &Collection) -> Result<bool, BoxError> {
        let owner = Some(self.spec.file.owner.as_str());
        let found = self.database.postgres().collections().find(owner, &collection.name).await?;
        Ok(found.is_some_and(|it| it.id == collection.id && it.deleting_since.is_none()))
    }

    /// The collection of the file; made when it is not there, and made anew when its deletion had begun.
    async fn collection(&self) -> Result<Collection, BoxError> {
        let new = wiring::new_collection(&self.spec, self.settings.clone());
        loop {
            let collection = self.database.postgres().open_collection(&new).await?;
            if collection.deleting_since.is_none() {
                return Ok(collection);
            }
            tracing::warn!(
                collection = collection.name,
                "its deletion had begun, and is finished first"
            );
            self.delete(&collection).await?;
        }
    }

    /// What has to be done to bring the collection to what the file asks for.
    async fn kind_of_run(&self, collection: &Collection) -> Result<OperationType, BoxError> {
        let generations = self.database.postgres().generations().list(collection.id).await?;
        let status = |status| generations.iter().find(|it| it.status == status);
        let live = status(metadata::GenerationStatus::Live).ok_or("no generation is live")?;
        let of_file = |it: &&Generation| it.is_of(&self.settings);
        let rolled_back = generations.iter().filter(of_file).find(|it| it.rolled_back_at.is_some());
        if let Some(generation) = rolled_back
            && !self.wish.anew
            && !live.is_of(&self.settings)
        {
            let number = generation.number;
            return Err(format!(
                "the collection `{}` was rolled back from generation {number}, which is what the file asks for; \
                 change the file, or build that generation anew with `semantik reindex`",
                collection.name
            )
            .into());
        }
        // One that was refused is tried again only where there is no other way to what the file asks for.
        let half_built = status(metadata::GenerationStatus::Building)
            .filter(|it| of_file(it) && it.refused_at.is_none());
        if self.wish.anew || half_built.is_some() || !live.takes(&self.settings) {
            return Ok(OperationType::Reindex);
        }
        Ok(match live.fingerprint {
            // No run has come to its end yet.
            None => OperationType::Index,
            Some(_) => OperationType::Append,
        })
    }

    /// Claims a collection for an operation.
    async fn claim(
        &self,
        collection: &Collection,
        kind: OperationType,
        details: Value,
    ) -> Result<Operation, BoxError> {
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(operation) = given {
            return Ok(operation);
        }
        let config = self.config(details);
        let postgres = self.database.postgres();
        tokio::select! {
            started = postgres.start_operation(collection, kind, &config, self.turn()) => Ok(started?),
            () = self.stop.cancelled() => Err(NotDone::Stopped.into()),
        }
    }

    /// What `operations.config` says of an operation.
    fn config(&self, details: Value) -> Value {
        let mut config = config_of(&self.spec, details);
        config["fingerprint"] = self.settings.fingerprint.to_string().into();
        config["model"] = self.settings.model_fingerprint.clone().into();
        config
    }

    /// Tells webhooks how the last operations of the collection went, as far as nobody has.
    pub(crate) async fn tell_webhooks(&self) -> Result<(), BoxError> {
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

    fn turn(&self) -> Turn {
        if self.wish.wait { Turn::Wait } else { Turn::Now }
    }

    /// The generation that searches read, and its vectors, whose model may be another one than the file's.
    async fn live(
        &self,
        collection: &Collection,
        absent: Absent,
    ) -> Result<(Generation, Vectors), BoxError> {
        let live = self.database.postgres().generations().live(collection.id).await?;
        let model = wiring::model_of(&live, &self.plan()?, self.engine.as_ref())?;
        let vectors = self.open_vectors(&live, &model, absent).await?;
        Ok((live, vectors))
    }

    /// Brings the live generation up to date.
    async fn append(
        &self,
        operation: Operation,
        collection: &Collection,
    ) -> Result<Done, BoxError> {
        let ended = self
            .while_ours(&operation, async {
                self.forget_unfinished(&operation, GiveUp::Refused).await?;
                let live = self.database.postgres().generations().live(collection.id).await?;
                // Once a run has come to its end, vectors that are not there are lost, and not about to be made.
                let absent = if live.fingerprint.is_none() { Absent::Make } else { Absent::Refuse };
                let vectors = self.open_vectors(&live, &self.model, absent).await?;
                vectors.may_be_written().await?;
                let ended = self.append_to(&operation, &vectors).await;
                // After a failure, too: a server keeps the vectors open.
                vectors.end_writing().await;
                ended
            })
            .await;
        self.not_swapped(operation, ended).await
    }

    async fn append_to(
        &self,
        operation: &Operation,
        vectors: &Vectors,
    ) -> Result<RunReport, BoxError> {
        let report = self.bring_up_to_date(operation, metadata::Side::Live, vectors).await?;
        if !report.stopped {
            operation.brought_to(&self.settings).await?;
            self.forget_deleted(operation).await?;
            self.drop_retired(operation).await?;
            self.optimize(vectors).await?;
        }
        Ok(report)
    }

    /// Builds what makes search fast, unless somebody wants the operation to end: what is stored is stored, and
    /// this can be done another time.
    async fn optimize(&self, vectors: &Vectors) -> Result<(), BoxError> {
        tokio::select! {
            optimized = vectors.optimize() => optimized,
            () = self.stop.cancelled() => Ok(()),
        }
    }

    /// Does something for as long as the operation is ours. After that what is in flight may end by itself; it can
    /// write nothing more.
    async fn while_ours<T>(
        &self,
        operation: &Operation,
        work: impl Future<Output = Result<T, BoxError>>,
    ) -> Result<T, BoxError> {
        let pipeline = &self.spec.file.name;
        let span = tracing::info_span!("operation", operation = %operation.id(), pipeline);
        let work = work.instrument(span);
        tokio::pin!(work);
        let mut watch = self.watch();
        tokio::select! {
            ended = &mut work => ended,
            () = operation.lost_while_telling(|| Some(self.progress(&mut watch))) => {
                self.stop.cancel();
                if let Err(error) = work.await {
                    tracing::debug!(%error, "what was in flight could not be stored any more");
                }
                Err(NotDone::Cancelled(operation.id()).into())
            }
        }
    }

    /// Notes what a run did, for whoever asks the operation.
    async fn note(
        &self,
        operation: &Operation,
        report: &RunReport,
        swap: Option<Swap>,
    ) -> Result<(), BoxError> {
        let result = errand::Result {
            report: Some(report.clone()),
            model: Some(self.model_time()),
            swap,
            documents: None,
        };
        let progress = self.progress(&mut self.watch());
        Ok(operation.note(&serde_json::to_value(result)?, Some(&progress)).await?)
    }

    /// Ends an operation as its run ended.
    async fn end(
        &self,
        operation: Operation,
        ended: Result<RunReport, BoxError>,
    ) -> Result<RunReport, BoxError> {
        if let Ok(report) = &ended {
            self.note(&operation, report, None).await?;
        }
        match ended {
            Ok(report) if report.stopped => {
                match self.on_stop.get() {
                    Stopped::Cancelled => {
                        operation.finish(&Ending::Cancelled, &metrics_of(&report)).await?;
                    }
                    Stopped::HandedBack => {
                        let operations = self.database.postgres().operations();
                        operations.hand_back(operation.id(), None).await?;
                        operation.let_go().await;
                    }
                    Stopped::Failed(message) => {
                        operation.finish(&Ending::Failed(message), &metrics_of(&report)).await?;
                    }
                }
                Ok(report)
            }
            ended => {
                let metrics = ended.as_ref().map_or_else(|_| Vec::new(), metrics_of);
                finish(operation, ended, &metrics).await
            }
        }
    }
}

/// What `operations.config` says of an operation by a file, whatever the file's options are when it begins.
fn config_of(spec: &PipelineSpec, details: Value) -> Value {
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

/// The model that makes the vectors of a file.
fn model_of(plan: &Plan) -> Result<ModelInfo, BoxError> {
    Ok(plan.model().cloned().ok_or(
        "no node of the pipeline runs a model, so there are no vectors to keep; it needs an `embed` node",
    )?)
}

/// Ends an operation as its work ended; gives what that gave.
async fn finish<T>(
    operation: Operation,
    ended: Result<T, BoxError>,
    metrics: &[(String, f64)],
) -> Result<T, BoxError> {
    let ending = match &ended {
        Ok(_) => Ending::Completed,
        Err(error) if error.is::<NotDone>() => Ending::Cancelled,
        Err(error) => Ending::Failed(pipeline::chain(error.as_ref())),
    };
    let finished = operation.finish(&ending, metrics).await;
    // Why it failed matters more than that this could not be written down.
    let given = ended?;
    finished?;
    Ok(given)
}

/// Fewer documents than these may always be lost.
const FEW: i64 = 20;

/// Whether so many of so many documents may not be lost without a word.
fn exceeds(lost: i64, of: i64, ratio: f64) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    let is_much = lost as f64 > ratio * of as f64;
    lost >= FEW && is_much
}
