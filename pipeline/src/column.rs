//! The columns: every name that may appear in a batch, with its Arrow type.
//!
//! A row is a document on every edge. Pages, headings, chunks and vectors of a document are lists
//! in its row, so a document is never split between batches, and the child array of a list is one
//! flat array over the whole batch, as tokenisation and embedding need it.

use std::marker::PhantomData;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, FixedSizeBinaryArray, LargeBinaryArray, LargeStringArray, ListArray, RecordBatch,
    StringArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Fields, TimeUnit};

use crate::SchemaError;

/// A column name with its Arrow type, so that reading it needs no downcast.
///
/// ```
/// use std::sync::Arc;
///
/// use arrow::array::{Array as _, RecordBatch, StringArray};
/// use arrow::datatypes::Schema;
/// use pipeline::column::{TITLE, URI};
///
/// let schema = Arc::new(Schema::new(vec![TITLE.field()]));
/// let titles = Arc::new(StringArray::from(vec![Some("Handbook"), None]));
/// let rows = RecordBatch::try_new(schema, vec![titles])?;
/// let titles = TITLE.of(&rows)?;
/// assert_eq!(titles.value(0), "Handbook");
/// assert!(titles.is_null(1), "TITLE is nullable");
/// let error = URI.of(&rows).unwrap_err().to_string();
/// assert_eq!(error, "needs the column `uri`, but its input has only: title");
/// # Ok::<_, pipeline::BoxError>(())
/// ```
pub struct Column<A> {
    name: &'static str,
    data_type: DataType,
    nullable: bool,
    array: PhantomData<fn() -> A>,
}

/// Type of the columns declared below.
pub type LazyColumn<A> = LazyLock<Column<A>>;

