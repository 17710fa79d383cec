//! Batches as the stages before a sink produce them, for tests.

#![expect(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeBinaryArray, FixedSizeListArray, Float32Array, LargeStringArray, ListArray,
    RecordBatch, StringArray, StructArray, TimestampMicrosecondArray, UInt32Array, UInt64Array,
    new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Schema};
use pipeline::Location;
use pipeline::column::{
    self, CHUNKS, CONTENT_HASH, CTIME, Column, LANGUAGE, METADATA, MIME_TYPE, TEXT, TITLE,
};

/// Dimensions of the vectors.
pub const DIM: usize = 8;

/// A document whose chunks are runs of `words` words of its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doc {
    /// Its location.
    pub uri: String,
    /// Its text.
    pub text: String,
    /// Words per chunk.
    pub words: usize,
}

/// A document with one word per chunk.
pub fn doc(uri: &str, text: &str) -> Doc {
    Doc { uri: uri.to_owned(), text: text.to_owned(), words: 1 }
}

impl Doc {
    /// A hash of the text, good enough for tests.
    pub fn hash(&self) -> [u8; 32] {
        let mut hash = [0_u8; 32];
        for (at, byte) in self.text.bytes().enumerate() {
            let cell = &mut hash[at % 32];
            *cell = cell.wrapping_mul(31).wrapping_add(byte);
        }
        hash[31] = u8::try_from(self.text.len() % 256).unwrap();
        hash
    }

    /// Byte ranges of the chunks.
    fn ranges(&self) -> Vec<Range<usize>> {
        let start = |word: &str| word.as_ptr() as usize - self.text.as_ptr() as usize;
        let words: Vec<&str> = self.text.split_whitespace().collect();
        let chunks = words.chunks(self.words).map(|words| {
            let last = words[words.len() - 1];
            start(words[0])..start(last) + last.len()
        });
        chunks.collect()
    }

    /// Texts of the chunks.
    pub fn chunks(&self) -> Vec<&str> {
        self.ranges().into_iter().map(|range| &self.text[range]).collect()
    }
}

/// The vector of a chunk with this text, not normalised.
pub fn chunk_vector(text: &str) -> Vec<f32> {
    let mut state = text.bytes().fold(1, |seed: u64, byte| seed.wrapping_mul(31) + u64::from(byte));
    let mut next = || {
        // The constants of a linear congruential generator (Knuth's MMIX).
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f32::from(u16::try_from(state >> 48).unwrap()) / 32_768.0 - 1.0
    };
    (0..DIM).map(|_| next()).collect()
}

fn schema(with_vectors: bool) -> Schema {
    let mut fields = Location::fields().to_vec();
    fields.extend([
        MIME_TYPE.field(),
        CONTENT_HASH.field(),
        TEXT.field(),
        TITLE.field(),
        LANGUAGE.field(),
        METADATA.field(),
        CHUNKS.field(),
    ]);
    if with_vectors {
        fields.push(column::vectors_column(DIM).field());
    }
    Schema::new(fields)
}

/// The documents as a batch.
pub fn rows(docs: &[Doc], with_vectors: bool) -> RecordBatch {
    let texts = |of: fn(&Doc) -> &str| -> ArrayRef {
        Arc::new(docs.iter().map(|doc| Some(of(doc))).collect::<StringArray>())
    };
    let titles = docs.iter().map(|doc| doc.text.split_whitespace().next()).collect::<StringArray>();
    let hashes = FixedSizeBinaryArray::try_from_iter(docs.iter().map(Doc::hash));
    let empty = || FixedSizeBinaryArray::new_null(32, 0);
    let mut columns: Vec<ArrayRef> = vec![
        texts(|doc| &doc.uri),
        texts(|_| "/corpus"),
        Arc::new(docs.iter().map(|doc| Some(doc.text.len() as u64)).collect::<UInt64Array>()),
        Arc::new(
            TimestampMicrosecondArray::from(vec![1_700_000_000_000_000; docs.len()])
                .with_timezone("UTC"),
        ),
        new_null_array(CTIME.field().data_type(), docs.len()),
        new_null_array(&DataType::UInt64, docs.len()),
        texts(|_| "text/plain"),
        Arc::new(hashes.unwrap_or_else(|_| empty())),
        Arc::new(docs.iter().map(|doc| Some(doc.text.as_str())).collect::<LargeStringArray>()),
        Arc::new(titles),
        new_null_array(&DataType::Utf8, docs.len()),
        texts(|_| r#"{"author":"somebody"}"#),
        Arc::new(chunk_lists(docs)),
    ];
    if with_vectors {
        columns.push(Arc::new(vector_lists(docs)));
    }
    RecordBatch::try_new(Arc::new(schema(with_vectors)), columns).unwrap()
}

fn chunk_lists(docs: &[Doc]) -> ListArray {
    let chunks: Vec<Range<usize>> = docs.iter().flat_map(Doc::ranges).collect();
    let tokens = column::list_of(DataType::UInt32);
    let headings = (0..chunks.len()).map(|at| (at % 2 == 0).then_some("Part > Chapter"));
    let pages = (0..).take(chunks.len()).map(|at| (at % 3 == 0).then_some(at + 1));
    let fields: Vec<ArrayRef> = vec![
        Arc::new(chunks.iter().map(|chunk| Some(chunk.start as u64)).collect::<UInt64Array>()),
        Arc::new(chunks.iter().map(|chunk| Some(chunk.end as u64)).collect::<UInt64Array>()),
        new_null_array(&DataType::UInt64, chunks.len()),
        new_null_array(&DataType::UInt64, chunks.len()),
        Arc::new(pages.collect::<UInt32Array>()),
        Arc::new(headings.collect::<StringArray>()),
        empty_tokens(&tokens, chunks.len()),
    ];
    let structs = StructArray::new(column::chunk_fields(), fields, None);
    lists(&CHUNKS, docs.iter().map(|doc| doc.chunks().len()), Arc::new(structs))
}

fn empty_tokens(tokens: &DataType, chunks: usize) -> ArrayRef {
    let DataType::List(item) = tokens else { unreachable!("tokens are a list") };
    let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(0, chunks));
    Arc::new(ListArray::new(
        Arc::clone(item),
        offsets,
        Arc::new(UInt32Array::from(Vec::<u32>::new())),
        None,
    ))
}

fn vector_lists(docs: &[Doc]) -> ListArray {
    let numbers: Vec<f32> = docs.iter().flat_map(Doc::chunks).flat_map(chunk_vector).collect();
    let item = Arc::new(Field::new_list_field(DataType::Float32, false));
    let size = i32::try_from(DIM).unwrap();
    let vectors = FixedSizeListArray::new(item, size, Arc::new(Float32Array::from(numbers)), None);
    lists(
        &column::vectors_column(DIM),
        docs.iter().map(|doc| doc.chunks().len()),
        Arc::new(vectors),
    )
}

fn lists(
    column: &Column<ListArray>,
    lengths: impl Iterator<Item = usize>,
    items: ArrayRef,
) -> ListArray {
    let field = column.field();
    let DataType::List(item) = field.data_type() else { unreachable!("the column is a list") };
    ListArray::new(Arc::clone(item), OffsetBuffer::from_lengths(lengths), items, None)
}
