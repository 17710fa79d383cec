//! `semantik run`: one operation on a collection, from the file to the report.

use std::collections::BTreeMap;
use std::sync::Arc;

use pipeline::{
    BoxError, MetadataStore as _, Metrics, ModelInfo, Models as _, PipelineSpec, Plan, Resources,
    RunOptions, RunReport, VectorStore,
};
use serde_json::json;
use sinks::{CollectionStatus, Ending, Operation, OperationType, RunMetadata};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::Exit;
use crate::cli::RunArgs;
use crate::render;
use crate::view::View;
use crate::wiring::{self, Database, Vectors, embed_options};

/// How many documents' points are removed at once.
const PURGE: u32 = 1_000;

pub(super) async fn run(args: &RunArgs) -> Exit {
    match try_run(args).await {
        Ok(exit) => exit,
        Err(error) => Exit::from(error),
    }
}

async fn try_run(args: &RunArgs) -> Result<Exit, BoxError> {
    let engine = Arc::new(embedding::Engine::new());
    let (spec, plan) = wiring::load(&args.file, engine.as_ref())?;
    let Some(model) = plan.models().next().cloned() else {
        let file = args.file.display();
        return Ok(Exit::Misconfigured(format!(
            "{file}: no node runs a model; `run` needs an `embed` node"
        )));
    };
    if embedding::is_stand_in(&model.path) {
        render::say("semantik: these vectors come from the stand-in; searching them means nothing");
    }
    let mut signals = Signals::new()?;
    // Nothing is in flight before the run begins, so a signal ends the command at once.
    let started = tokio::select! {
        started = Started::new(&spec, &plan, &model, args) => started?,
        signal = signals.next() => return Ok(Exit::Stopped(signal)),
    };

    let metrics = Arc::new(Metrics::new(plan.name()));
    let ended = async {
        let pass = Pass { started: &started, engine: &engine, metrics: &metrics };
        let mut report = pass.run(plan, &mut signals).await?;
        // A copy of what an edited file held before may have been seen before the edit was stored.
        if !report.stopped && started.metadata.unattached().await? > 0 {
            let plan = Plan::compile(&spec, &wiring::registry(), engine.as_ref())?;
            report.add_pass(pass.run(plan, &mut signals).await?);
        }
        Ok::<_, BoxError>(report)
    }
    .await;
    if let Some(file) = &args.metrics_file
        && let Err(error) = write_whole(file, &metrics.text())
    {
        render::say(format_args!("semantik: the metrics were not written: {error}"));
    }
    let Started { vectors, operation, .. } = started;
    let report = finish(operation, ended).await?;
    // What is stored is stored; this only makes search faster, and can be done another time.
    tokio::select! {
        optimized = vectors.optimize() => optimized?,
        _ = signals.next() => {}
    }

    let usage =
        engine.embedder(&model.path, &embed_options(&spec)).map(|embedder| embedder.usage()).ok();
    render::out(&if args.json { as_json(&report)? } else { as_table(&report, usage) })?;
    Ok(match signals.stopped_by {
        Some(signal) if report.stopped => Exit::Stopped(signal),
        Some(_) | None if report.failed() > 0 => Exit::DocumentsFailed,
        Some(_) | None => Exit::Fine,
    })
}

/// An operation that has begun: the stores are open, and the collection is ours.
struct Started {
    /// Holds the embedded cluster for as long as the operation goes on.
    _database: Database,
    collection: uuid::Uuid,
    vectors: Vectors,
    operation: Operation,
    metadata: Arc<RunMetadata>,
}

impl Started {
    async fn new(
        spec: &PipelineSpec,
        plan: &Plan,
        model: &ModelInfo,
        args: &RunArgs,
    ) -> Result<Self, BoxError> {
        let database = Database::open(spec).await?;
        database.postgres().migrate_up().await?;
        let collection = wiring::open_collection(&database, spec, plan, model).await?;
        let kind = match collection.status {
            CollectionStatus::Pending | CollectionStatus::Error => OperationType::Index,
            CollectionStatus::Ready | CollectionStatus::Processing | CollectionStatus::Degraded => {
                OperationType::Append
            }
        };
        let config = json!({
            "pipeline": plan.name(),
            "file": args.file,
            "fingerprint": plan.fingerprint().to_string(),
            "model": model.fingerprint,
        });
        let operation = database.postgres().start_operation(&collection, kind, &config).await?;
        let vectors = match Vectors::open(spec, &collection, model).await {
            Ok(vectors) => vectors,
            Err(error) => {
                finish(operation, Err(error)).await?;
                unreachable!("`finish` gives back the error that it was given");
            }
        };
        let metadata = Arc::new(operation.metadata(plan.fingerprint()));
        Ok(Self { _database: database, collection: collection.id, vectors, operation, metadata })
    }
}

/// One pass over the sources.
struct Pass<'a> {
    started: &'a Started,
    engine: &'a Arc<embedding::Engine>,
    metrics: &'a Arc<Metrics>,
}

impl Pass<'_> {
    async fn run(&self, plan: Plan, signals: &mut Signals) -> Result<RunReport, BoxError> {
        let Started { collection, vectors, metadata, .. } = self.started;
        let vectors = vectors.store();
        purge(metadata, vectors.as_ref()).await?;
        let with = Resources {
            collection: *collection,
            models: Arc::clone(self.engine) as _,
            metadata: Arc::clone(metadata) as _,
            vectors: Arc::clone(&vectors),
            known: Arc::new(metadata.known_hashes().await?),
            extract_worker: std::env::current_exe().ok(),
            memo: None,
        };
        let stop = CancellationToken::new();
        let options = RunOptions { stop: stop.clone(), metrics: Arc::clone(self.metrics) };
        let mut view = View::new(&plan);
        let mut ticks = tokio::time::interval(view.period());
        let running = pipeline::run(plan, &with, options);
        tokio::pin!(running);
        let report = loop {
            tokio::select! {
                report = &mut running => break report,
                signal = signals.next() => {
                    if stop.is_cancelled() {
                        // The second one: what is not stored yet comes with the next run.
                        std::process::exit(i32::from(128 + signal));
                    }
                    view.stopping();
                    stop.cancel();
                }
                _ = ticks.tick() => view.update(self.metrics),
            }
        };
        view.end();
        let report = report?;
        purge(metadata, vectors.as_ref()).await?;
        Ok(report)
    }
}