macro_rules! columns {
    ($($(#[$doc:meta])* $name:ident: $array:ty = $text:literal, $data_type:expr, $nullable:expr;)*) => {
        $($(#[$doc])* pub static $name: LazyColumn<$array> =
            LazyLock::new(|| Column::new($text, $data_type, $nullable));)*
    };
}

const NULLABLE: bool = true;
const NOT_NULL: bool = false;

columns! {
    /// URI of the document, `file:///…` for a file; it identifies the document during a run.
    URI: StringArray = "uri", DataType::Utf8, NOT_NULL;
    /// Source root: the path or URL in the pipeline file, made absolute.
    SOURCE: StringArray = "source", DataType::Utf8, NOT_NULL;
    /// Size in bytes.
    SIZE: UInt64Array = "size", DataType::UInt64, NOT_NULL;
    /// Time of last modification, UTC.
    MTIME: TimestampMicrosecondArray = "mtime", timestamp_utc(), NULLABLE;
    /// Time of last change of the inode, UTC.
    CTIME: TimestampMicrosecondArray = "ctime", timestamp_utc(), NULLABLE;
    /// Inode number.
    INODE: UInt64Array = "inode", DataType::UInt64, NULLABLE;
    /// Media type, lower case and without parameters: `text/html`.
    MIME_TYPE: StringArray = "mime_type", DataType::Utf8, NOT_NULL;
    /// The raw content.
    BYTES: LargeBinaryArray = "bytes", DataType::LargeBinary, NOT_NULL;
    /// SHA-256 of the content last stored for this location; null if unknown.
    KNOWN_HASH: FixedSizeBinaryArray = "known_hash", DataType::FixedSizeBinary(32), NULLABLE;
    /// SHA-256 of the content.
    CONTENT_HASH: FixedSizeBinaryArray = "content_hash", DataType::FixedSizeBinary(32), NOT_NULL;
    /// The extracted text. All offsets below are bytes into it, always on character boundaries.
    TEXT: LargeStringArray = "text", DataType::LargeUtf8, NOT_NULL;
    /// Title of the document.
    TITLE: StringArray = "title", DataType::Utf8, NULLABLE;
    /// ISO 639-1 code of the language.
    LANGUAGE: StringArray = "language", DataType::Utf8, NULLABLE;
    /// Other metadata of the document (author, dates, …): a JSON object.
    METADATA: StringArray = "metadata", DataType::Utf8, NOT_NULL;
    /// Where each page starts in `text`; empty for a document without pages.
    PAGES: ListArray = "pages", list_of(DataType::UInt64), NOT_NULL;
    /// The headings, in order: struct of `at` (start of the heading in `text`), `level` (1 is the
    /// highest) and `title`.
    OUTLINE: ListArray = "outline", list_of(DataType::Struct(outline_fields())), NOT_NULL;
    /// The tables, in order: struct of `start`, `body_start` (start of the first row that is not a
    /// header; `start` without a header) and `end`. Extraction need not find any.
    TABLES: ListArray = "tables", list_of(DataType::Struct(table_fields())), NOT_NULL;
    /// The chunks, in order: struct of `start` and `end` (the chunk is `text[start..end]`),
    /// `header_start` and `header_end` (the header of the table in which it begins, which its
    /// content repeats; see [`ChunkContents`](crate::ChunkContents)), `page` (from 1), `headings`
    /// (the heading path, joined by ` > `) and `tokens` (token ids of the encoded input, with
    /// special tokens and document prompt; empty if no model follows).
    CHUNKS: ListArray = "chunks", list_of(DataType::Struct(chunk_fields())), NOT_NULL;
    /// Sparse vectors of the chunks, one per chunk: struct of `indices` (ascending) and `values`.
    SPARSE: ListArray = "sparse", list_of(DataType::Struct(sparse_fields())), NOT_NULL;
}

/// The column of dense vectors of the chunks, one per chunk, with this dimension.
///
/// ```
/// let field = pipeline::column::vectors_column(384).field();
/// assert_eq!(field.name(), "vectors");
/// assert!(field.data_type().to_string().contains("384"));
/// ```
pub fn vectors_column(dim: usize) -> Column<ListArray> {
    let dim = i32::try_from(dim).expect("the dimension of a model fits in an i32");
    let item = Arc::new(Field::new_list_field(DataType::Float32, NOT_NULL));
    Column::new("vectors", list_of(DataType::FixedSizeList(item, dim)), NOT_NULL)
}

/// Fields of an element of [`OUTLINE`].
pub fn outline_fields() -> Fields {
    Fields::from(vec![
        Field::new("at", DataType::UInt64, NOT_NULL),
        Field::new("level", DataType::UInt8, NOT_NULL),
        Field::new("title", DataType::Utf8, NOT_NULL),
    ])
}

/// Fields of an element of [`TABLES`].
pub fn table_fields() -> Fields {
    let fields = ["start", "body_start", "end"];
    fields.map(|name| Field::new(name, DataType::UInt64, NOT_NULL)).into_iter().collect()
}

/// Fields of an element of [`CHUNKS`].
pub fn chunk_fields() -> Fields {
    Fields::from(vec![
        Field::new("start", DataType::UInt64, NOT_NULL),
        Field::new("end", DataType::UInt64, NOT_NULL),
        Field::new("header_start", DataType::UInt64, NULLABLE),
        Field::new("header_end", DataType::UInt64, NULLABLE),
        Field::new("page", DataType::UInt32, NULLABLE),
        Field::new("headings", DataType::Utf8, NULLABLE),
        Field::new("tokens", list_of(DataType::UInt32), NOT_NULL),
    ])
}

/// Fields of an element of [`SPARSE`].
pub fn sparse_fields() -> Fields {
    Fields::from(vec![
        Field::new("indices", list_of(DataType::UInt32), NOT_NULL),
        Field::new("values", list_of(DataType::Float32), NOT_NULL),
    ])
}

/// A list type without null items, with the default item name of Arrow.
pub fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, NOT_NULL)))
}

fn timestamp_utc() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

impl<A> Column<A> {
    const fn new(name: &'static str, data_type: DataType, nullable: bool) -> Self {
        Self { name, data_type, nullable, array: PhantomData }
    }

    /// The name in schemas, in `when:` and in messages.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The Arrow field of this column.
    pub fn field(&self) -> Field {
        Field::new(self.name, self.data_type.clone(), self.nullable)
    }
}

impl<A: Array + 'static> Column<A> {
    /// Reads the column from a batch.
    ///
    /// # Errors
    /// If the column is missing or has another type.
    pub fn of<'a>(&self, rows: &'a RecordBatch) -> Result<&'a A, SchemaError> {
        rows.column_by_name(self.name)
            .and_then(|column| column.as_any().downcast_ref())
            .ok_or_else(|| SchemaError::missing(&self.field(), rows.schema_ref()))
    }
}
