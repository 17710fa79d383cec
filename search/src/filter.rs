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
use pipeline::{Bounds, Keyword, Number, Text, check_pattern, fact};
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
    Is(Keyword, Vec<String>),
    /// The field has a value that matches one of these patterns.
    Matches(Keyword, Patterns),
    /// The number is within these bounds.
    Within(Number, Bounds),
    /// The text contains all of these words.
    Says(Text, String),
}

/// An invalid filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {message}")]
pub struct FilterError {
    /// Position of the error: `filter.or[1].page.gte`.
    pub at: String,
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
const SHOWN_KEY: usize = 100;

/// Counts of the filter parsed so far.
#[derive(Default)]
struct Counts {
    conditions: Cell<usize>,
    patterns: Cell<usize>,
    pattern_bytes: Cell<usize>,
    values: Cell<usize>,
    /// `true` in the second pass.
    compiles: bool,
}

/// The current position in a filter.
#[derive(Clone)]
struct At<'a> {
    path: String,
    /// Number of enclosing `and`, `or` and `not`.
    depth: usize,
    counts: &'a Counts,
}

impl<'a> At<'a> {
    fn root(counts: &'a Counts) -> Self {
        Self { path: "filter".to_owned(), depth: 0, counts }
    }

    fn key(&self, key: &str) -> Self {
        let shown: String = key.chars().take(SHOWN_KEY).collect();
        Self { path: format!("{}.{shown}", self.path), ..self.clone() }
    }

    fn item(&self, index: usize) -> Self {
        Self { path: format!("{}[{index}]", self.path), ..self.clone() }
    }

    /// The position inside the `and`, `or` or `not` at this position.
    fn within(&self) -> Result<Self, FilterError> {
        if self.depth == MAX_DEPTH {
            return self.fault(format_args!(
                "`and`, `or` and `not` are nested more than {MAX_DEPTH} deep"
            ));
        }
        Ok(Self { depth: self.depth + 1, ..self.clone() })
    }

    fn count(
        &self,
        of: impl Fn(&Counts) -> &Cell<usize>,
        more: usize,
        most: usize,
        what: &str,
    ) -> Result<(), FilterError> {
        let count = of(self.counts);
        count.set(count.get() + more);
        if count.get() > most {
            return self.fault(format_args!("the filter has more than {most} {what}"));
        }
        Ok(())
    }

    fn conditions(&self, more: usize) -> Result<(), FilterError> {
        self.count(|counts| &counts.conditions, more, MAX_CONDITIONS, "conditions")
    }

    fn fault<T>(&self, message: impl fmt::Display) -> Result<T, FilterError> {
        Err(FilterError { at: self.path.clone(), message: message.to_string() })
    }
}

/// The keys of a filter, for error messages.
const KNOWN: &str = "and, or, not, path, source, mime_type, language, title, headings, page, chunk, modified_at, \
                     document, metadata";

/// The fields whose values can be counted, with their names in filters.
pub static FACETS: &[(&str, Keyword)] = &[
    ("path", Keyword::Uri),
    ("source", Keyword::Source),
    ("mime_type", Keyword::MimeType),
    ("language", Keyword::Language),
    ("metadata", Keyword::Fact),
];

impl Condition {
    /// Parses a filter and compiles its patterns. This is slow, so a server calls it on a blocking
    /// thread ([`crate::Searcher::parse`]).
    ///
    /// # Errors
    /// The first error or exceeded limit, with its position.
    pub fn parse(filter: &Value) -> Result<Self, FilterError> {
        Self::measure(filter)?;
        object(filter, &At::root(&Counts { compiles: true, ..Counts::default() }))
    }

    /// Checks a filter without compiling patterns. Returns the total size of the patterns in bytes,
    /// which determines the cost of compiling them.
    ///
    /// # Errors
    /// As [`Condition::parse`], except for malformed patterns.
    pub fn measure(filter: &Value) -> Result<usize, FilterError> {
        let counts = Counts::default();
        object(filter, &At::root(&counts))?;
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
            Self::Is(..) | Self::Within(..) | Self::Says(..) => Vec::new(),
        }
    }
}

/// An object: the conditions of all keys must hold.
fn object(value: &Value, at: &At<'_>) -> Result<Condition, FilterError> {
    let Value::Object(keys) = value else {
        return at.fault(format_args!("expected an object, found {}", kind(value)));
    };
    at.conditions(keys.len().max(1))?;
    let mut conditions = Vec::with_capacity(keys.len());
    for (key, value) in keys {
        conditions.push(member(key, value, at)?);
    }
    Ok(if conditions.len() == 1 { conditions.swap_remove(0) } else { Condition::All(conditions) })
}

