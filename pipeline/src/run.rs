//! Runs a plan. All tasks of a run, their order and their cancellation are in this module.
//!
//! A source runs on its own thread. The workers of a stage run on blocking threads, and their
//! results are awaited in order. A sink is a task. On stop, sources produce no further batches,
//! batches in flight drain, and a queue closes when the last node that feeds it has ended. A run
//! that is cut short drops batches that no model has started and drains the rest. After an error
//! every task is aborted where it waits, which stores tolerate, and the first error is the result
//! of the run.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use futures::FutureExt as _;
use futures::stream::{FuturesOrdered, StreamExt as _};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use crate::accounts::Accounts;
use crate::channel::{Receiver, channel};
use crate::inlet::Inlet;
use crate::metrics::Metrics;
use crate::outlet::{Edge, Outlet, Recorded};
use crate::plan::{Node, NodeIdx};
use crate::progress::Feed;
use crate::report::{DocumentCounts, NodeReport, RunReport};
use crate::when::When;
use crate::{
    BoxError, Gather, NodeKind, Outcome, Plan, Resources, Sink, Source, Stage, StoreError,
};

/// Cancellation, metrics and rejection log of a run.
pub struct RunOptions {
    /// Stops the sources when cancelled; batches in flight are still processed and stored.
    pub stop: CancellationToken,
    /// Cuts the run short when cancelled after `stop`. Output of the model is stored, batches in
    /// the model get 5 seconds to finish, and all batches before it are left for the next run.
    pub cut_short: CancellationToken,
    /// Counters of the run; progress displays read them.
    pub metrics: Arc<Metrics>,
    /// The documents that the run set aside last.
    pub feed: Feed,
}

impl RunOptions {
    /// Options of a run to the end, with new metrics.
    pub fn new(plan: &Plan) -> Self {
        Self {
            stop: CancellationToken::new(),
            cut_short: CancellationToken::new(),
            metrics: Arc::new(Metrics::new(plan.name())),
            feed: Feed::default(),
        }
    }
}

/// An error that ended a run. Documents stored before it stay stored, and the next run continues
/// from there.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A node could not be built; no node has started.
    #[error("node `{node}` could not be started")]
    Build {
        /// Id of the node.
        node: Arc<str>,
        /// The cause.
        source: BoxError,
    },
    /// A node returned an error.
    #[error("node `{node}` failed")]
    Node {
        /// Id of the node.
        node: Arc<str>,
        /// The cause.
        source: BoxError,
    },
    /// A node returned rows that do not match its declared schema: a bug of the node.
    #[error("node `{node}` returned rows that do not match its declared schema")]
    Schema {
        /// Id of the node.
        node: Arc<str>,
    },
    /// A node panicked: a bug of the node.
    #[error("node `{node}` panicked: {message}")]
    Panic {
        /// Id of the node.
        node: Arc<str>,
        /// The panic message.
        message: String,
    },
    /// The metadata store could not record rejections.
    #[error("documents that were set aside could not be recorded")]
    Record(#[from] StoreError),
    /// A node returned a document more than once: a bug of the node.
    #[error("a node returned the document {uri} more than once")]
    Doubled {
        /// URI of the document.
        uri: String,
    },
    /// A node dropped documents without a rejection: a bug of the node.
    #[error("{count} documents were lost between nodes, among them {first}")]
    Lost {
        /// Number of lost documents.
        count: usize,
        /// URI of one of them.
        first: String,
    },
}

/// Concurrent batches of a stage with adaptive batch weight ([`Gather::first`]).
const OVERLAPPING: usize = 2;

/// Time limit for batches in the model after a run was cut short.
const PATIENCE: Duration = Duration::from_secs(5);

/// Maximum number of rejections recorded in one transaction.
const RECORD_AT_ONCE: usize = 1_000;

