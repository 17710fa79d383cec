//! Stores in memory: exact, small and obvious. They are what the contract tests compare the real ones
//! with, and what tests of sinks write to. Nothing here is quick or durable.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use pipeline::{
    ContentHash, Facet, Filter, Hit, Identity, Incoming, IndexQuery, Keyword, KnownHashes,
    KnownLocation, KnownState, Legs, Location, MetadataStore, Payload, Place, Point, SetAside,
    SparseVector, StoreError, StoredDocument, VectorIndex, VectorStore, point_id,
};
use uuid::Uuid;

use crate::ranking;
use crate::vectors::{Inventory, PointKey, Shape};

/// Vectors in memory.
pub struct MemoryVectors {
    shape: Shape,
    points: Mutex<BTreeMap<Uuid, Point>>,
}

impl MemoryVectors {
    /// An empty collection of vectors of this length.
    pub fn new(dim: usize) -> Self {
        Self { shape: Shape { dim, sparse: false }, points: Mutex::default() }
    }

    /// An empty collection of vectors of this length, with sparse ones beside them.
    pub fn with_words(dim: usize) -> Self {
        Self { shape: Shape { dim, sparse: true }, points: Mutex::default() }
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
        locked(&self.points).extend(points);
        Ok(())
    }

    async fn truncate(&self, document: Uuid, from_chunk: u32) -> Result<(), StoreError> {
        locked(&self.points).retain(|_, point| {
            point.payload.document != document || point.payload.chunk_index < from_chunk
        });
        Ok(())
    }

    async fn relocate(&self, document: Uuid, place: &Place) -> Result<(), StoreError> {
        for point in locked(&self.points).values_mut() {
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
        locked(&self.points).retain(|_, point| !documents.contains(&point.payload.document));
        Ok(())
    }

    async fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait]
impl VectorIndex for MemoryVectors {
    async fn query(&self, query: &IndexQuery) -> Result<Vec<Hit>, StoreError> {
        self.shape.check_query(query)?;
        let points = locked(&self.points);
        let mut hits = match &query.legs {
            Legs::Dense(vector) => by_similarity(&points, vector, query.filter.as_ref()),
            Legs::Sparse { words, dense } => {
                by_words(&points, words, dense.as_deref(), query.filter.as_ref())
            }
            Legs::Hybrid { dense, words, fusion } => {
                let filter = query.filter.as_ref();
                let mut fused: BTreeMap<Uuid, Hit> = BTreeMap::new();
                let rankings = [
                    (by_similarity(&points, dense, filter), fusion.dense),
                    (by_words(&points, words, Some(dense), filter), fusion.sparse),
                ];
                for (ranking, weight) in rankings {
                    for (rank, hit) in ranking.into_iter().take(fusion.candidates).enumerate() {
                        let fused = fused.entry(hit.id()).or_insert(Hit { score: 0.0, ..hit });
                        fused.score += fusion.worth(rank, weight);
                    }
                }
                let mut hits: Vec<Hit> = fused.into_values().collect();
                ranking::sort(&mut hits);
                hits
            }
        };
        hits.retain(|hit| ranking::passes(hit, query.threshold));
        hits.truncate(query.limit);
        Ok(hits)
    }

