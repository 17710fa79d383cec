//! Converts the rows of a batch to points; independent of stores.

use std::ops::Range;

use arrow::array::{
    Array, AsArray as _, FixedSizeBinaryArray, FixedSizeListArray, LargeStringArray, ListArray,
    RecordBatch, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Float32Type, UInt32Type};
use pipeline::column::{
    self, CHUNKS, CONTENT_HASH, LANGUAGE, METADATA, MIME_TYPE, MTIME, SOURCE, SPARSE, TEXT, TITLE,
    URI,
};
use pipeline::{
    BoxError, ChunkContents, ContentHash, DocumentIdentity, IncomingDocument, Location, Payload,
    Point, SparseVector, point_id,
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::upsert::dim_of;

/// Maximum points of one document in one request.
const MAX_DOCUMENT_POINTS: usize = 1000;

/// Weight of a batch for the batch policy: its chunks plus its documents, because a document
/// without chunks still has a row to write.
pub(crate) fn batch_weight(rows: &RecordBatch) -> usize {
    rows.num_rows() + CHUNKS.of(rows).map_or(0, |chunks| item_range(chunks, 0..chunks.len()).len())
}

/// A range of the chunks of one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChunkRange {
    /// Row of the document in the batch.
    pub(super) row: usize,
    /// Indices of the chunks within the document.
    pub(super) chunks: Range<usize>,
}

/// Distributes chunks to requests of at most `batch` points, or more if one document has more. A
/// document is in one request unless it has more than [`MAX_DOCUMENT_POINTS`] chunks.
pub(super) fn plan_requests(chunks: &[usize], batch: usize) -> Vec<Vec<ChunkRange>> {
    let mut requests = Vec::new();
    let mut request = Vec::new();
    let mut points = 0;
    for (row, &count) in chunks.iter().enumerate() {
        for start in (0..count).step_by(MAX_DOCUMENT_POINTS) {
            let chunks = start..count.min(start + MAX_DOCUMENT_POINTS);
            if points > 0 && points + chunks.len() > batch {
                requests.push(std::mem::take(&mut request));
                points = 0;
            }
            points += chunks.len();
            request.push(ChunkRange { row, chunks });
        }
    }
    if points > 0 {
        requests.push(request);
    }
    requests
}

/// The columns of a batch that `upsert` writes.
pub(super) struct UpsertBatch<'a> {
    rows: &'a RecordBatch,
    collection: Uuid,
    uri: &'a StringArray,
    source: &'a StringArray,
    mtime: &'a TimestampMicrosecondArray,
    mime_type: &'a StringArray,
    content_hash: &'a FixedSizeBinaryArray,
    text: &'a LargeStringArray,
    title: &'a StringArray,
    language: &'a StringArray,
    metadata: &'a StringArray,
    chunks: &'a ListArray,
    vectors: &'a ListArray,
    /// Sparse vectors of the chunks; `None` if the pipeline computes none.
    sparse: Option<&'a ListArray>,
    /// Filterable metadata of each document; see [`facts`].
    facts: Vec<Vec<String>>,
}

impl<'a> UpsertBatch<'a> {
    /// # Errors
    /// If a column is missing, or a document does not have a vector for each chunk.
    pub(super) fn of(rows: &'a RecordBatch, collection: Uuid) -> Result<Self, BoxError> {
        let dim = dim_of(rows.schema_ref()).unwrap_or(0);
        let metadata = METADATA.of(rows)?;
        let sparse = rows.column_by_name(SPARSE.name()).is_some();
        let facts = metadata.iter().map(|it| facts(it.unwrap_or_default()));
        let documents = Self {
            rows,
            collection,
            uri: URI.of(rows)?,
            source: SOURCE.of(rows)?,
            mtime: MTIME.of(rows)?,
            mime_type: MIME_TYPE.of(rows)?,
            content_hash: CONTENT_HASH.of(rows)?,
            text: TEXT.of(rows)?,
            title: TITLE.of(rows)?,
            language: LANGUAGE.of(rows)?,
            metadata,
            chunks: CHUNKS.of(rows)?,
            vectors: column::vectors_column(dim).of(rows)?,
            sparse: if sparse { Some(SPARSE.of(rows)?) } else { None },
            facts: facts.collect::<Result<_, _>>()?,
        };
        for row in 0..rows.num_rows() {
            let chunks = documents.chunks.value_length(row);
            let vectors = documents.vectors.value_length(row);
            if chunks != vectors {
                let uri = documents.uri.value(row);
                return Err(format!("{uri} has {chunks} chunks and {vectors} vectors").into());
            }
            if documents.sparse.is_some_and(|sparse| sparse.value_length(row) != chunks) {
                let uri = documents.uri.value(row);
                return Err(
                    format!("{uri} has a different number of chunks and sparse vectors").into()
                );
            }
        }
        Ok(documents)
    }

