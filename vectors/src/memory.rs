//! A vector store in memory: exact and simple. The contract tests compare the other stores with it,
//! and tests of sinks write to it. It is neither fast nor durable.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use pipeline::{
    DocumentLocation, Facet, Filter, IndexQuery, KeywordField, Payload, Point, QueryVectors,
    RankedChunk, SparseVector, StoreError, VectorIndex, VectorStore, cosine, lock, point_id,
    term_rarity,
};
use uuid::Uuid;

use crate::ranking;
use crate::shape::VectorLayout;
use pipeline::{Inventory, PointKey};

/// Vector store in memory.
///
/// ```
/// use pipeline::test_util::payload;
/// use pipeline::{
///     BoxError, Filter, Hit, IndexQuery, KeywordField, Payload, Point, SearchAccuracy,
///     VectorIndex as _, VectorStore as _, point_id,
/// };
/// use vectors::MemoryVectors;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let point = |name: &str, language: &str, vector: [f32; 2]| {
///     let payload = Payload { language: Some(language.to_owned()), ..payload(name, name) };
///     let id = point_id(payload.document, payload.chunk_index);
///     Point { id, vector: vector.to_vec(), sparse: None, payload }
/// };
///
/// let store = MemoryVectors::new(2);
/// let eiche = point("eiche", "de", [1.0, 0.0]);
/// let (oak, sea) = (point("oak", "en", [0.8, 0.6]), point("sea", "en", [0.0, 1.0]));
/// store.upsert(vec![eiche.clone(), oak, sea]).await?;
/// store.flush().await?;
///
/// let query = IndexQuery::nearest(&[2.0, 0.0], 2, SearchAccuracy::Exact);
/// let names = |hits: &[Hit]| -> Vec<String> {
///     hits.iter().map(|hit| hit.payload.content.clone()).collect()
/// };
/// let hits = store.query(&query).await?;
/// assert_eq!(names(&hits), ["eiche", "oak"]);
/// assert_eq!(hits[0].similarity, Some(1.0));
///
/// let english = Filter::In(KeywordField::Language, vec!["en".to_owned()]);
/// let query = IndexQuery { filter: Some(english), ..query };
/// assert_eq!(names(&store.query(&query).await?), ["oak", "sea"]);
///
/// store.remove(&[eiche.payload.document]).await?;
/// let languages = store.facet(KeywordField::Language, None, 10).await?;
/// assert_eq!((&*languages[0].value, languages[0].count, languages.len()), ("en", 2, 1));
/// # Ok(())
/// # }
/// ```
pub struct MemoryVectors {
    shape: VectorLayout,
    points: Mutex<BTreeMap<Uuid, Point>>,
}

impl MemoryVectors {
    /// An empty store of dense vectors with `dim` dimensions.
    pub fn new(dim: usize) -> Self {
        Self { shape: VectorLayout { dim, sparse: false }, points: Mutex::default() }
    }

    /// An empty store of dense vectors with `dim` dimensions and sparse vectors.
    ///
    /// ```
    /// use pipeline::test_util::payload;
    /// use pipeline::{
    ///     BoxError, IndexQuery, Point, QueryVectors, SearchAccuracy, SparseVector,
    ///     VectorIndex as _, VectorStore as _, point_id,
    /// };
    /// use vectors::MemoryVectors;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), BoxError> {
    /// let terms = |indices: &[u32]| SparseVector {
    ///     indices: indices.to_vec(),
    ///     values: vec![1.0; indices.len()],
    /// };
    /// let point = |name: &str, indices: &[u32]| {
    ///     let payload = payload(name, name);
    ///     let (id, sparse) = (point_id(payload.document, 0), Some(terms(indices)));
    ///     Point { id, vector: vec![1.0], sparse, payload }
    /// };
    /// let store = MemoryVectors::with_sparse(1);
    /// store.upsert(vec![point("a", &[1]), point("b", &[1, 7])]).await?;
    ///
    /// let vectors = QueryVectors::Sparse { sparse: terms(&[7]), dense: None };
    /// let query = IndexQuery { vectors, ..IndexQuery::nearest(&[], 10, SearchAccuracy::Exact) };
    /// let hits = store.query(&query).await?;
    /// assert_eq!(hits.iter().map(|hit| &*hit.payload.content).collect::<Vec<_>>(), ["b"]);
    /// assert_eq!(store.term_counts(&[1, 7, 9]).await?, [2, 1, 0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_sparse(dim: usize) -> Self {
        Self { shape: VectorLayout { dim, sparse: true }, points: Mutex::default() }
    }
}

#[async_trait]
impl VectorStore for MemoryVectors {
    async fn upsert(&self, points: Vec<Point>) -> Result<(), StoreError> {
        self.shape.check_points(&points)?;
        let points = points.into_iter().map(|point| {
            let sparse = point.sparse.filter(|words| !words.is_empty());
            (point.id, Point { sparse, ..point })
        });
        lock(&self.points).extend(points);
        Ok(())
    }

    async fn truncate(&self, document: Uuid, from_chunk: u32) -> Result<(), StoreError> {
        lock(&self.points).retain(|_, point| {
            point.payload.document != document || point.payload.chunk_index < from_chunk
        });
        Ok(())
    }

    async fn update_location(
        &self,
        document: Uuid,
        place: &DocumentLocation,
    ) -> Result<(), StoreError> {
        for point in lock(&self.points).values_mut() {
            let payload = &mut point.payload;
            if payload.document != document {
                continue;
            }
            payload.uri.clone_from(&place.uri);
            payload.source.clone_from(&place.source);
            payload.title = place.title.clone().or(payload.title.take());
            payload.modified_at = place.modified_at.or(payload.modified_at);
        }
        Ok(())
    }

