//! `semantik run` and `semantik reindex`: run an operation and show its progress.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use operations::{Export, GenerationSwap, Interrupted, OperationResult, Operator};
use pipeline::{
    BoxError, OperationRequest, PipelineSpec, Plan, Progress, ProgressSampler, RunRequest,
};
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
    warn_of_stand_in(&plan);
    if !plan.writes_collection() && which == RunMode::Update {
        return telemetry
            .serve_metrics_while(args.metrics, export_with_progress(spec, plan, args, telemetry))
            .await;
    }
    // Fails before a store is opened.
    operations::collection_facts(&plan)?;
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

fn warn_of_stand_in(plan: &Plan) {
    if plan.model().is_some_and(|model| embedding::is_stand_in(&model.path)) {
        render::print_error_line(
            "semantik: these vectors come from the stand-in model; searches give meaningless \
             results",
        );
    }
}

/// Runs a pipeline that writes no collection.
async fn export_with_progress(
    spec: PipelineSpec,
    plan: Plan,
    args: &RunArgs,
    telemetry: &Telemetry,
) -> Result<Exit, BoxError> {
    let mut signals = Signals::new()?;
    let stop = CancellationToken::new();
    let pipeline = plan.name().to_owned();
    let (composition, metrics) = (composition::composition(), telemetry.exposition());
    let export = Export::new(spec, &plan, composition, metrics, stop.clone());
    let sampler = export.progress_sampler();
    let ended = execute(export.run(plan), &export, sampler, &stop, &mut signals, grace(args)).await;
    export_metrics(args, &pipeline, &telemetry.render().await);
    report_run(args, ended?, &signals)
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
    let (sampler, running) = (operator.progress_sampler(), operator.execute(request));
    let ended = execute(running, &operator, sampler, &stop, &mut signals, grace(args)).await;
    export_metrics(args, plan.name(), &telemetry.render().await);
    if let Err(error) = operator.notify_webhooks().await {
        tracing::warn!(
            error = pipeline::error_chain(error.as_ref()),
            "failed to deliver notifications"
        );
    }
    match (ended, signals.stopped_by) {
        (Err(error), Some(signal))
            if matches!(error.downcast_ref(), Some(Interrupted::Stopped)) =>
        {
            Ok(Exit::Stopped(signal))
        }
        (ended, _) => report_run(args, ended?, &signals),
    }
}

/// Prints the result of a run.
fn report_run(
    args: &RunArgs,
    result: OperationResult,
    signals: &Signals,
) -> Result<Exit, BoxError> {
    let OperationResult { report, swap, model, .. } = result;
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

/// A run that this command observes and stops.
trait ObservedRun {
    fn progress(&self, sampler: &mut ProgressSampler) -> Progress;

    /// See [`Operator::cut_short`].
    fn cut_short(&self) -> bool;
}

impl ObservedRun for Operator {
    fn progress(&self, sampler: &mut ProgressSampler) -> Progress {
        self.progress(sampler)
    }

    fn cut_short(&self) -> bool {
        self.cut_short()
    }
}

impl ObservedRun for Export {
    fn progress(&self, sampler: &mut ProgressSampler) -> Progress {
        self.progress(sampler)
    }

    fn cut_short(&self) -> bool {
        self.cut_short()
    }
}

/// The time limit after a signal.
fn grace(args: &RunArgs) -> Option<Duration> {
    args.grace.map(|seconds| Duration::from_secs(seconds.into()))
}

/// Waits for the end of a run, draws its progress, and handles signals.
async fn execute(
    running: impl Future<Output = Result<OperationResult, BoxError>>,
    observed: &dyn ObservedRun,
    mut sampler: ProgressSampler,
    stop: &CancellationToken,
    signals: &mut Signals,
    grace: Option<Duration>,
) -> Result<OperationResult, BoxError> {
    let mut view = ProgressView::new();
    let mut ticks = tokio::time::interval(view.period());
    tokio::pin!(running);
    // The deadline of `--grace`, set by the first signal.
    let mut over = None;
    let ended = loop {
        tokio::select! {
            ended = &mut running => break ended,
            signal = signals.next() => {
                if !stop.is_cancelled() {
                    view.stopping(&observed.progress(&mut sampler));
                    stop.cancel();
                    over = grace.map(|grace| (tokio::time::Instant::now() + grace, signal));
                } else if observed.cut_short() {
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
            _ = ticks.tick() => view.update(observed.progress(&mut sampler)),
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
