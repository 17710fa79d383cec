//! Searches one collection: embeds the query, resolves its filter, reads the rankings of the store,
//! and makes the final ranking of them. If the generation was replaced during the search, the new
//! one is searched.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use futures::future::join;
use pipeline::{BoxError, SparseVector, StoreError};

use crate::blocking::BlockingPool;
use crate::caches::{GenerationVersion, LegsKey, RankedHits, RankingKey, SearchCaches};
use crate::exact_terms::{ExactSearch, exact_terms};
use crate::fields::FieldReader;
use crate::points::{PointReader, Points};
use crate::query_batcher::QueryBatcher;
use crate::ranking::{BestScores, Legs, Passes, Ranked};
use crate::request::{Request, SearchMode};
use crate::reranking::NoReranker;
use crate::results::CollectionResult;
use crate::settings::SearchSettings;
use crate::store_query::StoreQuery;
use crate::target::{Target, TargetResolver};
use crate::vocabulary::{Correction, VocabularyReader};

/// Errors of one collection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CollectionError {
    #[error("cannot embed the query: {0}")]
    Embed(String),
    #[error("the collection has no sparse vectors, which the mode `sparse` needs")]
    NoSparseVectors,
    #[error(transparent)]
    NoReranker(#[from] NoReranker),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Resolve(BoxError),
}

/// The rankings of one collection.
pub(crate) struct CollectionLegs {
    /// Name of the collection in the request.
    pub(crate) requested: String,
    pub(crate) target: Arc<Target>,
    pub(crate) mode: SearchMode,
    /// Settings of the collection, with the overrides of the request.
    pub(crate) settings: SearchSettings,
    /// The state of the generation before it was read.
    version: GenerationVersion,
    key: LegsKey,
    pub(crate) legs: Arc<Legs>,
    /// Sparse vector of the query, for the highlights.
    pub(crate) sparse_query: Option<SparseVector>,
    /// The corrected words of the query.
    pub(crate) corrections: Vec<Correction>,
    /// `true` if the store may have further hits.
    pub(crate) has_more: bool,
    pub(crate) embed: Duration,
    pub(crate) store: Duration,
    pub(crate) rerank: Duration,
}

impl CollectionLegs {
    /// The scale of the scores of a collection; equal scales are comparable. Sparse scores do not
    /// depend on the model.
    pub(crate) fn score_scale(&self) -> String {
        let model = &self.target.model.info.fingerprint;
        let scale = match self.mode {
            SearchMode::Sparse => "sparse".to_owned(),
            SearchMode::Dense | SearchMode::Hybrid => format!("{} {model}", self.mode),
        };
        if self.mode == SearchMode::Hybrid || self.settings.has_passes() {
            return format!("{scale} {}", self.settings.cache_key());
        }
        scale
    }

    /// The collection as part of the answer.
    pub(crate) fn to_result(&self) -> CollectionResult {
        let Target { collection, name, generation, .. } = &*self.target;
        CollectionResult {
            requested: self.requested.clone(),
            name: name.clone(),
            collection: *collection,
            generation: *generation,
            mode: self.mode,
        }
    }
}

/// One collection with its final ranking.
pub(crate) struct RankedCollection {
    pub(crate) legs: CollectionLegs,
    pub(crate) hits: Arc<RankedHits>,
}

/// A request with the number of candidates and hits to read.
pub(crate) struct SearchWindow<'a> {
    pub(crate) request: &'a Request,
    pub(crate) candidates: usize,
    pub(crate) limit: usize,
}

impl SearchWindow<'_> {
    fn legs_key(&self, mode: SearchMode, settings: &SearchSettings) -> LegsKey {
        let Request { query, filter, threshold, search_params: accuracy, .. } = self.request;
        // The rankings are long enough for the next pages, which are then served from the cache.
        let limit = match mode {
            SearchMode::Hybrid => self.candidates,
            SearchMode::Dense | SearchMode::Sparse => self.limit.max(self.candidates),
        };
        LegsKey {
            query: query.clone(),
            mode,
            filter: filter.clone(),
            threshold: threshold.map(f32::to_bits),
            limit,
            accuracy: *accuracy,
            exact_terms: settings.exact_terms && mode == SearchMode::Hybrid,
            typos: settings.typos && mode != SearchMode::Dense,
        }
    }
}

/// The search of one window in one collection, with the parts of the searcher.
pub(crate) struct CollectionSearch<'a> {
    pub(crate) window: SearchWindow<'a>,
    pub(crate) caches: &'a SearchCaches,
    pub(crate) query_batcher: &'a QueryBatcher,
    pub(crate) filter_pool: &'a BlockingPool,
    pub(crate) rerank_pool: &'a BlockingPool,
}

