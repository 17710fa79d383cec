//! Scores the best candidates of a collection with its reranker, on blocking threads.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pipeline::{BoxError, Remedy, RerankSpec, RerankerOptions, StoreError};
use serde::{Serialize, Serializer};

use crate::blocking::{BlockingPool, CancelFlag, catch_blocking};
use crate::points::PointReader;
use crate::ranking::{Candidate, passage, reorder};
use crate::request::InvalidRequest;

/// Maximum number of candidates of a request.
const MAX_CANDIDATES: usize = 200;

/// Maximum time limit of a request.
const MAX_BUDGET: Duration = Duration::from_secs(10);

/// Searches that score candidates at the same time; each uses all threads of the model.
const AT_ONCE: usize = 2;

/// Searches that wait for their turn; their time limit passes meanwhile.
const QUEUE_LIMIT: usize = 256;

/// Settings of the reranker of a collection.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RerankSettings {
    /// Folder of the model, or its name on the hub.
    #[serde(serialize_with = "as_text")]
    pub model: PathBuf,
    /// Device of the model.
    pub device: String,
    /// Precision of the computation.
    pub dtype: String,
    /// Number of best candidates that are scored.
    pub candidates: usize,
    /// Time limit; loading the model is not counted.
    pub budget: Duration,
}

/// Replaces the reranking of a collection in a request.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum RerankOverride {
    /// Does not rerank.
    Off,
    /// Reranks, with the settings of the collection where a field is `None`.
    On {
        /// Folder of the model, or its name on the hub; untrusted clients must not choose one.
        model: Option<String>,
        /// Number of best candidates that are scored.
        candidates: Option<usize>,
        /// Time limit.
        budget: Option<Duration>,
    },
}

/// A request for reranking in a collection without a reranker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the collection has no reranker: set `search.rerank.model` in its pipeline file")]
pub(crate) struct NoReranker;

impl RerankOverride {
    /// Checks the values.
    pub(crate) fn check(&self) -> Result<(), InvalidRequest> {
        let Self::On { candidates, budget, .. } = self else { return Ok(()) };
        let invalid = |message| Err(InvalidRequest { field: "rerank", message });
        if candidates.is_some_and(|count| !(1..=MAX_CANDIDATES).contains(&count)) {
            return invalid(format!("expected 1 to {MAX_CANDIDATES} candidates"));
        }
        if budget.is_some_and(|budget| budget.is_zero() || budget > MAX_BUDGET) {
            return invalid(format!("expected a budget from 1 to {} ms", MAX_BUDGET.as_millis()));
        }
        Ok(())
    }

    /// Number of candidates that the request asks to score, as far as it is known before the
    /// settings of the collections.
    pub(crate) fn candidates(&self) -> usize {
        match self {
            Self::Off => 0,
            Self::On { candidates, .. } => candidates.unwrap_or(RerankSpec::CANDIDATES),
        }
    }

    /// The settings of a collection with this override.
    pub(crate) fn apply(
        &self,
        settings: Option<&RerankSettings>,
    ) -> Result<Option<RerankSettings>, NoReranker> {
        let Self::On { model, candidates, budget } = self else { return Ok(None) };
        let mut applied = match (settings, model) {
            (Some(settings), _) => settings.clone(),
            (None, Some(model)) => RerankSettings::usual(model.into()),
            (None, None) => return Err(NoReranker),
        };
        if let Some(model) = model {
            applied.model = model.into();
        }
        applied.candidates = candidates.unwrap_or(applied.candidates);
        applied.budget = budget.unwrap_or(applied.budget);
        Ok(Some(applied))
    }
}

/// Serialises a path, of which JSON has no other form than text.
fn as_text<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&path.to_string_lossy())
}

impl RerankSettings {
    /// The defaults of a pipeline file.
    fn usual(model: PathBuf) -> Self {
        let RerankerOptions { device, dtype } = RerankerOptions::default();
        Self {
            model,
            device,
            dtype,
            candidates: RerankSpec::CANDIDATES,
            budget: Duration::from_millis(RerankSpec::BUDGET_MS.into()),
        }
    }
}

/// The pool in which candidates are scored.
pub(crate) fn rerank_pool() -> BlockingPool {
    BlockingPool::new(AT_ONCE, QUEUE_LIMIT)
}

/// Candidates after reranking.
pub(crate) struct Reranked {
    pub(crate) candidates: Vec<Candidate>,
    /// `false` if the time limit left some without a score.
    pub(crate) is_complete: bool,
    pub(crate) took: Duration,
}

/// Reranks the best candidates, given best first.
///
/// # Errors
/// If their texts cannot be read, or the model cannot be loaded or fails.
pub(crate) async fn rerank(
    settings: &RerankSettings,
    query: &str,
    candidates: Vec<Candidate>,
    points: &PointReader<'_>,
    pool: &BlockingPool,
) -> Result<Reranked, StoreError> {
    let started = Instant::now();
    let count = settings.candidates.min(candidates.len());
    if count == 0 {
        return Ok(Reranked { candidates, is_complete: true, took: Duration::ZERO });
    }
    let models = Arc::clone(&points.target.model.models);
    let (model, options) = (settings.model.clone(), options(settings));
    let load = move || models.reranker(&model, &options);
    let reranker = catch_blocking(load).await.map_err(BoxError::from).flatten();
    let reranker = reranker.map_err(failed)?;
    let deadline = Instant::now() + settings.budget;

    let best = &candidates[..count];
    let read = points.fetch(best.iter().map(|it| it.id)).await?;
    // A point that was deleted in between has no text.
    let passages: Vec<Option<String>> =
        best.iter().map(|it| Some(passage(&read.get(&it.id)?.payload))).collect();
    let query = query.to_owned();
    let score = move |_: &CancelFlag| {
        let texts: Vec<&str> = passages.iter().flatten().map(String::as_str).collect();
        let mut scores = reranker.score(&query, &texts, deadline)?.into_iter();
        let all = passages.iter().map(|passage| passage.as_ref().and_then(|_| scores.next()?));
        Ok::<Vec<_>, BoxError>(all.collect())
    };
    let scores = match pool.run(score).await {
        Ok(scores) => scores.map_err(failed)?,
        // As if the time limit had passed in the queue.
        Err(_) => vec![None; count],
    };
    let is_complete = scores.iter().all(Option::is_some);
    Ok(Reranked { candidates: reorder(candidates, &scores), is_complete, took: started.elapsed() })
}

fn options(settings: &RerankSettings) -> RerankerOptions {
    RerankerOptions { device: settings.device.clone(), dtype: settings.dtype.clone() }
}

fn failed(source: BoxError) -> StoreError {
    StoreError { doing: "rerank the hits", remedy: Remedy::GiveUp, source }
}
