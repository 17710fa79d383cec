//! Filters of a search: conditions on the payload of hits.
//!
//! Stores evaluate this form; it has no wildcards, and every field has an index.
//! `search/src/filter.rs` parses the filters of users and expands wildcards to existing values.

use crate::Payload;

/// A condition on a chunk.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Filter {
    /// All of these hold.
    All(Vec<Filter>),
    /// At least one of these holds; an empty list never holds.
    Any(Vec<Filter>),
    /// This does not hold.
    Not(Box<Filter>),
    /// The field has one of these values.
    Is(Keyword, Vec<String>),
    /// The number is within these bounds; a missing number is not.
    Within(Number, Bounds),
    /// The text contains all of these words, in any order and case.
    Says(Text, String),
}

/// A field that is compared as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Keyword {
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
pub enum Number {
    /// [`Payload::page`].
    Page,
    /// [`Payload::chunk_index`].
    Chunk,
    /// [`Payload::modified_at`], microseconds.
    Modified,
}

/// A field that is matched by words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Text {
    /// [`Payload::title`].
    Title,
    /// [`Payload::headings`].
    Headings,
}

/// Bounds of a number; `None` is unbounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// More than this.
    pub gt: Option<i64>,
    /// At least this.
    pub gte: Option<i64>,
    /// Less than this.
    pub lt: Option<i64>,
    /// At most this.
    pub lte: Option<i64>,
}

impl Bounds {
    /// Bounds that admit only this number.
    pub fn exactly(number: i64) -> Self {
        Self { gte: Some(number), lte: Some(number), ..Self::default() }
    }

    /// `true` if the number is within the bounds.
    pub fn hold(&self, number: i64) -> bool {
        self.gt.is_none_or(|bound| number > bound)
            && self.gte.is_none_or(|bound| number >= bound)
            && self.lt.is_none_or(|bound| number < bound)
            && self.lte.is_none_or(|bound| number <= bound)
    }
}

impl Keyword {
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

impl Filter {
    /// `true` if the filter holds for a chunk. This defines the meaning of a filter; stores must
    /// return the same result from their indexes.
    pub fn holds(&self, payload: &Payload) -> bool {
        match self {
            Self::All(filters) => filters.iter().all(|filter| filter.holds(payload)),
            Self::Any(filters) => filters.iter().any(|filter| filter.holds(payload)),
            Self::Not(filter) => !filter.holds(payload),
            Self::Is(field, wanted) => {
                field.values(payload).iter().any(|value| wanted.contains(value))
            }
            Self::Within(field, bounds) => {
                let number = match field {
                    Number::Page => payload.page.map(i64::from),
                    Number::Chunk => Some(i64::from(payload.chunk_index)),
                    Number::Modified => payload.modified_at,
                };
                number.is_some_and(|number| bounds.hold(number))
            }
            Self::Says(field, words) => {
                let text = match field {
                    Text::Title => payload.title.as_deref(),
                    Text::Headings => payload.headings.as_deref(),
                };
                let said = words_of(text.unwrap_or_default());
                words_of(words).iter().all(|word| said.contains(word))
            }
        }
    }
}

/// Words of a text as in the index of a text field: runs of letters and digits, in lower case.
fn words_of(text: &str) -> Vec<String> {
    let words = text.split(|letter: char| !letter.is_alphanumeric());
    words.filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}
