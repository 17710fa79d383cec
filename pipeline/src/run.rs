//! Runs a plan: the only place with tasks, order, and cancellation.
//!
//! A source is pulled on a thread of its own; a stage's workers run on blocking threads and their results
//! are awaited in order; a sink is a task. Stopping is closing: sources give no more, what is in flight
//! drains, and every queue ends when the last node that feeds it has ended. After an error the same
//! happens from both sides, and the first error is what the run ends with.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::RecordBatch;
use futures::FutureExt as _;
use futures::stream::{FuturesOrdered, StreamExt as _};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio_util::sync::CancellationToken;

use crate::accounts::Accounts;
use crate::channel::{Receiver, channel};
use crate::inlet::Inlet;
use crate::metrics::{Metrics, NodeMetrics};
use crate::outlet::{Edge, Outlet, Recorded};
use crate::plan::Node;
use crate::report::{DocumentCounts, NodeReport, RunReport};
use crate::{BoxError, NodeKind, Outcome, Plan, Resources, Sink, Source, Stage, StoreError};

/// How a plan is to be run.
pub struct RunOptions {
    /// Cancelling it stops the sources; what is already in flight is still finished.
    pub stop: CancellationToken,
    /// Where the run counts; whoever watches it reads here.
    pub metrics: Arc<Metrics>,
}

impl RunOptions {
    /// Runs to the end, counting in metrics of its own.
    pub fn new(plan: &Plan) -> Self {
        Self { stop: CancellationToken::new(), metrics: Arc::new(Metrics::new(plan.name())) }
    }
}

/// Why a run ended before its time. What it had stored stays stored, and the next run goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A node could not be built, so nothing has begun.
    #[error("node `{node}` could not be started")]
    Build {
        /// Its id.
        node: Arc<str>,
        /// Why.
        source: BoxError,
    },
    /// A node failed.
    #[error("node `{node}` failed")]
    Node {
        /// Its id.
        node: Arc<str>,
        /// Why.
        source: BoxError,
    },
    /// A node broke its word; a fault in its code.
    #[error("node `{node}` gave rows of another schema than it had said")]
    Schema {
        /// Its id.
        node: Arc<str>,
    },
    /// A node panicked; a fault in its code.
    #[error("node `{node}` panicked: {message}")]
    Panic {
        /// Its id.
        node: Arc<str>,
        /// What it said.
        message: String,
    },
    /// Documents that were set aside could not be recorded.
    #[error("documents that were set aside could not be recorded")]
    Record(#[from] StoreError),
    /// A node lost documents; a fault in its code.
    #[error("{count} documents went in and never came out, the first of them {first}")]
    Lost {
        /// How many.
        count: usize,
        /// One of them.
        first: String,
    },
}

/// The most set-aside documents that are recorded in one transaction.
const RECORD_AT_ONCE: usize = 1_000;

