//! The dry run: the decisions of a run without its writes.
//!
//! Runs the real plan up to its models on a read-only metadata store, so it counts the documents
//! that a run would find. The nodes before a model do their work; no model is loaded, and neither
//! store is written, even if the run would create a collection.
//!
//! Two facts are unknown: which texts are cached, and, if a file is edited while its previous
//! content appears elsewhere, which of the two a run would reach first.

mod ledger;
mod prior_state;
mod sparse_difference;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::sync::Arc;

use metadata::{
    Collection, Generation, GenerationSettings, GenerationSlot, GenerationStatus, OperationType,
    Throughput,
};
use pipeline::{
    BoxError, Engine as _, LocalEngine, MetricsExporter, MissingDocuments, PipelineSpec, Plan,
    Resources, RunOptions, RunRequest, StoreError,
};
use uuid::Uuid;

use self::ledger::Ledger;
pub use self::ledger::{ChangeCause, Tally};
use self::prior_state::{CountingNode, DryRunMetadata, PriorState};
use self::sparse_difference::sparse_differences;
use crate::cancellation::Cancellation;
use crate::composition::Composition;
use crate::context::{Context, collection_facts};
use crate::operation::run_type;
use crate::runtime::Runtime;
use crate::stores::Database;
use crate::{export, sync};

/// The expected result of a run.
#[derive(Debug, Default)]
pub struct DryRunReport {
    /// `true` if the collection exists.
    pub exists: bool,
    /// The type of the operation; `None` if the run would be refused.
    pub operation: Option<OperationType>,
    /// The reason for which the run would be refused.
    pub refused: Option<String>,
    /// The artefacts that an export writes; `None` for a pipeline that writes a collection.
    pub exports: Option<Vec<PathBuf>>,
    /// `true` if the pipeline runs a model.
    pub has_model: bool,
    /// The number of the live generation.
    pub live: Option<i32>,
    /// The reasons for a new generation; empty if none would be built.
    pub rebuild_reasons: Vec<String>,
    /// The number of the unfinished generation that the run would continue.
    pub resumed_generation: Option<i32>,
    /// Documents that the sources provided.
    pub documents_seen: u64,
    /// Documents by expected outcome and cause.
    pub causes: BTreeMap<ChangeCause, Tally>,
    /// Documents that would be set aside, by reason.
    pub set_aside: BTreeMap<String, Tally>,
    /// Missing documents by source.
    pub missing: Vec<MissingDocuments>,
    /// The error with which the run would end after storing everything: a source provides no
    /// document and never has.
    pub nothing_matches: Option<String>,
    /// Files and folders that options of the sources exclude, by option.
    pub left_out: BTreeMap<String, u64>,
    /// The reason for which the deletions would be refused.
    pub deletions_refused: Option<String>,
    /// The throughput of earlier runs.
    pub rates: Throughput,
}

impl DryRunReport {
    /// The documents that the model would embed, or that a pipeline without a model would export.
    pub fn to_embed(&self) -> Tally {
        let mut sum = Tally::default();
        for tally in self.causes.iter().filter(|(cause, _)| cause.embeds()).map(|(_, tally)| tally)
        {
            sum.documents += tally.documents;
            sum.chunks += tally.chunks;
            sum.tokens += tally.tokens;
        }
        sum
    }

    /// Expected duration in seconds at the throughput of earlier runs; `None` if it is unknown.
    pub fn seconds(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let (tokens, seen) = (self.to_embed().tokens as f64, self.documents_seen as f64);
        let looking = self.rates.documents_per_second.map(|rate| seen / rate);
        if tokens == 0.0 {
            return looking;
        }
        Some(tokens / self.rates.tokens_per_second? + looking.unwrap_or(0.0))
    }
}

