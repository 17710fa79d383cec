//! Jupyter notebooks as Markdown: text cells as they are, code cells and the text of their outputs
//! as code blocks. Images and other outputs without text are left out; an output with several
//! representations is written once.

mod cells;

use serde_json::{Map, Value};

use crate::extract::document::{Document, collapse_whitespace};
use crate::extract::error::ExtractErrorKind;
use crate::extract::format::Format;
use crate::extract::notebook::cells::write_cell;
use crate::extract::text::{decode, plain_with_error};
use crate::extract::{markdown, source_code};

pub(crate) const FORMAT: Format = Format {
    name: "Jupyter notebook",
    media_types: &["application/x-ipynb+json"],
    version: 1,
    is_cached: true,
    has_titles_in_headings: true,
    parse: |bytes, _| extract(bytes).ok_or(ExtractErrorKind::NotText),
};

/// The document; `None` if the bytes are not text. A file that is no notebook is plain text.
fn extract(bytes: &[u8]) -> Option<Document> {
    let text = decode(bytes, None)?;
    match serde_json::from_str(&text) {
        Ok(Value::Object(notebook)) => Some(read(&notebook)),
        Ok(_) => Some(plain_with_error(&text, "it is no object with cells")),
        Err(error) => Some(plain_with_error(&text, &error.to_string())),
    }
}

fn read(notebook: &Map<String, Value>) -> Document {
    let language = programming_language(notebook);
    let mut text = String::new();
    for cell in cells(notebook) {
        write_cell(cell, language.unwrap_or_default(), &mut text);
    }
    let mut document = markdown::from_text(text);
    if let Some(language) = language {
        document.add_metadata("programming_language", &source_code::language_name(language));
    }
    let metadata = notebook.get("metadata");
    if let Some(title) = metadata.and_then(|it| it.get("title")).and_then(Value::as_str) {
        document.title = Some(collapse_whitespace(title));
    }
    let authors = metadata.and_then(|it| it.get("authors")).and_then(Value::as_array);
    let names = authors.into_iter().flatten().filter_map(|author| author.get("name")?.as_str());
    names.for_each(|name| document.append_metadata("author", name));
    document
}

/// The cells; those of version 3 are in worksheets.
fn cells(notebook: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let worksheets = notebook.get("worksheets").and_then(Value::as_array).into_iter().flatten();
    let nested = worksheets.filter_map(|sheet| sheet.get("cells"));
    notebook.get("cells").into_iter().chain(nested).filter_map(Value::as_array).flatten()
}

/// The language of the kernel, in the spelling of the notebook.
fn programming_language(notebook: &Map<String, Value>) -> Option<&str> {
    let metadata = notebook.get("metadata")?;
    let name = |object: &str, key: &str| metadata.get(object)?.get(key)?.as_str();
    name("language_info", "name").or_else(|| name("kernelspec", "language"))
}
