//! The port to the vocabulary of one collection and generation: the words of its chunks. Sparse
//! vectors contain only hashes of words, so prefixes and misspelt words of a query are looked up
//! here.
//!
//! A word stays in the vocabulary after the last chunk that contains it. Only the vector store
//! knows whether a word occurs, and how often.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Mutex;

use async_trait::async_trait;

use crate::{StoreError, lock};

/// Longest word of a vocabulary in bytes: that of a term of a sparse vector.
pub const MAX_WORD_BYTES: usize = 64;

/// The words of one collection and generation, in lower case. [`MemoryVocabulary`] has an example.
#[async_trait]
pub trait Vocabulary: Send + Sync {
    /// Adds words; those already present, and repetitions, have no effect. A word longer than
    /// [`MAX_WORD_BYTES`] or with a NUL character is ignored.
    ///
    /// # Errors
    /// If the store cannot be reached, or the generation was deleted; a retry is safe.
    async fn add(&self, words: &[String]) -> Result<(), StoreError>;

    /// The words that start with `prefix` and follow `after`, in the order of their bytes, at most
    /// `limit`. An empty prefix matches every word, and an empty `after` starts with the first one.
    ///
    /// # Errors
    /// If the store cannot be reached.
    async fn words(
        &self,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<String>, StoreError>;
}

/// `true` if a vocabulary has such words; see [`Vocabulary::add`].
pub fn is_vocabulary_word(word: &str) -> bool {
    (1..=MAX_WORD_BYTES).contains(&word.len()) && !word.contains('\0')
}

/// A vocabulary in memory, for programs without a metadata store, and tests.
///
/// ```
/// use pipeline::{MemoryVocabulary, Vocabulary as _};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), pipeline::StoreError> {
/// let vocabulary = MemoryVocabulary::default();
/// vocabulary.add(&["oak".to_owned(), "oats".to_owned(), "birch".to_owned()]).await?;
/// assert_eq!(vocabulary.words("oa", "", 10).await?, ["oak", "oats"]);
/// assert_eq!(vocabulary.words("", "birch", 1).await?, ["oak"]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct MemoryVocabulary(Mutex<BTreeSet<String>>);

#[async_trait]
impl Vocabulary for MemoryVocabulary {
    async fn add(&self, words: &[String]) -> Result<(), StoreError> {
        let valid = words.iter().filter(|word| is_vocabulary_word(word));
        lock(&self.0).extend(valid.cloned());
        Ok(())
    }

    async fn words(
        &self,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        let words = lock(&self.0);
        let from = if after < prefix { Bound::Included(prefix) } else { Bound::Excluded(after) };
        let found = words.range::<str, _>((from, Bound::Unbounded));
        Ok(found.take_while(|word| word.starts_with(prefix)).take(limit).cloned().collect())
    }
}
