//! What a run would do, before it does it.
//!
//! The real plan is run as far as its models, on a metadata store that can be read only, so that what is
//! counted is what a run would find. The nodes in front of a model do their work for it; no model is loaded,
//! and nothing is written to either store, not even where a collection would be made.
//!
//! Two things it cannot know: which of the texts have been embedded before, and, where a file is edited and
//! what it held turns up elsewhere in the same run, which of the two the run comes to first.

mod ledger;
mod look;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use metadata::{
    Collection, Generation, GenerationSettings, GenerationStatus, Missing, OperationType, Rates,
    Side,
};
use pipeline::{BoxError, PipelineSpec, Plan, Resources, RunOptions, StoreError};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vectors::MemoryVectors;

use self::ledger::Ledger;
pub(crate) use self::ledger::{Cause, Tally};
use self::look::{Counting, Look, Reader};
use super::{Operator, Wish, Workplace, model_of, pass};
use crate::shards::Shards;
use crate::telemetry::Telemetry;
use crate::wiring::Database;

/// What a run would do.
#[derive(Debug, Default)]
pub(crate) struct Forecast {
    /// Whether there is a collection already.
    pub(crate) exists: bool,
    /// What kind of operation the run would be; `None` if it would be refused.
    pub(crate) operation: Option<OperationType>,
    /// Why the run would be refused.
    pub(crate) refused: Option<String>,
    /// The number of the live generation.
    pub(crate) live: Option<i32>,
    /// Why a new generation would be built; empty if none would be.
    pub(crate) rebuilt_because: Vec<String>,
    /// The generation whose building goes on.
    pub(crate) resumed: Option<i32>,
    /// Documents that sources gave.
    pub(crate) seen: u64,
    /// Documents by what would become of them and why.
    pub(crate) causes: BTreeMap<Cause, Tally>,
    /// Documents that would be set aside, by reason.
    pub(crate) set_aside: BTreeMap<String, Tally>,
    /// What is gone, by source.
    pub(crate) missing: Vec<Missing>,
    /// Why the run would end with an error though it stored everything: a source gives nothing, and never has.
    pub(crate) nothing_matches: Option<String>,
    /// Files and folders that options of the sources would leave out, by the option.
    pub(crate) left_out: BTreeMap<String, u64>,
    /// Why the deletions would be refused.
    pub(crate) deletions_refused: Option<String>,
    /// How quickly earlier runs went.
    pub(crate) rates: Rates,
}

impl Forecast {
    /// What would be given to the model.
    pub(crate) fn to_embed(&self) -> Tally {
        let mut sum = Tally::default();
        for tally in self.causes.iter().filter(|(cause, _)| cause.embeds()).map(|(_, tally)| tally)
        {
            sum.documents += tally.documents;
            sum.chunks += tally.chunks;
            sum.tokens += tally.tokens;
        }
        sum
    }

    /// How many seconds it would take, by the rates of earlier runs; `None` if those do not say.
    pub(crate) fn seconds(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let (tokens, seen) = (self.to_embed().tokens as f64, self.seen as f64);
        let looking = self.rates.documents_per_second.map(|rate| seen / rate);
        if tokens == 0.0 {
            return looking;
        }
        Some(tokens / self.rates.tokens_per_second? + looking.unwrap_or(0.0))
    }
}