    pub(super) fn incoming(&self) -> Result<Vec<IncomingDocument>, BoxError> {
        let incoming = (0..self.rows.num_rows()).map(|row| {
            let content_hash = ContentHash::try_from(self.content_hash.value(row))?;
            Ok(IncomingDocument { location: Location::from_row(self.rows, row)?, content_hash })
        });
        incoming.collect()
    }

    pub(super) fn chunk_counts(&self) -> Vec<usize> {
        (0..self.rows.num_rows()).map(|row| item_range(self.chunks, row..row + 1).len()).collect()
    }

    pub(super) fn mime_type(&self, row: usize) -> &str {
        self.mime_type.value(row)
    }

    pub(super) fn title(&self, row: usize) -> Option<&str> {
        self.title.is_valid(row).then(|| self.title.value(row))
    }

    pub(super) fn language(&self, row: usize) -> Option<&str> {
        self.language.is_valid(row).then(|| self.language.value(row))
    }

    pub(super) fn metadata(&self, row: usize) -> &str {
        self.metadata.value(row)
    }

    /// Hash of everything in the points of a document. With the same document id, an equal digest
    /// means equal points.
    pub(super) fn digest(&self, row: usize) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            // Length-prefixed, so that adjacent parts are unambiguous.
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        let modified = self.mtime.is_valid(row).then(|| self.mtime.value(row));
        for text in [self.uri, self.source, self.mime_type, self.title, self.language] {
            part(if text.is_valid(row) { text.value(row).as_bytes() } else { &[] });
        }
        part(&modified.unwrap_or_default().to_le_bytes());
        part(self.text.value(row).as_bytes());
        let chunks = self.chunks.value(row);
        let chunks = chunks.as_struct();
        let field = |name| chunks.column_by_name(name).expect("the column type has this field");
        let contents = ChunkContents::of(chunks);
        let pages = field("page").as_primitive::<UInt32Type>();
        let headings = field("headings").as_string::<i32>();
        for at in 0..chunks.len() {
            let Range { start, end } = contents.range(at);
            part(&start.to_le_bytes());
            part(&end.to_le_bytes());
            if let Some(Range { start, end }) = contents.header(at) {
                part(&[start.to_le_bytes(), end.to_le_bytes()].concat());
            }
            let page = if pages.is_valid(at) { pages.value(at) } else { 0 };
            part(&page.to_le_bytes());
            part(if headings.is_valid(at) { headings.value(at).as_bytes() } else { &[] });
        }
        let vectors = self.vectors.value(row);
        let floats = vectors.as_fixed_size_list();
        let width = usize::try_from(floats.value_length()).expect("a length is not negative");
        let from = floats.offset() * width;
        let floats = &floats.values().as_primitive::<Float32Type>().values()[from..];
        floats[..vectors.len() * width].iter().for_each(|number| hash.update(number.to_le_bytes()));
        let mut count = |number: usize| hash.update((number as u64).to_le_bytes());
        count(self.facts[row].len());
        self.facts[row].iter().for_each(|fact| count(fact.len()));
        self.facts[row].iter().for_each(|fact| hash.update(fact.as_bytes()));
        for at in self.sparse.map_or(0..0, |sparse| item_range(sparse, row..row + 1)) {
            let SparseVector { indices, values } = self.sparse_vector(at).unwrap_or_default();
            hash.update((indices.len() as u64).to_le_bytes());
            indices.iter().for_each(|index| hash.update(index.to_le_bytes()));
            values.iter().for_each(|value| hash.update(value.to_le_bytes()));
        }
        hash.finalize().into()
    }

    /// The points of one request.
    ///
    /// # Errors
    /// If a chunk's range is outside the text of its document.
    pub(super) fn points(
        &self,
        pieces: &[ChunkRange],
        places: &[DocumentIdentity],
    ) -> Result<Vec<Point>, BoxError> {
        let chunks = self.chunks.values().as_struct();
        let vectors = self.vectors.values().as_fixed_size_list();
        let mut points = Vec::with_capacity(pieces.iter().map(|piece| piece.chunks.len()).sum());
        for ChunkRange { row, chunks: indices } in pieces {
            let first_chunk = item_range(self.chunks, *row..row + 1).start;
            let first_vector = item_range(self.vectors, *row..row + 1).start;
            let first_words = self.sparse.map(|sparse| item_range(sparse, *row..row + 1).start);
            for index in indices.clone() {
                let document = places[*row].document;
                let chunk_index = u32::try_from(index)?;
                points.push(Point {
                    id: point_id(document, chunk_index),
                    vector: vector(vectors, first_vector + index),
                    sparse: first_words.and_then(|first| self.sparse_vector(first + index)),
                    payload: self.payload(
                        *row,
                        document,
                        chunk_index,
                        chunks,
                        first_chunk + index,
                    )?,
                });
            }
        }
        Ok(points)
    }

    /// The sparse vector of the chunk at `at` in the flat array; `None` if the pipeline computes
    /// none.
    fn sparse_vector(&self, at: usize) -> Option<SparseVector> {
        let structs = self.sparse?.values().as_struct();
        let field = |name| {
            let list = structs.column_by_name(name).expect("the column type has this field");
            list.as_list::<i32>().value(at)
        };
        Some(SparseVector {
            indices: field("indices").as_primitive::<UInt32Type>().values().to_vec(),
            values: field("values").as_primitive::<Float32Type>().values().to_vec(),
        })
    }

    /// The payload of the chunk at `at` in the flat array of chunks.
    fn payload(
        &self,
        row: usize,
        document: Uuid,
        chunk_index: u32,
        chunks: &StructArray,
        at: usize,
    ) -> Result<Payload, BoxError> {
        let field = |name| chunks.column_by_name(name).expect("the column type has this field");
        let contents = ChunkContents::of(chunks);
        let Range { start, end } = contents.range(at);
        let page = field("page").as_primitive::<UInt32Type>();
        let headings = field("headings").as_string::<i32>();
        let uri = self.uri.value(row);
        let content = contents.content(self.text.value(row), at).ok_or_else(|| {
            format!("chunk {chunk_index} of {uri} ({start}..{end}) is outside its text")
        })?;
        Ok(Payload {
            collection: self.collection,
            document,
            chunk_index,
            content: content.into_owned(),
            uri: uri.to_owned(),
            source: self.source.value(row).to_owned(),
            mime_type: self.mime_type(row).to_owned(),
            title: self.title(row).map(str::to_owned),
            language: self.language(row).map(str::to_owned),
            headings: headings.is_valid(at).then(|| headings.value(at).to_owned()),
            page: page.is_valid(at).then(|| page.value(at)),
            start,
            end,
            modified_at: self.mtime.is_valid(row).then(|| self.mtime.value(row)),
            facts: self.facts[row].clone(),
        })
    }
}

