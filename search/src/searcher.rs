//! Searches collections and combines their hits into one answer.
//!
//! All collections are searched concurrently (`collection_search.rs`): first their rankings are
//! read, which determine the scale of fused scores, then each collection is ranked, and the points
//! of the page are read. A collection that fails is listed in the answer, which contains the hits
//! of the others.

use std::time::Instant;

use pipeline::{Facet, KeywordField, StoreError};
use serde_json::Value;

use crate::blocking::BlockingPool;
use crate::caches::SearchCaches;
use crate::collection_search::{CollectionSearch, RankedCollection, SearchWindow};
use crate::cursor::Cursor;
use crate::explain::{TermRarities, explain, rarities};
use crate::fields::{FieldReader, filter_pool, queue_full_error};
use crate::filter::{FilterError, parse_filter};
use crate::flow::{LateFailures, fetch_page, rank, read_legs};
use crate::glob::PatternFilter;
use crate::highlight::{Highlighter, PageHit, highlight_page};
use crate::merge::{self, Place, Ranking};
use crate::query_batcher::QueryBatcher;
use crate::ranking::merge_adjacent;
use crate::request::{InvalidRequest, Request};
use crate::reranking::rerank_pool;
use crate::results::{CollectionFailure, MergedHit, SearchResults, Timings};
use crate::target::{Target, TargetResolver};
use crate::vocabulary::Correction;

/// Maximum number of hits read for grouping by document.
const MAX_SCANNED_HITS: usize = 20_000;

/// Errors of a whole search.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The request is invalid, whatever the state of the collections.
    #[error(transparent)]
    Invalid(#[from] InvalidRequest),
}

/// Answers requests. A process has one searcher, which owns the caches.
pub struct Searcher {
    caches: SearchCaches,
    query_batcher: QueryBatcher,
    filter_pool: BlockingPool,
    rerank_pool: BlockingPool,
}

impl Default for Searcher {
    fn default() -> Self {
        Self::new(SearchCaches::default())
    }
}

impl Searcher {
    /// A searcher with these caches.
    pub fn new(caches: SearchCaches) -> Self {
        Self {
            caches,
            query_batcher: QueryBatcher::default(),
            filter_pool: filter_pool(),
            rerank_pool: rerank_pool(),
        }
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
        let mut late = LateFailures::default();
        loop {
            let answer = self.answer(request, &cursor, resolver, &late.failed).await;
            match answer {
                Ok(mut answer) => {
                    answer.failed.append(&mut late.failed);
                    answer.timings.total = started.elapsed();
                    return Ok(answer);
                }
                Err((name, error)) => late.add(name, &error, resolver),
            }
        }
    }

    /// Answers a request without the collections in `excluded`. The error is that of a collection
    /// whose points could not be read after its rankings.
    async fn answer(
        &self,
        request: &Request,
        cursor: &Cursor,
        resolver: &dyn TargetResolver,
        excluded: &[CollectionFailure],
    ) -> Result<SearchResults, (String, StoreError)> {
        // One more than requested shows if there is a next page.
        let wanted = cursor.offset + request.k + 1;
        let mut window = request.first_window(cursor);
        let mut cost = request.fixed_cost();
        loop {
            cost += request.window_cost(cursor, window);
            let search = CollectionSearch {
                window: SearchWindow { request, candidates: cursor.candidates, limit: window },
                caches: &self.caches,
                query_batcher: &self.query_batcher,
                filter_pool: &self.filter_pool,
                rerank_pool: &self.rerank_pool,
            };
            let (legs, failed) = read_legs(&search, resolver, excluded).await;
            let (found, scales) = rank(&search, legs).await?;
            let rankings = found.iter().zip(&scales);
            let rankings: Vec<Ranking<'_>> = rankings
                .map(|(it, scale)| Ranking { scale, candidates: &it.hits.candidates })
                .collect();
            let merged = merge::merge(&rankings);
            let groups = match request.per_document {
                Some(most) => merge::by_document(&rankings, &merged, most),
                None => merged.into_iter().map(|hit| vec![hit]).collect(),
            };
            // If the window contains many chunks of few documents, other documents rank below it.
            let has_more = found.iter().any(|it| it.legs.has_more);
            if request.per_document.is_some()
                && groups.len() < wanted
                && has_more
                && window < MAX_SCANNED_HITS
            {
                let left = request.budget.saturating_sub(cost);
                let next =
                    (window * 4).min(MAX_SCANNED_HITS).min(request.affordable_window(cursor, left));
                if next > window {
                    window = next;
                    continue;
                }
            }
            let page = groups.iter().skip(cursor.offset).take(request.k);
            let page: Vec<Place> = page.flatten().copied().collect();
            let is_last = groups.len() < wanted || page.is_empty();
            let fetching = Instant::now();
            let page = fetch_page(&search, &found, page).await?;
            let fetching = fetching.elapsed();
            let rarities = rarities(&search, &found).await?;
            let hits = self.show(request, &found, &rarities, page).await;
            let slowest = found.iter().map(|it| (it.legs.embed, it.legs.store));
            let (embed, store) =
                slowest.max_by_key(|(embed, store)| *embed + *store).unwrap_or_default();
            let next = cursor.advance(request.k).filter(|next| {
                let window = request.first_window(next);
                request.fixed_cost() + request.window_cost(next, window) <= request.budget
            });
            let rerank = found.iter().map(|it| it.legs.rerank).max().unwrap_or_default();
            let timings = Timings { embed, store: store + fetching, rerank, ..Timings::default() };
            let nothing_near = !hits.is_empty() && found.iter().all(|it| it.legs.legs.nothing_near);
            return Ok(SearchResults {
                nothing_near,
                cursor: next.filter(|_| !is_last).map(Cursor::encode),
                hits,
                corrections: distinct_corrections(&found),
                searched: found.iter().map(|it| it.legs.to_result()).collect(),
                failed,
                timings,
                cost,
            });
        }
    }

