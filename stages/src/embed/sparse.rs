//! Builds the column of sparse vectors: the term weights of each chunk of a batch.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, Float32Array, LargeStringArray, ListArray, RecordBatch,
    StructArray, UInt32Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::Field;
use pipeline::column::{CHUNKS, LANGUAGE, SOURCE, TEXT, TITLE, URI, sparse_fields};
use pipeline::{BoxError, ChunkContents, Passage, SparseVector};

use crate::bm25::Bm25Encoder;

/// One list of sparse vectors per document, one vector per chunk.
///
/// # Errors
/// If a column is missing, or the byte range of a chunk is invalid for its text.
pub(super) fn encode_lists(words: &Bm25Encoder, rows: &RecordBatch) -> Result<ListArray, BoxError> {
    let (chunks, texts, languages) = (CHUNKS.of(rows)?, TEXT.of(rows)?, LANGUAGE.of(rows)?);
    let fields = chunks.values().as_struct();
    let field = |name| fields.column_by_name(name).expect("a field of the column's type");
    let contents = chunk_contents(chunks, texts)?;
    let headings = field("headings").as_string::<i32>();
    let (titles, uris, sources) = (TITLE.of(rows)?, URI.of(rows)?, SOURCE.of(rows)?);

    let first = item_range(chunks, 0).start;
    let mut passages = Vec::with_capacity(chunks.values().len());
    for row in 0..rows.num_rows() {
        let language = languages.is_valid(row).then(|| languages.value(row));
        let title = titles.is_valid(row).then(|| titles.value(row));
        let path = Passage::path_in_source(uris.value(row), sources.value(row));
        for at in item_range(chunks, row) {
            let text = &contents[at - first];
            let headings = headings.is_valid(at).then(|| headings.value(at));
            passages.push(Passage { text, headings, title, path: Some(path), language });
        }
    }
    build_column(&words.encode_batch(passages.into_iter()), chunks)
}

/// The contents of the chunks of all documents.
fn chunk_contents<'a>(
    chunks: &ListArray,
    texts: &'a LargeStringArray,
) -> Result<Vec<Cow<'a, str>>, BoxError> {
    let contents = ChunkContents::of(chunks.values().as_struct());
    let mut all = Vec::with_capacity(chunks.values().len());
    for row in 0..chunks.len() {
        for at in item_range(chunks, row) {
            let content = contents.content(texts.value(row), at).ok_or_else(|| {
                let Range { start, end } = contents.range(at);
                format!("chunk {start}..{end} is not a valid range of its text")
            })?;
            all.push(content);
        }
    }
    Ok(all)
}

/// The indices of the chunks of a document in the flat array.
fn item_range(chunks: &ListArray, row: usize) -> Range<usize> {
    let offsets = chunks.value_offsets();
    super::to_usize(offsets[row])..super::to_usize(offsets[row + 1])
}

fn build_column(vectors: &[SparseVector], chunks: &ListArray) -> Result<ListArray, BoxError> {
    let lengths = || vectors.iter().map(|vector| vector.indices.len());
    let indices =
        UInt32Array::from_iter_values(vectors.iter().flat_map(|it| it.indices.iter().copied()));
    let values =
        Float32Array::from_iter_values(vectors.iter().flat_map(|it| it.values.iter().copied()));
    let list = |items: ArrayRef| {
        let item = Arc::new(Field::new_list_field(items.data_type().clone(), false));
        ListArray::try_new(item, OffsetBuffer::from_lengths(lengths()), items, None)
    };
    let columns: Vec<ArrayRef> =
        vec![Arc::new(list(Arc::new(indices))?), Arc::new(list(Arc::new(values))?)];
    let structs = StructArray::try_new(sparse_fields(), columns, None)?;
    let item = Arc::new(Field::new_list_field(structs.data_type().clone(), false));
    Ok(ListArray::try_new(item, super::chunk_offsets(chunks), Arc::new(structs), None)?)
}