/// Foresees a run of this file.
pub(crate) async fn forecast(
    spec: PipelineSpec,
    plan: Plan,
    engine: Arc<embedding::Engine>,
    wish: Wish,
) -> Result<Forecast, BoxError> {
    let model = model_of(&plan)?;
    let (ratio, dim) = (spec.file.lifecycle.max_delete_ratio, model.dim);
    let operator = match Database::peek(&spec).await? {
        // One whose deletion has begun is deleted and made anew by a run.
        Some((database, Some(collection))) if collection.deleting_since.is_none() => {
            let (shards, telemetry) = (Shards::default(), Telemetry::new());
            let workplace = Workplace { database, shards, telemetry, engine: Arc::clone(&engine) };
            let stop = CancellationToken::new();
            // Opening what was computed before would write to it.
            let operator = Operator::bare(workplace, Arc::new(spec), &plan, stop, wish)?;
            Some((operator, collection))
        }
        _ => None,
    };
    let (mut forecast, look, collection) = match &operator {
        Some((operator, collection)) => {
            let (forecast, look) = operator.what_kind(collection).await?;
            (forecast, look, collection.id)
        }
        None => {
            let operation = Some(OperationType::Index);
            (Forecast { operation, ..Forecast::default() }, Look::default(), Uuid::nil())
        }
    };
    if forecast.refused.is_some() {
        return Ok(forecast);
    }
    let look = Arc::new(look);
    let ledger = Arc::new(Ledger::new(look.known_hashes().await?));
    let with = Resources {
        collection,
        models: engine as _,
        known: Arc::clone(&ledger.known),
        metadata: Arc::new(Reader { look: Arc::clone(&look), ledger: Arc::clone(&ledger) }) as _,
        vectors: Arc::new(MemoryVectors::new(dim)) as _,
        // Opening it would write to it.
        memo: None,
        extract_worker: crate::extraction::worker(),
    };
    let counting = Counting { look: Arc::clone(&look), ledger: Arc::clone(&ledger) };
    let plan = plan.before_models(&|| Box::new(counting.clone()));
    let options = RunOptions::new(&plan);
    let report = pipeline::run(plan, &with, options).await?;
    ledger.settle(&look, &report, &mut forecast).await?;
    let unknown = look.unknown_sources(&report.empty).await?;
    let nothing_matches = pass::NothingMatches::among(unknown, &report.left_out);
    forecast.nothing_matches = nothing_matches.map(|error| error.to_string());
    forecast.left_out = report.left_out;
    let devices = pass::devices_of(&report.covered);
    let missing = &forecast.missing;
    let too_many = missing.iter().find_map(|it| pass::too_many(it, ratio, &devices));
    if !wish.allow_deletes {
        forecast.deletions_refused = too_many.map(|error| error.to_string());
    }
    Ok(forecast)
}

impl Operator {
    /// What a run of the file would be, and what it would know of documents when it began.
    async fn what_kind(&self, collection: &Collection) -> Result<(Forecast, Look), BoxError> {
        let postgres = self.database.postgres();
        let generations = postgres.generations().list(collection.id).await?;
        let with = |status| generations.iter().find(|it| it.status == status);
        let live = with(GenerationStatus::Live).ok_or("no generation is live")?;
        let resumed = with(GenerationStatus::Building).filter(|it| it.is_of(&self.settings));
        let mut forecast = Forecast {
            exists: true,
            live: Some(live.number),
            rates: postgres.operations().rates(collection.id).await?,
            ..Forecast::default()
        };
        match self.kind_of_run(collection).await {
            Ok(kind) => forecast.operation = Some(kind),
            Err(error) if error.is::<StoreError>() => return Err(error),
            Err(refusal) => forecast.refused = Some(refusal.to_string()),
        }
        let is_reindex = forecast.operation == Some(OperationType::Reindex);
        if is_reindex {
            forecast.rebuilt_because = differences(live, &self.settings);
            forecast.resumed = resumed.map(|it| it.number);
        }
        // A generation that is begun knows what the live one does of places, and holds no document.
        let side = if is_reindex && resumed.is_some() { Side::Building } else { Side::Live };
        let mut metadata = postgres.foresee(collection.id, side, self.settings.fingerprint);
        if self.wish.retry_failed {
            metadata = metadata.retrying_failed();
        }
        let is_anew = is_reindex && resumed.is_none();
        Ok((forecast, Look { metadata: Some(metadata), is_anew }))
    }
}

/// What a file asks for that the live generation cannot give.
fn differences(live: &Generation, settings: &GenerationSettings) -> Vec<String> {
    let mut words = Vec::new();
    let mut compare = |what: &str, was: &dyn Display, is: &dyn Display| {
        let (was, is) = (was.to_string(), is.to_string());
        if was != is {
            let verb = if what.ends_with('s') { ("were", "are") } else { ("was", "is") };
            words.push(format!("{what} {} {was}, and {} {is}", verb.0, verb.1));
        }
    };
    compare("the model", &live.embedding_model, &settings.model);
    if live.dim > 0 {
        compare("its dimension", &live.dim, &settings.dim);
    }
    compare("the quantization", &live.quantization, &settings.quantization);
    if live.sparse != settings.sparse {
        let said = |sparse: &Option<serde_json::Value>| {
            sparse.as_ref().map_or_else(|| "none".to_owned(), serde_json::Value::to_string)
        };
        compare("the sparse vectors", &said(&live.sparse), &said(&settings.sparse));
    }
    let same_model =
        live.model_fingerprint.is_empty() || live.model_fingerprint == settings.model_fingerprint;
    if !same_model && live.embedding_model == settings.model {
        words.push(format!("the files of the model {} have changed", settings.model));
    }
    if words.is_empty() {
        words.push("it is asked for, or was begun and not finished".to_owned());
    }
    words
}
