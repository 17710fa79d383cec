//! The filter language: JSON conditions on hits, described in `docs/search.md`.
//!
//! A filter is parsed into a [`PatternFilter`]; errors contain the position. Patterns are kept
//! until a collection is searched, and then replaced by the values that they match (`glob.rs`).
//!
//! Filters are untrusted input, so they are parsed twice: the first pass checks every limit, the
//! second compiles the patterns. A filter that exceeds a limit is refused at the first excess,
//! before any pattern is compiled.

mod position;
mod value;

use pipeline::{Filter, KeywordField, NumericField, TextField};
use serde_json::Value;

pub use self::position::FilterError;
use self::position::{FilterPath, FilterUsage, MAX_SHOWN_KEY};
use self::value::{
    json_type, parse_document, parse_instants, parse_keyword, parse_metadata, parse_number,
    parse_paths, parse_words,
};
use crate::glob::PatternFilter;

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

/// Parses a filter and compiles its patterns. This is slow, so a server calls it on a blocking
/// thread ([`crate::Searcher::parse_filter`]).
///
/// # Errors
/// The first error or exceeded limit, with its position.
///
/// ```
/// use pipeline::Filter;
/// use search::parse_filter;
/// use serde_json::json;
///
/// let filter = json!({ "mime_type": "text/html", "not": { "path": "drafts" } });
/// let Filter::All(conditions) = parse_filter(&filter)? else { unreachable!() };
/// assert_eq!(conditions.len(), 2);
///
/// let filter = json!({ "or": [{ "page": 1 }, { "page": { "over": 3 } }] });
/// assert_eq!(
///     parse_filter(&filter).unwrap_err().to_string(),
///     "filter.or[1].page: unknown bound `over`: use gt, gte, lt, lte"
/// );
/// # Ok::<_, search::FilterError>(())
/// ```
pub fn parse_filter(filter: &Value) -> Result<PatternFilter, FilterError> {
    pattern_bytes(filter)?;
    parse_object(
        filter,
        &FilterPath::root(&FilterUsage { compiles: true, ..FilterUsage::default() }),
    )
}

/// Checks a filter without compiling patterns. Returns the total size of the patterns in bytes,
/// which determines the cost of compiling them.
///
/// # Errors
/// As [`parse_filter`], except for malformed patterns.
///
/// ```
/// use search::pattern_bytes;
/// use serde_json::json;
///
/// let filter = json!({ "path": { "glob": ["*.md", "docs/**"] }, "language": "en" });
/// assert_eq!(pattern_bytes(&filter)?, "*.md".len() + "docs/**".len());
/// # Ok::<_, search::FilterError>(())
/// ```
pub fn pattern_bytes(filter: &Value) -> Result<usize, FilterError> {
    let counts = FilterUsage::default();
    parse_object(filter, &FilterPath::root(&counts))?;
    Ok(counts.pattern_bytes.get())
}

/// An object: the conditions of all keys must hold.
fn parse_object(value: &Value, at: &FilterPath<'_>) -> Result<PatternFilter, FilterError> {
    let Value::Object(keys) = value else {
        return at.error(format_args!("expected an object, found {}", json_type(value)));
    };
    at.conditions(keys.len().max(1))?;
    let mut conditions = Vec::with_capacity(keys.len());
    for (key, value) in keys {
        conditions.push(parse_member(key, value, at)?);
    }
    Ok(if conditions.len() == 1 { conditions.swap_remove(0) } else { Filter::All(conditions) })
}

fn parse_member(
    key: &str,
    value: &Value,
    outer: &FilterPath<'_>,
) -> Result<PatternFilter, FilterError> {
    let at = outer.key(key);
    match key {
        "and" => Ok(Filter::All(parse_list(value, &at)?)),
        "or" => Ok(Filter::Any(parse_list(value, &at)?)),
        "not" => Ok(Filter::Not(Box::new(parse_object(value, &at.nested()?)?))),
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

fn parse_list(value: &Value, at: &FilterPath<'_>) -> Result<Vec<PatternFilter>, FilterError> {
    let Value::Array(items) = value else {
        return at.error(format_args!("expected a list of filters, found {}", json_type(value)));
    };
    if items.is_empty() {
        return at.error("the list is empty");
    }
    let within = at.nested()?;
    items.iter().enumerate().map(|(index, item)| parse_object(item, &within.item(index))).collect()
}

#[cfg(test)]
mod tests {
    use pipeline::NumericRange;
    use serde_json::json;

    use super::*;
    use crate::glob::Patterns;

    #[test]
    fn faults_say_where_they_are() {
        let said = |filter: Value| parse_filter(&filter).unwrap_err().to_string();
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
            Filter::In(KeywordField::MimeType, vec!["text/html".into(), "text/plain".into()]),
            Filter::Range(NumericField::ModifiedAt, bounds),
            Filter::Not(Box::new(Filter::In(KeywordField::Fact, vec!["year=2023".into()]))),
        ];
        let Filter::All(conditions) = parse_filter(&filter).unwrap() else {
            panic!("several keys are several conditions");
        };
        assert!(expected.iter().all(|it| conditions.contains(it)), "{conditions:?}");
        let path = parse_filter(&json!({ "path": "a[1].txt" })).unwrap();
        let patterns = Patterns::new(KeywordField::Uri, vec!["a[[]1[]].txt".into()]).unwrap();
        assert_eq!(path, Filter::Matches(KeywordField::Uri, patterns));
    }
}
