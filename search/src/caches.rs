//! Caches of query vectors, of rankings, of points, and of field values of collections.
//!
//! [`SearchCaches::invalidate`] invalidates the entries of a collection after a change. Entries of
//! a replaced generation are never confused with those of the new one, because their vector stores
//! have different names.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use moka::sync::Cache;
use pipeline::{Facet, KeywordField, Point, SearchAccuracy, lock};
use uuid::Uuid;

use crate::glob::PatternFilter;
use crate::metrics::SearchMetrics;
use crate::ranking::{Candidate, Legs};
use crate::request::SearchMode;
use crate::target::Target;
use crate::vocabulary::WordList;

/// Maximum number of cached query vectors.
const MAX_QUERY_VECTORS: u64 = 10_000;

/// Approximate limit of the cached points in bytes.
const MAX_HIT_BYTES: u64 = 64 << 20;

/// Approximate limit of the cached field values in bytes.
const MAX_FACET_BYTES: u64 = 32 << 20;

/// Share of the limit of points that rankings of either kind may take in addition.
const RANKING_SHARE: u64 = 4;

/// Approximate limit of the cached vocabularies in bytes.
const MAX_WORD_LIST_BYTES: u64 = 64 << 20;

/// Time to live of rankings, points and field values, in case a change is not reported.
const MAX_AGE: Duration = Duration::from_secs(300);

/// Cache key of the rankings of a query in one generation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LegsKey {
    pub(crate) query: String,
    pub(crate) mode: SearchMode,
    /// As requested. The values that a pattern matches depend on the state of the generation, which
    /// is part of the key ([`GenerationVersion`]).
    pub(crate) filter: Option<PatternFilter>,
    pub(crate) threshold: Option<u32>,
    pub(crate) limit: usize,
    pub(crate) accuracy: SearchAccuracy,
    /// `true` if exact terms are searched.
    pub(crate) exact_terms: bool,
    /// `true` if prefixes were expanded and words corrected.
    pub(crate) typos: bool,
}

/// Cache key of the final ranking of a query in one generation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RankingKey {
    pub(crate) legs: LegsKey,
    /// The settings of the search; see `SearchSettings::cache_key`.
    pub(crate) settings: String,
    /// The scores by which those of the rankings are scaled.
    pub(crate) best: [u32; 2],
    /// Maximum number of candidates that passes reorder.
    pub(crate) candidates: usize,
}

/// The final ranking of a query, with the highlights of those hits that were shown. Highlights of a
/// hit are computed once.
pub(crate) struct RankedHits {
    pub(crate) candidates: Vec<Candidate>,
    highlights: Vec<OnceLock<Vec<Range<usize>>>>,
}

impl RankedHits {
    pub(crate) fn new(candidates: Vec<Candidate>) -> Self {
        Self { highlights: candidates.iter().map(|_| OnceLock::new()).collect(), candidates }
    }

    /// Byte ranges of the words of the query in the hit at this place; `find` computes them on
    /// first use.
    pub(crate) fn highlights(
        &self,
        place: usize,
        find: impl FnOnce() -> Vec<Range<usize>>,
    ) -> Vec<Range<usize>> {
        self.highlights[place].get_or_init(find).clone()
    }
}

/// State of a generation: the name of its vector store and the number of reported changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct GenerationVersion {
    store: Arc<str>,
    changes: u64,
}

/// The caches of a process, safe for concurrent use.
pub struct SearchCaches {
    query_vectors: Cache<(String, String), Arc<Vec<f32>>>,
    legs: Cache<(GenerationVersion, LegsKey), Arc<Legs>>,
    hits: Cache<(GenerationVersion, RankingKey), Arc<RankedHits>>,
    points: Cache<(GenerationVersion, Uuid), Arc<Point>>,
    chunk_counts: Cache<GenerationVersion, u64>,
    term_counts: Cache<(GenerationVersion, u32), u64>,
    noise_floors: Cache<GenerationVersion, Option<f32>>,
    facets: Cache<(GenerationVersion, KeywordField), Arc<Vec<Facet>>>,
    words: Cache<GenerationVersion, Arc<WordList>>,
    /// Number of reported changes per collection.
    changes: Mutex<HashMap<Uuid, u64>>,
    metrics: SearchMetrics,
}