    async fn remove(&self, documents: &[Uuid]) -> Result<(), StoreError> {
        lock(&self.points).retain(|_, point| !documents.contains(&point.payload.document));
        Ok(())
    }

    async fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait]
impl VectorIndex for MemoryVectors {
    async fn rank(&self, query: &IndexQuery) -> Result<Vec<RankedChunk>, StoreError> {
        self.shape.check_query(query)?;
        let (points, filter) = (lock(&self.points), query.filter.as_ref());
        let mut hits = match &query.vectors {
            QueryVectors::Dense(vector) => by_similarity(&points, vector, filter),
            QueryVectors::Sparse { sparse: words, dense } => {
                by_bm25(&points, words, dense.as_deref(), filter)
            }
        };
        ranking::sort_hits(&mut hits);
        hits.retain(|hit| ranking::passes_threshold(hit, query.min_similarity));
        hits.truncate(query.limit);
        Ok(hits)
    }

    async fn fetch(&self, ids: &[Uuid]) -> Result<Vec<Point>, StoreError> {
        let points = lock(&self.points);
        let found = ids.iter().filter_map(|id| points.get(id));
        Ok(found.map(|point| Point { sparse: None, ..point.clone() }).collect())
    }

    async fn term_counts(&self, terms: &[u32]) -> Result<Vec<u64>, StoreError> {
        self.shape.check_terms()?;
        let points = lock(&self.points);
        let count = |term: &u32| points.values().filter(|point| has_term(point, *term)).count();
        Ok(terms.iter().map(|term| count(term) as u64).collect())
    }

    async fn facet(
        &self,
        field: KeywordField,
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Facet>, StoreError> {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for point in matching(&lock(&self.points), filter) {
            for value in field.values(&point.payload) {
                *counts.entry(value).or_default() += 1;
            }
        }
        let facets = counts.into_iter().map(|(value, count)| Facet { value, count });
        Ok(ranking::most_frequent(facets.collect(), limit))
    }

    async fn chunks(
        &self,
        document: Uuid,
        from_chunk: u32,
        limit: u32,
    ) -> Result<Vec<Payload>, StoreError> {
        let points = lock(&self.points);
        let indices = from_chunk..from_chunk.saturating_add(limit);
        let chunks = indices.filter_map(|index| points.get(&point_id(document, index)));
        Ok(chunks.map(|point| point.payload.clone()).collect())
    }

    async fn count(&self) -> Result<u64, StoreError> {
        Ok(lock(&self.points).len() as u64)
    }

    async fn scroll(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<Point>, StoreError> {
        let points = lock(&self.points);
        let behind = points.values().filter(|point| after.is_none_or(|after| point.id > after));
        Ok(behind.take(limit).cloned().collect())
    }
}

#[async_trait]
impl Inventory for MemoryVectors {
    async fn documents(&self) -> Result<BTreeMap<Uuid, u64>, StoreError> {
        let mut documents = BTreeMap::new();
        for point in lock(&self.points).values() {
            *documents.entry(point.payload.document).or_default() += 1;
        }
        Ok(documents)
    }

    async fn keys(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<PointKey>, StoreError> {
        let points = lock(&self.points);
        let behind = points.values().filter(|point| after.is_none_or(|after| point.id > after));
        let key = |point: &Point| {
            let Payload { document, chunk_index, .. } = point.payload;
            PointKey { id: point.id, document, chunk_index }
        };
        Ok(behind.take(limit).map(key).collect())
    }
}

/// The points that match a filter.
fn matching<'a>(
    points: &'a BTreeMap<Uuid, Point>,
    filter: Option<&'a Filter>,
) -> impl Iterator<Item = &'a Point> {
    points.values().filter(move |point| filter.is_none_or(|it| it.matches(&point.payload)))
}

/// All matching points with their similarity.
fn by_similarity(
    points: &BTreeMap<Uuid, Point>,
    vector: &[f32],
    filter: Option<&Filter>,
) -> Vec<RankedChunk> {
    let hits = matching(points, filter).map(|point| {
        let score = cosine(&point.vector, vector);
        ranked(point, score, Some(score))
    });
    hits.collect()
}

/// All matching points with at least one of the terms, scored by BM25: the sum of stored weights
/// times the inverse document frequency of the term in the whole collection, as Qdrant computes it.
fn by_bm25(
    points: &BTreeMap<Uuid, Point>,
    words: &SparseVector,
    dense: Option<&[f32]>,
    filter: Option<&Filter>,
) -> Vec<RankedChunk> {
    let all = points.values().filter(|point| point.sparse.is_some()).count();
    #[expect(clippy::cast_possible_truncation, reason = "scores have single precision")]
    let rarity = |index: &u32| {
        let with = points.values().filter(|point| has_term(point, *index)).count();
        term_rarity(all as u64, with as u64) as f32
    };
    let values = words.indices.iter().zip(&words.values);
    let values = values.map(|(index, value)| value * rarity(index)).collect();
    let weighed = SparseVector { indices: words.indices.clone(), values };
    let hits = matching(points, filter).filter_map(|point| {
        let stored = point.sparse.as_ref()?;
        let has_one = words.indices.iter().any(|index| has_term(point, *index));
        let similarity = dense.map(|dense| cosine(&point.vector, dense));
        has_one.then(|| ranked(point, stored.dot(&weighed), similarity))
    });
    hits.collect()
}

fn has_term(point: &Point, index: u32) -> bool {
    point.sparse.as_ref().is_some_and(|words| words.indices.binary_search(&index).is_ok())
}

fn ranked(point: &Point, score: f32, similarity: Option<f32>) -> RankedChunk {
    let Payload { document, chunk_index, .. } = point.payload;
    RankedChunk { id: point.id, document, chunk_index, score, similarity }
}
