//! The question as the sparse ranking searches it: prefixes (`pthread_mutex*`) are expanded to the
//! words of the collection, and words that the collection does not have are corrected
//! (docs/adr/0045-vocabulary.md). The dense ranking uses the question as typed.
//!
//! The vocabulary may contain words that no longer occur, so the vector store decides whether a
//! word occurs. A vocabulary that cannot be read does not fail the search: the question is searched
//! as typed.

mod correction;
mod prefix;
mod word_list;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use pipeline::{QueryTerm, SparseVector, StoreError, Vocabulary};

use self::correction::{Occurring, candidates, choose, is_correctable, locate, max_errors, parts};
use self::prefix::{PrefixTerm, prefix_terms};
pub(crate) use self::word_list::WordList;
use crate::blocking::BlockingPool;
use crate::points::PointReader;

pub use self::correction::Correction;

/// Maximum number of words per call that reads the vocabulary.
const PAGE_WORDS: usize = 50_000;

/// Maximum number of words in memory, for vocabularies with more words than any language.
const MAX_WORDS: usize = 3_000_000;

/// Maximum number of words with a prefix that are read.
const MAX_PREFIX_WORDS: usize = 20_000;

/// Maximum number of these whose frequency is compared: the shortest ones, which tend to be the
/// most frequent.
const MAX_COUNTED_WORDS: usize = 1_000;

/// Maximum number of words that a prefix is expanded to: the most frequent ones.
const MAX_EXPANSIONS: usize = 64;

/// Maximum number of prefixes of a query that are expanded; further ones are searched as typed.
/// This and the next two limit the cost of a query.
const MAX_PREFIXES: usize = 4;

/// Maximum number of words of a query that are looked up; further ones are searched as typed.
const MAX_CHECKED_WORDS: usize = 32;

/// Maximum number of words of a query that are corrected.
const MAX_CORRECTED_WORDS: usize = 8;

/// Longest wait for a call that reads the vocabulary, so that a search does not wait for a metadata
/// store that is unreachable.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// The question as the sparse ranking searches it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SparseQuestion {
    /// The text with corrected words and without expanded prefixes.
    pub(crate) text: String,
    /// The terms of the text and of the expanded prefixes.
    pub(crate) vector: SparseVector,
    /// The corrected words, in the order of the question.
    pub(crate) corrections: Vec<Correction>,
}

/// Reads the vocabulary of one generation in the state `version`.
pub(crate) struct VocabularyReader<'a> {
    pub(crate) points: PointReader<'a>,
    pub(crate) pool: &'a BlockingPool,
    /// The languages of the collection.
    pub(crate) languages: &'a [String],
}

