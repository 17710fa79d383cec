//! Values of documents and locations as Postgres stores them.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// Key of a location, because a path can exceed the limit of an index. Equal to `uri_hash(uri)` in
/// SQL.
pub(super) fn uri_hash(uri: &str) -> Vec<u8> {
    Sha256::digest(uri).to_vec()
}

/// The `meta` column of a document: `title`, `language`, `metadata`.
pub(super) fn document_meta(
    title: Option<&str>,
    language: Option<&str>,
    metadata: &Value,
) -> Value {
    let mut meta = Map::new();
    let words = [("title", title), ("language", language)];
    for (key, value) in words.into_iter().filter_map(|(key, value)| Some((key, value?))) {
        meta.insert(key.to_owned(), Value::from(without_nul(value)));
    }
    if metadata.as_object().is_some_and(|metadata| !metadata.is_empty()) {
        meta.insert("metadata".to_owned(), json_without_nul(metadata));
    }
    Value::Object(meta)
}

/// Text without NUL characters, which documents contain and Postgres rejects.
pub(super) fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "").into() } else { text.into() }
}

fn json_without_nul(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::from(without_nul(text)),
        Value::Array(items) => items.iter().map(json_without_nul).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| (without_nul(key).into_owned(), json_without_nul(value)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// The decoded path of a `file:` URI; other URIs unchanged.
pub(super) fn file_path(uri: &str) -> Cow<'_, str> {
    match uri.strip_prefix("file://") {
        Some(path) => percent_decode_str(path).decode_utf8_lossy(),
        None => uri.into(),
    }
}
