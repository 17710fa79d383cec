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
    BoxError, Facet, Filter, Fusion, Hit, IndexQuery, Keyword, Legs, Payload, Remedy, SparseVector,
    StoreError, Words,
};
use serde_json::Value;

use crate::answer::{Answer, Failure, SearchHit, Searched, Timings};
use crate::blocking::{Busy, Cancelled, Workers};
use crate::caches::{Asked, Caches, Hits, Version};
use crate::cursor::Cursor;
use crate::filter::{Condition, FilterError};
use crate::merge::{self, Ranking};
use crate::questions::Questions;
use crate::request::{Invalid, Mode, Request};
use crate::target::{Resolve, Target};
use crate::wildcards::Values;

/// Maximum number of languages of a collection for which the words of a query are stemmed.
const LANGUAGES: usize = 8;

/// Maximum number of values of a field that a pattern is matched with.
const MOST_VALUES: usize = 5_000_000;

/// Maximum number of hits read for grouping by document.
const DEEPEST: usize = 20_000;

/// Errors of a whole search.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The request is invalid, whatever the state of the collections.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

/// Errors of one collection.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("cannot embed the query: {0}")]
    Embed(String),
    #[error("the collection has no sparse vectors, which the mode `sparse` needs")]
    NoWords,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Resolve(BoxError),
}

/// Maximum number of filters that are compiled or matched concurrently.
const FILTERS_AT_ONCE: usize = 2;

/// Maximum number of filters that wait.
const FILTER_QUEUE: usize = 1000;

/// Maximum number of hits that are highlighted on the thread of the request.
const FEW_HITS: usize = 20;

/// Answers requests. A process has one searcher, which owns the caches.
pub struct Searcher {
    caches: Caches,
    questions: Questions,
    filters: Workers,
}

impl Default for Searcher {
    fn default() -> Self {
        Self::new(Caches::default())
    }
}

/// Hits of one collection.
struct Found {
    target: Arc<Target>,
    mode: Mode,
    hits: Arc<Hits>,
    /// Sparse vector of the query, for the highlights.
    words: Option<SparseVector>,
    /// `true` if the store may have further hits.
    has_more: bool,
    embed: Duration,
    store: Duration,
}

impl Searcher {
    /// A searcher with these caches.
    pub fn new(caches: Caches) -> Self {
        let filters = Workers::new(FILTERS_AT_ONCE, FILTER_QUEUE);
        Self { caches, questions: Questions::default(), filters }
    }

    /// The caches. Code that changes a collection has to invalidate its entries there.
    pub fn caches(&self) -> &Caches {
        &self.caches
    }

    /// Answers a request and counts it in the metrics.
    ///
    /// # Errors
    /// If the request is invalid. A failed collection is listed in the answer.
    pub async fn answer(
        &self,
        request: &Request,
        resolver: &dyn Resolve,
    ) -> Result<Answer, SearchError> {
        let answer = self.find(request, resolver).await?;
        self.caches.metrics().answered(request.mode, &answer);
        Ok(answer)
    }

