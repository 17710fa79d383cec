//! The port for reading the vectors of one collection and generation: rankings and points.
//!
//! A store knows vectors as numbers, not texts or models; `search/` computes the vectors of a query
//! and fuses rankings. A ranking is ordered by score, best first, then by id, so that each page
//! continues the previous one.

use std::collections::HashMap;

use async_trait::async_trait;
use uuid::Uuid;

use crate::{Filter, KeywordField, Payload, Point, SparseVector, StoreError, point_id};

/// Vectors of a query, which rank the chunks. A search that ranks by both sends two queries and
/// fuses the rankings itself.
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

/// A chunk in a ranking, without its payload.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RankedChunk {
    /// Id of its point.
    pub id: Uuid,
    /// Id of its document.
    pub document: Uuid,
    /// Index among the chunks of the document, from 0.
    pub chunk_index: u32,
    /// Score of the ranking; see [`QueryVectors`].
    pub score: f32,
    /// Cosine similarity to the dense vector of the query; `None` for a query without one.
    pub similarity: Option<f32>,
}

/// A ranked chunk with its payload.
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

/// Rarity of a term that `with` of `all` sparse vectors contain, by which every store multiplies
/// the weight of the term: the inverse document frequency of BM25 as in Qdrant and Lucene.
///
/// ```
/// use pipeline::term_rarity;
///
/// assert!(term_rarity(1000, 1) > term_rarity(1000, 10));
/// assert!(term_rarity(1000, 1000) > 0.0, "a term in every chunk still counts a little");
/// ```
pub fn term_rarity(all: u64, with: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let (all, with) = (all as f64, with as f64);
    ((all - with + 0.5).max(0.0) / (with + 0.5) + 1.0).ln()
}

/// Cosine similarity of two vectors; 0 if one of them is a zero vector.
///
/// ```
/// assert_eq!(pipeline::cosine(&[3.0, 4.0], &[4.0, 3.0]), 0.96);
/// assert_eq!(pipeline::cosine(&[3.0, 4.0], &[0.0, 0.0]), 0.0);
/// ```
pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    let norms = dot(a, a).sqrt() * dot(b, b).sqrt();
    if norms == 0.0 { 0.0 } else { dot(a, b) / norms }
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
    async fn rank(&self, query: &IndexQuery) -> Result<Vec<RankedChunk>, StoreError>;

    /// The points with these ids, in this order, without their sparse vectors; missing ones are
    /// left out. Dense vectors have stored precision.
    ///
    /// # Errors
    /// If the store cannot be reached.
    async fn fetch(&self, ids: &[Uuid]) -> Result<Vec<Point>, StoreError>;

    /// For each of these terms (indices of sparse vectors), the number of chunks that contain it.
    /// After deletions the numbers may lag behind until the store rebuilds its index.
    ///
    /// # Errors
    /// If the store cannot be reached, or has no sparse vectors.
    async fn term_counts(&self, terms: &[u32]) -> Result<Vec<u64>, StoreError>;

    /// The best chunks with their payloads: [`VectorIndex::rank`], then [`VectorIndex::fetch`].
    ///
    /// # Errors
    /// As these two.
    async fn query(&self, query: &IndexQuery) -> Result<Vec<Hit>, StoreError> {
        let ranked = self.rank(query).await?;
        let ids: Vec<Uuid> = ranked.iter().map(|chunk| chunk.id).collect();
        let points = self.fetch(&ids).await?;
        let mut payloads: HashMap<Uuid, Payload> =
            points.into_iter().map(|point| (point.id, point.payload)).collect();
        // A point may have been deleted in between.
        let hits =
            ranked.into_iter().filter_map(|RankedChunk { id, score, similarity, .. }| {
                Some(Hit { score, similarity, payload: payloads.remove(&id)? })
            });
        Ok(hits.collect())
    }

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