    /// The hits of a page with their highlights, adjacent ones merged if the request wants it.
    async fn show(
        &self,
        request: &Request,
        found: &[RankedCollection],
        rarities: &[TermRarities],
        page: Vec<PageHit>,
    ) -> Vec<MergedHit> {
        let highlight =
            request.highlight && highlight_page(&self.filter_pool, request, found, &page).await;
        let hits = page.into_iter().map(|(from, place, point)| {
            let RankedCollection { hits, .. } = &found[from];
            let highlights = if highlight {
                let find = || Highlighter::new(&found[from], request).find(&point.payload);
                hits.highlights(place, find)
            } else {
                Vec::new()
            };
            let candidate = &hits.candidates[place];
            let explanation = rarities
                .get(from)
                .map(|rarities| explain(candidate, &found[from].legs, rarities, &point.payload));
            MergedHit {
                collection_index: from,
                score: candidate.score,
                similarity: candidate.similarity,
                explanation,
                highlights,
                chunks: vec![point.payload.chunk_index],
                payload: point.payload.clone(),
            }
        });
        let hits: Vec<MergedHit> = hits.collect();
        if request.merge_adjacent {
            return merge_adjacent(&hits, |from| found[from].legs.settings.merge_adjacent);
        }
        hits
    }

    /// The values of a field among the chunks that meet a condition, the most frequent first.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn facets(
        &self,
        target: &Target,
        field: KeywordField,
        filter: Option<&PatternFilter>,
        limit: usize,
    ) -> Result<Vec<Facet>, StoreError> {
        let version = self.caches.version(target);
        let fields = FieldReader { caches: &self.caches, target, version: &version };
        let Some(filter) = filter else {
            let values = fields.values(field).await?;
            return Ok(values.iter().take(limit).cloned().collect());
        };
        let filter = fields.resolve(filter, &self.filter_pool).await?;
        target.index.facet(field, Some(&filter), limit).await
    }

    /// Parses a filter as [`parse_filter`] does, on a blocking thread, because an untrusted
    /// filter may be slow.
    ///
    /// # Errors
    /// If the filter is invalid (inner result), or too many filters wait (outer result).
    pub async fn parse_filter(
        &self,
        filter: Value,
    ) -> Result<Result<PatternFilter, FilterError>, StoreError> {
        self.filter_pool.run(move |_| parse_filter(&filter)).await.map_err(queue_full_error)
    }
}

/// The corrections of all collections, each once.
fn distinct_corrections(found: &[RankedCollection]) -> Vec<Correction> {
    let mut distinct: Vec<Correction> = Vec::new();
    for correction in found.iter().flat_map(|it| &it.legs.corrections) {
        if !distinct.contains(correction) {
            distinct.push(correction.clone());
        }
    }
    distinct
}
