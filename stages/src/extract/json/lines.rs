//! JSON Lines (NDJSON): each line is a record. A line that is no valid JSON is kept as text, and
//! the metadata `syntax_error` counts such lines.

use crate::extract::document::Document;
use crate::extract::error::ExtractErrorKind;
use crate::extract::format::Format;
use crate::extract::json::write_value;
use crate::extract::text::decode;
use crate::extract::tree::TreeWriter;

pub(crate) const FORMAT: Format = Format {
    name: "JSON Lines",
    media_types: &["application/jsonl"],
    version: 1,
    is_cached: false,
    has_titles_in_headings: false,
    parse: |bytes, _| extract(bytes).ok_or(ExtractErrorKind::NotText),
};

/// The document; `None` if the bytes are not text.
fn extract(bytes: &[u8]) -> Option<Document> {
    Some(document(&decode(bytes, None)?))
}

/// The document of a text whose lines are records.
pub(super) fn document(text: &str) -> Document {
    let (mut tree, mut lines, mut faults) = (TreeWriter::default(), 0, 0);
    tree.begin_list(None);
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        lines += 1;
        let mark = tree.checkpoint();
        if write_value(line, &mut tree).is_err() {
            faults += 1;
            tree.rollback(mark);
            tree.string(None, line);
        }
    }
    tree.end();
    let mut document = tree.finish();
    if faults > 0 {
        let fault = format!("{faults} of {lines} lines are no valid JSON");
        document.add_metadata("syntax_error", &fault);
    }
    document
}

/// `true` if a text that is no valid JSON has several lines, of which the first is a record.
pub(super) fn is_likely(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let first = lines.next().unwrap_or_default();
    let is_record = first.trim_start().starts_with(['{', '[']);
    is_record && lines.next().is_some() && write_value(first, &mut TreeWriter::default()).is_ok()
}
