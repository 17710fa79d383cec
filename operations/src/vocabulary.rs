//! Records the words of the chunks that a run writes (docs/adr/0045-vocabulary.md).

use std::collections::hash_map::RandomState;
use std::collections::{BTreeSet, HashSet};
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use pipeline::{DocumentLocation, Passage, Point, StoreError, VectorStore, Vocabulary, lock};
use uuid::Uuid;

/// Maximum number of words that are remembered as recorded: 32 MiB at most. The set is cleared when
/// it is full, and its words are recorded again when they occur again.
const MAX_RECORDED: usize = 1_500_000;

/// The vector store of a run, which adds the words of its points to the vocabulary of the
/// generation. Words are added before their points are written, so that no point of a committed
/// document has a missing word; a word without a point is harmless.
pub(crate) struct VocabularyRecorder {
    vectors: Arc<dyn VectorStore>,
    vocabulary: Arc<dyn Vocabulary>,
    recorded: Mutex<RecordedWords>,
}

/// Hashes of the words that are in the vocabulary. Of a million words, two have the same hash with
/// a probability of 1 in 10⁷.
#[derive(Default)]
struct RecordedWords {
    hasher: RandomState,
    hashes: HashSet<u64>,
}

impl RecordedWords {
    fn contains(&self, word: &str) -> bool {
        self.hashes.contains(&self.hasher.hash_one(word))
    }

    fn insert(&mut self, words: &[String]) {
        if self.hashes.len() + words.len() > MAX_RECORDED {
            self.hashes.clear();
        }
        self.hashes.extend(words.iter().map(|word| self.hasher.hash_one(word)));
    }
}

impl VocabularyRecorder {
    pub(crate) fn new(vectors: Arc<dyn VectorStore>, vocabulary: Arc<dyn Vocabulary>) -> Self {
        Self { vectors, vocabulary, recorded: Mutex::default() }
    }

    /// The words of these points that this run has not recorded yet, sorted.
    fn new_words(&self, points: &[Point]) -> Vec<String> {
        let recorded = lock(&self.recorded);
        let mut new = BTreeSet::new();
        let mut add = |word: &str| {
            if !recorded.contains(word) && !new.contains(word) {
                new.insert(word.to_owned());
            }
        };
        for point in points {
            stages::vocabulary_words(&Passage::of_payload(&point.payload), &mut add);
        }
        new.into_iter().collect()
    }
}

#[async_trait]
impl VectorStore for VocabularyRecorder {
    async fn upsert(&self, points: Vec<Point>) -> Result<(), StoreError> {
        let words = self.new_words(&points);
        if !words.is_empty() {
            self.vocabulary.add(&words).await?;
            lock(&self.recorded).insert(&words);
        }
        self.vectors.upsert(points).await
    }

    async fn truncate(&self, document: Uuid, from_chunk: u32) -> Result<(), StoreError> {
        self.vectors.truncate(document, from_chunk).await
    }

    async fn update_location(
        &self,
        document: Uuid,
        place: &DocumentLocation,
    ) -> Result<(), StoreError> {
        self.vectors.update_location(document, place).await
    }

    async fn remove(&self, documents: &[Uuid]) -> Result<(), StoreError> {
        self.vectors.remove(documents).await
    }

    async fn flush(&self) -> Result<(), StoreError> {
        self.vectors.flush().await
    }
}
