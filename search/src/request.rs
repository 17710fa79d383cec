//! Search requests: one query to one or several collections, with options for retrieval and output.

use std::fmt;
use std::str::FromStr;

use pipeline::SearchAccuracy;

use crate::glob::PatternFilter;
use crate::settings::SettingsOverrides;

/// Maximum number of hits in one answer.
pub(crate) const MAX_HITS: usize = 1000;

/// Maximum offset of a request, and maximum number of candidates.
pub(crate) const MAX_OFFSET: usize = 10_000;

/// Longer than any issued cursor.
const MAX_CURSOR_LENGTH: usize = 200;

/// Search mode.
///
/// ```
/// use search::SearchMode;
///
/// assert_eq!("hybrid".parse::<SearchMode>()?, SearchMode::Hybrid);
/// let error = "fuzzy".parse::<SearchMode>().unwrap_err();
/// assert_eq!(error, "invalid mode `fuzzy`: expected dense, sparse or hybrid");
/// # Ok::<_, String>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SearchMode {
    /// Similarity of dense vectors.
    Dense,
    /// BM25 on sparse vectors.
    Sparse,
    /// Both, fused.
    Hybrid,
}

impl SearchMode {
    /// The name in requests and responses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dense => "dense",
            Self::Sparse => "sparse",
            Self::Hybrid => "hybrid",
        }
    }
}

impl fmt::Display for SearchMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for SearchMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Dense, Self::Sparse, Self::Hybrid]
            .into_iter()
            .find(|mode| mode.name() == text)
            .ok_or_else(|| format!("invalid mode `{text}`: expected dense, sparse or hybrid"))
    }
}

/// A query with its options.
///
/// ```
/// use search::Request;
///
/// let request = Request::new("who signs a contract", vec!["handbook".to_owned()]);
/// assert_eq!((request.k, request.mode, request.check_query()), (10, None, Ok(())));
/// let error = Request { k: 0, ..request }.check_query().unwrap_err();
/// assert_eq!(error.to_string(), "invalid `k`: expected 1 to 1000, found 0");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The text of the query.
    pub query: String,
    /// The collections to search, by the names that [`crate::TargetResolver`] accepts.
    pub collections: Vec<String>,
    /// `None` selects hybrid for collections with sparse vectors, and dense for others.
    pub mode: Option<SearchMode>,
    /// Number of hits, or of documents with [`Request::per_document`].
    pub k: usize,
    /// Number of best hits to skip, in the unit of `k`.
    pub offset: usize,
    /// [`Answer::cursor`](crate::SearchResults::cursor) of the previous page; it contains the
    /// offset.
    pub cursor: Option<String>,
    /// Condition on the hits.
    pub filter: Option<PatternFilter>,
    /// Minimum cosine similarity of a hit to the query by the model of its collection, in every
    /// mode.
    pub threshold: Option<f32>,
    /// Groups hits by document, at most this many of each. Documents are ordered by their best
    /// hits.
    pub per_document: Option<usize>,
    /// Settings that replace those of the searched collections.
    pub overrides: SettingsOverrides,
    /// Number of fused entries per ranking; `None` derives it from `k` and `offset`.
    pub candidates: Option<usize>,
    /// `true` to compute the highlights of the hits.
    pub highlight: bool,
    /// `true` to merge hits of a page that are adjacent in their document into one passage, in
    /// collections whose settings permit it. `k`, `offset` and cursors count hits before the merge.
    pub merge_adjacent: bool,
    /// `true` to explain the scores of the hits.
    pub explain: bool,
    /// Approximate or exact search.
    pub search_params: SearchAccuracy,
    /// Maximum cost of the search ([`Request::cost`]). It limits the hits read for grouping by
    /// document, and no next page is offered that exceeds it. The caller has to refuse a request
    /// that costs more from the start.
    pub budget: u64,
}

impl Request {
    /// A request for the ten best hits in these collections.
    pub fn new(query: impl Into<String>, collections: Vec<String>) -> Self {
        Self {
            query: query.into(),
            collections,
            mode: None,
            k: 10,
            offset: 0,
            cursor: None,
            filter: None,
            threshold: None,
            per_document: None,
            overrides: SettingsOverrides::default(),
            candidates: None,
            highlight: true,
            merge_adjacent: false,
            explain: false,
            search_params: SearchAccuracy::Approximate,
            budget: u64::MAX,
        }
    }

    /// Checks the request before any collection is searched.
    pub(crate) fn check(&self) -> Result<(), InvalidRequest> {
        if self.collections.is_empty() {
            let message = "expected at least one collection".to_owned();
            return Err(InvalidRequest { field: "collections", message });
        }
        self.check_query()
    }

    /// As `check`, without the collections.
    ///
    /// # Errors
    /// The invalid field.
    pub fn check_query(&self) -> Result<(), InvalidRequest> {
        let invalid = |field, message: String| Err(InvalidRequest { field, message });
        let within = |number: f32| (-1.0..=1.0).contains(&number);
        if self.query.trim().is_empty() {
            return invalid("query", "it is empty".to_owned());
        }
        let is_long = |cursor: &String| !(1..=MAX_CURSOR_LENGTH).contains(&cursor.len());
        if self.cursor.as_ref().is_some_and(is_long) {
            return invalid("cursor", "not a cursor of an earlier response".to_owned());
        }
        if !(1..=MAX_HITS).contains(&self.k) {
            return invalid("k", format!("expected 1 to {MAX_HITS}, found {}", self.k));
        }
        if self.offset > MAX_OFFSET {
            return invalid("offset", format!("expected at most {MAX_OFFSET}"));
        }
        if self.threshold.is_some_and(|threshold| !within(threshold)) {
            return invalid("threshold", "expected a cosine from -1 to 1".to_owned());
        }
        if self.per_document.is_some_and(|most| !(1..=100).contains(&most)) {
            return invalid("per_document", "expected 1 to 100".to_owned());
        }
        if self.candidates.is_some_and(|count| !(1..=MAX_OFFSET).contains(&count)) {
            return invalid("candidates", format!("expected 1 to {MAX_OFFSET}"));
        }
        self.overrides.check()
    }
}

/// An invalid field of a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid `{field}`: {message}")]
pub struct InvalidRequest {
    /// Name of the field in [`Request`].
    pub field: &'static str,
    /// The expected value.
    pub message: String,
}