impl VocabularyReader<'_> {
    /// The question as typed, without a look into the vocabulary.
    pub(crate) fn as_typed(&self, query: &str) -> SparseQuestion {
        let vector = self.points.target.sparse_encoder.encode_query(query, self.languages);
        SparseQuestion { text: query.to_owned(), vector, corrections: Vec::new() }
    }

    /// The question with expanded prefixes and corrected words.
    ///
    /// # Errors
    /// If the vector store cannot be reached.
    pub(crate) async fn question(&self, query: &str) -> Result<SparseQuestion, StoreError> {
        let Some(vocabulary) = &self.points.target.vocabulary else {
            return Ok(self.as_typed(query));
        };
        let mut text = query.to_owned();
        let mut expanded = BTreeSet::new();
        // From the end, so that the earlier places stay valid.
        let prefixes: Vec<PrefixTerm> =
            prefix_terms(query).into_iter().take(MAX_PREFIXES).collect();
        for PrefixTerm { prefix, range } in prefixes.into_iter().rev() {
            let indices = self.expansions(&**vocabulary, &prefix).await?;
            if !indices.is_empty() {
                text.replace_range(range, "");
                expanded.extend(indices);
            }
        }
        let corrections = self.corrections(&**vocabulary, &text).await?;
        for (range, correction) in corrections.iter().rev() {
            text.replace_range(range.clone(), &correction.used);
        }
        let mut question = self.as_typed(&text);
        let weights = question.vector.indices.iter().copied().zip(question.vector.values);
        let mut weights: BTreeMap<u32, f32> = weights.collect();
        for index in expanded {
            weights.entry(index).or_insert(1.0);
        }
        let (indices, values) = weights.into_iter().unzip();
        question.vector = SparseVector { indices, values };
        question.corrections = corrections.into_iter().map(|(_, correction)| correction).collect();
        Ok(question)
    }

    /// The indices of the most frequent words with a prefix.
    async fn expansions(
        &self,
        vocabulary: &dyn Vocabulary,
        prefix: &str,
    ) -> Result<Vec<u32>, StoreError> {
        let reading = vocabulary.words(prefix, "", MAX_PREFIX_WORDS);
        let Ok(Ok(mut words)) = tokio::time::timeout(READ_TIMEOUT, reading).await else {
            return Ok(Vec::new());
        };
        words.sort_by_key(String::len);
        words.truncate(MAX_COUNTED_WORDS);
        let terms: Vec<Vec<u32>> = words.iter().map(|word| self.indices_of(word)).collect();
        let counts = self.counts(terms.iter().flatten().copied()).await?;
        let mut frequent: Vec<(u64, u32)> = counts
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(&it, &count)| (count, it))
            .collect();
        frequent.sort_unstable_by_key(|&(count, index)| (std::cmp::Reverse(count), index));
        Ok(frequent.into_iter().take(MAX_EXPANSIONS).map(|(_, index)| index).collect())
    }

    /// The corrections of the words that the collection does not have, with their places.
    async fn corrections(
        &self,
        vocabulary: &dyn Vocabulary,
        text: &str,
    ) -> Result<Vec<(Range<usize>, Correction)>, StoreError> {
        let terms = self.points.target.sparse_encoder.query_terms(text, self.languages);
        let words = terms.iter().filter(|term| is_correctable(term)).take(MAX_CHECKED_WORDS);
        let places = locate(text, words);
        let indices = places.iter().flat_map(|(term, _)| term.indices.iter().copied());
        let counts = self.counts(indices).await?;
        let missing = places.into_iter().filter(|(term, _)| !occurs(term, &counts));
        let mut corrections = Vec::new();
        for (term, place) in missing.take(MAX_CORRECTED_WORDS) {
            corrections.extend(self.correct_name(vocabulary, &term.text, &place).await?);
        }
        Ok(corrections)
    }

    /// Corrects a word or name that does not occur. A name of which all parts occur is left: they
    /// are searched anyway. A name without a similar one is corrected in its parts.
    async fn correct_name(
        &self,
        vocabulary: &dyn Vocabulary,
        name: &str,
        place: &Range<usize>,
    ) -> Result<Vec<(Range<usize>, Correction)>, StoreError> {
        let mut missing = Vec::new();
        let parts = parts(name);
        for part in &parts {
            let indices = self.indices_of(&name[part.clone()]);
            let counts = self.counts(indices.iter().copied()).await?;
            if !indices.is_empty() && counts.values().all(|count| *count == 0) {
                missing.push(part.clone());
            }
        }
        if !parts.is_empty() && missing.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(whole) = self.correct(vocabulary, name).await? {
            return Ok(vec![(place.clone(), whole)]);
        }
        let mut corrections = Vec::new();
        for part in missing {
            if let Some(correction) = self.correct(vocabulary, &name[part.clone()]).await? {
                let place = place.start + part.start..place.start + part.end;
                corrections.push((place, correction));
            }
        }
        Ok(corrections)
    }

    /// The most similar occurring word.
    async fn correct(
        &self,
        vocabulary: &dyn Vocabulary,
        typed: &str,
    ) -> Result<Option<Correction>, StoreError> {
        let lower = typed.to_lowercase();
        let errors = max_errors(&lower);
        if errors == 0 {
            return Ok(None);
        }
        let Some(words) = self.all_words(vocabulary).await else { return Ok(None) };
        let word = lower.clone();
        let searching = self.pool.run(move |_| words.within(&word, errors));
        let Ok(similar) = searching.await else { return Ok(None) };
        let found: Vec<_> = candidates(&lower, similar)
            .into_iter()
            .map(|similar| (self.indices_of(&similar.word), similar))
            .collect();
        let counts = self.counts(found.iter().flat_map(|(indices, _)| indices.clone())).await?;
        let occurring = found.into_iter().filter_map(|(indices, similar)| {
            let chunks = indices.iter().filter_map(|index| counts.get(index)).copied().max()?;
            (chunks > 0).then_some(Occurring { similar, indices, chunks })
        });
        Ok(choose(typed, occurring.collect()))
    }

    /// The indices of a word or name as a whole, not of its parts.
    fn indices_of(&self, word: &str) -> Vec<u32> {
        let terms = self.points.target.sparse_encoder.query_terms(word, self.languages);
        let whole = terms.into_iter().find(|term| term.text.len() == word.len());
        whole.map(|term| term.indices).unwrap_or_default()
    }

    /// Number of chunks with each of these terms.
    async fn counts(
        &self,
        terms: impl Iterator<Item = u32>,
    ) -> Result<BTreeMap<u32, u64>, StoreError> {
        let terms: BTreeSet<u32> = terms.collect();
        let terms: Vec<u32> = terms.into_iter().collect();
        let counts = self.points.term_counts(&terms).await?;
        Ok(terms.into_iter().zip(counts).collect())
    }

    /// All words, from the cache or the store; `None` if they cannot be read, or if the list is
    /// empty.
    async fn all_words(&self, vocabulary: &dyn Vocabulary) -> Option<Arc<WordList>> {
        if let Some(known) = self.points.caches.words(self.points.version) {
            return (known.len() > 0).then_some(known);
        }
        let mut list = WordList::default();
        let mut last = String::new();
        while list.len() < MAX_WORDS {
            let reading = vocabulary.words("", &last, PAGE_WORDS);
            let page = tokio::time::timeout(READ_TIMEOUT, reading).await.ok()?.ok()?;
            page.iter().for_each(|word| list.push(word));
            let is_last = page.len() < PAGE_WORDS;
            last = page.into_iter().next_back().unwrap_or_default();
            if is_last {
                break;
            }
        }
        let list = Arc::new(list);
        self.points.caches.insert_words(self.points.version.clone(), &list);
        (list.len() > 0).then_some(list)
    }
}

/// `true` if the collection has the term in one of its languages.
fn occurs(term: &QueryTerm, counts: &BTreeMap<u32, u64>) -> bool {
    term.indices.iter().any(|index| counts.get(index).is_some_and(|count| *count > 0))
}
