//! What was computed before: vectors of questions, hits of collections, and the values of their fields.
//!
//! What is known of a collection goes when somebody says that it has changed ([`Caches::forget`]); a generation
//! that takes the place of another is never mistaken for it, since its vectors have another name.

use std::collections::HashMap;
use std::ops::{Deref, Range};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use moka::sync::Cache;
use pipeline::{Effort, Facet, Hit, Keyword};
use uuid::Uuid;

use crate::filter::Condition;
use crate::metrics::SearchMetrics;
use crate::request::Mode;
use crate::target::Target;

/// Vectors of questions that are kept.
const QUESTIONS: u64 = 10_000;

/// Bytes of hits that are kept, about.
const HITS: u64 = 64 << 20;

/// Bytes of values of fields that are kept, about.
const FACETS: u64 = 32 << 20;

/// Nothing is kept longer, in case nobody has said that a collection changed.
const LONGEST: Duration = Duration::from_secs(300);

/// A question to one generation, as it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Asked {
    pub(crate) query: String,
    pub(crate) mode: Mode,
    /// As it was written: what a pattern stands for is a matter of the generation as it is ([`Version`]).
    pub(crate) filter: Option<Condition>,
    pub(crate) threshold: Option<u32>,
    pub(crate) fusion: [u32; 3],
    pub(crate) candidates: usize,
    pub(crate) limit: usize,
    pub(crate) effort: Effort,
}

/// Hits of a question, and where its words are in those that were shown: a passage is read once for that, however
/// often it is shown.
pub(crate) struct Hits {
    hits: Vec<Hit>,
    highlights: Vec<OnceLock<Vec<Range<usize>>>>,
}

impl Hits {
    pub(crate) fn new(hits: Vec<Hit>) -> Self {
        Self { highlights: hits.iter().map(|_| OnceLock::new()).collect(), hits }
    }

    /// Where the words of the question are in one of the hits.
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

impl Deref for Hits {
    type Target = [Hit];

    fn deref(&self) -> &[Hit] {
        &self.hits
    }
}

/// A generation as it was at one time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Version {
    store: String,
    changes: u64,
}

/// What was computed before. Any number of requests may use it at once.
pub struct Caches {
    questions: Cache<(String, String), Arc<Vec<f32>>>,
    hits: Cache<(Version, Asked), Arc<Hits>>,
    facets: Cache<(Version, Keyword), Arc<Vec<Facet>>>,
    /// How often each collection has changed.
    changes: Mutex<HashMap<Uuid, u64>>,
    metrics: SearchMetrics,
}

impl Default for Caches {
    fn default() -> Self {
        Self::new(QUESTIONS, HITS)
    }
}

impl Caches {
    /// Keeps so many vectors of questions, and about so many bytes of hits; 0 keeps none.
    pub fn new(questions: u64, hits: u64) -> Self {
        let bytes = |hits: &Arc<Hits>| {
            let text = |hit: &Hit| hit.payload.content.len() + hit.payload.uri.len() + 512;
            u32::try_from(hits.iter().map(text).sum::<usize>() + 256).unwrap_or(u32::MAX)
        };
        let values = |facets: &Arc<Vec<Facet>>| {
            let bytes = facets.iter().map(|facet| facet.value.len() + 32).sum::<usize>() + 256;
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        Self {
            questions: Cache::new(questions),
            hits: Cache::builder()
                .max_capacity(hits)
                .weigher(move |_, it| bytes(it))
                .time_to_live(LONGEST)
                .build(),
            facets: Cache::builder()
                .max_capacity(FACETS.min(hits))
                .weigher(move |_, it| values(it))
                .time_to_live(LONGEST)
                .build(),
            changes: Mutex::default(),
            metrics: SearchMetrics::default(),
        }
    }

    /// Has look-ups counted here.
    #[must_use]
    pub fn counted(self, metrics: &SearchMetrics) -> Self {
        Self { metrics: metrics.clone(), ..self }
    }

    /// The counters and histograms of these caches.
    pub fn metrics(&self) -> &SearchMetrics {
        &self.metrics
    }

    fn count<T>(&self, cache: &str, found: Option<T>) -> Option<T> {
        self.metrics.looked_up(cache, found.is_some());
        found
    }

    /// Forgets what is known of a collection: documents were taken in or out of it.
    pub fn forget(&self, collection: Uuid) {
        *self.counts().entry(collection).or_default() += 1;
    }

    /// Forgets what is known of every collection.
    pub fn forget_all(&self) {
        self.hits.invalidate_all();
        self.facets.invalidate_all();
        self.counts().values_mut().for_each(|changes| *changes += 1);
    }

    /// How a generation is now. What is remembered under it was read after the last change that is known of.
    pub(crate) fn version(&self, target: &Target) -> Version {
        let changes = self.counts().get(&target.collection).copied().unwrap_or(0);
        Version { store: target.store.clone(), changes }
    }

    pub(crate) fn question(&self, model: &str, text: &str) -> Option<Arc<Vec<f32>>> {
        self.count("questions", self.questions.get(&(model.to_owned(), text.to_owned())))
    }

    pub(crate) fn keep_question(&self, model: &str, text: &str, vector: &Arc<Vec<f32>>) {
        self.questions.insert((model.to_owned(), text.to_owned()), Arc::clone(vector));
    }

    pub(crate) fn hits(&self, asked: &(Version, Asked)) -> Option<Arc<Hits>> {
        self.count("hits", self.hits.get(asked))
    }

    pub(crate) fn keep_hits(&self, asked: (Version, Asked), hits: &Arc<Hits>) {
        self.hits.insert(asked, Arc::clone(hits));
    }

    pub(crate) fn facets(&self, version: &Version, field: Keyword) -> Option<Arc<Vec<Facet>>> {
        self.count("facets", self.facets.get(&(version.clone(), field)))
    }

    pub(crate) fn keep_facets(&self, version: Version, field: Keyword, facets: &Arc<Vec<Facet>>) {
        self.facets.insert((version, field), Arc::clone(facets));
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Uuid, u64>> {
        // A count is whole, whoever panicked while it was held.
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