/// Maximum bytes of a filterable value.
const MAX_FACT_BYTES: usize = 200;

/// Filterable `key`-value pairs of a document's metadata, a JSON object: one per scalar value,
/// several for a list. Nested objects, nulls and long values are skipped.
fn facts(metadata: &str) -> Result<Vec<String>, serde_json::Error> {
    let object: serde_json::Map<String, Value> = serde_json::from_str(metadata)?;
    let mut facts = Vec::new();
    for (key, value) in object {
        let values = if let Value::Array(values) = value { values } else { vec![value] };
        for value in values {
            let value = match value {
                Value::String(text) => text,
                Value::Number(number) => number.to_string(),
                Value::Bool(truth) => truth.to_string(),
                Value::Null | Value::Array(_) | Value::Object(_) => continue,
            };
            if value.len() <= MAX_FACT_BYTES {
                facts.push(pipeline::format_fact(&key, &value));
            }
        }
    }
    Ok(facts)
}

/// Range of the items of some rows in the flat array of a list column.
pub(crate) fn item_range(list: &ListArray, rows: Range<usize>) -> Range<usize> {
    let offset = |row: usize| {
        usize::try_from(list.value_offsets()[row]).expect("offsets of a list are not negative")
    };
    offset(rows.start)..offset(rows.end)
}

fn vector(vectors: &FixedSizeListArray, at: usize) -> Vec<f32> {
    vectors.value(at).as_primitive::<Float32Type>().values().to_vec()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_chunk_is_in_one_request_and_documents_stand_together(
            chunks in prop::collection::vec(0_usize..2500, 0..40),
            batch in 1_usize..1000,
        ) {
            let requests = plan_requests(&chunks, batch);
            let mut seen = vec![0; chunks.len()];
            for request in &requests {
                let points: usize = request.iter().map(|piece| piece.chunks.len()).sum();
                prop_assert!(points > 0 && (points <= batch || request.len() == 1));
                for piece in request {
                    prop_assert_eq!(piece.chunks.start, seen[piece.row]);
                    seen[piece.row] = piece.chunks.end;
                    let whole = piece.chunks == (0..chunks[piece.row]);
                    prop_assert!(whole || chunks[piece.row] > MAX_DOCUMENT_POINTS);
                }
            }
            prop_assert_eq!(seen, chunks);
        }
    }
}
