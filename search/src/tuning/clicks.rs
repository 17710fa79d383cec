//! Clicks: the documents that users opened from the results of their queries, as judgements.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::evaluation::{JudgedQuery, Judgements, JudgementsError};

/// A line of JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClickLine {
    query: String,
    #[serde(alias = "uri", alias = "path")]
    document: String,
    /// Accepted for logs that have it; documents are ranked, not chunks.
    #[serde(default, rename = "chunk")]
    _chunk: Option<u32>,
    /// Time of the click, RFC 3339; only its form is checked.
    #[serde(default, rename = "at")]
    _at: Option<chrono::DateTime<chrono::Utc>>,
}

/// Parses clicks, one per line: `{"query": "…", "document": "path, pattern or URI"}`, optionally
/// with `chunk` and `at` (RFC 3339). Clicks of the same query, ignoring case and space, are one
/// judged query; every document that was opened has grade 1.
///
/// # Errors
/// The first invalid line.
///
/// ```
/// use search::tuning::clicks_from_jsonl;
///
/// let text = r#"
/// {"query": "Who signs", "document": "contracts.md", "at": "2026-03-01T08:00:00Z"}
/// {"query": "who  signs", "uri": "file:///faq/signing.md"}
/// "#;
/// let judgements = clicks_from_jsonl(text)?;
/// assert_eq!((judgements.queries.len(), &*judgements.queries[0].query), (1, "Who signs"));
///
/// let error = clicks_from_jsonl(r#"{"query": "who signs"}"#).err().unwrap();
/// assert_eq!(error.to_string(), "line 1: missing field `document` at line 1 column 22");
/// # Ok::<_, search::evaluation::JudgementsError>(())
/// ```
pub fn clicks_from_jsonl(text: &str) -> Result<Judgements, JudgementsError> {
    let mut queries: BTreeMap<String, (usize, String, BTreeMap<String, u32>)> = BTreeMap::new();
    for (line, text) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let click: ClickLine = serde_json::from_str(text)
            .map_err(|error| JudgementsError { line, message: error.to_string() })?;
        let ClickLine { query, document, .. } = click;
        let folded = fold(&query);
        let (_, _, opened) =
            queries.entry(folded).or_insert_with(|| (line, query, BTreeMap::new()));
        opened.insert(document, 1);
    }
    let mut judged = Vec::with_capacity(queries.len());
    for (line, query, opened) in queries.into_values() {
        let made = JudgedQuery::new(line.to_string(), query, opened);
        judged.push((line, made.map_err(|message| JudgementsError { line, message })?));
    }
    judged.sort_by_key(|(line, _)| *line);
    Judgements::of(judged.into_iter().map(|(_, query)| query).collect())
}

/// A text in lower case with single spaces.
pub(crate) fn fold(text: &str) -> String {
    text.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}
