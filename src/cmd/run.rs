//! `semantik run` and `semantik reindex`: run an operation and show its progress.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pipeline::{BoxError, PipelineSpec, Plan};
use tokio_util::sync::CancellationToken;

use super::signals::Signals;
use super::{Exit, report};
use crate::cli::RunArgs;
use crate::operate::{Done, NotDone, Operator, Swap, Wish, Workplace};
use crate::telemetry::{self, Telemetry};
use crate::view::View;
use crate::{fetching, render};

/// The variant of the operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// Brings the collection up to date with its sources.
    UpToDate,
    /// Builds a new generation.
    Anew,
}

pub(super) async fn run(args: &RunArgs, which: Which, telemetry: &Telemetry) -> Exit {
    match try_run(args, which, telemetry).await {
        Ok(exit) => exit,
        Err(error) => Exit::from(error),
    }
}

async fn try_run(args: &RunArgs, which: Which, telemetry: &Telemetry) -> Result<Exit, BoxError> {
    let (spec, plan) = fetching::load(&args.file).await?;
    if let Some(exit) = misfit(&args.file, &plan) {
        return Ok(exit);
    }
    let wish = Wish {
        allow_deletes: args.allow_deletes,
        retry_failed: args.retry_failed,
        wait: args.wait,
        anew: which == Which::Anew,
    };
    telemetry.served_while(args.metrics, watched(spec, plan, wish, args, telemetry)).await
}

/// Requirements of a run on the plan; `Some` if one is not met.
fn misfit(file: &Path, plan: &Plan) -> Option<Exit> {
    let Some(model) = plan.model() else {
        let file = file.display();
        return Some(Exit::Misconfigured(format!(
            "{file}: no node runs a model; `run` needs an `embed` node"
        )));
    };
    if embedding::is_stand_in(&model.path) {
        render::say(
            "semantik: these vectors come from the stand-in model; searches give meaningless \
             results",
        );
    }
    None
}

async fn watched(
    spec: PipelineSpec,
    plan: Plan,
    wish: Wish,
    args: &RunArgs,
    telemetry: &Telemetry,
) -> Result<Exit, BoxError> {
    let mut signals = Signals::new()?;
    let stop = CancellationToken::new();
    // No batch is in flight before the operation starts, so a signal ends the command immediately.
    let opening = async {
        let workplace = Workplace::open(&spec, telemetry).await?;
        Operator::at(workplace, Arc::new(spec), &plan, stop.clone(), wish)
    };
    let operator = tokio::select! {
        operator = opening => operator?,
        signal = signals.next() => return Ok(Exit::Stopped(signal)),
    };
    let grace = args.grace.map(|seconds| Duration::from_secs(seconds.into()));
    let ended = follow(&operator, &stop, &mut signals, grace).await;
    hand_over(args, plan.name(), &telemetry.text().await);
    if let Err(error) = operator.tell_webhooks().await {
        tracing::warn!(error = pipeline::chain(error.as_ref()), "failed to deliver notifications");
    }
    let Done { report, swap, model } = match (ended, signals.stopped_by) {
        (Err(error), Some(signal)) if matches!(error.downcast_ref(), Some(NotDone::Stopped)) => {
            return Ok(Exit::Stopped(signal));
        }
        (ended, _) => ended?,
    };
    if let Some(Swap { live, retired }) = swap {
        render::say(format_args!(
            "semantik: generation {} ({}) is now live and replaces generation {} ({})",
            live.number, live.model, retired.number, retired.model
        ));
    }
    if args.json {
        render::json_of(&report)?;
    } else {
        render::out(&report::as_table(&report, model))?;
    }
    Ok(match signals.stopped_by {
        Some(signal) if report.stopped => Exit::Stopped(signal),
        Some(_) | None if report.newly_failed > 0 => Exit::DocumentsFailed,
        Some(_) | None => Exit::Fine,
    })
}

/// Runs the operation, draws its progress, and handles signals.
async fn follow(
    operator: &Operator,
    stop: &CancellationToken,
    signals: &mut Signals,
    grace: Option<Duration>,
) -> Result<Done, BoxError> {
    let (mut view, mut watch) = (View::new(), operator.watch());
    let mut ticks = tokio::time::interval(view.period());
    let running = operator.run();
    tokio::pin!(running);
    // The deadline of `--grace`, set by the first signal.
    let mut over = None;
    let ended = loop {
        tokio::select! {
            ended = &mut running => break ended,
            signal = signals.next() => {
                if !stop.is_cancelled() {
                    view.stopping(&operator.progress(&mut watch));
                    stop.cancel();
                    over = grace.map(|grace| (tokio::time::Instant::now() + grace, signal));
                } else if operator.cut_short() {
                    view.cutting_short();
                } else {
                    // The third signal: the next run stores the rest.
                    std::process::exit(i32::from(128 + signal));
                }
            }
            signal = passed(over) => {
                tracing::warn!(
                    "grace period exceeded: documents that are not stored are left to the next run",
                );
                std::process::exit(i32::from(128 + signal));
            }
            _ = ticks.tick() => view.update(operator.progress(&mut watch)),
        }
    };
    view.end();
    ended
}

/// Returns the signal once the deadline has passed; pending forever without a deadline.
async fn passed(over: Option<(tokio::time::Instant, u8)>) -> u8 {
    match over {
        Some((at, signal)) => {
            tokio::time::sleep_until(at).await;
            signal
        }
        None => std::future::pending().await,
    }
}

/// Writes and pushes the metrics as requested. Errors are printed and do not make the run fail.
fn hand_over(args: &RunArgs, pipeline: &str, metrics: &str) {
    if let Some(file) = &args.metrics_file
        && let Err(error) = write_whole(file, metrics)
    {
        render::say(format_args!("semantik: cannot write the metrics: {error}"));
    }
    if let Some(gateway) = &args.push_metrics {
        let pushed = tokio::task::block_in_place(|| telemetry::push(gateway, pipeline, metrics));
        if let Err(error) = pushed {
            render::say(format_args!("semantik: the metrics were not pushed: {error}"));
        }
    }
}

/// Written to another name and renamed, as the textfile collector of node_exporter requires.
fn write_whole(file: &Path, text: &str) -> Result<(), BoxError> {
    let aside = file.with_extension("part");
    fs_err::write(&aside, text)?;
    Ok(fs_err::rename(&aside, file)?)
}
