//! Converts the rows of a batch to the two tables of a dataset.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray as _, FixedSizeBinaryBuilder, LargeStringBuilder, RecordBatch,
    StringBuilder, UInt32Builder,
};
use arrow::datatypes::{DataType, Field, Schema};
use pipeline::column::{self, BYTES, CHUNKS, CONTENT_HASH, KNOWN_HASH, SPARSE, TEXT, URI};
use pipeline::{BoxError, ChunkContents, RowsExt as _};

use crate::upsert::batch::item_range;

/// One row per document with the columns that describe it. Chunks and vectors are in the other
/// table; the raw content is left out.
pub(super) fn document_rows(rows: &RecordBatch) -> RecordBatch {
    let vectors = column::vectors_column(0);
    [CHUNKS.name(), vectors.name(), SPARSE.name(), BYTES.name(), KNOWN_HASH.name()]
        .into_iter()
        .fold(rows.clone(), |rows, name| rows.without_column(name))
}

/// One row per chunk.
///
/// # Errors
/// If a chunk's range is outside the text of its document.
pub(super) fn chunk_rows(rows: &RecordBatch) -> Result<RecordBatch, BoxError> {
    let (uris, hashes, texts) = (URI.of(rows)?, CONTENT_HASH.of(rows)?, TEXT.of(rows)?);
    let lists = CHUNKS.of(rows)?;
    let all = item_range(lists, 0..rows.num_rows());
    let structs = lists.values().as_struct().slice(all.start, all.len());
    let field = |name| structs.column_by_name(name).expect("the column type has this field");
    let contents = ChunkContents::of(&structs);

    let mut uri = StringBuilder::new();
    let mut content_hash = FixedSizeBinaryBuilder::new(32);
    let mut chunk_index = UInt32Builder::new();
    let mut text = LargeStringBuilder::new();
    for row in 0..rows.num_rows() {
        for (index, at) in item_range(lists, row..row + 1).enumerate() {
            let at = at - all.start;
            let content = contents.content(texts.value(row), at).ok_or_else(|| {
                let (uri, Range { start, end }) = (uris.value(row), contents.range(at));
                format!("chunk {index} of {uri} ({start}..{end}) is outside its text")
            })?;
            uri.append_value(uris.value(row));
            content_hash.append_value(hashes.value(row))?;
            chunk_index.append_value(u32::try_from(index)?);
            text.append_value(content);
        }
    }

    let required = |name: &str, of: &DataType| Field::new(name, of.clone(), false);
    let optional = |name: &str, of: &DataType| Field::new(name, of.clone(), true);
    let mut fields = vec![
        required("uri", &DataType::Utf8),
        required("content_hash", CONTENT_HASH.field().data_type()),
        required("chunk_index", &DataType::UInt32),
        required("text", &DataType::LargeUtf8),
        required("start", &DataType::UInt64),
        required("end", &DataType::UInt64),
        optional("page", &DataType::UInt32),
        optional("headings", &DataType::Utf8),
    ];
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(uri.finish()),
        Arc::new(content_hash.finish()),
        Arc::new(chunk_index.finish()),
        Arc::new(text.finish()),
        Arc::clone(field("start")),
        Arc::clone(field("end")),
        Arc::clone(field("page")),
        Arc::clone(field("headings")),
    ];
    if let Some(vectors) = rows.column_by_name(column::vectors_column(0).name()) {
        let lists = vectors.as_list::<i32>();
        let all = item_range(lists, 0..rows.num_rows());
        let vectors = lists.values().slice(all.start, all.len());
        fields.push(required("vector", vectors.data_type()));
        columns.push(vectors);
    }
    if rows.column_by_name(SPARSE.name()).is_some() {
        let lists = SPARSE.of(rows)?;
        let all = item_range(lists, 0..rows.num_rows());
        let words = lists.values().slice(all.start, all.len());
        fields.push(required("sparse", words.data_type()));
        columns.push(words);
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// URIs of the documents in a table.
pub(super) fn uris(table: &RecordBatch) -> Result<HashSet<String>, BoxError> {
    Ok(URI.of(table)?.iter().flatten().map(str::to_owned).collect())
}

/// Rows whose URI is (`keep`) or is not in `among`.
pub(super) fn filter_by_document(
    table: &RecordBatch,
    among: &HashSet<String>,
    keep: bool,
) -> Result<RecordBatch, BoxError> {
    let uris = URI.of(table)?;
    let keep = uris.iter().map(|uri| uri.is_some_and(|uri| among.contains(uri)) == keep);
    Ok(table.filter_rows(keep.collect())?)
}

/// The last row of each document, in order.
pub(super) fn keep_last(rows: &RecordBatch) -> Result<RecordBatch, BoxError> {
    let mut seen = HashSet::new();
    let uris = URI.of(rows)?;
    let mut keep: Vec<bool> =
        (0..rows.num_rows()).rev().map(|row| seen.insert(uris.value(row))).collect();
    keep.reverse();
    Ok(rows.filter_rows(keep)?)
}
