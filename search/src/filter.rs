//! The filter language: JSON that says what hits must be like. `docs/search.md` describes it for its users.
//!
//! It is parsed once, into a [`Condition`], and everything that is wrong is said with its place. Wildcards stay in
//! it until a collection is asked; then they become the values that there are (`glob.rs`).

use std::fmt;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use pipeline::{Bounds, Keyword, Number, Text, fact};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::glob::Patterns;

/// A condition on hits, as a person writes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// Each holds.
    All(Vec<Condition>),
    /// One holds.
    Any(Vec<Condition>),
    /// It does not hold.
    Not(Box<Condition>),
    /// The field has one of these values.
    Is(Keyword, Vec<String>),
    /// The field has a value that one of these patterns matches.
    Matches(Keyword, Vec<String>),
    /// The number is within bounds.
    Within(Number, Bounds),
    /// The text has these words.
    Says(Text, String),
}

/// A filter that is not right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {message}")]
pub struct FilterError {
    /// Where: `filter.or[1].page.gte`.
    pub at: String,
    /// What is wrong there.
    pub message: String,
}

/// The place in a filter that is being read.
#[derive(Clone)]
struct At(String);

impl At {
    fn key(&self, key: &str) -> Self {
        Self(format!("{}.{key}", self.0))
    }

    fn item(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    fn fault<T>(&self, message: impl fmt::Display) -> Result<T, FilterError> {
        Err(FilterError { at: self.0.clone(), message: message.to_string() })
    }
}

/// What a filter may name, for whoever has named something else.
const KNOWN: &str = "and, or, not, path, source, mime_type, language, title, headings, page, chunk, modified_at, \
                     document, metadata";

/// The fields whose values can be counted, by the names that they have in filters.
pub static FACETS: &[(&str, Keyword)] = &[
    ("path", Keyword::Uri),
    ("source", Keyword::Source),
    ("mime_type", Keyword::MimeType),
    ("language", Keyword::Language),
    ("metadata", Keyword::Fact),
];

impl Condition {
    /// Reads a filter.
    ///
    /// # Errors
    /// The first thing that is wrong with it, and where.
    pub fn parse(filter: &Value) -> Result<Self, FilterError> {
        object(filter, &At("filter".to_owned()))
    }
}

/// An object: each of its keys holds.
fn object(value: &Value, at: &At) -> Result<Condition, FilterError> {
    let Value::Object(keys) = value else {
        return at.fault(format_args!("an object is wanted here, and not {}", kind(value)));
    };
    let mut conditions = Vec::with_capacity(keys.len());
    for (key, value) in keys {
        conditions.push(member(key, value, at)?);
    }
    Ok(if conditions.len() == 1 { conditions.swap_remove(0) } else { Condition::All(conditions) })
}

fn member(key: &str, value: &Value, outer: &At) -> Result<Condition, FilterError> {
    let at = outer.key(key);
    match key {
        "and" => Ok(Condition::All(list(value, &at)?)),
        "or" => Ok(Condition::Any(list(value, &at)?)),
        "not" => Ok(Condition::Not(Box::new(object(value, &at)?))),
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
        _ => outer.fault(format_args!("there is no `{key}`; a filter knows {KNOWN}")),
    }
}

fn list(value: &Value, at: &At) -> Result<Vec<Condition>, FilterError> {
    let Value::Array(items) = value else {
        return at.fault(format_args!("a list of filters is wanted here, and not {}", kind(value)));
    };
    if items.is_empty() {
        return at.fault("the list is empty");
    }
    items.iter().enumerate().map(|(index, item)| object(item, &at.item(index))).collect()
}

/// A text, or several of which one is meant.
fn texts(value: &Value, at: &At) -> Result<Vec<String>, FilterError> {
    let items = if let Value::Array(items) = value {
        if items.is_empty() {
            return at.fault("the list is empty");
        }
        items.iter().enumerate().map(|(index, it)| (it, at.item(index))).collect()
    } else {
        vec![(value, at.clone())]
    };
    let texts = items.into_iter().map(|(item, at)| match item {
        Value::String(text) if !text.is_empty() => Ok(text.clone()),
        Value::String(_) => at.fault("the text is empty"),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(truth) => Ok(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            at.fault(format_args!("a text is wanted here, and not {}", kind(item)))
        }
    });
    texts.collect()
}

/// The patterns of `{ "glob": … }`, if that is what a value is.
fn globs(value: &Value, at: &At) -> Result<Option<Vec<String>>, FilterError> {
    let Value::Object(keys) = value else {
        return Ok(None);
    };
    let known = keys.keys().all(|key| key == "glob");
    let (Some(patterns), true) = (keys.get("glob"), known) else {
        return at.fault("a text, a list of texts, or an object with `glob` is wanted here");
    };
    texts(patterns, &at.key("glob")).map(Some)
}

fn matching(field: Keyword, patterns: Vec<String>, at: &At) -> Result<Condition, FilterError> {
    match Patterns::new(field, &patterns) {
        Ok(_) => Ok(Condition::Matches(field, patterns)),
        Err(message) => at.fault(format_args!("this is no pattern: {message}")),
    }
}

fn keyword(field: Keyword, value: &Value, at: &At) -> Result<Condition, FilterError> {
    match globs(value, at)? {
        Some(patterns) => matching(field, patterns, &at.key("glob")),
        None => Ok(Condition::Is(field, texts(value, at)?)),
    }
}

/// A path is a pattern, also one without wildcards; only a whole URI is just itself.
fn paths(value: &Value, at: &At) -> Result<Condition, FilterError> {
    if let Some(patterns) = globs(value, at)? {
        return matching(Keyword::Uri, patterns, &at.key("glob"));
    }
    let texts = texts(value, at)?;
    if texts.iter().all(|text| text.contains("://")) {
        return Ok(Condition::Is(Keyword::Uri, texts));
    }
    // What looks like a wildcard is a letter of a name here.
    let escaped = texts.iter().map(|text| globset::escape(text)).collect();
    matching(Keyword::Uri, escaped, at)
}

fn document(value: &Value, at: &At) -> Result<Condition, FilterError> {
    let ids = texts(value, at)?.into_iter().map(|text| match text.parse::<Uuid>() {
        Ok(id) => Ok(id.to_string()),
        Err(_) => at.fault(format_args!("`{text}` is no id of a document")),
    });
    Ok(Condition::Is(Keyword::Document, ids.collect::<Result<_, _>>()?))
}

fn words(field: Text, value: &Value, at: &At) -> Result<Condition, FilterError> {
    let Value::String(words) = value else {
        return at.fault(format_args!("words are wanted here, and not {}", kind(value)));
    };
    if !words.chars().any(char::is_alphanumeric) {
        return at.fault("there is no word in it");
    }
    Ok(Condition::Says(field, words.clone()))
}

fn number(field: Number, value: &Value, at: &At) -> Result<Condition, FilterError> {
    let read = |value: &Value, at: &At| match value.as_i64() {
        Some(number) => Ok(number),
        None => at.fault(format_args!("a whole number is wanted here, and not {}", kind(value))),
    };
    let bounds = if let Value::Object(keys) = value {
        bounds(keys, at, read)?
    } else {
        Bounds::exactly(read(value, at)?)
    };
    Ok(Condition::Within(field, bounds))
}

fn instants(value: &Value, at: &At) -> Result<Condition, FilterError> {
    let read = |value: &Value, at: &At| match value.as_str().and_then(instant) {
        Some((from, to)) => Ok((from.timestamp_micros(), to.timestamp_micros())),
        None => at.fault("a date is wanted here, as 2024-05-31 or 2024-05-31T12:00:00Z"),
    };
    let bounds = if let Value::Object(keys) = value {
        bounds(keys, at, |value, at| Ok(read(value, at)?.0))?
    } else {
        let (from, to) = read(value, at)?;
        Bounds { gte: Some(from), lt: Some(to), ..Bounds::default() }
    };
    Ok(Condition::Within(Number::Modified, bounds))
}

/// The moment that a text names, and the one behind it: a date without a time is a whole day.
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
    at: &At,
    read: impl Fn(&Value, &At) -> Result<i64, FilterError>,
) -> Result<Bounds, FilterError> {
    let mut bounds = Bounds::default();
    if keys.is_empty() {
        return at.fault("there is no bound");
    }
    for (key, value) in keys {
        let bound = match key.as_str() {
            "gt" => &mut bounds.gt,
            "gte" => &mut bounds.gte,
            "lt" => &mut bounds.lt,
            "lte" => &mut bounds.lte,
            _ => return at.fault(format_args!("there is no `{key}`; bounds are gt, gte, lt, lte")),
        };
        *bound = Some(read(value, &at.key(key))?);
    }
    Ok(bounds)
}

