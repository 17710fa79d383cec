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
}
