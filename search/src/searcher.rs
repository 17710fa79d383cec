//! Searches collections and combines their hits into one answer.
//!
//! All collections are searched concurrently, with one query to each store. A collection that fails
//! is listed in the answer, which contains the hits of the others. If the generation of a
//! collection was replaced during the search, the new one is searched.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{join, join_all};
use pipeline::{
    BoxError, Facet, Filter, Fusion, Hit, IndexQuery, KeywordField, Payload, QueryVectors, Remedy,
    SparseEncoder, SparseVector, StoreError,
};
use serde_json::Value;

use crate::blocking::{BlockingPool, CancelFlag, QueueFull};
use crate::caches::{CachedHits, GenerationVersion, QueryKey, SearchCaches};
use crate::cursor::Cursor;
use crate::filter::{Condition, FilterError};
use crate::merge::{self, Ranking};
use crate::query_batcher::QueryBatcher;
use crate::request::{InvalidRequest, Request, SearchMode};
use crate::results::{CollectionFailure, CollectionResult, MergedHit, SearchResults, Timings};
use crate::target::{Target, TargetResolver};
use crate::wildcards::FieldValues;

/// Maximum number of languages of a collection for which the words of a query are stemmed.
const MAX_LANGUAGES: usize = 8;

/// Maximum number of values of a field that a pattern is matched with.
const MAX_PATTERN_VALUES: usize = 5_000_000;

/// Maximum number of hits read for grouping by document.
const MAX_SCANNED_HITS: usize = 20_000;

/// Errors of a whole search.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The request is invalid, whatever the state of the collections.
    #[error(transparent)]
    Invalid(#[from] InvalidRequest),
}

/// Errors of one collection.
#[derive(Debug, thiserror::Error)]
enum CollectionError {
    #[error("cannot embed the query: {0}")]
    Embed(String),
    #[error("the collection has no sparse vectors, which the mode `sparse` needs")]
    NoSparseVectors,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Resolve(BoxError),
}

/// Maximum number of filters that are compiled or matched concurrently.
const MAX_CONCURRENT_FILTERS: usize = 2;

/// Maximum number of filters that wait.
const FILTER_QUEUE_LENGTH: usize = 1000;

/// Maximum number of hits that are highlighted on the thread of the request.
const INLINE_HIGHLIGHT_HITS: usize = 20;

/// Answers requests. A process has one searcher, which owns the caches.
pub struct Searcher {
    caches: SearchCaches,
    query_batcher: QueryBatcher,
    filter_pool: BlockingPool,
}

impl Default for Searcher {
    fn default() -> Self {
        Self::new(SearchCaches::default())
    }
}

/// Hits of one collection.
struct CollectionHits {
    target: Arc<Target>,
    mode: SearchMode,
    hits: Arc<CachedHits>,
    /// Sparse vector of the query, for the highlights.
    sparse_query: Option<SparseVector>,
    /// `true` if the store may have further hits.
    has_more: bool,
    embed: Duration,
    store: Duration,
}

impl Searcher {
    /// A searcher with these caches.
    pub fn new(caches: SearchCaches) -> Self {
        let filters = BlockingPool::new(MAX_CONCURRENT_FILTERS, FILTER_QUEUE_LENGTH);
        Self { caches, query_batcher: QueryBatcher::default(), filter_pool: filters }
    }

    /// The caches. Code that changes a collection has to invalidate its entries there.
    pub fn caches(&self) -> &SearchCaches {
        &self.caches
    }

    /// Answers a request and counts it in the metrics.
    ///
    /// # Errors
    /// If the request is invalid. A failed collection is listed in the answer.
    pub async fn search(
        &self,
        request: &Request,
        resolver: &dyn TargetResolver,
    ) -> Result<SearchResults, SearchError> {
        let answer = self.search_uncounted(request, resolver).await?;
        self.caches.metrics().record_search(request.mode, &answer);
        Ok(answer)
    }