    async fn facet(
        &self,
        field: Keyword,
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Facet>, StoreError> {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for point in chosen(&locked(&self.points), filter) {
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
        let points = locked(&self.points);
        let indices = from_chunk..from_chunk.saturating_add(limit);
        let chunks = indices.filter_map(|index| points.get(&point_id(document, index)));
        Ok(chunks.map(|point| point.payload.clone()).collect())
    }

    async fn count(&self) -> Result<u64, StoreError> {
        Ok(locked(&self.points).len() as u64)
    }

    async fn scroll(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<Point>, StoreError> {
        let points = locked(&self.points);
        let behind = points.values().filter(|point| after.is_none_or(|after| point.id > after));
        Ok(behind.take(limit).cloned().collect())
    }
}

#[async_trait]
impl Inventory for MemoryVectors {
    async fn documents(&self) -> Result<BTreeMap<Uuid, u64>, StoreError> {
        let mut documents = BTreeMap::new();
        for point in locked(&self.points).values() {
            *documents.entry(point.payload.document).or_default() += 1;
        }
        Ok(documents)
    }

    async fn keys(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<PointKey>, StoreError> {
        let points = locked(&self.points);
        let behind = points.values().filter(|point| after.is_none_or(|after| point.id > after));
        let key = |point: &Point| {
            let Payload { document, chunk_index, .. } = point.payload;
            PointKey { id: point.id, document, chunk_index }
        };
        Ok(behind.take(limit).map(key).collect())
    }
}

/// The points for which a filter holds.
fn chosen<'a>(
    points: &'a BTreeMap<Uuid, Point>,
    filter: Option<&'a Filter>,
) -> impl Iterator<Item = &'a Point> {
    points.values().filter(move |point| filter.is_none_or(|it| it.holds(&point.payload)))
}

/// Every chosen point, the most similar first.
fn by_similarity(
    points: &BTreeMap<Uuid, Point>,
    vector: &[f32],
    filter: Option<&Filter>,
) -> Vec<Hit> {
    let hits = chosen(points, filter).map(|point| {
        let score = cosine(&point.vector, vector);
        Hit { score, similarity: Some(score), payload: point.payload.clone() }
    });
    let mut hits: Vec<Hit> = hits.collect();
    ranking::sort(&mut hits);
    hits
}

/// Every chosen point that has one of the words, by BM25: each stored number times the inverse document frequency
/// of its word, as Qdrant computes it, in the whole collection.
fn by_words(
    points: &BTreeMap<Uuid, Point>,
    words: &SparseVector,
    dense: Option<&[f32]>,
    filter: Option<&Filter>,
) -> Vec<Hit> {
    let sparse = || points.values().filter_map(|point| point.sparse.as_ref());
    #[expect(clippy::cast_precision_loss, reason = "points in memory are few")]
    let idf = |index: &u32| {
        let (all, with) = (
            sparse().count() as f32,
            sparse().filter(|it| it.indices.binary_search(index).is_ok()).count() as f32,
        );
        ((all - with + 0.5) / (with + 0.5) + 1.0).ln()
    };
    let values = words.indices.iter().zip(&words.values).map(|(index, value)| value * idf(index));
    let weighed = SparseVector { indices: words.indices.clone(), values: values.collect() };
    let hits = chosen(points, filter).filter_map(|point| {
        let stored = point.sparse.as_ref()?;
        let has_one = words.indices.iter().any(|it| stored.indices.binary_search(it).is_ok());
        has_one.then(|| Hit {
            score: stored.dot(&weighed),
            similarity: dense.map(|dense| cosine(&point.vector, dense)),
            payload: point.payload.clone(),
        })
    });
    let mut hits: Vec<Hit> = hits.collect();
    ranking::sort(&mut hits);
    hits
}

/// Cosine of the angle between two vectors; 0 where one of them has no direction.
pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    let norms = dot(a, a).sqrt() * dot(b, b).sqrt();
    if norms == 0.0 { 0.0 } else { dot(a, b) / norms }
}

/// The metadata of one collection in memory. Every run of it has the same settings, so nothing that
/// is stored is ever stale.
pub struct MemoryMetadata {
    collection: Uuid,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    documents: BTreeMap<Uuid, Document>,
    locations: HashMap<String, KnownLocation>,
}

/// A document, deleted or not.
struct Document {
    content_hash: ContentHash,
    locations: BTreeSet<String>,
    chunks: u32,
    deleted: bool,
    /// Its points are known to be gone. No chunks is not enough for that: a run that was killed may have
    /// written some.
    purged: bool,
}

impl MemoryMetadata {
    /// Metadata of a collection without documents.
    pub fn new(collection: Uuid) -> Self {
        Self { collection, state: Mutex::default() }
    }

    /// The documents that are not deleted, in order of id.
    pub fn documents(&self) -> Vec<MemoryDocument> {
        let state = locked(&self.state);
        let stored = state.documents.iter().filter(|(_, document)| !document.deleted);
        let stored = stored.map(|(id, document)| MemoryDocument {
            id: *id,
            content_hash: document.content_hash,
            chunks: document.chunks,
            locations: document.locations.clone(),
        });
        stored.collect()
    }
}

/// A document in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryDocument {
    /// Its id.
    pub id: Uuid,
    /// Its content.
    pub content_hash: ContentHash,
    /// How many chunks it has.
    pub chunks: u32,
    /// Where it is seen.
    pub locations: BTreeSet<String>,
}

impl State {
    /// The document that holds this content; one that is not deleted first.
    fn with_content(&self, hash: ContentHash) -> Option<Uuid> {
        let mut holders: Vec<_> =
            self.documents.iter().filter(|(_, it)| it.content_hash == hash).collect();
        holders.sort_by_key(|(_, document)| document.deleted);
        holders.first().map(|(id, _)| **id)
    }

    /// The document that is seen at this location and nowhere else.
    fn alone_at(&self, uri: &str) -> Option<Uuid> {
        let alone = |it: &Document| it.locations.len() == 1 && it.locations.contains(uri);
        self.documents.iter().find(|(_, it)| alone(it)).map(|(id, _)| *id)
    }

