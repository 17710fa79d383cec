//! JSON: every value with its keys, as [`super::tree`] writes them. Comments and trailing commas,
//! as in configuration files, are accepted.
//!
//! A file that is no valid JSON, or nested too deeply, is read as JSON Lines if its first line is
//! valid, and otherwise as plain text; then the metadata `syntax_error` names the fault.

pub(super) mod lines;

use struson::reader::{
    JsonReader, JsonStreamReader, JsonSyntaxError, ReaderError, ReaderSettings, ValueType,
};

use crate::extract::document::Document;
use crate::extract::error::ExtractErrorKind;
use crate::extract::format::Format;
use crate::extract::text::{decode, plain_with_error};
use crate::extract::tree::TreeWriter;

pub(crate) const FORMAT: Format = Format {
    name: "JSON",
    media_types: &["application/json"],
    version: 1,
    is_cached: false,
    has_titles_in_headings: false,
    parse: |bytes, _| extract(bytes).ok_or(ExtractErrorKind::NotText),
};

/// Deepest nesting of objects and lists.
const MAX_DEPTH: u32 = 128;

/// The document; `None` if the bytes are not text.
fn extract(bytes: &[u8]) -> Option<Document> {
    let text = decode(bytes, None)?;
    let mut tree = TreeWriter::default();
    match write_value(&text, &mut tree) {
        Ok(()) => Some(tree.finish()),
        Err(_) if lines::is_likely(&text) => Some(lines::document(&text)),
        Err(error) => Some(plain_with_error(&text, &describe(&error))),
    }
}

/// Writes the only value of a text.
fn write_value(text: &str, tree: &mut TreeWriter) -> Result<(), ReaderError> {
    let settings = ReaderSettings {
        allow_comments: true,
        allow_trailing_comma: true,
        track_path: false,
        max_nesting_depth: Some(MAX_DEPTH),
        restrict_number_values: false,
        ..ReaderSettings::default()
    };
    let mut reader = JsonStreamReader::new_custom(text.as_bytes(), settings);
    read(&mut reader, None, tree)?;
    reader.consume_trailing_whitespace()
}

/// Writes the next value. The reader bounds the depth.
fn read(
    reader: &mut JsonStreamReader<&[u8]>,
    key: Option<&str>,
    tree: &mut TreeWriter,
) -> Result<(), ReaderError> {
    match reader.peek()? {
        ValueType::Object => {
            tree.begin_object(key);
            reader.begin_object()?;
            while reader.has_next()? {
                let key = reader.next_name_owned()?;
                read(reader, Some(&key), tree)?;
            }
            reader.end_object()?;
            tree.end();
        }
        ValueType::Array => {
            tree.begin_list(key);
            reader.begin_array()?;
            while reader.has_next()? {
                read(reader, None, tree)?;
            }
            reader.end_array()?;
            tree.end();
        }
        ValueType::String => tree.string(key, reader.next_str()?),
        ValueType::Number => tree.literal(key, reader.next_number_as_str()?),
        ValueType::Boolean => tree.literal(key, if reader.next_bool()? { "true" } else { "false" }),
        ValueType::Null => {
            reader.next_null()?;
            tree.literal(key, "null");
        }
    }
    Ok(())
}

/// The fault and its line and column, which begin at 1.
fn describe(error: &ReaderError) -> String {
    let (fault, location) =
        if let ReaderError::SyntaxError(JsonSyntaxError { kind, location }) = error {
            (kind.to_string(), location)
        } else if let ReaderError::MaxNestingDepthExceeded { location, .. } = error {
            (format!("nested deeper than {MAX_DEPTH} levels"), location)
        } else {
            return error.to_string();
        };
    let Some(at) = location.line_pos else { return fault };
    format!("{fault} at line {}, column {}", at.line + 1, at.column + 1)
}
