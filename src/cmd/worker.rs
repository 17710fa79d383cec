//! `semantik worker`: runs queued operations and schedules until a signal arrives.

use std::time::Duration;

use operations::{PipelineFiles, Worker, WorkerConfig};
use pipeline::BoxError;
use tokio_util::sync::CancellationToken;

use super::Exit;
use super::signals::Signals;
use crate::cli::WorkerArgs;
use crate::telemetry::Telemetry;
use crate::{composition, render};

pub(super) async fn worker(args: &WorkerArgs, telemetry: &Telemetry) -> Exit {
    match try_worker(args, telemetry).await {
        Ok(exit) => exit,
        Err(error) => Exit::from(error),
    }
}

async fn try_worker(args: &WorkerArgs, telemetry: &Telemetry) -> Result<Exit, BoxError> {
    let mut signals = Signals::new()?;
    let files = PipelineFiles::new(args.files.clone(), composition::composition());
    // If one file is valid already, models of the others are downloaded in the background.
    if files.loaded().is_empty() {
        tokio::select! {
            () = files.fetch_models() => {}
            signal = signals.next() => return Ok(Exit::Stopped(signal)),
        }
    }
    let Some(first) = files.loaded().into_iter().next() else {
        for (_, fault) in files.faults() {
            render::print_error_line(fault.trim_end());
        }
        let named: Vec<String> =
            args.files.iter().map(|it| format!("`{}`", it.display())).collect();
        let message = format!("no valid pipeline file to serve in {}", named.join(", "));
        return Ok(Exit::Misconfigured(message));
    };
    let runtime = composition::open_runtime(&first.spec, telemetry).await?;
    let manner = WorkerConfig {
        max_concurrent: args.operations,
        grace: Duration::from_secs(args.grace.into()),
    };
    let executor = Worker::new(runtime, files, manner);
    let stop = CancellationToken::new();
    let working = executor.run(&stop);
    tokio::pin!(working);
    let until_told = async {
        loop {
            tokio::select! {
                ended = &mut working => {
                    ended?;
                    return Ok(match signals.stopped_by {
                        Some(signal) => Exit::Stopped(signal),
                        None => Exit::Success,
                    });
                }
                signal = signals.next() => {
                    if stop.is_cancelled() {
                        // A second signal: the leases expire, and other workers continue from the
                        // stored state.
                        std::process::exit(i32::from(128 + signal));
                    }
                    tracing::info!(
                        grace = args.grace,
                        "stopping: batches in flight are stored, and the operations are requeued",
                    );
                    stop.cancel();
                }
            }
        }
    };
    // Metrics are served until the batches in flight are stored.
    telemetry.serve_metrics_while(args.metrics, until_told).await
}
