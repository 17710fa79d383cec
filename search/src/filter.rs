//! The filter language: JSON conditions on hits, described in `docs/search.md`.
//!
//! A filter is parsed into a [`Condition`]; errors contain the position. Patterns are kept until a
//! collection is searched and then replaced by the values that they match (`glob.rs`).
//!
//! Filters are untrusted input, so they are parsed twice: the first pass checks every limit, the
//! second compiles the patterns. A filter that exceeds a limit is refused at the first excess,
//! before any pattern is compiled.

use std::cell::Cell;
use std::fmt;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use pipeline::{KeywordField, NumericField, NumericRange, TextField, check_pattern, format_fact};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::glob::Patterns;

/// A parsed filter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// All conditions hold.
    All(Vec<Condition>),
    /// At least one condition holds.
    Any(Vec<Condition>),
    /// The condition does not hold.
    Not(Box<Condition>),
    /// The field has one of these values.
    OneOf(KeywordField, Vec<String>),
    /// The field has a value that matches one of these patterns.
    Matches(KeywordField, Patterns),
    /// The number is within these bounds.
    Within(NumericField, NumericRange),
    /// The text contains all of these words.
    ContainsWords(TextField, String),
}

/// An invalid filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct FilterError {
    /// Position of the error: `filter.or[1].page.gte`.
    pub path: String,
    /// The error at this position.
    pub message: String,
}

/// Maximum number of conditions, at any depth: fields, `and`, `or` and `not`.
const MAX_CONDITIONS: usize = 100;
/// Maximum nesting of `and`, `or` and `not`.
const MAX_DEPTH: usize = 8;
/// Maximum number of patterns; a path counts as one, with or without wildcards.
const MAX_PATTERNS: usize = 100;
/// Maximum total size of all patterns in bytes.
const MAX_PATTERN_BYTES: usize = 16 << 10;
/// Maximum total number of values in all lists.
const MAX_VALUES: usize = 1000;
/// Maximum length of a path without wildcards in bytes (`PATH_MAX` of Linux).
const MAX_PATH_BYTES: usize = 4096;
/// Maximum number of characters in the words of `title` and `headings`.
const MAX_WORDS: usize = 1000;
/// Number of characters of a key that an error repeats.
const MAX_SHOWN_KEY: usize = 100;

/// Counts of the filter parsed so far.
#[derive(Default)]
struct FilterUsage {
    conditions: Cell<usize>,
    patterns: Cell<usize>,
    pattern_bytes: Cell<usize>,
    values: Cell<usize>,
    /// `true` in the second pass.
    compiles: bool,
}

/// The current position in a filter.
#[derive(Clone)]
struct FilterPath<'a> {
    path: String,
    /// Number of enclosing `and`, `or` and `not`.
    depth: usize,
    counts: &'a FilterUsage,
}

impl<'a> FilterPath<'a> {
    fn root(counts: &'a FilterUsage) -> Self {
        Self { path: "filter".to_owned(), depth: 0, counts }
    }

    fn key(&self, key: &str) -> Self {
        let shown: String = key.chars().take(MAX_SHOWN_KEY).collect();
        Self { path: format!("{}.{shown}", self.path), ..self.clone() }
    }

    fn item(&self, index: usize) -> Self {
        Self { path: format!("{}[{index}]", self.path), ..self.clone() }
    }

    /// The position inside the `and`, `or` or `not` at this position.
    fn nested(&self) -> Result<Self, FilterError> {
        if self.depth == MAX_DEPTH {
            return self.error(format_args!(
                "`and`, `or` and `not` are nested more than {MAX_DEPTH} deep"
            ));
        }
        Ok(Self { depth: self.depth + 1, ..self.clone() })
    }

    fn count(
        &self,
        of: impl Fn(&FilterUsage) -> &Cell<usize>,
        more: usize,
        most: usize,
        what: &str,
    ) -> Result<(), FilterError> {
        let count = of(self.counts);
        count.set(count.get() + more);
        if count.get() > most {
            return self.error(format_args!("the filter has more than {most} {what}"));
        }
        Ok(())
    }

    fn conditions(&self, more: usize) -> Result<(), FilterError> {
        self.count(|counts| &counts.conditions, more, MAX_CONDITIONS, "conditions")
    }

    fn error<T>(&self, message: impl fmt::Display) -> Result<T, FilterError> {
        Err(FilterError { path: self.path.clone(), message: message.to_string() })
    }
}

