//! The port to the sparse encoder, which maps a text to a sparse vector of term weights.
//!
//! Points and queries must be encoded in the same way, so both use this port. Tokenisation,
//! stemming and weights are defined by its implementation (`stages/src/bm25.rs`). Only the store
//! knows the rarity of a term in a collection, and applies it.

use std::ops::Range;

/// A sparse vector.
///
/// ```
/// use pipeline::SparseVector;
///
/// let passage = SparseVector { indices: vec![2, 7, 9], values: vec![1.5, 2.0, 1.0] };
/// let query = SparseVector { indices: vec![7, 8], values: vec![1.0, 1.0] };
/// assert!(passage.is_valid());
/// assert_eq!(passage.dot(&query), 2.0);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SparseVector {
    /// Indices of the values, ascending and distinct.
    pub indices: Vec<u32>,
    /// Values, one per index.
    pub values: Vec<f32>,
}

impl SparseVector {
    /// `true` if the vector has no values.
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// `true` if the indices ascend strictly, and each has one finite value.
    pub fn is_valid(&self) -> bool {
        self.indices.len() == self.values.len()
            && self.indices.is_sorted_by(|a, b| a < b)
            && self.values.iter().all(|value| value.is_finite())
    }

    /// Dot product: the sum over the common indices.
    pub fn dot(&self, other: &Self) -> f32 {
        let theirs = |index| {
            let at = other.indices.binary_search(&index).ok()?;
            Some(other.values[at])
        };
        let both = self.indices.iter().zip(&self.values);
        both.filter_map(|(&index, value)| Some(value * theirs(index)?)).sum()
    }
}

/// An occurrence of a term of a query in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TermPosition {
    /// Number of words before it. A name and its first part have the same position.
    pub position: u32,
    /// The index of the term in sparse vectors.
    pub index: u32,
}

/// Encodes texts as sparse vectors. Any number of threads may use it concurrently.
/// `stages::default_sparse_encoder` has an example.
pub trait SparseEncoder: Send + Sync {
    /// Sparse vector of a passage to store, from a document in this language (ISO 639-1), if known.
    /// The store multiplies each value by the rarity of its term.
    fn encode_document(&self, text: &str, language: Option<&str>) -> SparseVector;

    /// Sparse vector of a query, for a collection with documents in these languages.
    fn encode_query(&self, text: &str, languages: &[String]) -> SparseVector;

    /// Byte ranges of the terms of a query in a passage of a document in this language, ascending,
    /// neither overlapping nor adjacent.
    fn match_ranges(
        &self,
        text: &str,
        language: Option<&str>,
        question: &SparseVector,
    ) -> Vec<Range<usize>>;

    /// The occurrences of the terms of a query in a text in this language, ascending. Words are
    /// counted in the same way in every text, so that the distances of terms in a query and in a
    /// passage are comparable.
    ///
    /// By default, words are separated by white space, and terms are found by
    /// [`SparseEncoder::match_ranges`].
    fn term_positions(
        &self,
        text: &str,
        language: Option<&str>,
        question: &SparseVector,
    ) -> Vec<TermPosition> {
        let words = text.split_whitespace();
        let starts: Vec<usize> =
            words.map(|it| it.as_ptr().addr() - text.as_ptr().addr()).collect();
        let mut found = Vec::new();
        for &index in &question.indices {
            let term = SparseVector { indices: vec![index], values: vec![1.0] };
            for range in self.match_ranges(text, language, &term) {
                let before = starts.partition_point(|start| *start <= range.start).max(1) - 1;
                found.push(TermPosition {
                    position: u32::try_from(before).unwrap_or(u32::MAX),
                    index,
                });
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}