impl Default for SearchCaches {
    fn default() -> Self {
        Self::new(MAX_QUERY_VECTORS, MAX_HIT_BYTES)
    }
}

impl SearchCaches {
    /// Limits the caches to `questions` query vectors and about `hits` bytes of found points, with
    /// their rankings in addition; 0 disables a cache.
    pub fn new(questions: u64, hits: u64) -> Self {
        let facet_bytes = |facets: &Arc<Vec<Facet>>| {
            facets.iter().map(|facet| facet.value.len() + 32).sum::<usize>()
        };
        let point_bytes = |point: &Arc<Point>| {
            let Point { vector, payload, .. } = &**point;
            size_of_val(&vector[..]) + payload.content.len() + payload.uri.len() + 512
        };
        Self {
            query_vectors: Cache::new(questions),
            legs: weighed(hits / RANKING_SHARE, |legs: &Arc<Legs>| {
                size_of_val(&legs.dense[..]) + size_of_val(&legs.sparse[..])
            }),
            hits: weighed(hits / RANKING_SHARE, |hits: &Arc<RankedHits>| {
                size_of_val(&hits.candidates[..]) + size_of_val(&hits.highlights[..])
            }),
            points: weighed(hits, point_bytes),
            chunk_counts: weighed(MAX_FACET_BYTES.min(hits), |_: &u64| 0),
            term_counts: weighed(MAX_FACET_BYTES.min(hits), |_: &u64| 0),
            noise_floors: weighed(MAX_FACET_BYTES.min(hits), |_: &Option<f32>| 0),
            facets: weighed(MAX_FACET_BYTES.min(hits), facet_bytes),
            words: weighed(MAX_WORD_LIST_BYTES.min(hits), |words: &Arc<WordList>| words.bytes()),
            changes: Mutex::default(),
            metrics: SearchMetrics::default(),
        }
    }

    /// Counts cache lookups in `metrics`.
    #[must_use]
    pub fn with_metrics(self, metrics: &SearchMetrics) -> Self {
        Self { metrics: metrics.clone(), ..self }
    }

    /// The metrics of these caches.
    pub fn metrics(&self) -> &SearchMetrics {
        &self.metrics
    }

    fn count_lookup<T>(&self, cache: &str, found: Option<T>) -> Option<T> {
        self.metrics.record_cache_lookup(cache, found.is_some());
        found
    }

    /// Invalidates the entries of a collection whose documents have changed.
    pub fn invalidate(&self, collection: Uuid) {
        *self.lock_changes().entry(collection).or_default() += 1;
    }

    /// Invalidates the entries of all collections.
    pub fn invalidate_all(&self) {
        self.legs.invalidate_all();
        self.hits.invalidate_all();
        self.points.invalidate_all();
        self.chunk_counts.invalidate_all();
        self.term_counts.invalidate_all();
        self.noise_floors.invalidate_all();
        self.facets.invalidate_all();
        self.words.invalidate_all();
        self.lock_changes().values_mut().for_each(|changes| *changes += 1);
    }

    /// The current state of a generation. Entries under this key were read after the last reported
    /// change.
    pub(crate) fn version(&self, target: &Target) -> GenerationVersion {
        let changes = self.lock_changes().get(&target.collection).copied().unwrap_or(0);
        GenerationVersion { store: target.store.as_str().into(), changes }
    }

    pub(crate) fn query_vector(&self, model: &str, text: &str) -> Option<Arc<Vec<f32>>> {
        self.count_lookup("questions", self.query_vectors.get(&(model.to_owned(), text.to_owned())))
    }

    pub(crate) fn insert_query_vector(&self, model: &str, text: &str, vector: &Arc<Vec<f32>>) {
        self.query_vectors.insert((model.to_owned(), text.to_owned()), Arc::clone(vector));
    }