fn member(key: &str, value: &Value, outer: &At<'_>) -> Result<Condition, FilterError> {
    let at = outer.key(key);
    match key {
        "and" => Ok(Condition::All(list(value, &at)?)),
        "or" => Ok(Condition::Any(list(value, &at)?)),
        "not" => Ok(Condition::Not(Box::new(object(value, &at.within()?)?))),
        "path" => paths(value, &at),
        "source" => keyword(Keyword::Source, value, &at),
        "mime_type" => keyword(Keyword::MimeType, value, &at),
        "language" => keyword(Keyword::Language, value, &at),
        "document" => document(value, &at),
        "title" => words(Text::Title, value, &at),
        "headings" => words(Text::Headings, value, &at),
        "page" => number(Number::Page, value, &at),
        "chunk" => number(Number::Chunk, value, &at),
        "modified_at" => instants(value, &at),
        "metadata" => metadata(value, &at),
        _ => {
            let key: String = key.chars().take(SHOWN_KEY).collect();
            outer.fault(format_args!("unknown key `{key}`: expected one of {KNOWN}"))
        }
    }
}

fn list(value: &Value, at: &At<'_>) -> Result<Vec<Condition>, FilterError> {
    let Value::Array(items) = value else {
        return at.fault(format_args!("expected a list of filters, found {}", kind(value)));
    };
    if items.is_empty() {
        return at.fault("the list is empty");
    }
    let within = at.within()?;
    items.iter().enumerate().map(|(index, item)| object(item, &within.item(index))).collect()
}

/// A string, or a list of alternatives.
fn texts(value: &Value, at: &At<'_>) -> Result<Vec<String>, FilterError> {
    let items = if let Value::Array(items) = value {
        if items.is_empty() {
            return at.fault("the list is empty");
        }
        at.count(|counts| &counts.values, items.len(), MAX_VALUES, "values in its lists")?;
        items.iter().enumerate().map(|(index, it)| (it, at.item(index))).collect()
    } else {
        vec![(value, at.clone())]
    };
    let texts = items.into_iter().map(|(item, at)| match item {
        Value::String(text) if !text.is_empty() => Ok(text.clone()),
        Value::String(_) => at.fault("the string is empty"),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(truth) => Ok(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            at.fault(format_args!("expected a string, found {}", kind(item)))
        }
    });
    texts.collect()
}

/// The patterns of `{ "glob": … }`; `None` if the value is not an object.
fn globs(value: &Value, at: &At<'_>) -> Result<Option<Vec<String>>, FilterError> {
    let Value::Object(keys) = value else {
        return Ok(None);
    };
    let known = keys.keys().all(|key| key == "glob");
    let (Some(patterns), true) = (keys.get("glob"), known) else {
        return at.fault("expected a string, a list of strings, or an object with `glob`");
    };
    texts(patterns, &at.key("glob")).map(Some)
}

fn matching(field: Keyword, patterns: Vec<String>, at: &At<'_>) -> Result<Condition, FilterError> {
    for pattern in &patterns {
        if let Err(error) = check_pattern(pattern) {
            return at.fault(error);
        }
    }
    compiled(field, patterns, at)
}

fn compiled(field: Keyword, patterns: Vec<String>, at: &At<'_>) -> Result<Condition, FilterError> {
    let bytes = patterns.iter().map(String::len).sum();
    at.count(|counts| &counts.patterns, patterns.len(), MAX_PATTERNS, "patterns")?;
    at.count(|counts| &counts.pattern_bytes, bytes, MAX_PATTERN_BYTES, "bytes of patterns")?;
    if !at.counts.compiles {
        // The first pass only checks the limits.
        return Ok(Condition::All(Vec::new()));
    }
    match Patterns::new(field, patterns) {
        Ok(patterns) => Ok(Condition::Matches(field, patterns)),
        Err(message) => at.fault(format_args!("invalid pattern: {message}")),
    }
}

fn keyword(field: Keyword, value: &Value, at: &At<'_>) -> Result<Condition, FilterError> {
    match globs(value, at)? {
        Some(patterns) => matching(field, patterns, &at.key("glob")),
        None => Ok(Condition::Is(field, texts(value, at)?)),
    }
}

/// A path is a pattern even without wildcards; only whole URIs are compared exactly.
fn paths(value: &Value, at: &At<'_>) -> Result<Condition, FilterError> {
    if let Some(patterns) = globs(value, at)? {
        return matching(Keyword::Uri, patterns, &at.key("glob"));
    }
    let texts = texts(value, at)?;
    if texts.iter().all(|text| text.contains("://")) {
        return Ok(Condition::Is(Keyword::Uri, texts));
    }
    if texts.iter().any(|text| text.len() > MAX_PATH_BYTES) {
        return at.fault(format_args!("a path has at most {MAX_PATH_BYTES} bytes"));
    }
    // Wildcard characters in a plain path are literal.
    let escaped = texts.iter().map(|text| globset::escape(text)).collect();
    compiled(Keyword::Uri, escaped, at)
}

fn document(value: &Value, at: &At<'_>) -> Result<Condition, FilterError> {
    let ids = texts(value, at)?.into_iter().map(|text| match text.parse::<Uuid>() {
        Ok(id) => Ok(id.to_string()),
        Err(_) => {
            let text: String = text.chars().take(SHOWN_KEY).collect();
            at.fault(format_args!("invalid document id `{text}`"))
        }
    });
    Ok(Condition::Is(Keyword::Document, ids.collect::<Result<_, _>>()?))
}

