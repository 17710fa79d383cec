//! Runs a plan in this process ([`crate::LocalEngine`]): builds the nodes, starts one task per
//! node, and collects the report. `run/drive.rs` has the loops of the tasks.
//!
//! A source runs on its own thread. The workers of a stage run on blocking threads, and their
//! results are awaited in order. A sink is a task. On stop, sources produce no further batches,
//! batches in flight drain, and a queue closes when the last node that feeds it has ended. A run
//! that is cut short drops batches that no model has started and drains the rest. After an error
//! every task is aborted where it waits, which stores tolerate, and the first error is the result
//! of the run.

mod drive;

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use futures::FutureExt as _;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::channel::{BatchReceiver, channel};
use crate::document_tracker::DocumentTracker;
use crate::node_input::NodeInput;
use crate::node_output::{Edge, NodeOutput};
use crate::plan::{Node, NodeIndex};
use crate::report::{DocumentCounts, NodeReport, RunReport};
use crate::run::drive::{
    AbortSignal, RECORD_BATCH, StopSignal, drive_recorder, drive_sink, drive_source, drive_stage,
};
use crate::when::When;
use crate::{
    BatchPolicy, NodeKind, Plan, Resources, RunError, RunOptions, Sink, Source, Stage,
    panic_message,
};

/// Concurrent batches of a stage with adaptive batch weight ([`BatchPolicy::initial_weight`]).
const ADAPTIVE_CONCURRENCY: usize = 2;

/// Time limit for batches in the model after a run was cut short.
const ABORT_GRACE: Duration = Duration::from_secs(5);