    /// Answers a request without counting it, because it is part of another one.
    ///
    /// # Errors
    /// As [`Searcher::answer`].
    pub async fn find(
        &self,
        request: &Request,
        resolver: &dyn Resolve,
    ) -> Result<Answer, SearchError> {
        let started = Instant::now();
        request.check()?;
        let cursor = Cursor::of(request)?;
        // One more than requested shows if there is a next page.
        let wanted = cursor.offset + request.k + 1;
        let per_document = request.per_document;
        let mut window = request.first_window(&cursor);
        let mut cost = request.fixed_cost();
        loop {
            cost += request.window_cost(&cursor, window);
            let window_request = Window { request, candidates: cursor.candidates, limit: window };
            let asked =
                request.collections.iter().map(|name| self.ask(&window_request, name, resolver));
            let (mut found, mut failed) = (Vec::new(), Vec::new());
            for (asked, answer) in request.collections.iter().zip(join_all(asked).await) {
                match answer {
                    Ok(it) => found.push((asked, it)),
                    Err(error) => {
                        let is_wordless = matches!(error, Trouble::NoWords);
                        let error = pipeline::chain(&error);
                        failed.push(Failure { asked: asked.clone(), is_wordless, error });
                    }
                }
            }
            let scales: Vec<String> = found.iter().map(|(_, it)| scale(it)).collect();
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
            if per_document.is_some() && groups.len() < wanted && has_more && window < DEEPEST {
                let left = request.budget.saturating_sub(cost);
                let next = (window * 4).min(DEEPEST).min(request.affordable_window(&cursor, left));
                if next > window {
                    window = next;
                    continue;
                }
            }
            let page = groups.iter().skip(cursor.offset).take(request.k);
            let page: Vec<(usize, &Hit)> = page.flatten().copied().collect();
            let highlight = request.highlight && self.highlighted(request, &found, &page).await;
            let hits = page.into_iter().map(|(from, hit)| {
                let highlights = if highlight {
                    let found = &found[from].1;
                    found.hits.highlights(hit, || found.marker(request).find(&hit.payload))
                } else {
                    Vec::new()
                };
                let Hit { score, similarity, payload } = hit.clone();
                SearchHit { from, score, similarity, highlights, payload }
            });
            let hits: Vec<SearchHit> = hits.collect();
            let is_last = groups.len() < wanted;
            let slowest = found.iter().map(|(_, it)| (it.embed, it.store));
            let (embed, store) =
                slowest.max_by_key(|(embed, store)| *embed + *store).unwrap_or_default();
            let has_next = !is_last && !hits.is_empty();
            let next = cursor.behind(request.k).filter(|next| {
                let window = request.first_window(next);
                request.fixed_cost() + request.window_cost(next, window) <= request.budget
            });
            let answer = Answer {
                cursor: next.filter(|_| has_next).map(Cursor::text),
                hits,
                searched: found.iter().map(|(asked, it)| searched(asked, it)).collect(),
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
    async fn highlighted(
        &self,
        request: &Request,
        found: &[(&String, Found)],
        page: &[(usize, &Hit)],
    ) -> bool {
        if page.len() <= FEW_HITS {
            return true;
        }
        let of_page = |from: usize, hits: &Hits| -> Vec<usize> {
            let own = page.iter().filter(|(it, _)| *it == from);
            own.filter_map(|(_, hit)| hits.element_offset(hit)).collect()
        };
        let parts: Vec<_> = found
            .iter()
            .enumerate()
            .map(|(from, (_, it))| {
                (Arc::clone(&it.hits), of_page(from, &it.hits), it.marker(request))
            })
            .collect();
        let work = move |cancelled: &Cancelled| {
            for (hits, places, marker) in parts {
                for hit in places.into_iter().map(|place| &hits[place]) {
                    if cancelled.is_set() {
                        return;
                    }
                    hits.highlights(hit, || marker.find(&hit.payload));
                }
            }
        };
        self.filters.run(work).await.is_ok()
    }

    /// The values of a field among the chunks that meet a condition, the most frequent first.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn facets(
        &self,
        target: &Target,
        field: Keyword,
        condition: Option<&Condition>,
        limit: usize,
    ) -> Result<Vec<Facet>, StoreError> {
        let version = self.caches.version(target);
        let Some(condition) = condition else {
            let values = self.values(target, &version, field, MOST_VALUES).await?;
            return Ok(values.iter().take(limit).cloned().collect());
        };
        let filter = self.filter(condition, target, &version).await?;
        target.index.facet(field, Some(&filter), limit).await
    }

    /// Searches a collection; after an error once more if its live generation has changed.
    async fn ask(
        &self,
        window: &Window<'_>,
        name: &str,
        resolver: &dyn Resolve,
    ) -> Result<Found, Trouble> {
        let target = resolver.resolve(name).await.map_err(Trouble::Resolve)?;
        let answer = self.ask_generation(window, &target).await;
        let Err(error) = answer else {
            return answer;
        };
        resolver.doubt(name);
        match resolver.resolve(name).await {
            Ok(now) if now.store != target.store => self.ask_generation(window, &now).await,
            Ok(_) | Err(_) => Err(error),
        }
    }

    async fn ask_generation(
        &self,
        window: &Window<'_>,
        target: &Arc<Target>,
    ) -> Result<Found, Trouble> {
        let request = window.request;
        let mode = mode_of(request, target)?;
        // Results are cached under the version read here, before the search, so that a concurrent
        // change is not missed.
        let version = self.caches.version(target);
        let started = Instant::now();
        let by_words = mode != Mode::Dense;
        let by_meaning = mode != Mode::Sparse || request.threshold.is_some();
        let embedding = async {
            let started = Instant::now();
            if !by_meaning {
                return Ok((None, Duration::ZERO));
            }
            let vector = self.questions.vector(&target.model, &request.query, &self.caches).await;
            Ok::<_, Trouble>((Some(vector.map_err(Trouble::Embed)?), started.elapsed()))
        };
        let reading = async {
            let started = Instant::now();
            let languages =
                if by_words { self.languages(target, &version).await? } else { Vec::new() };
            Ok::<_, Trouble>((languages, started.elapsed()))
        };
        let (embedded, read) = join(embedding, reading).await;
        let ((dense, embed), (languages, store)) = (embedded?, read?);
        let words = by_words.then(|| target.words.question(&request.query, &languages));
        let asking = Instant::now();
        let asked = (version, window.asked(mode));
        let hits = match self.caches.hits(&asked) {
            Some(hits) => hits,
            None => {
                let filter = match &request.filter {
                    Some(condition) => Some(self.filter(condition, target, &asked.0).await?),
                    None => None,
                };
                let dense = dense.map(|vector| vector.to_vec());
                let query = IndexQuery {
                    legs: legs(mode, dense, words.clone(), window),
                    filter,
                    threshold: request.threshold,
                    limit: window.limit,
                    effort: request.effort,
                };
                let hits = Arc::new(Hits::new(target.index.query(&query).await?));
                self.caches.keep_hits(asked, &hits);
                hits
            }
        };
        let store = (store + asking.elapsed()).min(started.elapsed().saturating_sub(embed));
        let has_more = hits.len() >= window.limit;
        Ok(Found { target: Arc::clone(target), mode, hits, words, has_more, embed, store })
    }

    /// The most frequent languages of the documents of a collection, the most frequent first.
    async fn languages(
        &self,
        target: &Target,
        version: &Version,
    ) -> Result<Vec<String>, StoreError> {
        let facets = self.values(target, version, Keyword::Language, MOST_VALUES).await?;
        Ok(facets.iter().take(LANGUAGES).map(|facet| facet.value.clone()).collect())
    }

    async fn values(
        &self,
        target: &Target,
        version: &Version,
        field: Keyword,
        limit: usize,
    ) -> Result<Arc<Vec<Facet>>, StoreError> {
        if let Some(known) = self.caches.facets(version, field) {
            return Ok(known);
        }
        let facets = Arc::new(target.index.facet(field, None, limit).await?);
        self.caches.keep_facets(version.clone(), field, &facets);
        Ok(facets)
    }

    /// The filter for a collection: each pattern is replaced by the values of the collection that
    /// it matches.
    async fn filter(
        &self,
        condition: &Condition,
        target: &Target,
        version: &Version,
    ) -> Result<Filter, StoreError> {
        let mut values = Values::new();
        for field in condition.matched_fields() {
            // At most `MOST_VALUES` values are matched, a limit for collections with more documents
            // than that.
            let of_field = self.values(target, version, field, MOST_VALUES).await?;
            values.insert(field, of_field);
        }
        if values.is_empty() {
            return Ok(condition.resolved(&values, &Cancelled::default()));
        }
        let condition = condition.clone();
        let work = move |cancelled: &Cancelled| condition.resolved(&values, cancelled);
        self.filters.run(work).await.map_err(busy)
    }

    /// Parses a filter as [`Condition::parse`] does, on a blocking thread, because an untrusted
    /// filter may be slow.
    ///
    /// # Errors
    /// If the filter is invalid (inner result), or too many filters wait (outer result).
    pub async fn parse(&self, filter: Value) -> Result<Result<Condition, FilterError>, StoreError> {
        self.filters.run(move |_| Condition::parse(&filter)).await.map_err(busy)
    }
}

fn busy(_: Busy) -> StoreError {
    let source = format!("{FILTER_QUEUE} filters already wait; retry later");
    StoreError { doing: "apply the filter", remedy: Remedy::Retry, source: source.into() }
}

/// A request with the number of candidates and hits to read.
struct Window<'a> {
    request: &'a Request,
    candidates: usize,
    limit: usize,
}

impl Window<'_> {
    fn fusion(&self) -> Fusion {
        Fusion { candidates: self.candidates, ..self.request.fusion }
    }