impl CollectionSearch<'_> {
    /// The rankings of a collection; after an error it is searched once more if its live generation
    /// has changed.
    pub(crate) async fn read_legs(
        &self,
        name: &str,
        resolver: &dyn TargetResolver,
    ) -> Result<CollectionLegs, CollectionError> {
        let target = resolver.resolve(name).await.map_err(CollectionError::Resolve)?;
        let answer = self.read_generation(name, &target).await;
        let Err(error) = answer else {
            return answer;
        };
        resolver.invalidate(name);
        match resolver.resolve(name).await {
            Ok(now) if now.store != target.store => self.read_generation(name, &now).await,
            Ok(_) | Err(_) => Err(error),
        }
    }

    async fn read_generation(
        &self,
        name: &str,
        target: &Arc<Target>,
    ) -> Result<CollectionLegs, CollectionError> {
        let (request, window) = (self.window.request, &self.window);
        let mode = effective_mode(request, target)?;
        // Results are cached under the version read here, before the search, so that a concurrent
        // change is not missed.
        let version = self.caches.version(target);
        let fields = FieldReader { caches: self.caches, target, version: &version };
        let started = Instant::now();
        let by_words = mode != SearchMode::Dense;
        let by_meaning = mode != SearchMode::Sparse || request.threshold.is_some();
        let embedding = async {
            let started = Instant::now();
            if !by_meaning {
                return Ok((None, Duration::ZERO));
            }
            let vector =
                self.query_batcher.query_vector(&target.model, &request.query, self.caches).await;
            Ok::<_, CollectionError>((
                Some(vector.map_err(CollectionError::Embed)?),
                started.elapsed(),
            ))
        };
        let reading = async {
            let started = Instant::now();
            let languages = if by_words { fields.languages().await? } else { Vec::new() };
            Ok::<_, CollectionError>((languages, started.elapsed()))
        };
        let (embedded, read) = join(embedding, reading).await;
        let ((dense, embed), (languages, store)) = (embedded?, read?);
        let asking = Instant::now();
        let settings = target.settings.with(&request.overrides)?;
        let key = window.legs_key(mode, &settings);
        let reader = VocabularyReader {
            points: PointReader { caches: self.caches, target, version: &version },
            pool: self.filter_pool,
            languages: &languages,
        };
        let question = if key.typos {
            reader.question(&request.query).await?
        } else {
            reader.as_typed(&request.query)
        };
        let words = by_words.then_some(question.vector);
        let asked = (version.clone(), key.clone());
        let legs = match self.caches.legs(&asked) {
            Some(legs) => legs,
            None => {
                let filter = match &request.filter {
                    Some(filter) => Some(fields.resolve(filter, self.filter_pool).await?),
                    None => None,
                };
                let query = StoreQuery { target, request, filter, limit: key.limit };
                let dense = dense.as_ref().map(|it| &***it);
                let terms = target.sparse_encoder.query_terms(&question.text, &languages);
                let exact_terms =
                    if key.exact_terms { exact_terms(terms.clone()) } else { Vec::new() };
                let points = PointReader { caches: self.caches, target, version: &version };
                let exact = ExactSearch { query: &query, points: &points, dense };
                let legs = query.legs(mode, dense, words.as_ref());
                let (legs, exact) = join(legs, exact.find(exact_terms)).await;
                let mut legs = Legs { exact: exact?, ..legs? };
                if mode != SearchMode::Sparse && request.filter.is_none() {
                    legs.nothing_near = points.is_nothing_near(&legs, &terms).await?;
                }
                let legs = Arc::new(legs);
                self.caches.insert_legs(asked, &legs);
                legs
            }
        };
        let store = (store + asking.elapsed()).min(started.elapsed().saturating_sub(embed));
        let has_more = match mode {
            SearchMode::Hybrid => false,
            SearchMode::Dense => legs.dense.len() >= key.limit,
            SearchMode::Sparse => legs.sparse.len() >= key.limit,
        };
        Ok(CollectionLegs {
            requested: name.to_owned(),
            settings,
            target: Arc::clone(target),
            mode,
            version,
            key,
            legs,
            sparse_query: words,
            corrections: question.corrections,
            has_more,
            embed,
            store,
            rerank: Duration::ZERO,
        })
    }

    /// The final ranking of a collection. `best` are the best scores of all collections whose
    /// scores are compared with its own.
    pub(crate) async fn rank(
        &self,
        mut legs: CollectionLegs,
        best: BestScores,
    ) -> Result<RankedCollection, (String, StoreError)> {
        let started = Instant::now();
        let key = RankingKey {
            legs: legs.key.clone(),
            settings: legs.settings.cache_key(),
            best: best.to_bits(),
            candidates: self.window.candidates,
        };
        let asked = (legs.version.clone(), key);
        if let Some(hits) = self.caches.hits(&asked) {
            return Ok(RankedCollection { legs, hits });
        }
        let passes = Passes {
            request: self.window.request,
            settings: &legs.settings,
            mode: legs.mode,
            limit: self.window.candidates,
            now: Utc::now().timestamp_micros(),
            sparse_query: legs.sparse_query.as_ref(),
            points: self.points(&legs),
            rerank_pool: self.rerank_pool,
        };
        let ranked = passes.rank(&legs.legs, best).await;
        let Ranked { candidates, is_complete, rerank } =
            ranked.map_err(|error| (legs.requested.clone(), error))?;
        let hits = Arc::new(RankedHits::new(candidates));
        if is_complete {
            self.caches.insert_hits(asked, &hits);
        }
        legs.rerank = rerank;
        legs.store += started.elapsed().saturating_sub(rerank);
        Ok(RankedCollection { legs, hits })
    }

    /// The points of the hits at these places.
    pub(crate) async fn fetch(
        &self,
        found: &RankedCollection,
        places: &[usize],
    ) -> Result<Points, (String, StoreError)> {
        let ids = places.iter().map(|place| found.hits.candidates[*place].id);
        let points = self.points(&found.legs).fetch(ids).await;
        points.map_err(|error| (found.legs.requested.clone(), error))
    }

    /// Reads the points of a collection.
    pub(crate) fn points<'a>(&'a self, legs: &'a CollectionLegs) -> PointReader<'a> {
        PointReader { caches: self.caches, target: &legs.target, version: &legs.version }
    }
}

/// The mode in which a collection is searched.
fn effective_mode(request: &Request, target: &Target) -> Result<SearchMode, CollectionError> {
    match request.mode {
        Some(SearchMode::Sparse) if !target.sparse => Err(CollectionError::NoSparseVectors),
        None | Some(SearchMode::Hybrid) if !target.sparse => Ok(SearchMode::Dense),
        None => Ok(SearchMode::Hybrid),
        Some(mode) => Ok(mode),
    }
}
