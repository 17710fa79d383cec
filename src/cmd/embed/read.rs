//! Reads texts from a file or standard input in pieces.

use std::io::{BufRead, BufReader, Read, stdin};
use std::path::Path;

use arrow::array::{Array as _, AsArray as _, RecordBatch, RecordBatchReader as _};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::DataType;
use fs_err::File;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use pipeline::BoxError;
use serde_json::Value;

use super::{RowData, TextBatch};

pub(super) type TextBatches = Box<dyn Iterator<Item = Result<TextBatch, BoxError>> + Send>;

/// Most texts in a piece; the engine groups texts of similar length within it.
const MAX_TEXTS: usize = 4096;

/// Size in bytes after which a piece ends.
const MAX_BYTES: usize = 16 << 20;

/// Rows per batch of a Parquet file.
const MAX_ROWS: usize = 64;

/// The texts in order; the extension of the file determines the format.
///
/// # Errors
/// If the file cannot be opened, or has no `text` column.
pub(super) fn read_batches(file: Option<&Path>) -> Result<TextBatches, BoxError> {
    let Some(file) = file else {
        return Ok(Box::new(
            line_batches(stdin()).map(|read| read.map(|(_, texts)| text_batch(texts))),
        ));
    };
    let open = File::open(file)?;
    let name = file.display().to_string();
    let pieces: TextBatches = match file.extension().and_then(|ending| ending.to_str()) {
        Some("parquet") => columns(open).map_err(|error| in_file(&name, error))?,
        Some("jsonl" | "ndjson") => Box::new(
            line_batches(open).map(|read| read.and_then(|(first, lines)| objects(first, &lines))),
        ),
        _ => Box::new(line_batches(open).map(|read| read.map(|(_, texts)| text_batch(texts)))),
    };
    Ok(Box::new(pieces.map(move |piece| piece.map_err(|error| in_file(&name, error)))))
}

/// Adds the name of the file to an error; I/O errors have it already.
fn in_file(name: &str, error: BoxError) -> BoxError {
    if error.is::<std::io::Error>() {
        return error;
    }
    format!("`{name}`: {}", pipeline::error_chain(error.as_ref())).into()
}

fn text_batch(texts: Vec<String>) -> TextBatch {
    TextBatch { texts, rows: RowData::Lines }
}

/// Lines without line ends; each piece has the number of its first line.
fn line_batches(
    from: impl Read + Send + 'static,
) -> impl Iterator<Item = Result<(usize, Vec<String>), BoxError>> + Send {
    let mut from = BufReader::new(from);
    let mut number = 1;
    std::iter::from_fn(move || {
        let (first, mut lines, mut bytes) = (number, Vec::new(), 0);
        while lines.len() < MAX_TEXTS && bytes < MAX_BYTES {
            let mut line = Vec::new();
            match from.read_until(b'\n', &mut line) {
                Ok(0) => break,
                Ok(read) => bytes += read,
                Err(error) => return Some(Err(error.into())),
            }
            while line.pop_if(|last| matches!(last, b'\n' | b'\r')).is_some() {}
            let Ok(line) = String::from_utf8(line) else {
                return Some(Err(format!("line {number} is not UTF-8").into()));
            };
            lines.push(line);
            number += 1;
        }
        (!lines.is_empty()).then_some(Ok((first, lines)))
    })
}

fn objects(first: usize, lines: &[String]) -> Result<TextBatch, BoxError> {
    let (mut texts, mut fields) = (Vec::new(), Vec::new());
    for (number, line) in (first..).zip(lines) {
        let Ok(Value::Object(mut object)) = serde_json::from_str(line) else {
            return Err(format!("line {number} is not a JSON object").into());
        };
        let Some(Value::String(text)) = object.remove("text") else {
            return Err(format!("line {number} has no string field `text`").into());
        };
        if object.contains_key("vector") {
            return Err(format!("line {number} already has a field `vector`").into());
        }
        texts.push(text);
        fields.push(object);
    }
    Ok(TextBatch { texts, rows: RowData::Objects(fields) })
}

fn columns(file: File) -> Result<TextBatches, BoxError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file.into_file())
        .map_err(|error| format!("not a readable Parquet file ({error})"))?;
    if builder.schema().column_with_name("text").is_none() {
        return Err("no column `text`".into());
    }
    if builder.schema().column_with_name("vector").is_some() {
        return Err("a column `vector` already exists".into());
    }
    let mut batches = builder.with_batch_size(MAX_ROWS).build()?;
    let mut begun = false;
    let mut rows_before = 0;
    Ok(Box::new(std::iter::from_fn(move || {
        let rows = match next_batch(&mut batches) {
            Ok(rows) => rows,
            Err(error) => return Some(Err(error)),
        };
        // The first piece is returned even if it is empty, since a file without rows has columns.
        if rows.num_rows() == 0 && begun {
            return None;
        }
        begun = true;
        let texts = texts_of(&rows, rows_before);
        rows_before += rows.num_rows();
        Some(texts.map(|texts| TextBatch { texts, rows: RowData::Columns(rows) }))
    })))
}

/// The next rows of a file, up to the size of a piece.
fn next_batch(batches: &mut ParquetRecordBatchReader) -> Result<RecordBatch, BoxError> {
    let (mut gathered, mut rows, mut bytes) = (Vec::new(), 0, 0);
    while rows < MAX_TEXTS
        && bytes < MAX_BYTES
        && let Some(batch) = batches.next().transpose()?
    {
        rows += batch.num_rows();
        bytes += batch.get_array_memory_size();
        gathered.push(batch);
    }
    Ok(concat_batches(&batches.schema(), &gathered)?)
}

fn texts_of(batch: &RecordBatch, rows_before: usize) -> Result<Vec<String>, BoxError> {
    let column = batch.column_by_name("text").ok_or("a batch lacks the column `text`")?;
    if !matches!(column.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) {
        return Err(format!(
            "the column `text` has type {}, expected a string type",
            column.data_type()
        )
        .into());
    }
    let column = cast(column, &DataType::Utf8)?;
    let texts = column.as_string::<i32>();
    if let Some(row) = (0..texts.len()).find(|&row| texts.is_null(row)) {
        return Err(format!("row {} has no text", rows_before + row + 1).into());
    }
    Ok(texts.iter().flatten().map(str::to_owned).collect())
}
