//! `semantik worker`: carries out what is due and what is handed over, until it is told to end.

use std::time::Duration;

use pipeline::BoxError;
use tokio_util::sync::CancellationToken;

use super::Exit;
use super::signals::Signals;
use crate::cli::WorkerArgs;
use crate::operate::{Executor, Files, Manner, Workplace};
use crate::render;
use crate::telemetry::Telemetry;

pub(super) async fn worker(args: &WorkerArgs, telemetry: &Telemetry) -> Exit {
    match try_worker(args, telemetry).await {
        Ok(exit) => exit,
        Err(error) => Exit::from(error),
    }
}

async fn try_worker(args: &WorkerArgs, telemetry: &Telemetry) -> Result<Exit, BoxError> {
    let mut signals = Signals::new()?;
    let files = Files::new(args.files.clone());
    // Where one file is whole, the others' models are fetched beside its work.
    if files.loaded().is_empty() {
        tokio::select! {
            () = files.fetch_models() => {}
            signal = signals.next() => return Ok(Exit::Stopped(signal)),
        }
    }
    let Some(first) = files.loaded().into_iter().next() else {
        for (_, fault) in files.faults() {
            render::say(fault.trim_end());
        }
        return Ok(Exit::Misconfigured("there is no pipeline file to serve".to_owned()));
    };
    let workplace = Workplace::open(&first.spec, telemetry).await?;
    let manner = Manner { at_once: args.operations, grace: Duration::from_secs(args.grace.into()) };
    let executor = Executor::new(workplace, files, manner);
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
                        None => Exit::Fine,
                    });
                }
                signal = signals.next() => {
                    if stop.is_cancelled() {
                        // The second one: leases run out, and others go on from what is stored.
                        std::process::exit(i32::from(128 + signal));
                    }
                    tracing::info!(grace = args.grace, "stopping: what is in flight is stored, the rest is handed back");
                    stop.cancel();
                }
            }
        }
    };
    // Metrics are served up to the end of what is in flight.
    telemetry.served_while(args.metrics, until_told).await
}
