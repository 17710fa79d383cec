//! The cost of a search in points. One point is about one passage that a store ranks or reads.
//!
//! `cost = characters of the query + 2 × bytes of patterns
//!        + collections × (candidates + hits + texts + 20 × patterns + 2,500 if exact
//!                         + 20 × reranked candidates)`,
//!
//! where `candidates` is the number of fused entries per ranking, `hits` the number of hits read,
//! and `texts` the number of candidates whose texts the passes of the request read. The first two
//! are derived from `k`, `offset` and `per_document` unless the request sets them. Passes that the
//! pipeline file turns on cost nothing: the client cannot turn them off without knowing them.
//! `docs/api.md` documents the formula.

use pipeline::SearchAccuracy;

use crate::cursor::Cursor;
use crate::glob::PatternFilter;
use crate::request::{InvalidRequest, Request};
use crate::reranking::RerankOverride;

/// Maximum cost of one request of a client.
pub const COST_BUDGET: u64 = 50_000;
/// Cost of compiling one byte of a pattern.
pub const PATTERN_BYTE_COST: u64 = 2;
/// Cost of matching a pattern with all values of its field.
const PATTERN_COST: u64 = 20;
/// Cost of an exact search, which compares every vector of a collection.
const EXACT_SEARCH_COST: u64 = 2_500;
/// Cost of scoring a candidate with a reranker.
const RERANK_COST: u64 = 20;

impl Request {
    /// The minimum cost of the request. Grouping by document ([`Request::per_document`]) may cost
    /// more, but never more than [`Request::budget`].
    ///
    /// # Errors
    /// If the request is invalid, whatever its cost.
    ///
    /// ```
    /// use pipeline::SearchAccuracy;
    /// use search::Request;
    ///
    /// let request = Request::new("lease", vec!["handbook".to_owned(), "contracts".to_owned()]);
    /// // 5 characters, and 100 candidates and 11 hits of each collection.
    /// assert_eq!(request.cost()?, 5 + 2 * (100 + 11));
    /// let exact = Request { search_params: SearchAccuracy::Exact, ..request };
    /// assert_eq!(exact.cost()?, 5 + 2 * (100 + 11 + 2_500));
    /// # Ok::<_, search::InvalidRequest>(())
    /// ```
    pub fn cost(&self) -> Result<u64, InvalidRequest> {
        self.check()?;
        let cursor = Cursor::for_request(self)?;
        Ok(self.fixed_cost() + self.window_cost(&cursor, self.first_window(&cursor)))
    }

    /// The number of hits to read first. Documents are grouped from all candidates, so that a page
    /// does not depend on its offset. One hit more than requested shows if there is a next page.
    pub(crate) fn first_window(&self, cursor: &Cursor) -> usize {
        match self.per_document {
            Some(_) => cursor.candidates * 2,
            None => cursor.offset + self.k + 1,
        }
    }

    /// The part of the cost that does not depend on the number of hits read.
    pub(crate) fn fixed_cost(&self) -> u64 {
        let patterns = self.filter.as_ref().map_or_else(Vec::new, PatternFilter::patterns);
        let compiled = to_u64(patterns.iter().map(|(_, it)| it.bytes()).sum()) * PATTERN_BYTE_COST;
        let matched = to_u64(patterns.iter().map(|(_, it)| it.count()).sum()) * PATTERN_COST;
        let exact = if self.search_params == SearchAccuracy::Exact { EXACT_SEARCH_COST } else { 0 };
        let question = to_u64(self.query.chars().count());
        let rerank = self.overrides.rerank.as_ref().map_or(0, RerankOverride::candidates);
        let each = matched + exact + to_u64(rerank) * RERANK_COST;
        question + compiled + self.requested_collections() * each
    }

    /// The cost of reading `window` hits of every collection.
    pub(crate) fn window_cost(&self, cursor: &Cursor, window: usize) -> u64 {
        self.requested_collections() * (self.candidate_cost(cursor) + to_u64(window))
    }

    /// The largest window that costs at most `points`.
    pub(crate) fn affordable_window(&self, cursor: &Cursor, points: u64) -> usize {
        let each = points / self.requested_collections().max(1);
        usize::try_from(each.saturating_sub(self.candidate_cost(cursor))).unwrap_or(usize::MAX)
    }

    /// The cost of the candidates of one collection: to rank them, and to read those that passes
    /// need.
    fn candidate_cost(&self, cursor: &Cursor) -> u64 {
        to_u64(cursor.candidates) + to_u64(self.overrides.points_read(cursor.candidates))
    }

    fn requested_collections(&self) -> u64 {
        to_u64(self.collections.len())
    }
}

fn to_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