/// The keys of a filter, for error messages.
const KNOWN_FIELDS: &str = "and, or, not, path, source, mime_type, language, title, headings, page, chunk, modified_at, \
                     document, metadata";

/// The fields whose values can be counted, with their names in filters.
pub static FACET_FIELDS: &[(&str, KeywordField)] = &[
    ("path", KeywordField::Uri),
    ("source", KeywordField::Source),
    ("mime_type", KeywordField::MimeType),
    ("language", KeywordField::Language),
    ("metadata", KeywordField::Fact),
];

impl Condition {
    /// Parses a filter and compiles its patterns. This is slow, so a server calls it on a blocking
    /// thread ([`crate::Searcher::parse_filter`]).
    ///
    /// # Errors
    /// The first error or exceeded limit, with its position.
    ///
    /// ```
    /// use search::Condition;
    /// use serde_json::json;
    ///
    /// let filter = json!({ "mime_type": "text/html", "not": { "path": "drafts" } });
    /// let Condition::All(conditions) = Condition::parse(&filter)? else { unreachable!() };
    /// assert_eq!(conditions.len(), 2);
    ///
    /// let filter = json!({ "or": [{ "page": 1 }, { "page": { "over": 3 } }] });
    /// assert_eq!(
    ///     Condition::parse(&filter).unwrap_err().to_string(),
    ///     "filter.or[1].page: unknown bound `over`: use gt, gte, lt, lte"
    /// );
    /// # Ok::<_, search::FilterError>(())
    /// ```
    pub fn parse(filter: &Value) -> Result<Self, FilterError> {
        Self::pattern_bytes(filter)?;
        parse_object(
            filter,
            &FilterPath::root(&FilterUsage { compiles: true, ..FilterUsage::default() }),
        )
    }

    /// Checks a filter without compiling patterns. Returns the total size of the patterns in bytes,
    /// which determines the cost of compiling them.
    ///
    /// # Errors
    /// As [`Condition::parse`], except for malformed patterns.
    ///
    /// ```
    /// use search::Condition;
    /// use serde_json::json;
    ///
    /// let filter = json!({ "path": { "glob": ["*.md", "docs/**"] }, "language": "en" });
    /// assert_eq!(Condition::pattern_bytes(&filter)?, "*.md".len() + "docs/**".len());
    /// # Ok::<_, search::FilterError>(())
    /// ```
    pub fn pattern_bytes(filter: &Value) -> Result<usize, FilterError> {
        let counts = FilterUsage::default();
        parse_object(filter, &FilterPath::root(&counts))?;
        Ok(counts.pattern_bytes.get())
    }

    /// The patterns of the condition, grouped by field condition.
    pub(crate) fn patterns(&self) -> Vec<&Patterns> {
        match self {
            Self::All(conditions) | Self::Any(conditions) => {
                conditions.iter().flat_map(Self::patterns).collect()
            }
            Self::Not(condition) => condition.patterns(),
            Self::Matches(_, patterns) => vec![patterns],
            Self::OneOf(..) | Self::Within(..) | Self::ContainsWords(..) => Vec::new(),
        }
    }
}

/// An object: the conditions of all keys must hold.
fn parse_object(value: &Value, at: &FilterPath<'_>) -> Result<Condition, FilterError> {
    let Value::Object(keys) = value else {
        return at.error(format_args!("expected an object, found {}", json_type(value)));
    };
    at.conditions(keys.len().max(1))?;
    let mut conditions = Vec::with_capacity(keys.len());
    for (key, value) in keys {
        conditions.push(parse_member(key, value, at)?);
    }
    Ok(if conditions.len() == 1 { conditions.swap_remove(0) } else { Condition::All(conditions) })
}