    /// Answers a request without counting it, because it is part of another one.
    ///
    /// # Errors
    /// As [`Searcher::search`].
    pub async fn search_uncounted(
        &self,
        request: &Request,
        resolver: &dyn TargetResolver,
    ) -> Result<SearchResults, SearchError> {
        let started = Instant::now();
        request.check()?;
        let cursor = Cursor::for_request(request)?;
        // One more than requested shows if there is a next page.
        let wanted = cursor.offset + request.k + 1;
        let per_document = request.per_document;
        let mut window = request.first_window(&cursor);
        let mut cost = request.fixed_cost();
        loop {
            cost += request.window_cost(&cursor, window);
            let window_request =
                SearchWindow { request, candidates: cursor.candidates, limit: window };
            let asked = request
                .collections
                .iter()
                .map(|name| self.search_collection(&window_request, name, resolver));
            let (mut found, mut failed) = (Vec::new(), Vec::new());
            for (asked, answer) in request.collections.iter().zip(join_all(asked).await) {
                match answer {
                    Ok(it) => found.push((asked, it)),
                    Err(error) => {
                        let is_wordless = matches!(error, CollectionError::NoSparseVectors);
                        let error = pipeline::error_chain(&error);
                        failed.push(CollectionFailure {
                            requested: asked.clone(),
                            lacks_sparse_vectors: is_wordless,
                            error,
                        });
                    }
                }
            }
            let scales: Vec<String> = found.iter().map(|(_, it)| score_scale(it)).collect();
            let rankings = found.iter().zip(&scales);
            let rankings: Vec<Ranking<'_>> =
                rankings.map(|((_, it), scale)| Ranking { scale, hits: &it.hits }).collect();
            let merged = merge::merge(&rankings);
            let groups = match per_document {
                Some(most) => merge::by_document(&merged, most),
                None => merged.into_iter().map(|hit| vec![hit]).collect(),
            };
            // If the window contains many chunks of few documents, other documents rank below it.
            let has_more = found.iter().any(|(_, it)| it.has_more);
            if per_document.is_some()
                && groups.len() < wanted
                && has_more
                && window < MAX_SCANNED_HITS
            {
                let left = request.budget.saturating_sub(cost);
                let next = (window * 4)
                    .min(MAX_SCANNED_HITS)
                    .min(request.affordable_window(&cursor, left));
                if next > window {
                    window = next;
                    continue;
                }
            }
            let page = groups.iter().skip(cursor.offset).take(request.k);
            let page: Vec<(usize, &Hit)> = page.flatten().copied().collect();
            let highlight = request.highlight && self.highlight(request, &found, &page).await;
            let hits = page.into_iter().map(|(from, hit)| {
                let highlights = if highlight {
                    let found = &found[from].1;
                    found.hits.highlights(hit, || found.highlighter(request).find(&hit.payload))
                } else {
                    Vec::new()
                };
                let Hit { score, similarity, payload } = hit.clone();
                MergedHit { collection_index: from, score, similarity, highlights, payload }
            });
            let hits: Vec<MergedHit> = hits.collect();
            let is_last = groups.len() < wanted;
            let slowest = found.iter().map(|(_, it)| (it.embed, it.store));
            let (embed, store) =
                slowest.max_by_key(|(embed, store)| *embed + *store).unwrap_or_default();
            let has_next = !is_last && !hits.is_empty();
            let next = cursor.advance(request.k).filter(|next| {
                let window = request.first_window(next);
                request.fixed_cost() + request.window_cost(next, window) <= request.budget
            });
            let answer = SearchResults {
                cursor: next.filter(|_| has_next).map(Cursor::encode),
                hits,
                searched: found.iter().map(|(asked, it)| collection_result(asked, it)).collect(),
                failed,
                timings: Timings { total: started.elapsed(), embed, store },
                cost,
            };
            return Ok(answer);
        }
    }

    /// Computes the highlights of the hits of a page, on a blocking thread for more than a few
    /// hits: for a thousand hits it takes as long as the rest of the search. The highlights are
    /// stored with the hits. `false` if the queue was full.
    async fn highlight(
        &self,
        request: &Request,
        found: &[(&String, CollectionHits)],
        page: &[(usize, &Hit)],
    ) -> bool {
        if page.len() <= INLINE_HIGHLIGHT_HITS {
            return true;
        }
        let of_page = |from: usize, hits: &CachedHits| -> Vec<usize> {
            let own = page.iter().filter(|(it, _)| *it == from);
            own.filter_map(|(_, hit)| hits.element_offset(hit)).collect()
        };
        let parts: Vec<_> = found
            .iter()
            .enumerate()
            .map(|(from, (_, it))| {
                (Arc::clone(&it.hits), of_page(from, &it.hits), it.highlighter(request))
            })
            .collect();
        let work = move |cancelled: &CancelFlag| {
            for (hits, places, marker) in parts {
                for hit in places.into_iter().map(|place| &hits[place]) {
                    if cancelled.is_set() {
                        return;
                    }
                    hits.highlights(hit, || marker.find(&hit.payload));
                }
            }
        };
        self.filter_pool.run(work).await.is_ok()
    }