/// Runs a plan to its end.
///
/// # Errors
/// The first error of a node, of the metadata store or of the document accounts.
///
/// # Cancellation
/// Cancel `options.stop` instead of dropping the future, so that batches in flight are stored.
/// Cancel `options.cut_short` if that takes too long.
pub async fn run(plan: Plan, with: &Resources, options: RunOptions) -> Result<RunReport, RunError> {
    let started = Instant::now();
    let accounts = Arc::new(Accounts::new(Arc::clone(&options.metrics), options.feed.clone()));
    let mut report = RunReport { pipeline: plan.name().to_owned(), ..RunReport::default() };
    let nodes: Vec<(Arc<str>, &'static str)> =
        plan.nodes.iter().map(|node| (Arc::clone(&node.id), node.uses)).collect();

    let mut tasks: JoinSet<Result<(), RunError>> = JoinSet::new();
    let broke_off = CancellationToken::new();
    // Building may load a model for seconds; a blocking thread keeps signal handling responsive.
    let (edge_bytes, parts) = (plan.edge_bytes, with.clone());
    let building = spawn_blocking(move || build(plan, &parts));
    let built = building.await.unwrap_or_else(|error| Err(panicked("plan build".into(), error)))?;
    start(built, edge_bytes, with, &options, &broke_off, &accounts, &mut tasks);

    let mut first_error = None;
    while let Some(ended) = tasks.join_next().await {
        let error = match ended {
            Ok(Ok(())) => continue,
            // Aborted below, after an error that is already known.
            Err(error) if error.is_cancelled() => continue,
            Ok(Err(error)) => error,
            Err(error) => panicked("run task".into(), error),
        };
        if first_error.is_none() {
            first_error = Some(error);
            options.stop.cancel();
            tasks.abort_all();
        }
    }
    if let Some(error) = first_error {
        return Err(error);
    }

    let (seen, left, interrupted) = accounts.settle(options.cut_short.is_cancelled())?;
    let reason = |word: &str| left.reasons.get(word).copied().unwrap_or(0);
    let (unchanged, duplicate) = (reason("unchanged"), reason("duplicate"));
    report.documents = DocumentCounts {
        seen,
        stored: left.stored,
        unchanged,
        duplicate,
        set_aside: left.reasons.values().sum::<u64>() - unchanged - duplicate,
        interrupted,
    };
    report.reasons = left.reasons;
    report.reasons.retain(|reason, _| reason != "unchanged" && reason != "duplicate");
    report.chunks = left.chunks;
    report.tokens = left.tokens;
    report.set_aside = left.named;
    report.stopped = broke_off.is_cancelled() || interrupted > 0;
    report.covered = left.covered;
    report.newly_failed = report.failed().saturating_sub(left.known_failures);
    report.empty = left.totals.empty;
    report.left_out = left.totals.left_out;
    report.nodes =
        nodes.iter().map(|(id, uses)| NodeReport::new(uses, options.metrics.node(id))).collect();
    report.seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

/// A node with its source, stage workers or sink.
struct Built {
    id: Arc<str>,
    inputs: Vec<NodeIdx>,
    when: Option<When>,
    output: Option<SchemaRef>,
    runs_model: bool,
    work: Work,
}

enum Work {
    Source(Box<dyn Source>),
    Stage(Vec<Box<dyn Stage>>, Option<Gather>),
    Sink(Box<dyn Sink>, Option<Gather>),
}

/// Builds all nodes before the first of them runs.
fn build(plan: Plan, with: &Resources) -> Result<Vec<Built>, RunError> {
    let build_one = |node: Node| {
        let work = match &node.kind {
            NodeKind::Source(config) => config.build(with).map(Work::Source),
            NodeKind::Stage(config) => {
                let gather = config.gather();
                let adapts = gather.is_some_and(|gather| gather.first.is_some());
                let workers = if adapts { OVERLAPPING } else { node.workers };
                let workers = (0..workers).map(|_| config.build(with)).collect::<Result<_, _>>();
                workers.map(|workers| Work::Stage(workers, gather))
            }
            NodeKind::Sink(config) => {
                config.build(with).map(|sink| Work::Sink(sink, config.gather()))
            }
        };
        let Node { id, inputs, when, output, model, .. } = node;
        match work {
            Ok(work) => Ok(Built { id, inputs, when, output, runs_model: model.is_some(), work }),
            Err(source) => Err(RunError::Build { node: id, source }),
        }
    };
    plan.nodes.into_iter().map(build_one).collect()
}

/// Spawns the task of every node and the task that records rejections.
fn start(
    nodes: Vec<Built>,
    edge_bytes: u32,
    with: &Resources,
    options: &RunOptions,
    broke_off: &CancellationToken,
    accounts: &Arc<Accounts>,
    tasks: &mut JoinSet<Result<(), RunError>>,
) {
    let (recorder, recorded) = mpsc::channel(RECORD_AT_ONCE);
    // One queue per node. Each input of the node holds a clone of its sender, so the queue closes
    // when the last input ends.
    let mut outputs: Vec<Vec<Edge>> = nodes.iter().map(|_| Vec::new()).collect();
    let mut queues: Vec<Receiver> = Vec::new();
    // `true` for nodes after a model: they finish their batches when the run is cut short.
    let mut after_model: Vec<bool> = Vec::with_capacity(nodes.len());
    for node in &nodes {
        let metrics = options.metrics.of(&node.id);
        if node.runs_model {
            metrics.runs_model();
        }
        let is_after = node.inputs.iter().any(|&it| nodes[it].runs_model || after_model[it]);
        after_model.push(is_after);
        let (sender, receiver) = channel(edge_bytes, &metrics);
        for &input in &node.inputs {
            outputs[input].push(Edge { sender: sender.clone(), when: node.when.clone() });
        }
        queues.push(receiver);
    }
    let nodes = nodes.into_iter().zip(outputs).zip(queues).zip(after_model);
    for (((node, next), queue), after_model) in nodes {
        let Built { id, output, runs_model, work, .. } = node;
        let metrics = options.metrics.of(&id);
        let outlet = Outlet {
            node: Arc::clone(&id),
            schema: output,
            next,
            is_source: matches!(work, Work::Source(_)),
            metrics: Arc::clone(&metrics),
            accounts: Arc::clone(accounts),
            recorder: recorder.clone(),
        };
        let stop = Stop { asked: options.stop.clone(), broke_off: broke_off.clone() };
        let drive: Driven = match work {
            Work::Source(source) => Box::pin(drive_source(source, outlet, stop)),
            Work::Stage(stages, gather) => {
                let inlet = Inlet::new(queue, gather, edge_bytes);
                let cut = (!after_model).then(|| Cut {
                    asked: options.cut_short.clone(),
                    patience: if runs_model { PATIENCE } else { Duration::ZERO },
                });
                Box::pin(drive_stage(stages, inlet, outlet, cut))
            }
            Work::Sink(sink, gather) => {
                Box::pin(drive_sink(sink, Inlet::new(queue, gather, edge_bytes), outlet))
            }
        };
        let span = tracing::info_span!("node", node = %id);
        let drive = async move {
            let ended = named(id, drive).await;
            metrics.ended();
            ended
        };
        tasks.spawn(drive.instrument(span));
    }
    let record = Box::pin(drive_recorder(recorded, with.clone()));
    tasks.spawn(named("rejection recorder".into(), record).in_current_span());
}

/// The future that runs a node from start to end.
type Driven = Pin<Box<dyn Future<Output = Result<(), RunError>> + Send>>;

/// Stop signal of a source, and the flag that the source stopped before its end.
struct Stop {
    asked: CancellationToken,
    broke_off: CancellationToken,
}

/// Attributes a panic to its node.
async fn named(node: Arc<str>, drive: Driven) -> Result<(), RunError> {
    match AssertUnwindSafe(drive).catch_unwind().await {
        Ok(result) => result,
        Err(panic) => Err(RunError::Panic { node, message: message(panic.as_ref()) }),
    }
}

async fn drive_source(
    mut source: Box<dyn Source>,
    outlet: Outlet,
    stop: Stop,
) -> Result<(), RunError> {
    let node = Arc::clone(&outlet.node);
    let (runtime, span) = (Handle::current(), Span::current());
    let pull = move || {
        let pull = async {
            loop {
                if stop.asked.is_cancelled() {
                    stop.broke_off.cancel();
                    break;
                }
                let started = Instant::now();
                let outcome = source.next().await.map_err(|error| outlet.failed(error))?;
                outlet.metrics.busy(started.elapsed());
                let Some(outcome) = outcome else {
                    outlet.accounts.cover(source.covered(), source.totals());
                    break;
                };
                outlet.metrics.batches.inc();
                if outlet.give(outcome).await?.is_break() {
                    break;
                }
            }
            Ok(())
        };
        runtime.block_on(pull.instrument(span))
    };
    spawn_blocking(pull).await.unwrap_or_else(|error| Err(panicked(node, error)))
}

/// Signal that a stage must start no further batch, and the time limit for batches in progress.
struct Cut {
    asked: CancellationToken,
    patience: Duration,
}

impl Cut {
    /// Completes when the run is cut short; never completes without a `Cut`.
    async fn asked(cut: Option<&Self>) {
        match cut {
            Some(cut) => cut.asked.cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// Completes `patience` after the run was cut short.
    async fn over(cut: Option<&Self>) {
        Self::asked(cut).await;
        tokio::time::sleep(cut.map_or(Duration::ZERO, |cut| cut.patience)).await;
    }
}

/// Result of a batch: the worker, its outcome, the weight of the batch, and start and end time.
type Worked = (Box<dyn Stage>, Result<Outcome, BoxError>, usize, [Instant; 2]);

/// Processes up to `idle.len()` batches concurrently and sends their outcomes in input order.
async fn drive_stage(
    mut idle: Vec<Box<dyn Stage>>,
    mut inlet: Inlet,
    outlet: Outlet,
    cut: Option<Cut>,
) -> Result<(), RunError> {
    let mut busy = FuturesOrdered::new();
    let mut ended = false;
    let (asked, over) = (Cut::asked(cut.as_ref()), Cut::over(cut.as_ref()));
    tokio::pin!(asked, over);
    loop {
        if ended && busy.is_empty() {
            return Ok(());
        }
        let waiting = Instant::now();
        let is_starving = busy.is_empty();
        tokio::select! {
            biased;
            () = &mut over => return Ok(()),
            () = &mut asked, if !ended => ended = true,
            Some(done) = busy.next() => {
                let done: Result<Worked, JoinError> = done;
                let (stage, outcome, weight, [began, done]) =
                    done.map_err(|error| panicked(Arc::clone(&outlet.node), error))?;
                inlet.took(weight, began, done);
                idle.push(stage);
                let outcome = outcome.map_err(|error| outlet.failed(error))?;
                if outlet.give(outcome).await?.is_break() {
                    return Ok(());
                }
            }
            rows = inlet.next(), if !ended && !idle.is_empty() => {
                if is_starving {
                    outlet.metrics.starved(waiting.elapsed());
                }
                match rows.map_err(|error| outlet.failed(error))? {
                    Some(rows) => {
                        let mut stage = idle.pop().expect("checked by the guard");
                        let working = outlet.metrics.work(rows.num_rows() as u64);
                        let (span, weight) = (Span::current(), inlet.weight_of(&rows));
                        busy.push_back(spawn_blocking(move || {
                            let _in_node = span.enter();
                            let began = Instant::now();
                            let outcome = stage.process(rows);
                            drop(working);
                            (stage, outcome, weight, [began, Instant::now()])
                        }));
                    }
                    None => ended = true,
                }
            }
        }
    }
}

async fn drive_sink(
    mut sink: Box<dyn Sink>,
    mut inlet: Inlet,
    outlet: Outlet,
) -> Result<(), RunError> {
    loop {
        let waiting = Instant::now();
        let rows = inlet.next().await.map_err(|error| outlet.failed(error))?;
        outlet.metrics.starved(waiting.elapsed());
        let Some(rows) = rows else { return Ok(()) };
        let working = outlet.metrics.work(rows.num_rows() as u64);
        sink.write(rows.clone()).await.map_err(|error| outlet.failed(error))?;
        drop(working);
        outlet.accounts.stored(&rows).map_err(|error| outlet.failed(error.into()))?;
    }
}

/// Records rejections, up to [`RECORD_AT_ONCE`] per transaction. The points of documents that are
/// deleted by this are removed after the run, because a sink may be restoring one of them.
async fn drive_recorder(
    mut queue: mpsc::Receiver<Recorded>,
    with: Resources,
) -> Result<(), RunError> {
    let mut documents = Vec::with_capacity(RECORD_AT_ONCE);
    while queue.recv_many(&mut documents, RECORD_AT_ONCE).await > 0 {
        with.metadata.record(&documents).await?;
        documents.clear();
    }
    Ok(())
}

fn panicked(node: Arc<str>, error: JoinError) -> RunError {
    let message = match error.try_into_panic() {
        Ok(panic) => message(panic.as_ref()),
        Err(error) => error.to_string(),
    };
    RunError::Panic { node, message }
}

fn message(panic: &(dyn Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        (None, None) => "no message".to_owned(),
    }
}
