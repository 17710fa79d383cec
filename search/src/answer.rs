//! What is answered: hits, and what a reader has to know to trust them.

use std::ops::Range;
use std::time::Duration;

use pipeline::Payload;
use uuid::Uuid;

use crate::request::Mode;

/// The answer to a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// Best first; with [`crate::Request::per_document`], those of a document together.
    pub hits: Vec<SearchHit>,
    /// Where the next page begins; `None` if there is none.
    pub cursor: Option<String>,
    /// The collections that have answered, in the order of the request.
    pub searched: Vec<Searched>,
    /// Those that have not; the others are answered for all the same.
    pub failed: Vec<Failure>,
    /// Where the time went.
    pub timings: Timings,
    /// What it has cost, in the points of [`crate::Request::cost`].
    pub cost: u64,
}

/// A passage that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchHit {
    /// Which of [`Answer::searched`] it is from.
    pub from: usize,
    /// What its collection ranks it by: cosine similarity, BM25, or the sum of reciprocal ranks.
    pub score: f32,
    /// Cosine similarity to the question, if there was a dense vector of it.
    pub similarity: Option<f32>,
    /// Where the words of the question are in the content, in bytes.
    pub highlights: Vec<Range<usize>>,
    /// The passage, its document, and where it is in it.
    pub payload: Payload,
}

/// A collection that has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Searched {
    /// As the request names it.
    pub asked: String,
    /// Its name.
    pub name: String,
    /// Its id.
    pub collection: Uuid,
    /// The generation that all of its hits are from.
    pub generation: i32,
    /// By what its hits were found: dense, where hybrid was asked for and there are no sparse vectors.
    pub mode: Mode,
}

/// A collection that has not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// As the request names it.
    pub asked: String,
    /// Whether it was to be searched by words alone, and has no sparse vectors.
    pub is_wordless: bool,
    /// Why, in words for whoever runs the system: it may name what only they may know.
    pub error: String,
}

/// Where the time of an answer went. Collections are asked at the same time: this is what the slowest one took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// From the request to the answer.
    pub total: Duration,
    /// Making a vector of the question, or finding it among those made before.
    pub embed: Duration,
    /// Waiting for the store.
    pub store: Duration,
}

impl Timings {
    /// What was neither the model nor the store.
    pub fn own(&self) -> Duration {
        self.total.saturating_sub(self.embed).saturating_sub(self.store)
    }
}
