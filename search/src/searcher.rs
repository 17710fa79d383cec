//! Searches collections and combines their hits into one answer.
//!
//! All collections are searched concurrently, with one query to each store
//! (`collection_search.rs`). A collection that fails is listed in the answer, which contains the
//! hits of the others.

use std::time::Instant;

use futures::future::join_all;
use pipeline::{Facet, Hit, KeywordField, StoreError};
use serde_json::Value;

use crate::blocking::BlockingPool;
use crate::caches::SearchCaches;
use crate::collection_search::{CollectionError, CollectionSearch, SearchWindow};
use crate::cursor::Cursor;
use crate::fields::{FieldReader, filter_pool, queue_full_error};
use crate::filter::{FilterError, parse_filter};
use crate::glob::PatternFilter;
use crate::highlight::{Highlighter, highlight_page};
use crate::merge::{self, Ranking};
use crate::query_batcher::QueryBatcher;
use crate::request::{InvalidRequest, Request};
use crate::results::{CollectionFailure, MergedHit, SearchResults, Timings};
use crate::target::{Target, TargetResolver};

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
}

impl Default for Searcher {
    fn default() -> Self {
        Self::new(SearchCaches::default())
    }
}

impl Searcher {
    /// A searcher with these caches.
    pub fn new(caches: SearchCaches) -> Self {
        Self { caches, query_batcher: QueryBatcher::default(), filter_pool: filter_pool() }
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
            let search = CollectionSearch {
                window: SearchWindow { request, candidates: cursor.candidates, limit: window },
                caches: &self.caches,
                query_batcher: &self.query_batcher,
                filter_pool: &self.filter_pool,
            };
            let asked = request.collections.iter().map(|name| search.search(name, resolver));
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
            let scales: Vec<String> = found.iter().map(|(_, it)| it.score_scale()).collect();
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
            let highlight = request.highlight
                && highlight_page(&self.filter_pool, request, &found, &page).await;
            let hits = page.into_iter().map(|(from, hit)| {
                let highlights = if highlight {
                    let found = &found[from].1;
                    let find = || Highlighter::new(found, request).find(&hit.payload);
                    found.hits.highlights(hit, find)
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
                searched: found.iter().map(|(asked, it)| it.to_result(asked)).collect(),
                failed,
                timings: Timings { total: started.elapsed(), embed, store },
                cost,
            };
            return Ok(answer);
        }
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