    pub(crate) fn legs(&self, asked: &(GenerationVersion, LegsKey)) -> Option<Arc<Legs>> {
        self.count_lookup("legs", self.legs.get(asked))
    }

    pub(crate) fn insert_legs(&self, asked: (GenerationVersion, LegsKey), legs: &Arc<Legs>) {
        self.legs.insert(asked, Arc::clone(legs));
    }

    pub(crate) fn hits(&self, asked: &(GenerationVersion, RankingKey)) -> Option<Arc<RankedHits>> {
        self.count_lookup("hits", self.hits.get(asked))
    }

    pub(crate) fn insert_hits(
        &self,
        asked: (GenerationVersion, RankingKey),
        hits: &Arc<RankedHits>,
    ) {
        self.hits.insert(asked, Arc::clone(hits));
    }

    /// A point, which is not counted as a lookup: a page has up to a thousand.
    pub(crate) fn point(&self, version: &GenerationVersion, id: Uuid) -> Option<Arc<Point>> {
        self.points.get(&(version.clone(), id))
    }

    pub(crate) fn insert_point(&self, version: &GenerationVersion, point: &Arc<Point>) {
        self.points.insert((version.clone(), point.id), Arc::clone(point));
    }

    /// The number of chunks of a generation.
    pub(crate) fn chunk_count(&self, version: &GenerationVersion) -> Option<u64> {
        self.chunk_counts.get(version)
    }

    pub(crate) fn insert_chunk_count(&self, version: GenerationVersion, count: u64) {
        self.chunk_counts.insert(version, count);
    }

    /// The number of chunks of a generation with this term.
    pub(crate) fn term_count(&self, version: &GenerationVersion, term: u32) -> Option<u64> {
        self.term_counts.get(&(version.clone(), term))
    }

    pub(crate) fn insert_term_count(&self, version: &GenerationVersion, term: u32, count: u64) {
        self.term_counts.insert((version.clone(), term), count);
    }

    /// The noise floor of a generation; the inner option is `None` if it has none.
    pub(crate) fn noise_floor(&self, version: &GenerationVersion) -> Option<Option<f32>> {
        self.noise_floors.get(version)
    }

    pub(crate) fn insert_noise_floor(&self, version: GenerationVersion, floor: Option<f32>) {
        self.noise_floors.insert(version, floor);
    }

    pub(crate) fn facets(
        &self,
        version: &GenerationVersion,
        field: KeywordField,
    ) -> Option<Arc<Vec<Facet>>> {
        self.count_lookup("facets", self.facets.get(&(version.clone(), field)))
    }

    pub(crate) fn insert_facets(
        &self,
        version: GenerationVersion,
        field: KeywordField,
        facets: &Arc<Vec<Facet>>,
    ) {
        self.facets.insert((version, field), Arc::clone(facets));
    }

    /// The words of a generation.
    pub(crate) fn words(&self, version: &GenerationVersion) -> Option<Arc<WordList>> {
        self.words.get(version)
    }

    pub(crate) fn insert_words(&self, version: GenerationVersion, words: &Arc<WordList>) {
        self.words.insert(version, Arc::clone(words));
    }

    fn lock_changes(&self) -> MutexGuard<'_, HashMap<Uuid, u64>> {
        // The counters stay consistent even if a thread panicked while it held the lock.
        lock(&self.changes)
    }
}

/// A cache of about `limit` bytes, whose entries live for [`MAX_AGE`].
fn weighed<K, V>(limit: u64, bytes: fn(&V) -> usize) -> Cache<K, V>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Bytes of a key and of the cache's own bookkeeping.
    const OVERHEAD: usize = 256;
    Cache::builder()
        .max_capacity(limit)
        .weigher(move |_, entry| u32::try_from(bytes(entry) + OVERHEAD).unwrap_or(u32::MAX))
        .time_to_live(MAX_AGE)
        .build()
}