    fn asked(&self, mode: Mode) -> Asked {
        let Request { query, filter, threshold, effort, .. } = self.request;
        let Fusion { k, dense, sparse, candidates } = self.fusion();
        Asked {
            query: query.clone(),
            mode,
            filter: filter.clone(),
            threshold: threshold.map(f32::to_bits),
            fusion: [k, dense.to_bits(), sparse.to_bits()],
            candidates,
            limit: self.limit,
            effort: *effort,
        }
    }
}

/// The mode in which a collection is searched.
fn mode_of(request: &Request, target: &Target) -> Result<Mode, Trouble> {
    match request.mode {
        Some(Mode::Sparse) if !target.sparse => Err(Trouble::NoWords),
        None | Some(Mode::Hybrid) if !target.sparse => Ok(Mode::Dense),
        None => Ok(Mode::Hybrid),
        Some(mode) => Ok(mode),
    }
}

fn legs(
    mode: Mode,
    dense: Option<Vec<f32>>,
    words: Option<SparseVector>,
    window: &Window<'_>,
) -> Legs {
    let words = words.unwrap_or_default();
    match (mode, dense) {
        (Mode::Sparse, dense) => Legs::Sparse { words, dense },
        (Mode::Dense, Some(dense)) => Legs::Dense(dense),
        (Mode::Hybrid, Some(dense)) => Legs::Hybrid { dense, words, fusion: window.fusion() },
        (Mode::Dense | Mode::Hybrid, None) => unreachable!("these modes embed the query"),
    }
}