fn parse_member(
    key: &str,
    value: &Value,
    outer: &FilterPath<'_>,
) -> Result<Condition, FilterError> {
    let at = outer.key(key);
    match key {
        "and" => Ok(Condition::All(parse_list(value, &at)?)),
        "or" => Ok(Condition::Any(parse_list(value, &at)?)),
        "not" => Ok(Condition::Not(Box::new(parse_object(value, &at.nested()?)?))),
        "path" => parse_paths(value, &at),
        "source" => parse_keyword(KeywordField::Source, value, &at),
        "mime_type" => parse_keyword(KeywordField::MimeType, value, &at),
        "language" => parse_keyword(KeywordField::Language, value, &at),
        "document" => parse_document(value, &at),
        "title" => parse_words(TextField::Title, value, &at),
        "headings" => parse_words(TextField::Headings, value, &at),
        "page" => parse_number(NumericField::Page, value, &at),
        "chunk" => parse_number(NumericField::ChunkIndex, value, &at),
        "modified_at" => parse_instants(value, &at),
        "metadata" => parse_metadata(value, &at),
        _ => {
            let key: String = key.chars().take(MAX_SHOWN_KEY).collect();
            outer.error(format_args!("unknown key `{key}`: expected one of {KNOWN_FIELDS}"))
        }
    }
}

fn parse_list(value: &Value, at: &FilterPath<'_>) -> Result<Vec<Condition>, FilterError> {
    let Value::Array(items) = value else {
        return at.error(format_args!("expected a list of filters, found {}", json_type(value)));
    };
    if items.is_empty() {
        return at.error("the list is empty");
    }
    let within = at.nested()?;
    items.iter().enumerate().map(|(index, item)| parse_object(item, &within.item(index))).collect()
}

/// A string, or a list of alternatives.
fn parse_texts(value: &Value, at: &FilterPath<'_>) -> Result<Vec<String>, FilterError> {
    let items = if let Value::Array(items) = value {
        if items.is_empty() {
            return at.error("the list is empty");
        }
        at.count(|counts| &counts.values, items.len(), MAX_VALUES, "values in its lists")?;
        items.iter().enumerate().map(|(index, it)| (it, at.item(index))).collect()
    } else {
        vec![(value, at.clone())]
    };
    let texts = items.into_iter().map(|(item, at)| match item {
        Value::String(text) if !text.is_empty() => Ok(text.clone()),
        Value::String(_) => at.error("the string is empty"),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(truth) => Ok(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            at.error(format_args!("expected a string, found {}", json_type(item)))
        }
    });
    texts.collect()
}

/// The patterns of `{ "glob": … }`; `None` if the value is not an object.
fn parse_globs(value: &Value, at: &FilterPath<'_>) -> Result<Option<Vec<String>>, FilterError> {
    let Value::Object(keys) = value else {
        return Ok(None);
    };
    let known = keys.keys().all(|key| key == "glob");
    let (Some(patterns), true) = (keys.get("glob"), known) else {
        return at.error("expected a string, a list of strings, or an object with `glob`");
    };
    parse_texts(patterns, &at.key("glob")).map(Some)
}

fn pattern_condition(
    field: KeywordField,
    patterns: Vec<String>,
    at: &FilterPath<'_>,
) -> Result<Condition, FilterError> {
    for pattern in &patterns {
        if let Err(error) = check_pattern(pattern) {
            return at.error(error);
        }
    }
    compile_patterns(field, patterns, at)
}

fn compile_patterns(
    field: KeywordField,
    patterns: Vec<String>,
    at: &FilterPath<'_>,
) -> Result<Condition, FilterError> {
    let bytes = patterns.iter().map(String::len).sum();
    at.count(|counts| &counts.patterns, patterns.len(), MAX_PATTERNS, "patterns")?;
    at.count(|counts| &counts.pattern_bytes, bytes, MAX_PATTERN_BYTES, "bytes of patterns")?;
    if !at.counts.compiles {
        // The first pass only checks the limits.
        return Ok(Condition::All(Vec::new()));
    }
    match Patterns::new(field, patterns) {
        Ok(patterns) => Ok(Condition::Matches(field, patterns)),
        Err(message) => at.error(format_args!("invalid pattern: {message}")),
    }
}

fn parse_keyword(
    field: KeywordField,
    value: &Value,
    at: &FilterPath<'_>,
) -> Result<Condition, FilterError> {
    match parse_globs(value, at)? {
        Some(patterns) => pattern_condition(field, patterns, &at.key("glob")),
        None => Ok(Condition::OneOf(field, parse_texts(value, at)?)),
    }
}

