//! The port for reading the vectors of one collection and generation: queries and hits.
//!
//! A store knows vectors as numbers, not texts or models; `search/` computes the vectors of a
//! query. Hits are ordered by score, best first, then by id, so that each page continues the
//! previous one.

use async_trait::async_trait;
use uuid::Uuid;

use crate::{Filter, KeywordField, Payload, Point, SparseVector, StoreError, point_id};

/// Vectors of a query, which rank the chunks.
#[derive(Clone, Debug, PartialEq)]
pub enum QueryVectors {
    /// Ranking by cosine similarity to this dense vector.
    Dense(Vec<f32>),
    /// Ranking by BM25: the sum, over the terms of the query, of the weight of the term in the
    /// chunk times its rarity in the collection.
    Sparse {
        /// Sparse vector of the query.
        sparse: SparseVector,
        /// Dense vector of the query, if hits are to report their similarity.
        dense: Option<Vec<f32>>,
    },
    /// Ranking by both, fused.
    Hybrid {
        /// Dense vector of the query.
        dense: Vec<f32>,
        /// Sparse vector of the query.
        sparse: SparseVector,
        /// Parameters of rank fusion.
        fusion: Fusion,
    },
}

/// Reciprocal rank fusion as in Qdrant: rank `r` (from 1) in a ranking of weight `w` scores `1 / (r
/// / w + k - 1)`, and the score of a chunk is the sum over the rankings.
///
/// ```
/// use pipeline::Fusion;
///
/// // First of the dense ranking and third of the sparse one, which counts twice.
/// let fusion = Fusion { k: 60, dense: 1.0, sparse: 2.0, ..Fusion::default() };
/// let score = fusion.rank_score(0, fusion.dense) + fusion.rank_score(2, fusion.sparse);
/// assert!((score - (1.0 / 60.0 + 1.0 / 60.5)).abs() < 1e-6);
/// assert_eq!(fusion.rank_score(0, 0.0), 0.0, "a ranking of weight 0 adds nothing");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fusion {
    /// A larger value reduces the advantage of the first ranks.
    pub k: u32,
    /// Weight of the dense ranking; 0 disables it.
    pub dense: f32,
    /// Weight of the sparse ranking; 0 disables it.
    pub sparse: f32,
    /// Number of best hits of each ranking to fuse.
    pub candidates: usize,
}

impl Default for Fusion {
    /// `k` is that of the original paper (Cormack, Clarke and Büttcher, SIGIR 2009).
    fn default() -> Self {
        Self { k: 60, dense: 1.0, sparse: 1.0, candidates: 100 }
    }
}

impl Fusion {
    /// Score of a rank (from 0) in a ranking of this weight.
    pub fn rank_score(&self, rank: usize, weight: f32) -> f32 {
        if weight <= 0.0 {
            return 0.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "ranks are small numbers")]
        let (rank, k) = ((rank + 1) as f32, self.k as f32);
        1.0 / (rank / weight + k - 1.0)
    }
}

/// A query to a vector store.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexQuery {
    /// Vectors of the query.
    pub vectors: QueryVectors,
    /// Condition on hits.
    pub filter: Option<Filter>,
    /// Minimum cosine similarity of the dense vectors of hit and query, for every kind of ranking.
    pub min_similarity: Option<f32>,
    /// Maximum number of hits.
    pub limit: usize,
    /// Approximate or exact search.
    pub accuracy: SearchAccuracy,
}

impl IndexQuery {
    /// Query for the chunks most similar to a vector.
    ///
    /// ```
    /// use pipeline::{IndexQuery, QueryVectors, SearchAccuracy};
    ///
    /// let query = IndexQuery::nearest(&[0.6, 0.8], 10, SearchAccuracy::Exact);
    /// assert_eq!(query.vectors, QueryVectors::Dense(vec![0.6, 0.8]));
    /// assert_eq!((query.limit, query.filter), (10, None));
    /// ```
    pub fn nearest(vector: &[f32], limit: usize, effort: SearchAccuracy) -> Self {
        let legs = QueryVectors::Dense(vector.to_vec());
        Self { vectors: legs, filter: None, min_similarity: None, limit, accuracy: effort }
    }
}

/// Approximate or exact search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SearchAccuracy {
    /// Search in the approximate index (HNSW), which may miss some of the best hits.
    Approximate,
    /// Comparison with every vector, in stored precision.
    Exact,
}

/// A chunk in the result of a search.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// Score of the ranking; see [`QueryVectors`].
    pub score: f32,
    /// Cosine similarity to the dense vector of the query; `None` for a query without one.
    pub similarity: Option<f32>,
    /// Payload of the chunk.
    pub payload: Payload,
}

impl Hit {
    /// Id of its point.
    pub fn id(&self) -> Uuid {
        point_id(self.payload.document, self.payload.chunk_index)
    }
}

/// A value of a field with the number of its chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facet {
    /// The value.
    pub value: String,
    /// Number of chunks with this value.
    pub count: u64,
}

/// Read access to the vectors of one collection and generation. `vectors::MemoryVectors` has an
/// example.
#[async_trait]
pub trait VectorIndex: Send + Sync {
    /// The best chunks, best first, then by id.
    ///
    /// # Errors
    /// If the store cannot be reached, a vector has another length than those in the store, the
    /// query has a sparse vector and the store has none, or a threshold is set without a dense
    /// vector.
    async fn query(&self, query: &IndexQuery) -> Result<Vec<Hit>, StoreError>;

    /// Values of a field among the chunks that match the filter, most frequent first, then by
    /// value.
    ///
    /// # Errors
    /// If the store cannot be reached.
    async fn facet(
        &self,
        field: KeywordField,
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Facet>, StoreError>;

    /// Chunks of a document from this index on, in order; missing chunks are left out.
    ///
    /// # Errors
    /// If the store cannot be reached.
    async fn chunks(
        &self,
        document: Uuid,
        from_chunk: u32,
        limit: u32,
    ) -> Result<Vec<Payload>, StoreError>;

    /// Exact number of points.
    ///
    /// # Errors
    /// If the store cannot be reached.
    async fn count(&self) -> Result<u64, StoreError>;

    /// Points in order of id, `after` excluded, for checks and exports. Vectors have stored
    /// precision.
    ///
    /// # Errors
    /// If the store cannot be reached.
    async fn scroll(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<Point>, StoreError>;
}