/// The scale of the scores of a collection; equal scales are comparable. Sparse scores do not
/// depend on the model.
fn scale(found: &Found) -> String {
    match found.mode {
        Mode::Sparse => "sparse".to_owned(),
        Mode::Dense | Mode::Hybrid => {
            format!("{} {}", found.mode, found.target.model.info.fingerprint)
        }
    }
}

fn searched(asked: &str, found: &Found) -> Searched {
    let Target { collection, name, generation, .. } = &*found.target;
    Searched {
        asked: asked.to_owned(),
        name: name.clone(),
        collection: *collection,
        generation: *generation,
        mode: found.mode,
    }
}

/// Finds the words of a query in passages of a collection.
struct Marker {
    words: Arc<dyn Words>,
    query: String,
    /// Sparse vector of the query; `None` if the mode did not need it.
    question: Option<SparseVector>,
}

impl Marker {
    fn find(&self, payload: &Payload) -> Vec<Range<usize>> {
        let language = payload.language.as_deref();
        match &self.question {
            Some(question) => self.words.found(&payload.content, language, question),
            None => {
                let languages: Vec<String> = payload.language.iter().cloned().collect();
                let question = self.words.question(&self.query, &languages);
                self.words.found(&payload.content, language, &question)
            }
        }
    }
}

impl Found {
    fn marker(&self, request: &Request) -> Marker {
        let words = Arc::clone(&self.target.words);
        Marker { words, query: request.query.clone(), question: self.words.clone() }
    }
}