    /// The values of a field among the chunks that meet a condition, the most frequent first.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn facets(
        &self,
        target: &Target,
        field: KeywordField,
        condition: Option<&Condition>,
        limit: usize,
    ) -> Result<Vec<Facet>, StoreError> {
        let version = self.caches.version(target);
        let Some(condition) = condition else {
            let values = self.field_values(target, &version, field, MAX_PATTERN_VALUES).await?;
            return Ok(values.iter().take(limit).cloned().collect());
        };
        let filter = self.resolve_filter(condition, target, &version).await?;
        target.index.facet(field, Some(&filter), limit).await
    }

    /// Searches a collection; after an error once more if its live generation has changed.
    async fn search_collection(
        &self,
        window: &SearchWindow<'_>,
        name: &str,
        resolver: &dyn TargetResolver,
    ) -> Result<CollectionHits, CollectionError> {
        let target = resolver.resolve(name).await.map_err(CollectionError::Resolve)?;
        let answer = self.search_generation(window, &target).await;
        let Err(error) = answer else {
            return answer;
        };
        resolver.invalidate(name);
        match resolver.resolve(name).await {
            Ok(now) if now.store != target.store => self.search_generation(window, &now).await,
            Ok(_) | Err(_) => Err(error),
        }
    }

    async fn search_generation(
        &self,
        window: &SearchWindow<'_>,
        target: &Arc<Target>,
    ) -> Result<CollectionHits, CollectionError> {
        let request = window.request;
        let mode = effective_mode(request, target)?;
        // Results are cached under the version read here, before the search, so that a concurrent
        // change is not missed.
        let version = self.caches.version(target);
        let started = Instant::now();
        let by_words = mode != SearchMode::Dense;
        let by_meaning = mode != SearchMode::Sparse || request.threshold.is_some();
        let embedding = async {
            let started = Instant::now();
            if !by_meaning {
                return Ok((None, Duration::ZERO));
            }
            let vector =
                self.query_batcher.query_vector(&target.model, &request.query, &self.caches).await;
            Ok::<_, CollectionError>((
                Some(vector.map_err(CollectionError::Embed)?),
                started.elapsed(),
            ))
        };
        let reading = async {
            let started = Instant::now();
            let languages =
                if by_words { self.languages(target, &version).await? } else { Vec::new() };
            Ok::<_, CollectionError>((languages, started.elapsed()))
        };
        let (embedded, read) = join(embedding, reading).await;
        let ((dense, embed), (languages, store)) = (embedded?, read?);
        let words =
            by_words.then(|| target.sparse_encoder.encode_query(&request.query, &languages));
        let asking = Instant::now();
        let asked = (version, window.query_key(mode));
        let hits = match self.caches.hits(&asked) {
            Some(hits) => hits,
            None => {
                let filter = match &request.filter {
                    Some(condition) => {
                        Some(self.resolve_filter(condition, target, &asked.0).await?)
                    }
                    None => None,
                };
                let dense = dense.map(|vector| vector.to_vec());
                let query = IndexQuery {
                    vectors: query_vectors(mode, dense, words.clone(), window),
                    filter,
                    min_similarity: request.threshold,
                    limit: window.limit,
                    accuracy: request.search_params,
                };
                let hits = Arc::new(CachedHits::new(target.index.query(&query).await?));
                self.caches.insert_hits(asked, &hits);
                hits
            }
        };
        let store = (store + asking.elapsed()).min(started.elapsed().saturating_sub(embed));
        let has_more = hits.len() >= window.limit;
        Ok(CollectionHits {
            target: Arc::clone(target),
            mode,
            hits,
            sparse_query: words,
            has_more,
            embed,
            store,
        })
    }

    /// The most frequent languages of the documents of a collection, the most frequent first.
    async fn languages(
        &self,
        target: &Target,
        version: &GenerationVersion,
    ) -> Result<Vec<String>, StoreError> {
        let facets =
            self.field_values(target, version, KeywordField::Language, MAX_PATTERN_VALUES).await?;
        Ok(facets.iter().take(MAX_LANGUAGES).map(|facet| facet.value.clone()).collect())
    }

    async fn field_values(
        &self,
        target: &Target,
        version: &GenerationVersion,
        field: KeywordField,
        limit: usize,
    ) -> Result<Arc<Vec<Facet>>, StoreError> {
        if let Some(known) = self.caches.facets(version, field) {
            return Ok(known);
        }
        let facets = Arc::new(target.index.facet(field, None, limit).await?);
        self.caches.insert_facets(version.clone(), field, &facets);
        Ok(facets)
    }

    /// The filter for a collection: each pattern is replaced by the values of the collection that
    /// it matches.
    async fn resolve_filter(
        &self,
        condition: &Condition,
        target: &Target,
        version: &GenerationVersion,
    ) -> Result<Filter, StoreError> {
        let mut values = FieldValues::new();
        for field in condition.pattern_fields() {
            // At most `MAX_PATTERN_VALUES` values are matched, a limit for collections with more
            // documents than that.
            let of_field = self.field_values(target, version, field, MAX_PATTERN_VALUES).await?;
            values.insert(field, of_field);
        }
        if values.is_empty() {
            return Ok(condition.resolve(&values, &CancelFlag::default()));
        }
        let condition = condition.clone();
        let work = move |cancelled: &CancelFlag| condition.resolve(&values, cancelled);
        self.filter_pool.run(work).await.map_err(queue_full_error)
    }

    /// Parses a filter as [`Condition::parse`] does, on a blocking thread, because an untrusted
    /// filter may be slow.
    ///
    /// # Errors
    /// If the filter is invalid (inner result), or too many filters wait (outer result).
    pub async fn parse_filter(
        &self,
        filter: Value,
    ) -> Result<Result<Condition, FilterError>, StoreError> {
        self.filter_pool.run(move |_| Condition::parse(&filter)).await.map_err(queue_full_error)
    }
}

