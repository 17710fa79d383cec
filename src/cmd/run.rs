//! `semantik run` and `semantik reindex`: run an operation and show its progress.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use operations::{GenerationSwap, Interrupted, OperationResult, Operator};
use pipeline::{BoxError, OperationRequest, PipelineSpec, Plan, RunRequest};
use tokio_util::sync::CancellationToken;

use super::signals::Signals;
use super::{Exit, report};
use crate::cli::RunArgs;
use crate::progress_bar::ProgressView;
use crate::telemetry::{self, Telemetry};
use crate::{composition, model_download, render};

/// The variant of the operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunMode {
    /// Brings the collection up to date with its sources.
    Update,
    /// Builds a new generation.
    Rebuild,
}

pub(super) async fn run(args: &RunArgs, which: RunMode, telemetry: &Telemetry) -> Exit {
    match try_run(args, which, telemetry).await {
        Ok(exit) => exit,
        Err(error) => Exit::from(error),
    }
}

async fn try_run(args: &RunArgs, which: RunMode, telemetry: &Telemetry) -> Result<Exit, BoxError> {
    let (spec, plan) = model_download::load(&args.file).await?;
    if let Some(exit) = unsupported_pipeline(&args.file, &plan) {
        return Ok(exit);
    }
    let request = OperationRequest::Run(RunRequest {
        allow_deletes: args.allow_deletes,
        retry_failed: args.retry_failed,
        rebuild: which == RunMode::Rebuild,
        undelete: Vec::new(),
    });
    telemetry
        .serve_metrics_while(args.metrics, run_with_progress(spec, plan, &request, args, telemetry))
        .await
}

/// Requirements of a run on the plan; `Some` if one is not met.
fn unsupported_pipeline(file: &Path, plan: &Plan) -> Option<Exit> {
    let Some(model) = plan.model() else {
        let file = file.display();
        return Some(Exit::Misconfigured(format!(
            "{file}: no node runs a model; `run` needs an `embed` node"
        )));
    };
    if embedding::is_stand_in(&model.path) {
        render::print_error_line(
            "semantik: these vectors come from the stand-in model; searches give meaningless \
             results",
        );
    }
    None
}

async fn run_with_progress(
    spec: PipelineSpec,
    plan: Plan,
    request: &OperationRequest,
    args: &RunArgs,
    telemetry: &Telemetry,
) -> Result<Exit, BoxError> {
    let mut signals = Signals::new()?;
    let stop = CancellationToken::new();
    // No batch is in flight before the operation starts, so a signal ends the command immediately.
    let opening = async {
        let runtime = composition::open_runtime(&spec, telemetry).await?;
        let wait = composition::wait_policy(args.wait);
        Operator::new(runtime, Arc::new(spec), &plan, wait, stop.clone())
    };
    let operator = tokio::select! {
        operator = opening => operator?,
        signal = signals.next() => return Ok(Exit::Stopped(signal)),
    };
    let grace = args.grace.map(|seconds| Duration::from_secs(seconds.into()));
    let ended = execute(&operator, request, &stop, &mut signals, grace).await;
    export_metrics(args, plan.name(), &telemetry.render().await);
    if let Err(error) = operator.notify_webhooks().await {
        tracing::warn!(
            error = pipeline::error_chain(error.as_ref()),
            "failed to deliver notifications"
        );
    }
    let OperationResult { report, swap, model, .. } = match (ended, signals.stopped_by) {
        (Err(error), Some(signal))
            if matches!(error.downcast_ref(), Some(Interrupted::Stopped)) =>
        {
            return Ok(Exit::Stopped(signal));
        }
        (ended, _) => ended?,
    };
    let (report, model) = (report.unwrap_or_default(), model.unwrap_or_default());
    if let Some(GenerationSwap { live, retired }) = swap {
        render::print_error_line(format_args!(
            "semantik: generation {} ({}) is now live and replaces generation {} ({})",
            live.number, live.model, retired.number, retired.model
        ));
    }
    if args.json {
        render::print_as_json(&report)?;
    } else {
        render::print(&report::as_table(&report, model))?;
    }
    Ok(match signals.stopped_by {
        Some(signal) if report.stopped => Exit::Stopped(signal),
        Some(_) | None if report.newly_failed > 0 => Exit::DocumentsFailed,
        Some(_) | None => Exit::Success,
    })
}

/// Runs the operation, draws its progress, and handles signals.
async fn execute(
    operator: &Operator,
    request: &OperationRequest,
    stop: &CancellationToken,
    signals: &mut Signals,
    grace: Option<Duration>,
) -> Result<OperationResult, BoxError> {
    let (mut view, mut watch) = (ProgressView::new(), operator.progress_sampler());
    let mut ticks = tokio::time::interval(view.period());
    let running = operator.execute(request);
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
            signal = wait_for_deadline(over) => {
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
async fn wait_for_deadline(over: Option<(tokio::time::Instant, u8)>) -> u8 {
    match over {
        Some((at, signal)) => {
            tokio::time::sleep_until(at).await;
            signal
        }
        None => std::future::pending().await,
    }
}

/// Writes and pushes the metrics as requested. Errors are printed and do not make the run fail.
fn export_metrics(args: &RunArgs, pipeline: &str, metrics: &str) {
    if let Some(file) = &args.metrics_file
        && let Err(error) = write_atomically(file, metrics)
    {
        render::print_error_line(format_args!("semantik: cannot write the metrics: {error}"));
    }
    if let Some(gateway) = &args.push_metrics {
        let pushed = tokio::task::block_in_place(|| telemetry::push(gateway, pipeline, metrics));
        if let Err(error) = pushed {
            render::print_error_line(format_args!(
                "semantik: the metrics were not pushed: {error}"
            ));
        }
    }
}

/// Written to another name and renamed, as the textfile collector of node_exporter requires.
fn write_atomically(file: &Path, text: &str) -> Result<(), BoxError> {
    let aside = file.with_extension("part");
    fs_err::write(&aside, text)?;
    Ok(fs_err::rename(&aside, file)?)
}