fn words(field: Text, value: &Value, at: &At<'_>) -> Result<Condition, FilterError> {
    let Value::String(words) = value else {
        return at.fault(format_args!("expected a string, found {}", kind(value)));
    };
    if words.chars().count() > MAX_WORDS {
        return at.fault(format_args!("at most {MAX_WORDS} characters are allowed here"));
    }
    if !words.chars().any(char::is_alphanumeric) {
        return at.fault("expected at least one word");
    }
    Ok(Condition::Says(field, words.clone()))
}

fn number(field: Number, value: &Value, at: &At<'_>) -> Result<Condition, FilterError> {
    let read = |value: &Value, at: &At<'_>| match value.as_i64() {
        Some(number) => Ok(number),
        None => at.fault(format_args!("expected a whole number, found {}", kind(value))),
    };
    let bounds = if let Value::Object(keys) = value {
        bounds(keys, at, read)?
    } else {
        Bounds::exactly(read(value, at)?)
    };
    Ok(Condition::Within(field, bounds))
}

fn instants(value: &Value, at: &At<'_>) -> Result<Condition, FilterError> {
    let read = |value: &Value, at: &At<'_>| match value.as_str().and_then(instant) {
        Some((from, to)) => Ok((from.timestamp_micros(), to.timestamp_micros())),
        None => at.fault("expected a date such as 2024-05-31 or 2024-05-31T12:00:00Z"),
    };
    let bounds = if let Value::Object(keys) = value {
        bounds(keys, at, |value, at| Ok(read(value, at)?.0))?
    } else {
        let (from, to) = read(value, at)?;
        Bounds { gte: Some(from), lt: Some(to), ..Bounds::default() }
    };
    Ok(Condition::Within(Number::Modified, bounds))
}

/// The start of the time that a text names, and its end (exclusive): a date without a time is a
/// whole day in UTC, a time is one microsecond. `None` if the text is not a date.
fn instant(text: &str) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        let instant = instant.to_utc();
        return Some((instant, instant.checked_add_signed(TimeDelta::microseconds(1))?));
    }
    let day = text.parse::<NaiveDate>().ok()?.and_time(NaiveTime::MIN).and_utc();
    Some((day, day.checked_add_signed(TimeDelta::days(1))?))
}

fn bounds(
    keys: &Map<String, Value>,
    at: &At<'_>,
    read: impl Fn(&Value, &At<'_>) -> Result<i64, FilterError>,
) -> Result<Bounds, FilterError> {
    let mut bounds = Bounds::default();
    if keys.is_empty() {
        return at.fault("expected at least one bound");
    }
    for (key, value) in keys {
        let bound = match key.as_str() {
            "gt" => &mut bounds.gt,
            "gte" => &mut bounds.gte,
            "lt" => &mut bounds.lt,
            "lte" => &mut bounds.lte,
            _ => return at.fault(format_args!("unknown bound `{key}`: use gt, gte, lt, lte")),
        };
        *bound = Some(read(value, &at.key(key))?);
    }
    Ok(bounds)
}

fn metadata(value: &Value, at: &At<'_>) -> Result<Condition, FilterError> {
    let Value::Object(keys) = value else {
        return at.fault(format_args!("expected an object, found {}", kind(value)));
    };
    if keys.is_empty() {
        return at.fault("expected at least one key");
    }
    at.conditions(keys.len() - 1)?;
    let mut conditions = Vec::with_capacity(keys.len());
    for (key, value) in keys {
        let at = at.key(key);
        conditions.push(match globs(value, &at)? {
            Some(patterns) => {
                let of_key = |pattern: &String| fact(&globset::escape(key), pattern);
                matching(Keyword::Fact, patterns.iter().map(of_key).collect(), &at.key("glob"))?
            }
            None => {
                let facts = texts(value, &at)?.iter().map(|text| fact(key, text)).collect();
                Condition::Is(Keyword::Fact, facts)
            }
        });
    }
    Ok(if conditions.len() == 1 { conditions.swap_remove(0) } else { Condition::All(conditions) })
}

fn kind(value: &Value) -> &'static str {
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
        let bounds = Bounds { gte: Some(midnight), lt: Some(midnight + day), ..Bounds::default() };
        let expected = [
            Condition::Is(Keyword::MimeType, vec!["text/html".into(), "text/plain".into()]),
            Condition::Within(Number::Modified, bounds),
            Condition::Not(Box::new(Condition::Is(Keyword::Fact, vec!["year=2023".into()]))),
        ];
        let Condition::All(conditions) = Condition::parse(&filter).unwrap() else {
            panic!("several keys are several conditions");
        };
        assert!(expected.iter().all(|it| conditions.contains(it)), "{conditions:?}");
        let path = Condition::parse(&json!({ "path": "a[1].txt" })).unwrap();
        let patterns = Patterns::new(Keyword::Uri, vec!["a[[]1[]].txt".into()]).unwrap();
        assert_eq!(path, Condition::Matches(Keyword::Uri, patterns));
    }
}
