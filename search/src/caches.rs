//! Caches of query vectors, of hits, and of field values of collections.
//!
//! [`SearchCaches::invalidate`] invalidates the entries of a collection after a change. Entries of
//! a replaced generation are never confused with those of the new one, because their vector stores
//! have different names.

use std::collections::HashMap;
use std::ops::{Deref, Range};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use moka::sync::Cache;
use pipeline::{Facet, Hit, KeywordField, SearchAccuracy, lock};
use uuid::Uuid;

use crate::glob::PatternFilter;
use crate::metrics::SearchMetrics;
use crate::request::SearchMode;
use crate::target::Target;

/// Maximum number of cached query vectors.
const MAX_QUERY_VECTORS: u64 = 10_000;

/// Approximate limit of the cached hits in bytes.
const MAX_HIT_BYTES: u64 = 64 << 20;

/// Approximate limit of the cached field values in bytes.
const MAX_FACET_BYTES: u64 = 32 << 20;

/// Time to live of hits and field values, in case a change is not reported.
const MAX_AGE: Duration = Duration::from_secs(300);

/// Cache key of the hits of a query in one generation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct QueryKey {
    pub(crate) query: String,
    pub(crate) mode: SearchMode,
    /// As requested. The values that a pattern matches depend on the state of the generation, which
    /// is part of the key ([`GenerationVersion`]).
    pub(crate) filter: Option<PatternFilter>,
    pub(crate) threshold: Option<u32>,
    pub(crate) fusion: [u32; 3],
    pub(crate) candidates: usize,
    pub(crate) limit: usize,
    pub(crate) search_params: SearchAccuracy,
}

/// Hits of a query with the highlights of those that were shown. Highlights of a hit are computed
/// once.
pub(crate) struct CachedHits {
    hits: Vec<Hit>,
    highlights: Vec<OnceLock<Vec<Range<usize>>>>,
}

impl CachedHits {
    pub(crate) fn new(hits: Vec<Hit>) -> Self {
        Self { highlights: hits.iter().map(|_| OnceLock::new()).collect(), hits }
    }

    /// Byte ranges of the words of the query in one of the hits; `find` computes them on first use.
    pub(crate) fn highlights(
        &self,
        hit: &Hit,
        find: impl FnOnce() -> Vec<Range<usize>>,
    ) -> Vec<Range<usize>> {
        match self.hits.element_offset(hit) {
            Some(at) => self.highlights[at].get_or_init(find).clone(),
            None => find(),
        }
    }
}

impl Deref for CachedHits {
    type Target = [Hit];

    fn deref(&self) -> &[Hit] {
        &self.hits
    }
}

/// State of a generation: the name of its vector store and the number of reported changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct GenerationVersion {
    store: String,
    changes: u64,
}

/// The caches of a process, safe for concurrent use.
pub struct SearchCaches {
    query_vectors: Cache<(String, String), Arc<Vec<f32>>>,
    hits: Cache<(GenerationVersion, QueryKey), Arc<CachedHits>>,
    facets: Cache<(GenerationVersion, KeywordField), Arc<Vec<Facet>>>,
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
    /// Limits the caches to `questions` query vectors and about `hits` bytes of hits; 0 disables a
    /// cache.
    pub fn new(questions: u64, hits: u64) -> Self {
        let bytes = |hits: &Arc<CachedHits>| {
            let text = |hit: &Hit| hit.payload.content.len() + hit.payload.uri.len() + 512;
            u32::try_from(hits.iter().map(text).sum::<usize>() + 256).unwrap_or(u32::MAX)
        };
        let values = |facets: &Arc<Vec<Facet>>| {
            let bytes = facets.iter().map(|facet| facet.value.len() + 32).sum::<usize>() + 256;
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        Self {
            query_vectors: Cache::new(questions),
            hits: Cache::builder()
                .max_capacity(hits)
                .weigher(move |_, it| bytes(it))
                .time_to_live(MAX_AGE)
                .build(),
            facets: Cache::builder()
                .max_capacity(MAX_FACET_BYTES.min(hits))
                .weigher(move |_, it| values(it))
                .time_to_live(MAX_AGE)
                .build(),
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
        self.hits.invalidate_all();
        self.facets.invalidate_all();
        self.lock_changes().values_mut().for_each(|changes| *changes += 1);
    }

    /// The current state of a generation. Entries under this key were read after the last reported
    /// change.
    pub(crate) fn version(&self, target: &Target) -> GenerationVersion {
        let changes = self.lock_changes().get(&target.collection).copied().unwrap_or(0);
        GenerationVersion { store: target.store.clone(), changes }
    }

    pub(crate) fn query_vector(&self, model: &str, text: &str) -> Option<Arc<Vec<f32>>> {
        self.count_lookup("questions", self.query_vectors.get(&(model.to_owned(), text.to_owned())))
    }

    pub(crate) fn insert_query_vector(&self, model: &str, text: &str, vector: &Arc<Vec<f32>>) {
        self.query_vectors.insert((model.to_owned(), text.to_owned()), Arc::clone(vector));
    }

    pub(crate) fn hits(&self, asked: &(GenerationVersion, QueryKey)) -> Option<Arc<CachedHits>> {
        self.count_lookup("hits", self.hits.get(asked))
    }

    pub(crate) fn insert_hits(&self, asked: (GenerationVersion, QueryKey), hits: &Arc<CachedHits>) {
        self.hits.insert(asked, Arc::clone(hits));
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

    fn lock_changes(&self) -> MutexGuard<'_, HashMap<Uuid, u64>> {
        // The counters stay consistent even if a thread panicked while it held the lock.
        lock(&self.changes)
    }
}
