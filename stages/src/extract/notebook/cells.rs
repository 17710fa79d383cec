//! The cells of a notebook, and the text of their outputs.

use std::borrow::Cow;

use serde_json::Value;

use crate::extract::document::is_printable;
use crate::extract::text::normalize_newlines;
use crate::extract::{html, markdown};

/// Appends a cell with an empty line before it.
pub(super) fn write_cell(cell: &Value, language: &str, text: &mut String) {
    let source = cell.get("source").or_else(|| cell.get("input")).map(string).unwrap_or_default();
    match cell.get("cell_type").and_then(Value::as_str).unwrap_or_default() {
        "code" => {
            write_code(&source, language, text);
            let outputs = cell.get("outputs").and_then(Value::as_array);
            for output in outputs.into_iter().flatten() {
                write_output(output, text);
            }
        }
        // Version 3 has headings as cells.
        "heading" => {
            let level = cell.get("level").and_then(Value::as_u64).unwrap_or(1).clamp(1, 6);
            let signs = "#".repeat(usize::try_from(level).unwrap_or(1));
            write_block(&format!("{signs} {}", source.replace('\n', " ")), text);
        }
        _ => write_block(&source, text),
    }
}

/// Appends the text of an output: of streams, results and errors.
fn write_output(output: &Value, text: &mut String) {
    if let Some(name) = output.get("ename").and_then(Value::as_str) {
        let value = output.get("evalue").map(string).unwrap_or_default();
        return write_code(&format!("{name}: {value}"), "", text);
    }
    let data = output.get("data").unwrap_or(output);
    let of = |kind: &str| data.get(kind).map(string).filter(|text| !text.trim().is_empty());
    if let Some(markdown) = of(markdown::FORMAT.media_types[0]) {
        write_block(&markdown, text);
    } else if let Some(plain) = of("text/plain").or_else(|| of("text")) {
        write_code(&without_colours(&plain), "", text);
    } else if let Some(page) = of(html::FORMAT.media_types[0]).or_else(|| of("html")) {
        write_block(&html::from_text(&page).text, text);
    }
}

/// A text, which a notebook may store as a list of lines.
fn string(value: &Value) -> String {
    let text = match value {
        Value::String(text) => Cow::Borrowed(text.as_str()),
        Value::Array(lines) => lines.iter().filter_map(Value::as_str).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Cow::Borrowed(""),
    };
    normalize_newlines(&text).into_owned()
}

/// Appends a code block with a fence that its text does not contain.
fn write_code(code: &str, language: &str, text: &mut String) {
    if code.trim().is_empty() {
        return;
    }
    let mut longest = 2;
    let mut run = 0;
    for char in code.chars() {
        run = if char == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let fence = "`".repeat(longest + 1);
    write_block(&format!("{fence}{language}\n{}\n{fence}", code.trim_end()), text);
}

fn write_block(block: &str, text: &mut String) {
    let block = block.trim_matches('\n');
    if block.trim().is_empty() {
        return;
    }
    if !text.is_empty() {
        text.push_str("\n\n");
    }
    text.extend(block.chars().filter(|char| is_printable(*char)));
}

/// The text of a terminal without its control sequences for colours.
fn without_colours(text: &str) -> Cow<'_, str> {
    if !text.contains('\u{1b}') {
        return Cow::Borrowed(text);
    }
    let mut parts = text.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|char: char| char.is_ascii_alphabetic());
        plain.push_str(end.map_or("", |end| &part[end + 1..]));
    }
    Cow::Owned(plain)
}