/// Removes points that no document holds any more, also such as a run left that was killed.
async fn purge(metadata: &Arc<RunMetadata>, vectors: &dyn VectorStore) -> Result<(), BoxError> {
    loop {
        let documents = metadata.unpurged(PURGE).await?;
        if documents.is_empty() {
            return Ok(());
        }
        sinks::purge(metadata.as_ref(), vectors, &documents).await?;
    }
}

/// Ends the operation as the run ended.
async fn finish(
    operation: Operation,
    ended: Result<RunReport, BoxError>,
) -> Result<RunReport, BoxError> {
    let (ending, metrics) = match &ended {
        Ok(report) if report.stopped => (Ending::Cancelled, metrics_of(report)),
        Ok(report) => (Ending::Completed, metrics_of(report)),
        Err(error) => (Ending::Failed(pipeline::chain(error.as_ref())), Vec::new()),
    };
    let finished = operation.finish(&ending, &metrics).await;
    // Why the run failed matters more than that this could not be written down.
    let report = ended?;
    finished?;
    Ok(report)
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floating-point numbers")]
fn metrics_of(report: &RunReport) -> Vec<(String, f64)> {
    let documents = report.documents;
    let mut metrics: Vec<(String, f64)> = [
        ("documents_seen", documents.seen),
        ("documents_stored", documents.stored),
        ("documents_unchanged", documents.unchanged),
        ("documents_duplicate", documents.duplicate),
        ("documents_set_aside", documents.set_aside),
        ("chunks", report.chunks),
        ("tokens", report.tokens),
    ]
    .map(|(name, value)| (name.to_owned(), value as f64))
    .to_vec();
    metrics.push(("seconds".to_owned(), report.seconds));
    metrics.extend(
        report.nodes.iter().map(|node| (format!("busy_seconds.{}", node.id), node.busy_seconds)),
    );
    metrics
}

/// Written aside and renamed, as a collector of text files demands.
fn write_whole(file: &std::path::Path, text: &str) -> Result<(), BoxError> {
    let aside = file.with_extension("part");
    fs_err::write(&aside, text)?;
    Ok(fs_err::rename(&aside, file)?)
}

/// SIGINT and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// The first that came.
    stopped_by: Option<u8>,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            stopped_by: None,
        })
    }

    /// The number of the next one.
    async fn next(&mut self) -> u8 {
        let number = tokio::select! {
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
        };
        self.stopped_by.get_or_insert(number);
        number
    }
}

fn as_json(report: &RunReport) -> Result<String, BoxError> {
    Ok(format!("{}\n", serde_json::to_string_pretty(report)?))
}

fn as_table(report: &RunReport, usage: Option<pipeline::EmbedderUsage>) -> String {
    let documents = report.documents;
    let mut rows = vec![
        vec!["documents".to_owned(), render::count(documents.seen)],
        vec!["  stored".to_owned(), render::count(documents.stored)],
        vec!["  unchanged".to_owned(), render::count(documents.unchanged)],
        vec!["  duplicate".to_owned(), render::count(documents.duplicate)],
    ];
    let reasons: &BTreeMap<String, u64> = &report.reasons;
    rows.push(vec!["  set aside".to_owned(), render::count(documents.set_aside)]);
    rows.extend(reasons.iter().map(|(why, n)| vec![format!("    {why}"), render::count(*n)]));
    rows.push(vec!["chunks".to_owned(), render::count(report.chunks)]);
    rows.push(vec!["tokens".to_owned(), render::count(report.tokens)]);
    if let Some(usage) = usage.filter(|usage| usage.busy_seconds > 0.0) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a rate for people"
        )]
        let rate = (usage.tokens as f64 / usage.busy_seconds) as u64;
        rows.push(vec!["tokens/s in the model".to_owned(), render::count(rate)]);
    }
    rows.push(vec!["time".to_owned(), render::seconds(report.seconds)]);
    let mut out = render::table(&[], rows);

    let nodes = report.nodes.iter().map(|node| {
        vec![
            node.id.clone(),
            render::count(node.rows_in.max(node.rows_out)),
            render::seconds(node.busy_seconds),
            render::seconds(node.starved_seconds),
            render::seconds(node.blocked_seconds),
        ]
    });
    out.push_str(&render::table(&["node", "documents", "busy", "starved", "blocked"], nodes));

    /// More than these are for `--json`.
    const SHOWN: usize = 20;
    if !report.set_aside.is_empty() {
        let shown = report.set_aside.iter().take(SHOWN).map(|document| {
            vec![
                document.uri.clone(),
                document.node.clone(),
                document.reason.clone(),
                document.message.clone(),
            ]
        });
        out.push_str(&render::table(&["set aside", "at", "reason", "because it"], shown));
        if report.set_aside.len() > SHOWN {
            out.push_str(&format!("… and {} more (see --json)\n", report.set_aside.len() - SHOWN));
        }
    }
    if report.stopped {
        out.push_str("stopped before the sources had ended; the next run goes on from here\n");
    }
    out
}
