//! Filters of a search: conditions on the payload of hits.
//!
//! Stores evaluate filters without patterns, and every field has an index. `search/src/filter.rs`
//! parses the filters of users, whose patterns are replaced by the values that they match.

use std::convert::Infallible;

use crate::Payload;

/// A condition on a chunk. `P` are the patterns of a field; a filter without a type of patterns has
/// none.
///
/// ```
/// use pipeline::test_util::payload;
/// use pipeline::{Filter, KeywordField, NumericField, NumericRange, Payload, TextField};
///
/// let payload = Payload {
///     title: Some("Staff Handbook (2024)".to_owned()),
///     page: Some(3),
///     facts: vec!["author=Ada".to_owned()],
///     ..payload("handbook.pdf", "Every contract has two signatures.")
/// };
/// let first_pages = NumericRange { lte: Some(10), ..NumericRange::default() };
/// let filter: Filter = Filter::All(vec![
///     Filter::In(KeywordField::Fact, vec!["author=Ada".to_owned(), "author=Bob".to_owned()]),
///     Filter::Range(NumericField::Page, first_pages),
///     Filter::Match(TextField::Title, "2024 handbook".to_owned()),
/// ]);
/// assert!(filter.matches(&payload));
/// // A chunk without headings contains no word of them.
/// let headings: Filter = Filter::Match(TextField::Headings, "handbook".to_owned());
/// assert!(!headings.matches(&payload));
/// assert!(!Filter::Any(Vec::<Filter>::new()).matches(&payload));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Filter<P = Infallible> {
    /// All of these hold.
    All(Vec<Filter<P>>),
    /// At least one of these holds; an empty list never holds.
    Any(Vec<Filter<P>>),
    /// This does not hold.
    Not(Box<Filter<P>>),
    /// The field has one of these values.
    In(KeywordField, Vec<String>),
    /// The number is within these bounds; a missing number is not.
    Range(NumericField, NumericRange),
    /// The text contains all of these words, in any order and case.
    Match(TextField, String),
    /// The field has a value that matches one of these patterns.
    Matches(KeywordField, P),
}

/// A field that is compared as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeywordField {
    /// [`Payload::document`].
    Document,
    /// [`Payload::uri`].
    Uri,
    /// [`Payload::source`].
    Source,
    /// [`Payload::mime_type`].
    MimeType,
    /// [`Payload::language`].
    Language,
    /// One of [`Payload::facts`].
    Fact,
}

/// A numeric field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NumericField {
    /// [`Payload::page`].
    Page,
    /// [`Payload::chunk_index`].
    ChunkIndex,
    /// [`Payload::modified_at`], microseconds.
    ModifiedAt,
}

/// A field that is matched by words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TextField {
    /// [`Payload::title`].
    Title,
    /// [`crate::Payload::headings`].
    Headings,
}

/// Bounds of a number; `None` is unbounded.
///
/// ```
/// use pipeline::NumericRange;
///
/// let range = NumericRange { gt: Some(3), lte: Some(5), ..NumericRange::default() };
/// assert_eq!((3..=6).filter(|number| range.contains(*number)).collect::<Vec<_>>(), [4, 5]);
/// assert!(NumericRange::exactly(7).contains(7) && !NumericRange::exactly(7).contains(8));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NumericRange {
    /// More than this.
    pub gt: Option<i64>,
    /// At least this.
    pub gte: Option<i64>,
    /// Less than this.
    pub lt: Option<i64>,
    /// At most this.
    pub lte: Option<i64>,
}

impl NumericRange {
    /// Bounds that admit only this number.
    pub fn exactly(number: i64) -> Self {
        Self { gte: Some(number), lte: Some(number), ..Self::default() }
    }

    /// `true` if the number is within the bounds.
    pub fn contains(&self, number: i64) -> bool {
        self.gt.is_none_or(|bound| number > bound)
            && self.gte.is_none_or(|bound| number >= bound)
            && self.lt.is_none_or(|bound| number < bound)
            && self.lte.is_none_or(|bound| number <= bound)
    }
}

impl KeywordField {
    /// Values of this field in a chunk.
    pub fn values(self, payload: &Payload) -> Vec<String> {
        match self {
            Self::Document => vec![payload.document.to_string()],
            Self::Uri => vec![payload.uri.clone()],
            Self::Source => vec![payload.source.clone()],
            Self::MimeType => vec![payload.mime_type.clone()],
            Self::Language => payload.language.iter().cloned().collect(),
            Self::Fact => payload.facts.clone(),
        }
    }
}

impl<P> Filter<P> {
    /// The patterns with their fields, in the order of the filter.
    pub fn patterns(&self) -> Vec<(KeywordField, &P)> {
        match self {
            Self::All(filters) | Self::Any(filters) => {
                filters.iter().flat_map(Self::patterns).collect()
            }
            Self::Not(filter) => filter.patterns(),
            Self::Matches(field, patterns) => vec![(*field, patterns)],
            Self::In(..) | Self::Range(..) | Self::Match(..) => Vec::new(),
        }
    }

    /// The filter for a store: patterns are replaced by the values that `values_of` returns.
    pub fn resolve(&self, values_of: &impl Fn(KeywordField, &P) -> Vec<String>) -> Filter {
        let all = |filters: &[Self]| filters.iter().map(|it| it.resolve(values_of)).collect();
        match self {
            Self::All(filters) => Filter::All(all(filters)),
            Self::Any(filters) => Filter::Any(all(filters)),
            Self::Not(filter) => Filter::Not(Box::new(filter.resolve(values_of))),
            Self::In(field, values) => Filter::In(*field, values.clone()),
            Self::Range(field, bounds) => Filter::Range(*field, *bounds),
            Self::Match(field, words) => Filter::Match(*field, words.clone()),
            Self::Matches(field, patterns) => Filter::In(*field, values_of(*field, patterns)),
        }
    }
}

impl Filter {
    /// `true` if the filter holds for a chunk. This defines the meaning of a filter; stores must
    /// return the same result from their indexes.
    pub fn matches(&self, payload: &Payload) -> bool {
        match self {
            Self::All(filters) => filters.iter().all(|filter| filter.matches(payload)),
            Self::Any(filters) => filters.iter().any(|filter| filter.matches(payload)),
            Self::Not(filter) => !filter.matches(payload),
            Self::In(field, wanted) => {
                field.values(payload).iter().any(|value| wanted.contains(value))
            }
            Self::Range(field, bounds) => {
                let number = match field {
                    NumericField::Page => payload.page.map(i64::from),
                    NumericField::ChunkIndex => Some(i64::from(payload.chunk_index)),
                    NumericField::ModifiedAt => payload.modified_at,
                };
                number.is_some_and(|number| bounds.contains(number))
            }
            Self::Match(field, words) => {
                let text = match field {
                    TextField::Title => payload.title.as_deref(),
                    TextField::Headings => payload.headings.as_deref(),
                };
                let said = tokenize(text.unwrap_or_default());
                tokenize(words).iter().all(|word| said.contains(word))
            }
            Self::Matches(_, never) => match *never {},
        }
    }
}

/// Words of a text as in the index of a text field: runs of letters and digits, in lower case.
fn tokenize(text: &str) -> Vec<String> {
    let words = text.split(|letter: char| !letter.is_alphanumeric());
    words.filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}