fn queue_full_error(_: QueueFull) -> StoreError {
    let source = format!("{FILTER_QUEUE_LENGTH} filters already wait; retry later");
    StoreError { doing: "apply the filter", remedy: Remedy::Retry, source: source.into() }
}

/// A request with the number of candidates and hits to read.
struct SearchWindow<'a> {
    request: &'a Request,
    candidates: usize,
    limit: usize,
}

impl SearchWindow<'_> {
    fn fusion(&self) -> Fusion {
        Fusion { candidates: self.candidates, ..self.request.fusion }
    }

    fn query_key(&self, mode: SearchMode) -> QueryKey {
        let Request { query, filter, threshold, search_params: effort, .. } = self.request;
        let Fusion { k, dense, sparse, candidates } = self.fusion();
        QueryKey {
            query: query.clone(),
            mode,
            filter: filter.clone(),
            threshold: threshold.map(f32::to_bits),
            fusion: [k, dense.to_bits(), sparse.to_bits()],
            candidates,
            limit: self.limit,
            search_params: *effort,
        }
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

fn query_vectors(
    mode: SearchMode,
    dense: Option<Vec<f32>>,
    words: Option<SparseVector>,
    window: &SearchWindow<'_>,
) -> QueryVectors {
    let words = words.unwrap_or_default();
    match (mode, dense) {
        (SearchMode::Sparse, dense) => QueryVectors::Sparse { sparse: words, dense },
        (SearchMode::Dense, Some(dense)) => QueryVectors::Dense(dense),
        (SearchMode::Hybrid, Some(dense)) => {
            QueryVectors::Hybrid { dense, sparse: words, fusion: window.fusion() }
        }
        (SearchMode::Dense | SearchMode::Hybrid, None) => {
            unreachable!("these modes embed the query")
        }
    }
}

/// The scale of the scores of a collection; equal scales are comparable. Sparse scores do not
/// depend on the model.
fn score_scale(found: &CollectionHits) -> String {
    match found.mode {
        SearchMode::Sparse => "sparse".to_owned(),
        SearchMode::Dense | SearchMode::Hybrid => {
            format!("{} {}", found.mode, found.target.model.info.fingerprint)
        }
    }
}

fn collection_result(asked: &str, found: &CollectionHits) -> CollectionResult {
    let Target { collection, name, generation, .. } = &*found.target;
    CollectionResult {
        requested: asked.to_owned(),
        name: name.clone(),
        collection: *collection,
        generation: *generation,
        mode: found.mode,
    }
}

/// Finds the words of a query in passages of a collection.
struct Highlighter {
    sparse_encoder: Arc<dyn SparseEncoder>,
    query: String,
    /// Sparse vector of the query; `None` if the mode did not need it.
    sparse_query: Option<SparseVector>,
}

impl Highlighter {
    fn find(&self, payload: &Payload) -> Vec<Range<usize>> {
        let language = payload.language.as_deref();
        match &self.sparse_query {
            Some(question) => {
                self.sparse_encoder.match_ranges(&payload.content, language, question)
            }
            None => {
                let languages: Vec<String> = payload.language.iter().cloned().collect();
                let question = self.sparse_encoder.encode_query(&self.query, &languages);
                self.sparse_encoder.match_ranges(&payload.content, language, &question)
            }
        }
    }
}

impl CollectionHits {
    fn highlighter(&self, request: &Request) -> Highlighter {
        let words = Arc::clone(&self.target.sparse_encoder);
        Highlighter {
            sparse_encoder: words,
            query: request.query.clone(),
            sparse_query: self.sparse_query.clone(),
        }
    }
}