/// Runs a plan to its end.
///
/// # Errors
/// The first thing that made it impossible to go on.
///
/// # Cancellation
/// Cancel `options.stop` instead of dropping the future, so that what is in flight is stored.
pub async fn run(plan: Plan, with: &Resources, options: RunOptions) -> Result<RunReport, RunError> {
    let started = Instant::now();
    let accounts = Arc::new(Accounts::new(Arc::clone(&options.metrics)));
    let mut report = RunReport { pipeline: plan.name().to_owned(), ..RunReport::default() };
    let nodes: Vec<(Arc<str>, &'static str)> =
        plan.nodes.iter().map(|node| (Arc::clone(&node.id), node.uses)).collect();

    let mut tasks: JoinSet<Result<(), RunError>> = JoinSet::new();
    let recorder = start(plan, with, &options, &accounts, &mut tasks)?;
    tasks.spawn(drive_recorder(recorder, with.clone()));

    let mut first_error = None;
    while let Some(ended) = tasks.join_next().await {
        let error = match ended {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => error,
            // Cancelled by the line below, after an error that is known already.
            Err(_) => continue,
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

    let (seen, left, in_flight) = accounts.settle();
    if let Some(first) = in_flight.first() {
        return Err(RunError::Lost { count: in_flight.len(), first: first.clone() });
    }
    let reason = |word: &str| left.reasons.get(word).copied().unwrap_or(0);
    let (unchanged, duplicate) = (reason("unchanged"), reason("duplicate"));
    report.documents = DocumentCounts {
        seen,
        stored: left.stored,
        unchanged,
        duplicate,
        set_aside: left.reasons.values().sum::<u64>() - unchanged - duplicate,
    };
    report.reasons = left.reasons;
    report.reasons.retain(|reason, _| reason != "unchanged" && reason != "duplicate");
    report.chunks = left.chunks;
    report.tokens = left.tokens;
    report.set_aside = left.named;
    report.stopped = options.stop.is_cancelled();
    report.nodes = nodes
        .iter()
        .map(|(id, uses)| NodeReport::new(id, uses, &options.metrics.node(id)))
        .collect();
    report.seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

/// Builds every node and starts its task. Gives back the queue of documents that were set aside.
fn start(
    plan: Plan,
    with: &Resources,
    options: &RunOptions,
    accounts: &Arc<Accounts>,
    tasks: &mut JoinSet<Result<(), RunError>>,
) -> Result<mpsc::Receiver<Recorded>, RunError> {
    let (recorder, recorded) = mpsc::channel(RECORD_AT_ONCE);
    // One queue in front of every node that reads; whoever feeds it holds a clone of its sender.
    let mut outputs: Vec<Vec<Edge>> = plan.nodes.iter().map(|_| Vec::new()).collect();
    let mut queues: Vec<Option<Receiver>> = Vec::new();
    for node in &plan.nodes {
        if node.inputs.is_empty() {
            queues.push(None);
            continue;
        }
        let (sender, receiver) = channel(plan.edge_bytes, &options.metrics.of(&node.id));
        for &input in &node.inputs {
            outputs[input].push(Edge { sender: sender.clone(), when: node.when.clone() });
        }
        queues.push(Some(receiver));
    }

    for ((node, next), queue) in plan.nodes.into_iter().zip(outputs).zip(queues) {
        let Node { id, kind, workers, output, .. } = node;
        let name = Arc::clone(&id);
        let build = |source| RunError::Build { node: Arc::clone(&name), source };
        let outlet = Outlet {
            node: Arc::clone(&id),
            schema: output,
            next,
            is_source: matches!(kind, NodeKind::Source(_)),
            metrics: options.metrics.of(&id),
            accounts: Arc::clone(accounts),
            recorder: recorder.clone(),
        };
        let metrics = Arc::clone(&outlet.metrics);
        match (kind, queue) {
            (NodeKind::Source(config), _) => {
                let source = config.build(with).map_err(build)?;
                let drive = drive_source(source, outlet, options.stop.clone());
                tasks.spawn(named(id, metrics, drive));
            }
            (NodeKind::Stage(config), Some(queue)) => {
                let stages = (0..workers).map(|_| config.build(with)).collect::<Result<_, _>>();
                let inlet = Inlet::new(queue, config.gather(), plan.edge_bytes);
                let drive = drive_stage(stages.map_err(build)?, inlet, outlet);
                tasks.spawn(named(id, metrics, drive));
            }
            (NodeKind::Sink(config), Some(queue)) => {
                let sink = config.build(with).map_err(build)?;
                let inlet = Inlet::new(queue, config.gather(), plan.edge_bytes);
                tasks.spawn(named(id, metrics, drive_sink(sink, inlet, outlet)));
            }
            (NodeKind::Stage(_) | NodeKind::Sink(_), None) => unreachable!("checked by the plan"),
        }
    }
    Ok(recorded)
}

/// Gives a panic the name of its node, and says when the node has ended.
async fn named(
    node: Arc<str>,
    metrics: Arc<NodeMetrics>,
    drive: impl Future<Output = Result<(), RunError>>,
) -> Result<(), RunError> {
    let ended = AssertUnwindSafe(drive).catch_unwind().await;
    metrics.ended();
    match ended {
        Ok(result) => result,
        Err(panic) => Err(RunError::Panic { node, message: message(panic.as_ref()) }),
    }
}

async fn drive_source(
    mut source: Box<dyn Source>,
    outlet: Outlet,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let node = Arc::clone(&outlet.node);
    let runtime = Handle::current();
    let pull = move || {
        runtime.block_on(async {
            while !stop.is_cancelled() {
                let started = Instant::now();
                let outcome = source.next().await.map_err(|error| outlet.failed(error))?;
                outlet.metrics.busy(started.elapsed());
                let Some(outcome) = outcome else { break };
                outlet.metrics.batches.inc();
                if outlet.give(outcome).await?.is_break() {
                    break;
                }
            }
            Ok(())
        })
    };
    spawn_blocking(pull).await.unwrap_or_else(|error| Err(panicked(node, error)))
}

/// A worker that comes back from a batch, with what it made of it.
type Worked = (Box<dyn Stage>, Result<Outcome, BoxError>);

/// Keeps up to `idle.len()` batches in work and hands them on in the order they came.
async fn drive_stage(
    mut idle: Vec<Box<dyn Stage>>,
    mut inlet: Inlet,
    outlet: Outlet,
) -> Result<(), RunError> {
    let mut busy = FuturesOrdered::new();
    let mut ended = false;
    loop {
        let waiting = Instant::now();
        let is_starving = busy.is_empty();
        tokio::select! {
            biased;
            Some(done) = busy.next() => {
                let done: Result<Worked, JoinError> = done;
                let (stage, outcome) =
                    done.map_err(|error| panicked(Arc::clone(&outlet.node), error))?;
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
                        count_in(&outlet, &rows);
                        let metrics = Arc::clone(&outlet.metrics);
                        busy.push_back(spawn_blocking(move || {
                            let started = Instant::now();
                            let outcome = stage.process(rows);
                            metrics.busy(started.elapsed());
                            (stage, outcome)
                        }));
                    }
                    None => ended = true,
                }
            }
            else => return Ok(()),
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
        count_in(&outlet, &rows);
        let started = Instant::now();
        sink.write(rows.clone()).await.map_err(|error| outlet.failed(error))?;
        outlet.metrics.busy(started.elapsed());
        outlet.accounts.stored(&rows).map_err(|error| outlet.failed(error.into()))?;
    }
}

/// Records the documents that were set aside, many in a transaction, and removes the points of those that
/// are thereby deleted.
async fn drive_recorder(
    mut queue: mpsc::Receiver<Recorded>,
    with: Resources,
) -> Result<(), RunError> {
    let mut documents = Vec::with_capacity(RECORD_AT_ONCE);
    while queue.recv_many(&mut documents, RECORD_AT_ONCE).await > 0 {
        let deleted = with.metadata.record(&documents).await?;
        if !deleted.is_empty() {
            with.vectors.remove(&deleted).await?;
            with.vectors.flush().await?;
            with.metadata.purged(&deleted).await?;
        }
        documents.clear();
    }
    Ok(())
}

fn count_in(outlet: &Outlet, rows: &RecordBatch) {
    outlet.metrics.rows_in.inc_by(rows.num_rows() as u64);
    outlet.metrics.batches.inc();
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
