//! The port to the sparse encoder, which maps a passage to a sparse vector of term weights.
//!
//! Points and queries must be encoded in the same way, so both use this port. Tokenisation,
//! stemming, fields and weights are defined by its implementation (`stages/src/bm25.rs`). Only the
//! store knows the rarity of a term in a collection, and applies it.

use std::ops::Range;

use crate::bm25f::FieldEncoder;
use crate::store::Payload;

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
    /// The vector with the value 1 at each of these indices, which ascend and are distinct.
    pub fn of_terms(indices: Vec<u32>) -> Self {
        Self { values: vec![1.0; indices.len()], indices }
    }

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

/// What a sparse encoder reads of a chunk: its text and the fields that describe it.
///
/// ```
/// use pipeline::Passage;
///
/// let passage = Passage::of_text("Oaks live long.", Some("en"));
/// let passage = Passage { title: Some("Trees"), ..passage };
/// assert_eq!(passage.path, None);
/// assert_eq!(Passage::path_in_source("file:///srv/docs/a/b.md", "file:///srv/docs"), "a/b.md");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passage<'a> {
    /// Text of the chunk.
    pub text: &'a str,
    /// Heading path of the chunk, outermost first, joined by [`HEADING_SEPARATOR`].
    pub headings: Option<&'a str>,
    /// Title of the document.
    pub title: Option<&'a str>,
    /// Path of the document below its source root, percent-encoded as in its URI
    /// ([`Passage::path_in_source`]).
    pub path: Option<&'a str>,
    /// Language of the document (ISO 639-1), if known.
    pub language: Option<&'a str>,
}

/// Separates the headings of a heading path.
pub const HEADING_SEPARATOR: &str = " > ";

impl<'a> Passage<'a> {
    /// A passage without headings, title and path.
    pub fn of_text(text: &'a str, language: Option<&'a str>) -> Self {
        Self { text, language, ..Self::default() }
    }

    /// The passage of a stored chunk: encoding it gives the sparse vector that was stored.
    pub fn of_payload(payload: &'a Payload) -> Self {
        Self {
            text: &payload.content,
            headings: payload.headings.as_deref(),
            title: payload.title.as_deref(),
            path: Some(Self::path_in_source(&payload.uri, &payload.source)),
            language: payload.language.as_deref(),
        }
    }

    /// The part of a URI below its source root. If the root is unknown or is the document itself,
    /// only the file name.
    pub fn path_in_source<'u>(uri: &'u str, source: &str) -> &'u str {
        let below = Some(uri).filter(|_| !source.is_empty()).and_then(|it| it.strip_prefix(source));
        let below = below.filter(|rest| rest.starts_with('/') || source.ends_with('/'));
        let below = below.map(|rest| rest.trim_matches('/')).filter(|rest| !rest.is_empty());
        below.unwrap_or_else(|| uri.trim_end_matches('/').rsplit('/').next().unwrap_or(uri))
    }
}

/// A field of a [`Passage`] that has terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PassageField {
    /// The text of the chunk.
    Text,
    /// The headings above it.
    Headings,
    /// The title of the document.
    Title,
    /// File name and folders of the document.
    Path,
}

impl PassageField {
    /// All fields.
    pub const ALL: [Self; 4] = [Self::Text, Self::Headings, Self::Title, Self::Path];

    /// The name of the field in options and explanations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Headings => "headings",
            Self::Title => "title",
            Self::Path => "path",
        }
    }
}

/// A term of a query in one field of a passage.
#[derive(Clone, Debug, PartialEq)]
pub struct TermMatch {
    /// The term as the passage first writes it in this field.
    pub term: String,
    /// Its index in sparse vectors.
    pub index: u32,
    /// The field that contains it.
    pub field: PassageField,
    /// Number of occurrences in the field.
    pub frequency: u32,
    /// The part of the term's weight that is due to this field. Over all fields these add up to the
    /// value in the sparse vector of the passage, before the rarity of the term.
    pub weight: f32,
}

/// The kind of a [`QueryTerm`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QueryTermKind {
    /// A word of a natural language, or several in quotation marks.
    Word,
    /// A name with digits, inner capitals or inner punctuation, such as `pthread_mutex_lock`.
    Identifier,
    /// A number or a version of digits, such as `3.14`.
    Number,
}

/// A word, name, number or quoted phrase of a query, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryTerm {
    /// The term as written, without quotation marks.
    pub text: String,
    /// Indices of its terms in sparse vectors, ascending: for a word one per language that stems it
    /// differently, for a phrase those of all its words.
    pub indices: Vec<u32>,
    /// Its kind; of a phrase of several words [`QueryTermKind::Word`].
    pub kind: QueryTermKind,
    /// `true` if the query has it in quotation marks.
    pub quoted: bool,
}

/// An occurrence of a term of a query in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TermPosition {
    /// Number of words before it. A name and its first part have the same position.
    pub position: u32,
    /// The index of the term in sparse vectors.
    pub index: u32,
}

/// Encodes passages and queries as sparse vectors. Any number of threads may use it concurrently.
/// `stages::default_sparse_encoder` has an example.
pub trait SparseEncoder: Send + Sync {
    /// Sparse vector of a passage to store. The store multiplies each value by the rarity of its
    /// term.
    fn encode_document(&self, passage: &Passage<'_>) -> SparseVector;

    /// Sparse vector of a query, for a collection with documents in these languages.
    fn encode_query(&self, text: &str, languages: &[String]) -> SparseVector;

    /// The terms of a query in their order, for a collection with documents in these languages. A
    /// phrase in quotation marks is one term, a name is not divided into its parts. Stop words
    /// outside of quotation marks are left out, unless there is nothing else.
    fn query_terms(&self, text: &str, languages: &[String]) -> Vec<QueryTerm>;

    /// Byte ranges of the terms of a query in a passage of a document in this language, ascending,
    /// neither overlapping nor adjacent.
    fn match_ranges(
        &self,
        text: &str,
        language: Option<&str>,
        question: &SparseVector,
    ) -> Vec<Range<usize>>;

    /// The terms of a query in each field of a passage, by descending weight; equal weights by
    /// index and field.
    fn explain(&self, passage: &Passage<'_>, question: &SparseVector) -> Vec<TermMatch>;

    /// `true` if the vector of a passage depends on this field.
    fn reads(&self, field: PassageField) -> bool;

    /// The encoder with variable parameters of BM25F; `None` for weights of another kind.
    fn as_field_encoder(&self) -> Option<&dyn FieldEncoder> {
        None
    }

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
            let term = SparseVector::of_terms(vec![index]);
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

#[cfg(test)]
mod tests {
    use super::Passage;

    #[test]
    fn a_path_is_below_its_source() {
        for (uri, source, path) in [
            ("file:///srv/docs/a/b.md", "file:///srv/docs", "a/b.md"),
            ("file:///srv/docs/a/b.md", "file:///srv/docs/", "a/b.md"),
            ("file:///srv/docs/a.md", "file:///", "srv/docs/a.md"),
            ("file:///srv/docs/a.md", "file:///srv/docs/a.md", "a.md"),
            ("file:///srv/docs/a.md", "file:///srv/do", "a.md"),
            ("file:///srv/docs/a.md", "", "a.md"),
            ("https://example.org/a/", "https://example.org", "a"),
        ] {
            assert_eq!(Passage::path_in_source(uri, source), path, "{uri} in {source}");
        }
    }
}