/// Makes a dry run of this file.
pub async fn dry_run(
    spec: PipelineSpec,
    plan: Plan,
    composition: Arc<Composition>,
    request: &RunRequest,
) -> Result<DryRunReport, BoxError> {
    let (ratio, exports) = (spec.file.lifecycle.max_delete_ratio, export::targets(&plan));
    let found = if exports.is_some() {
        None
    } else {
        collection_facts(&plan)?;
        Database::open_existing(&spec).await?
    };
    let existing = match found {
        // A collection whose deletion has begun would be deleted and recreated.
        Some((database, Some(collection))) if collection.deleting_since.is_none() => {
            let metrics = MetricsExporter::new();
            let runtime = Runtime::new(database, Arc::clone(&composition), metrics);
            let cancellation = Cancellation::default();
            // Opening the cache would write to it.
            let context = Context::new(runtime, Arc::new(spec), &plan, None, cancellation)?;
            Some((context, collection))
        }
        _ => None,
    };
    let (mut forecast, look, collection) = match &existing {
        Some((context, collection)) => {
            let (forecast, look) = predict_operation(context, collection, request).await?;
            (forecast, look, collection.id)
        }
        None => {
            let operation = exports.is_none().then_some(OperationType::Index);
            (
                DryRunReport { operation, ..DryRunReport::default() },
                PriorState::default(),
                Uuid::nil(),
            )
        }
    };
    if forecast.refused.is_some() {
        return Ok(forecast);
    }
    forecast.has_model = plan.model().is_some();
    let look = Arc::new(look);
    let ledger = Arc::new(Ledger::new(look.known_hashes().await?));
    let with = Resources {
        collection,
        models: composition.models.provider(None),
        known_hashes: Arc::clone(&ledger.known),
        metadata: Arc::new(DryRunMetadata {
            prior_state: Arc::clone(&look),
            ledger: Arc::clone(&ledger),
        }) as _,
        worker_program: composition.worker_program(&plan),
        // No vectors, because no sink runs; and no cache, because opening it would write to it.
        ..Resources::without_collection()
    };
    let counting = CountingNode { prior_state: Arc::clone(&look), ledger: Arc::clone(&ledger) };
    let plan = plan.truncate_at_models(&|| Box::new(counting.clone()));
    let options = RunOptions::new(&plan);
    let report = LocalEngine.run(plan, &with, options).await?;
    ledger.finish(&look, &report, &mut forecast).await?;
    let unknown = look.unknown_sources(&report.empty_roots).await?;
    forecast.nothing_matches = match &exports {
        Some(_) => export::NothingToExport::in_report(&report).map(|error| error.to_string()),
        None => {
            let error = sync::EmptySource::first_of(unknown, &report.left_out);
            error.map(|error| error.to_string())
        }
    };
    forecast.exports = exports;
    forecast.left_out = report.left_out;
    let devices = sync::devices_of(&report.exhausted_roots);
    let missing = &forecast.missing;
    let too_many = missing.iter().find_map(|it| sync::check_deletions(it, ratio, &devices));
    if !request.allow_deletes {
        forecast.deletions_refused = too_many.map(|error| error.to_string());
    }
    Ok(forecast)
}

/// Determines the type of the run, and the state of the collection at its start.
async fn predict_operation(
    context: &Context,
    collection: &Collection,
    request: &RunRequest,
) -> Result<(DryRunReport, PriorState), BoxError> {
    let postgres = context.postgres();
    let generations = postgres.generations().list(collection.id).await?;
    let with = |status| generations.iter().find(|it| it.status == status);
    let live = with(GenerationStatus::Live).ok_or("no generation is live")?;
    let resumed =
        with(GenerationStatus::Building).filter(|it| it.matches_settings(&context.settings));
    let mut forecast = DryRunReport {
        exists: true,
        live: Some(live.number),
        rates: postgres.operations().throughput(collection.id).await?,
        ..DryRunReport::default()
    };
    match run_type(context, collection.id, request.rebuild).await {
        Ok(kind) => forecast.operation = Some(kind),
        Err(error) if error.is::<StoreError>() => return Err(error),
        Err(refusal) => forecast.refused = Some(refusal.to_string()),
    }
    let is_reindex = forecast.operation == Some(OperationType::Reindex);
    if is_reindex {
        forecast.rebuild_reasons = setting_differences(live, &context.settings);
        forecast.resumed_generation = resumed.map(|it| it.number);
    }
    // An unfinished generation has the locations of the live one, but not its documents.
    let side = if is_reindex && resumed.is_some() {
        GenerationSlot::Building
    } else {
        GenerationSlot::Live
    };
    let mut metadata = postgres.dry_run(collection.id, side, context.settings.fingerprint);
    if request.retry_failed {
        metadata = metadata.with_retries();
    }
    let is_anew = is_reindex && resumed.is_none();
    Ok((forecast, PriorState { metadata: Some(metadata), is_rebuild: is_anew }))
}

/// The settings of the file that the live generation does not have.
fn setting_differences(live: &Generation, settings: &GenerationSettings) -> Vec<String> {
    let mut words = Vec::new();
    let mut compare = |what: &str, was: &dyn Display, is: &dyn Display| {
        let (was, is) = (was.to_string(), is.to_string());
        if was != is {
            let verb = if what.ends_with('s') { ("were", "are") } else { ("was", "is") };
            words.push(format!("{what} {} {was} and {} now {is}", verb.0, verb.1));
        }
    };
    compare("the model", &live.embedding_model, &settings.model);
    if live.dim > 0 {
        compare("the dimension", &live.dim, &settings.dim);
    }
    compare("the quantization", &live.quantization, &settings.quantization);
    words.extend(sparse_differences(live.sparse.as_ref(), settings.sparse.as_ref()));
    let same_model =
        live.model_fingerprint.is_empty() || live.model_fingerprint == settings.model_fingerprint;
    if !same_model && live.embedding_model == settings.model {
        words.push(format!("the files of the model {} have changed", settings.model));
    }
    if words.is_empty() {
        words.push("a new generation is requested, or an unfinished one exists".to_owned());
    }
    words
}
