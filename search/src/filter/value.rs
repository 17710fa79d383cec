//! The values in a filter: strings, patterns, words, numbers, dates and metadata.

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use pipeline::{
    Filter, KeywordField, NumericField, NumericRange, TextField, check_pattern, format_fact,
};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::filter::position::{FilterError, FilterPath, MAX_SHOWN_KEY};
use crate::glob::{PatternFilter, Patterns};

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
) -> Result<PatternFilter, FilterError> {
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
) -> Result<PatternFilter, FilterError> {
    let bytes = patterns.iter().map(String::len).sum();
    at.count(|counts| &counts.patterns, patterns.len(), MAX_PATTERNS, "patterns")?;
    at.count(|counts| &counts.pattern_bytes, bytes, MAX_PATTERN_BYTES, "bytes of patterns")?;
    if !at.counts.compiles {
        // The first pass only checks the limits.
        return Ok(Filter::All(Vec::new()));
    }
    match Patterns::new(field, patterns) {
        Ok(patterns) => Ok(Filter::Matches(field, patterns)),
        Err(message) => at.error(format_args!("invalid pattern: {message}")),
    }
}

pub(super) fn parse_keyword(
    field: KeywordField,
    value: &Value,
    at: &FilterPath<'_>,
) -> Result<PatternFilter, FilterError> {
    match parse_globs(value, at)? {
        Some(patterns) => pattern_condition(field, patterns, &at.key("glob")),
        None => Ok(Filter::In(field, parse_texts(value, at)?)),
    }
}

/// A path is a pattern even without wildcards; only whole URIs are compared exactly.
pub(super) fn parse_paths(
    value: &Value,
    at: &FilterPath<'_>,
) -> Result<PatternFilter, FilterError> {
    if let Some(patterns) = parse_globs(value, at)? {
        return pattern_condition(KeywordField::Uri, patterns, &at.key("glob"));
    }
    let texts = parse_texts(value, at)?;
    if texts.iter().all(|text| text.contains("://")) {
        return Ok(Filter::In(KeywordField::Uri, texts));
    }
    if texts.iter().any(|text| text.len() > MAX_PATH_BYTES) {
        return at.error(format_args!("a path has at most {MAX_PATH_BYTES} bytes"));
    }
    // Wildcard characters in a plain path are literal.
    let escaped = texts.iter().map(|text| globset::escape(text)).collect();
    compile_patterns(KeywordField::Uri, escaped, at)
}

pub(super) fn parse_document(
    value: &Value,
    at: &FilterPath<'_>,
) -> Result<PatternFilter, FilterError> {
    let ids = parse_texts(value, at)?.into_iter().map(|text| match text.parse::<Uuid>() {
        Ok(id) => Ok(id.to_string()),
        Err(_) => {
            let text: String = text.chars().take(MAX_SHOWN_KEY).collect();
            at.error(format_args!("invalid document id `{text}`"))
        }
    });
    Ok(Filter::In(KeywordField::Document, ids.collect::<Result<_, _>>()?))
}

pub(super) fn parse_words(
    field: TextField,
    value: &Value,
    at: &FilterPath<'_>,
) -> Result<PatternFilter, FilterError> {
    let Value::String(words) = value else {
        return at.error(format_args!("expected a string, found {}", json_type(value)));
    };
    if words.chars().count() > MAX_WORDS {
        return at.error(format_args!("at most {MAX_WORDS} characters are allowed here"));
    }
    if !words.chars().any(char::is_alphanumeric) {
        return at.error("expected at least one word");
    }
    Ok(Filter::Match(field, words.clone()))
}

pub(super) fn parse_number(
    field: NumericField,
    value: &Value,
    at: &FilterPath<'_>,
) -> Result<PatternFilter, FilterError> {
    let read = |value: &Value, at: &FilterPath<'_>| match value.as_i64() {
        Some(number) => Ok(number),
        None => at.error(format_args!("expected a whole number, found {}", json_type(value))),
    };
    let bounds = if let Value::Object(keys) = value {
        parse_bounds(keys, at, read)?
    } else {
        NumericRange::exactly(read(value, at)?)
    };
    Ok(Filter::Range(field, bounds))
}

pub(super) fn parse_instants(
    value: &Value,
    at: &FilterPath<'_>,
) -> Result<PatternFilter, FilterError> {
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
    Ok(Filter::Range(NumericField::ModifiedAt, bounds))
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

pub(super) fn parse_metadata(
    value: &Value,
    at: &FilterPath<'_>,
) -> Result<PatternFilter, FilterError> {
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
                Filter::In(KeywordField::Fact, facts)
            }
        });
    }
    Ok(if conditions.len() == 1 { conditions.swap_remove(0) } else { Filter::All(conditions) })
}

pub(super) fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