/// A path is a pattern even without wildcards; only whole URIs are compared exactly.
fn parse_paths(value: &Value, at: &FilterPath<'_>) -> Result<Condition, FilterError> {
    if let Some(patterns) = parse_globs(value, at)? {
        return pattern_condition(KeywordField::Uri, patterns, &at.key("glob"));
    }
    let texts = parse_texts(value, at)?;
    if texts.iter().all(|text| text.contains("://")) {
        return Ok(Condition::OneOf(KeywordField::Uri, texts));
    }
    if texts.iter().any(|text| text.len() > MAX_PATH_BYTES) {
        return at.error(format_args!("a path has at most {MAX_PATH_BYTES} bytes"));
    }
    // Wildcard characters in a plain path are literal.
    let escaped = texts.iter().map(|text| globset::escape(text)).collect();
    compile_patterns(KeywordField::Uri, escaped, at)
}

fn parse_document(value: &Value, at: &FilterPath<'_>) -> Result<Condition, FilterError> {
    let ids = parse_texts(value, at)?.into_iter().map(|text| match text.parse::<Uuid>() {
        Ok(id) => Ok(id.to_string()),
        Err(_) => {
            let text: String = text.chars().take(MAX_SHOWN_KEY).collect();
            at.error(format_args!("invalid document id `{text}`"))
        }
    });
    Ok(Condition::OneOf(KeywordField::Document, ids.collect::<Result<_, _>>()?))
}

fn parse_words(
    field: TextField,
    value: &Value,
    at: &FilterPath<'_>,
) -> Result<Condition, FilterError> {
    let Value::String(words) = value else {
        return at.error(format_args!("expected a string, found {}", json_type(value)));
    };
    if words.chars().count() > MAX_WORDS {
        return at.error(format_args!("at most {MAX_WORDS} characters are allowed here"));
    }
    if !words.chars().any(char::is_alphanumeric) {
        return at.error("expected at least one word");
    }
    Ok(Condition::ContainsWords(field, words.clone()))
}

fn parse_number(
    field: NumericField,
    value: &Value,
    at: &FilterPath<'_>,
) -> Result<Condition, FilterError> {
    let read = |value: &Value, at: &FilterPath<'_>| match value.as_i64() {
        Some(number) => Ok(number),
        None => at.error(format_args!("expected a whole number, found {}", json_type(value))),
    };
    let bounds = if let Value::Object(keys) = value {
        parse_bounds(keys, at, read)?
    } else {
        NumericRange::exactly(read(value, at)?)
    };
    Ok(Condition::Within(field, bounds))
}

fn parse_instants(value: &Value, at: &FilterPath<'_>) -> Result<Condition, FilterError> {
    let read = |value: &Value, at: &FilterPath<'_>| match value.as_str().and_then(parse_instant) {
        Some((from, to)) => Ok((from.timestamp_micros(), to.timestamp_micros())),
        None => at.error("expected a date such as 2024-05-31 or 2024-05-31T12:00:00Z"),
    };
    let bounds = if let Value::Object(keys) = value {
        parse_bounds(keys, at, |value, at| Ok(read(value, at)?.0))?
    } else {
        let (from, to) = read(value, at)?;
        NumericRange { gte: Some(from), lt: Some(to), ..NumericRange::default() }
    };
    Ok(Condition::Within(NumericField::ModifiedAt, bounds))
}

/// The start of the time that a text names, and its end (exclusive): a date without a time is a
/// whole day in UTC, a time is one microsecond. `None` if the text is not a date.
fn parse_instant(text: &str) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        let instant = instant.to_utc();
        return Some((instant, instant.checked_add_signed(TimeDelta::microseconds(1))?));
    }
    let day = text.parse::<NaiveDate>().ok()?.and_time(NaiveTime::MIN).and_utc();
    Some((day, day.checked_add_signed(TimeDelta::days(1))?))
}