/// See [`crate::Engine::run`].
pub(crate) async fn run(
    plan: Plan,
    with: &Resources,
    options: RunOptions,
) -> Result<RunReport, RunError> {
    let started = Instant::now();
    let accounts =
        Arc::new(DocumentTracker::new(Arc::clone(&options.metrics), options.rejections.clone()));
    let mut report = RunReport { pipeline: plan.name().to_owned(), ..RunReport::default() };
    let nodes: Vec<(Arc<str>, &'static str)> =
        plan.nodes.iter().map(|node| (Arc::clone(&node.id), node.uses)).collect();

    let mut tasks: JoinSet<Result<(), RunError>> = JoinSet::new();
    let broke_off = CancellationToken::new();
    // Building may load a model for seconds; a blocking thread keeps signal handling responsive.
    let (edge_bytes, parts) = (plan.edge_bytes, with.clone());
    let building = spawn_blocking(move || build_nodes(plan, &parts));
    let built =
        building.await.unwrap_or_else(|error| Err(panic_error("plan build".into(), error)))?;
    spawn_nodes(built, edge_bytes, with, &options, &broke_off, &accounts, &mut tasks);

    let mut first_error = None;
    while let Some(ended) = tasks.join_next().await {
        let error = match ended {
            Ok(Ok(())) => continue,
            // Aborted below, after an error that is already known.
            Err(error) if error.is_cancelled() => continue,
            Ok(Err(error)) => error,
            Err(error) => panic_error("run task".into(), error),
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

    let (seen, left, interrupted) = accounts.check_totals(options.abort.is_cancelled())?;
    let reason = |word: &str| left.rejected_by_reason.get(word).copied().unwrap_or(0);
    let (unchanged, duplicate) = (reason("unchanged"), reason("duplicate"));
    report.documents = DocumentCounts {
        seen,
        stored: left.stored,
        unchanged,
        duplicate,
        set_aside: left.rejected_by_reason.values().sum::<u64>() - unchanged - duplicate,
        interrupted,
    };
    report.reasons = left.rejected_by_reason;
    report.reasons.retain(|reason, _| reason != "unchanged" && reason != "duplicate");
    report.chunks = left.chunks;
    report.tokens = left.tokens;
    report.set_aside = left.rejections;
    report.stopped = broke_off.is_cancelled() || interrupted > 0;
    report.exhausted_roots = left.exhausted_roots;
    report.newly_failed = report.failed_count().saturating_sub(left.known_failures);
    report.empty_roots = left.source_totals.empty_roots;
    report.left_out = left.source_totals.excluded;
    report.nodes = nodes
        .iter()
        .map(|(id, uses)| NodeReport::new(uses, options.metrics.node_state(id)))
        .collect();
    report.seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

/// A node with its source, stage workers or sink.
struct BuiltNode {
    id: Arc<str>,
    inputs: Vec<NodeIndex>,
    when: Option<When>,
    output: Option<SchemaRef>,
    runs_model: bool,
    work: NodeWork,
}

enum NodeWork {
    Source(Box<dyn Source>),
    Stage(Vec<Box<dyn Stage>>, Option<BatchPolicy>),
    Sink(Box<dyn Sink>, Option<BatchPolicy>),
}

/// Builds all nodes before the first of them runs.
fn build_nodes(plan: Plan, with: &Resources) -> Result<Vec<BuiltNode>, RunError> {
    let build_one = |node: Node| {
        let work = match &node.kind {
            NodeKind::Source(config) => config.build(with).map(NodeWork::Source),
            NodeKind::Stage(config) => {
                let gather = config.batch_policy();
                let adapts = gather.is_some_and(|gather| gather.initial_weight.is_some());
                let workers = if adapts { ADAPTIVE_CONCURRENCY } else { node.workers };
                let workers = (0..workers).map(|_| config.build(with)).collect::<Result<_, _>>();
                workers.map(|workers| NodeWork::Stage(workers, gather))
            }
            NodeKind::Sink(config) => {
                config.build(with).map(|sink| NodeWork::Sink(sink, config.batch_policy()))
            }
        };
        let Node { id, inputs, when, output, model, .. } = node;
        match work {
            Ok(work) => {
                Ok(BuiltNode { id, inputs, when, output, runs_model: model.is_some(), work })
            }
            Err(source) => Err(RunError::Build { node: id, source }),
        }
    };
    plan.nodes.into_iter().map(build_one).collect()
}

/// Spawns the task of every node and the task that records rejections.
fn spawn_nodes(
    nodes: Vec<BuiltNode>,
    edge_bytes: u32,
    with: &Resources,
    options: &RunOptions,
    broke_off: &CancellationToken,
    accounts: &Arc<DocumentTracker>,
    tasks: &mut JoinSet<Result<(), RunError>>,
) {
    let (recorder, recorded) = mpsc::channel(RECORD_BATCH);
    // One queue per node. Each input of the node holds a clone of its sender, so the queue closes
    // when the last input ends.
    let mut outputs: Vec<Vec<Edge>> = nodes.iter().map(|_| Vec::new()).collect();
    let mut queues: Vec<BatchReceiver> = Vec::new();
    // `true` for nodes after a model: they finish their batches when the run is cut short.
    let mut after_model: Vec<bool> = Vec::with_capacity(nodes.len());
    for node in &nodes {
        let metrics = options.metrics.node_metrics(&node.id);
        if node.runs_model {
            metrics.mark_runs_model();
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
        let BuiltNode { id, output, runs_model, work, .. } = node;
        let metrics = options.metrics.node_metrics(&id);
        let outlet = NodeOutput {
            node: Arc::clone(&id),
            schema: output,
            edges: next,
            is_source: matches!(work, NodeWork::Source(_)),
            metrics: Arc::clone(&metrics),
            accounts: Arc::clone(accounts),
            recorder: recorder.clone(),
        };
        let stop = StopSignal { requested: options.stop.clone(), interrupted: broke_off.clone() };
        let drive: NodeFuture = match work {
            NodeWork::Source(source) => Box::pin(drive_source(source, outlet, stop)),
            NodeWork::Stage(stages, gather) => {
                let inlet = NodeInput::new(queue, gather, edge_bytes);
                let cut = (!after_model).then(|| AbortSignal {
                    requested: options.abort.clone(),
                    grace: if runs_model { ABORT_GRACE } else { Duration::ZERO },
                });
                Box::pin(drive_stage(stages, inlet, outlet, cut))
            }
            NodeWork::Sink(sink, gather) => {
                Box::pin(drive_sink(sink, NodeInput::new(queue, gather, edge_bytes), outlet))
            }
        };
        let span = tracing::info_span!("node", node = %id);
        let drive = async move {
            let ended = catch_panic(id, drive).await;
            metrics.mark_finished();
            ended
        };
        tasks.spawn(drive.instrument(span));
    }
    let record = Box::pin(drive_recorder(recorded, with.clone()));
    tasks.spawn(catch_panic("rejection recorder".into(), record).in_current_span());
}

/// The future that runs a node from start to end.
type NodeFuture = Pin<Box<dyn Future<Output = Result<(), RunError>> + Send>>;

/// Attributes a panic to its node.
async fn catch_panic(node: Arc<str>, drive: NodeFuture) -> Result<(), RunError> {
    match AssertUnwindSafe(drive).catch_unwind().await {
        Ok(result) => result,
        Err(panic) => {
            Err(RunError::Panic { node, message: panic_message(panic.as_ref()).to_owned() })
        }
    }
}

fn panic_error(node: Arc<str>, error: JoinError) -> RunError {
    let message = match error.try_into_panic() {
        Ok(panic) => panic_message(panic.as_ref()).to_owned(),
        Err(error) => error.to_string(),
    };
    RunError::Panic { node, message }
}