    /// An id that follows from the content. The first one may name a document that had this content
    /// and was edited since.
    fn derived_id(&self, collection: Uuid, hash: ContentHash) -> Uuid {
        let derive = |salt: u32| {
            let name = [hash.0.as_slice(), &salt.to_be_bytes()].concat();
            Uuid::new_v5(&collection, &name)
        };
        let free = |id: &Uuid| !self.documents.contains_key(id);
        (0..).map(derive).find(free).expect("one of four thousand million is free")
    }

    /// Puts a location where it belongs now.
    fn place(&mut self, location: Location, hash: Option<ContentHash>, state: KnownState) {
        for document in self.documents.values_mut() {
            document.locations.remove(&location.uri);
        }
        let uri = location.uri.clone();
        self.locations.insert(uri, KnownLocation { location, content_hash: hash, state });
    }

    /// Marks documents without a location as deleted. Gives every deleted document whose points are
    /// not known to be gone: those of earlier calls too, for a run may have died on the way.
    fn sweep(&mut self) -> Vec<Uuid> {
        for document in self.documents.values_mut().filter(|it| it.locations.is_empty()) {
            document.deleted = true;
        }
        let unpurged = self.documents.iter().filter(|(_, it)| it.deleted && !it.purged);
        unpurged.map(|(id, _)| *id).collect()
    }
}

#[async_trait]
impl MetadataStore for MemoryMetadata {
    async fn locate(&self, uris: &[String]) -> Result<Vec<Option<KnownLocation>>, StoreError> {
        let state = locked(&self.state);
        Ok(uris.iter().map(|uri| state.locations.get(uri).cloned()).collect())
    }

    async fn known_hashes(&self) -> Result<KnownHashes, StoreError> {
        Ok(self.documents().into_iter().map(|it| it.content_hash).collect())
    }

    async fn identify(&self, incoming: &[Incoming]) -> Result<Vec<Identity>, StoreError> {
        let state = locked(&self.state);
        let coming: BTreeSet<ContentHash> = incoming.iter().map(|it| it.content_hash).collect();
        // The document of an edited file is not free if its old content comes in elsewhere.
        let edited = |id: &Uuid| !coming.contains(&state.documents[id].content_hash);
        let mut given: HashMap<ContentHash, Uuid> = HashMap::new();
        let identify = |it: &Incoming| {
            let document = *given.entry(it.content_hash).or_insert_with(|| {
                state
                    .with_content(it.content_hash)
                    .or_else(|| state.alone_at(&it.location.uri).filter(edited))
                    .unwrap_or_else(|| state.derived_id(self.collection, it.content_hash))
            });
            let chunks_before = state.documents.get(&document).map_or(0, |it| it.chunks);
            Identity { document, chunks_before, digest: None }
        };
        Ok(incoming.iter().map(identify).collect())
    }

    async fn commit(&self, documents: &[StoredDocument]) -> Result<Vec<Uuid>, StoreError> {
        let mut state = locked(&self.state);
        for stored in documents {
            let Incoming { location, content_hash } = stored.incoming.clone();
            let uri = location.uri.clone();
            state.place(location, Some(content_hash), KnownState::Stored);
            let document = state.documents.entry(stored.document).or_insert_with(|| Document {
                content_hash,
                locations: BTreeSet::new(),
                chunks: 0,
                deleted: false,
                purged: false,
            });
            document.content_hash = content_hash;
            document.chunks = stored.chunks;
            document.deleted = false;
            document.purged = false;
            document.locations.insert(uri);
        }
        Ok(state.sweep())
    }

    async fn record(&self, set_aside: &[(String, SetAside)]) -> Result<Vec<Uuid>, StoreError> {
        let mut state = locked(&self.state);
        for (node, SetAside { location, content_hash, why }) in set_aside {
            let uri = location.uri.clone();
            let known = match content_hash {
                Some(hash) => state.with_content(*hash).filter(|id| !state.documents[id].deleted),
                None => None,
            };
            let (reason, message) = (why.reason().to_owned(), why.to_string());
            let since = None;
            let known_state = KnownState::SetAside { node: node.clone(), reason, message, since };
            let known_state = if known.is_some() { KnownState::Stored } else { known_state };
            state.place(location.clone(), *content_hash, known_state);
            if let Some(document) = known.and_then(|id| state.documents.get_mut(&id)) {
                document.locations.insert(uri);
            }
        }
        Ok(state.sweep())
    }

    async fn purged(&self, documents: &[Uuid]) -> Result<(), StoreError> {
        let mut state = locked(&self.state);
        for id in documents {
            if let Some(document) = state.documents.get_mut(id) {
                document.chunks = 0;
                document.purged = true;
            }
        }
        Ok(())
    }
}

/// A test that has panicked says so itself; the others may go on with the store.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
