//! The loops of the tasks of a run: one for each kind of node, and one that records rejections.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{FuturesOrdered, StreamExt as _};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::{JoinError, spawn_blocking};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use crate::node_input::NodeInput;
use crate::node_output::{NodeOutput, NodeRejection};
use crate::run::panic_error;
use crate::{BoxError, Outcome, Resources, RunError, Sink, Source, Stage};

/// Maximum number of rejections recorded in one transaction.
pub(super) const RECORD_BATCH: usize = 1_000;

/// Stop signal of a source, and the flag that the source stopped before its end.
pub(super) struct StopSignal {
    pub(super) requested: CancellationToken,
    pub(super) interrupted: CancellationToken,
}

pub(super) async fn drive_source(
    mut source: Box<dyn Source>,
    outlet: NodeOutput,
    stop: StopSignal,
) -> Result<(), RunError> {
    let node = Arc::clone(&outlet.node);
    let (runtime, span) = (Handle::current(), Span::current());
    let pull = move || {
        let pull = async {
            loop {
                if stop.requested.is_cancelled() {
                    stop.interrupted.cancel();
                    break;
                }
                let started = Instant::now();
                let outcome =
                    source.next_batch().await.map_err(|error| outlet.node_error(error))?;
                outlet.metrics.add_busy(started.elapsed());
                let Some(outcome) = outcome else {
                    outlet.accounts.source_exhausted(source.exhausted_roots(), source.totals());
                    break;
                };
                outlet.metrics.batches.inc();
                if outlet.send(outcome).await?.is_break() {
                    break;
                }
            }
            Ok(())
        };
        runtime.block_on(pull.instrument(span))
    };
    spawn_blocking(pull).await.unwrap_or_else(|error| Err(panic_error(node, error)))
}

/// Signal that a stage must start no further batch, and the time limit for batches in progress.
pub(super) struct AbortSignal {
    pub(super) requested: CancellationToken,
    pub(super) grace: Duration,
}

impl AbortSignal {
    /// Completes when the run is cut short; never completes without a `Cut`.
    async fn requested(cut: Option<&Self>) {
        match cut {
            Some(cut) => cut.requested.cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// Completes `patience` after the run was cut short.
    async fn grace_expired(cut: Option<&Self>) {
        Self::requested(cut).await;
        tokio::time::sleep(cut.map_or(Duration::ZERO, |cut| cut.grace)).await;
    }
}

/// Result of a batch: the worker, its outcome, the weight of the batch, and start and end time.
type CompletedBatch = (Box<dyn Stage>, Result<Outcome, BoxError>, usize, [Instant; 2]);

/// Processes up to `idle.len()` batches concurrently and sends their outcomes in input order.
pub(super) async fn drive_stage(
    mut idle: Vec<Box<dyn Stage>>,
    mut inlet: NodeInput,
    outlet: NodeOutput,
    cut: Option<AbortSignal>,
) -> Result<(), RunError> {
    let mut busy = FuturesOrdered::new();
    let mut ended = false;
    let (asked, over) =
        (AbortSignal::requested(cut.as_ref()), AbortSignal::grace_expired(cut.as_ref()));
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
                let done: Result<CompletedBatch, JoinError> = done;
                let (stage, outcome, weight, [began, done]) =
                    done.map_err(|error| panic_error(Arc::clone(&outlet.node), error))?;
                inlet.record_duration(weight, began, done);
                idle.push(stage);
                let outcome = outcome.map_err(|error| outlet.node_error(error))?;
                if outlet.send(outcome).await?.is_break() {
                    return Ok(());
                }
            }
            rows = inlet.next_batch(), if !ended && !idle.is_empty() => {
                if is_starving {
                    outlet.metrics.add_starved(waiting.elapsed());
                }
                match rows.map_err(|error| outlet.node_error(error))? {
                    Some(rows) => {
                        let mut stage = idle.pop().expect("checked by the guard");
                        let working = outlet.metrics.start_batch(rows.num_rows() as u64);
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

pub(super) async fn drive_sink(
    mut sink: Box<dyn Sink>,
    mut inlet: NodeInput,
    outlet: NodeOutput,
) -> Result<(), RunError> {
    loop {
        let waiting = Instant::now();
        let rows = inlet.next_batch().await.map_err(|error| outlet.node_error(error))?;
        outlet.metrics.add_starved(waiting.elapsed());
        let Some(rows) = rows else { return Ok(()) };
        let working = outlet.metrics.start_batch(rows.num_rows() as u64);
        sink.write(rows.clone()).await.map_err(|error| outlet.node_error(error))?;
        drop(working);
        outlet.accounts.record_stored(&rows).map_err(|error| outlet.node_error(error.into()))?;
    }
}

/// Records rejections, up to [`RECORD_BATCH`] per transaction. The points of documents that are
/// deleted by this are removed after the run, because a sink may be restoring one of them.
pub(super) async fn drive_recorder(
    mut queue: mpsc::Receiver<NodeRejection>,
    with: Resources,
) -> Result<(), RunError> {
    let mut documents = Vec::with_capacity(RECORD_BATCH);
    while queue.recv_many(&mut documents, RECORD_BATCH).await > 0 {
        with.metadata.record_rejections(&documents).await?;
        documents.clear();
    }
    Ok(())
}
