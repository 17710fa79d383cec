//! The port to what finds passages by their words: a text becomes a sparse vector, a number for each word that counts.
//!
//! Whoever writes points and whoever asks for them must make the same of a word, so both go through one port. What
//! a word is, how it is stemmed, and how much it weighs is decided behind it (`stages/src/bm25.rs`); how rare a
//! word is in a collection is known to the store alone, and is its business.

use std::ops::Range;

/// Numbers for a few of very many dimensions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SparseVector {
    /// The dimensions that have a number, ascending, each once.
    pub indices: Vec<u32>,
    /// The numbers, one for each index.
    pub values: Vec<f32>,
}

impl SparseVector {
    /// Whether no dimension has a number.
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// Whether indices ascend, and each has one finite number.
    pub fn is_sound(&self) -> bool {
        self.indices.len() == self.values.len()
            && self.indices.is_sorted_by(|a, b| a < b)
            && self.values.iter().all(|value| value.is_finite())
    }

    /// Sum of the products of the numbers that both have.
    pub fn dot(&self, other: &Self) -> f32 {
        let theirs = |index| {
            let at = other.indices.binary_search(&index).ok()?;
            Some(other.values[at])
        };
        let both = self.indices.iter().zip(&self.values);
        both.filter_map(|(&index, value)| Some(value * theirs(index)?)).sum()
    }
}

/// Makes sparse vectors of texts. Any number of threads may use it at once.
pub trait Words: Send + Sync {
    /// What is stored of a passage of a document in this language (ISO 639-1), if that is known. The store
    /// multiplies each number by the rarity of its word.
    fn passage(&self, text: &str, language: Option<&str>) -> SparseVector;

    /// What a question asks for, in a collection whose documents are in these languages.
    fn question(&self, text: &str, languages: &[String]) -> SparseVector;

    /// Where in a passage of a document in this language the words of a question are: ranges of bytes, ascending,
    /// none touching another.
    fn found(
        &self,
        text: &str,
        language: Option<&str>,
        question: &SparseVector,
    ) -> Vec<Range<usize>>;
}
