//! The port to the reading half of the vectors of one collection and generation: what can be asked, and what a
//! hit is.
//!
//! It knows vectors and words as numbers, not texts or models; making numbers of a question is the business of
//! whoever asks (`search/`). A store gives hits in one order: best first, and hits of the same score by their ids, so
//! that a page follows on the one before.

use async_trait::async_trait;
use uuid::Uuid;

use crate::{Filter, Keyword, Payload, Point, SparseVector, StoreError, point_id};

/// By what chunks are ranked.
#[derive(Clone, Debug, PartialEq)]
pub enum Legs {
    /// By the cosine similarity of their dense vectors to this one.
    Dense(Vec<f32>),
    /// By their words: the sum, over the words of the question, of the weight of the word in the chunk times its
    /// rarity in the collection (BM25).
    Sparse {
        /// The words.
        words: SparseVector,
        /// The question as a dense vector, if hits are to say how similar they are to it.
        dense: Option<Vec<f32>>,
    },
    /// By both rankings, fused.
    Hybrid {
        /// The question as a dense vector.
        dense: Vec<f32>,
        /// Its words.
        words: SparseVector,
        /// How the rankings are fused.
        fusion: Fusion,
    },
}

/// Reciprocal rank fusion as Qdrant has it: a chunk at rank `r` (from 1) of a ranking of weight `w` gets
/// `1 / (r / w + k - 1)`, and its score is the sum over the rankings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fusion {
    /// The larger, the less the first ranks stand out.
    pub k: u32,
    /// Weight of the ranking by dense vectors; 0 takes it out.
    pub dense: f32,
    /// Weight of the ranking by words; 0 takes it out.
    pub sparse: f32,
    /// How many of the best of each ranking are fused.
    pub candidates: usize,
}

impl Default for Fusion {
    /// `k` is that of the article which proposed it (Cormack, Clarke and Büttcher, SIGIR 2009).
    fn default() -> Self {
        Self { k: 60, dense: 1.0, sparse: 1.0, candidates: 100 }
    }
}

impl Fusion {
    /// What a rank, from 0, in a ranking of this weight is worth.
    pub fn worth(&self, rank: usize, weight: f32) -> f32 {
        if weight <= 0.0 {
            return 0.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "ranks are small numbers")]
        let (rank, k) = ((rank + 1) as f32, self.k as f32);
        1.0 / (rank / weight + k - 1.0)
    }
}

/// What a store is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexQuery {
    /// By what chunks are ranked.
    pub legs: Legs,
    /// What hits must be like.
    pub filter: Option<Filter>,
    /// The least cosine similarity of a hit's dense vector to the question's, whatever chunks are ranked by.
    pub threshold: Option<f32>,
    /// How many hits are wanted at most.
    pub limit: usize,
    /// How hard to look.
    pub effort: Effort,
}

impl IndexQuery {
    /// The chunks most similar to a vector.
    pub fn nearest(vector: &[f32], limit: usize, effort: Effort) -> Self {
        let legs = Legs::Dense(vector.to_vec());
        Self { legs, filter: None, threshold: None, limit, effort }
    }
}

/// How hard a search looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effort {
    /// By the index, which may miss some of the best.
    Indexed,
    /// By comparing with every vector, as they are stored.
    Exact,
}

/// A chunk that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// What it is ranked by: see [`Legs`].
    pub score: f32,
    /// Cosine similarity of its dense vector to the question's, where the question has one.
    pub similarity: Option<f32>,
    /// The chunk.
    pub payload: Payload,
}

impl Hit {
    /// The id of its point.
    pub fn id(&self) -> Uuid {
        point_id(self.payload.document, self.payload.chunk_index)
    }
}

/// A value of a field, and how many chunks have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facet {
    /// The value.
    pub value: String,
    /// Chunks.
    pub count: u64,
}

/// The reading half of the vectors of one collection and generation.
#[async_trait]
pub trait VectorIndex: Send + Sync {
    /// The best chunks, best first; those of the same score in order of their ids.
    ///
    /// # Errors
    /// If the store cannot be reached, a vector is not as long as those in the store, the question has words and
    /// the store has none, or there is a threshold and no dense vector to compare with.
    async fn query(&self, query: &IndexQuery) -> Result<Vec<Hit>, StoreError>;

    /// The values of a field among the chunks for which the filter holds, most frequent first, then by value.
    ///
    /// # Errors
    /// If the store cannot be reached.
    async fn facet(
        &self,
        field: Keyword,
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Facet>, StoreError>;

    /// The chunks of a document from this index on, in order; those that are not there are left out.
    ///
    /// # Errors
    /// If the store cannot be reached.
    async fn chunks(
        &self,
        document: Uuid,
        from_chunk: u32,
        limit: u32,
    ) -> Result<Vec<Payload>, StoreError>;

    /// How many points there are, exactly.
    ///
    /// # Errors
    /// If the store cannot be reached.
    async fn count(&self) -> Result<u64, StoreError>;

    /// Points in order of id, `after` excluded, for checks and exports. Vectors come as they are stored.
    ///
    /// # Errors
    /// If the store cannot be reached.
    async fn scroll(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<Point>, StoreError>;
}