fn metadata(value: &Value, at: &At) -> Result<Condition, FilterError> {
    let Value::Object(keys) = value else {
        return at.fault(format_args!("an object is wanted here, and not {}", kind(value)));
    };
    if keys.is_empty() {
        return at.fault("no key is named");
    }
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
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
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
        insta::assert_snapshot!(said(json!([])), @"filter: an object is wanted here, and not a list");
        insta::assert_snapshot!(
            said(json!({ "or": [{ "page": 1 }, { "mime": "text/html" }] })),
            @"filter.or[1]: there is no `mime`; a filter knows and, or, not, path, source, mime_type, language, title, headings, page, chunk, modified_at, document, metadata"
        );
        insta::assert_snapshot!(
            said(json!({ "modified_at": { "gte": "yesterday" } })),
            @"filter.modified_at.gte: a date is wanted here, as 2024-05-31 or 2024-05-31T12:00:00Z"
        );
        insta::assert_snapshot!(
            said(json!({ "page": { "over": 3 } })),
            @"filter.page: there is no `over`; bounds are gt, gte, lt, lte"
        );
        insta::assert_snapshot!(
            said(json!({ "page": 1.5 })),
            @"filter.page: a whole number is wanted here, and not a number"
        );
        insta::assert_snapshot!(
            said(json!({ "path": { "glob": "a[" } })),
            @"filter.path.glob: this is no pattern: unclosed character class; missing ']'"
        );
        insta::assert_snapshot!(
            said(json!({ "metadata": { "author": { "like": "J*" } } })),
            @"filter.metadata.author: a text, a list of texts, or an object with `glob` is wanted here"
        );
        insta::assert_snapshot!(said(json!({ "not": {}, "and": [] })), @"filter.and: the list is empty");
        insta::assert_snapshot!(said(json!({ "title": "?" })), @"filter.title: there is no word in it");
        insta::assert_snapshot!(said(json!({ "modified_at": 7 })), @"filter.modified_at: a date is wanted here, as 2024-05-31 or 2024-05-31T12:00:00Z");
        insta::assert_snapshot!(said(json!({ "document": "7" })), @"filter.document: `7` is no id of a document");
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
        assert_eq!(path, Condition::Matches(Keyword::Uri, vec!["a[[]1[]].txt".into()]));
    }
}
