//! The answer to a search request: hits, cursor, failures, timings and cost.

use std::ops::Range;
use std::time::Duration;

use pipeline::Payload;
use uuid::Uuid;

use crate::ranking::Explanation;
use crate::request::SearchMode;
use crate::vocabulary::Correction;

/// The answer to a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SearchResults {
    /// Best first. With [`crate::Request::per_document`], hits of one document are adjacent.
    pub hits: Vec<MergedHit>,
    /// `true` if there are hits, and none of them is near the query: they are no more similar to it
    /// than unrelated passages are to each other, and have few of its words. Always `false` in
    /// sparse mode and with a filter.
    pub nothing_near: bool,
    /// Cursor of the next page; `None` on the last page.
    pub cursor: Option<String>,
    /// The collections that answered, in the order of the request.
    pub searched: Vec<CollectionResult>,
    /// The collections that failed; they do not affect the hits of the others.
    pub failed: Vec<CollectionFailure>,
    /// The words that a collection does not have and that were searched in another spelling, in the
    /// order of the query and the collections.
    pub corrections: Vec<Correction>,
    /// Time spent in each part of the search.
    pub timings: Timings,
    /// The cost in points, as computed by [`crate::Request::cost`].
    pub cost: u64,
}

/// A passage in the result.
#[derive(Clone, Debug, PartialEq)]
pub struct MergedHit {
    /// Index of its collection in [`SearchResults::searched`].
    pub collection_index: usize,
    /// The score that ranks it within its collection: cosine similarity, BM25, or the fused score
    /// of a hybrid search.
    pub score: f32,
    /// Cosine similarity to the query; `None` if no dense vector of the query was computed.
    pub similarity: Option<f32>,
    /// How it came to its score, in an answer to [`crate::Request::explain`].
    pub explanation: Option<Explanation>,
    /// Byte ranges in the content that match words of the query.
    pub highlights: Vec<Range<usize>>,
    /// Indices of the chunks in the passage, ascending: one, or several adjacent ones if the
    /// request merges them. Content, start and end of the payload are those of the whole passage;
    /// scores and the rest of the payload are those of its best chunk.
    pub chunks: Vec<u32>,
    /// The passage with its document and its position in it.
    pub payload: Payload,
}

/// A collection that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectionResult {
    /// Its name in the request.
    pub requested: String,
    /// Its own name.
    pub name: String,
    /// Its id.
    pub collection: Uuid,
    /// The generation that all of its hits are from.
    pub generation: i32,
    /// The mode used: dense if hybrid was requested and the collection has no sparse vectors.
    pub mode: SearchMode,
}

/// A collection that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectionFailure {
    /// Its name in the request.
    pub requested: String,
    /// `true` if the request was for sparse search and the collection has no sparse vectors.
    pub lacks_sparse_vectors: bool,
    /// `true` if the request was for reranking and the collection has no reranker.
    pub lacks_reranker: bool,
    /// The error with its causes, for the operator: it may contain details that clients must not
    /// see.
    pub error: String,
}

/// Time spent in each part of a search. Collections are searched concurrently, so the values are
/// those of the slowest one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// From the request to the answer.
    pub total: Duration,
    /// Embedding the query, or reading its vector from the cache.
    pub embed: Duration,
    /// Waiting for the vector store.
    pub store: Duration,
    /// Reranking; zero if no collection was reranked, or the ranking was cached.
    pub rerank: Duration,
}

impl Timings {
    /// The total without embedding, vector store and reranker.
    pub fn overhead(&self) -> Duration {
        self.total.saturating_sub(self.embed + self.store + self.rerank)
    }
}