fn parse_bounds(
    keys: &Map<String, Value>,
    at: &FilterPath<'_>,
    read: impl Fn(&Value, &FilterPath<'_>) -> Result<i64, FilterError>,
) -> Result<NumericRange, FilterError> {
    let mut bounds = NumericRange::default();
    if keys.is_empty() {
        return at.error("expected at least one bound");
    }
    for (key, value) in keys {
        let bound = match key.as_str() {
            "gt" => &mut bounds.gt,
            "gte" => &mut bounds.gte,
            "lt" => &mut bounds.lt,
            "lte" => &mut bounds.lte,
            _ => return at.error(format_args!("unknown bound `{key}`: use gt, gte, lt, lte")),
        };
        *bound = Some(read(value, &at.key(key))?);
    }
    Ok(bounds)
}

fn parse_metadata(value: &Value, at: &FilterPath<'_>) -> Result<Condition, FilterError> {
    let Value::Object(keys) = value else {
        return at.error(format_args!("expected an object, found {}", json_type(value)));
    };
    if keys.is_empty() {
        return at.error("expected at least one key");
    }
    at.conditions(keys.len() - 1)?;
    let mut conditions = Vec::with_capacity(keys.len());
    for (key, value) in keys {
        let at = at.key(key);
        conditions.push(match parse_globs(value, &at)? {
            Some(patterns) => {
                let of_key = |pattern: &String| format_fact(&globset::escape(key), pattern);
                pattern_condition(
                    KeywordField::Fact,
                    patterns.iter().map(of_key).collect(),
                    &at.key("glob"),
                )?
            }
            None => {
                let facts =
                    parse_texts(value, &at)?.iter().map(|text| format_fact(key, text)).collect();
                Condition::OneOf(KeywordField::Fact, facts)
            }
        });
    }
    Ok(if conditions.len() == 1 { conditions.swap_remove(0) } else { Condition::All(conditions) })
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn faults_say_where_they_are() {
        let said = |filter: Value| Condition::parse(&filter).unwrap_err().to_string();
        insta::assert_snapshot!(said(json!([])), @"filter: expected an object, found a list");
        insta::assert_snapshot!(
            said(json!({ "or": [{ "page": 1 }, { "mime": "text/html" }] })),
            @"filter.or[1]: unknown key `mime`: expected one of and, or, not, path, source, mime_type, language, title, headings, page, chunk, modified_at, document, metadata"
        );
        insta::assert_snapshot!(
            said(json!({ "modified_at": { "gte": "yesterday" } })),
            @"filter.modified_at.gte: expected a date such as 2024-05-31 or 2024-05-31T12:00:00Z"
        );
        insta::assert_snapshot!(
            said(json!({ "page": { "over": 3 } })),
            @"filter.page: unknown bound `over`: use gt, gte, lt, lte"
        );
        insta::assert_snapshot!(
            said(json!({ "page": 1.5 })),
            @"filter.page: expected a whole number, found a number"
        );
        insta::assert_snapshot!(
            said(json!({ "path": { "glob": "a[" } })),
            @"filter.path.glob: invalid pattern: unclosed character class; missing ']'"
        );
        insta::assert_snapshot!(
            said(json!({ "metadata": { "author": { "like": "J*" } } })),
            @"filter.metadata.author: expected a string, a list of strings, or an object with `glob`"
        );
        insta::assert_snapshot!(said(json!({ "not": {}, "and": [] })), @"filter.and: the list is empty");
        insta::assert_snapshot!(said(json!({ "title": "?" })), @"filter.title: expected at least one word");
        insta::assert_snapshot!(said(json!({ "modified_at": 7 })), @"filter.modified_at: expected a date such as 2024-05-31 or 2024-05-31T12:00:00Z");
        insta::assert_snapshot!(said(json!({ "document": "7" })), @"filter.document: invalid document id `7`");
    }

    #[test]
    fn a_filter_is_read_as_it_is_meant() {
        let filter = json!({
            "mime_type": ["text/html", "text/plain"],
            "modified_at": "2024-05-31",
            "not": { "metadata": { "year": 2023 } },
        });
        let day = 24 * 3600 * 1_000_000;
        let midnight = 1_717_113_600_000_000;
        let bounds = NumericRange {
            gte: Some(midnight),
            lt: Some(midnight + day),
            ..NumericRange::default()
        };
        let expected = [
            Condition::OneOf(KeywordField::MimeType, vec!["text/html".into(), "text/plain".into()]),
            Condition::Within(NumericField::ModifiedAt, bounds),
            Condition::Not(Box::new(Condition::OneOf(
                KeywordField::Fact,
                vec!["year=2023".into()],
            ))),
        ];
        let Condition::All(conditions) = Condition::parse(&filter).unwrap() else {
            panic!("several keys are several conditions");
        };
        assert!(expected.iter().all(|it| conditions.contains(it)), "{conditions:?}");
        let path = Condition::parse(&json!({ "path": "a[1].txt" })).unwrap();
        let patterns = Patterns::new(KeywordField::Uri, vec!["a[[]1[]].txt".into()]).unwrap();
        assert_eq!(path, Condition::Matches(KeywordField::Uri, patterns));
    }
}
