//! Builds the columns of extracted documents.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, LargeStringBuilder, ListArray, ListBuilder, RecordBatch, StringBuilder,
    StructArray, UInt8Builder, UInt64Builder,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;
use pipeline::RowsExt as _;
use pipeline::column::{
    BYTES, LANGUAGE, METADATA, MIME_TYPE, OUTLINE, PAGES, TABLES, TEXT, TITLE, outline_fields,
    table_fields,
};

use crate::extract::document::Document;
use crate::extract::table::TableSpan;

/// Builders of the columns.
pub(crate) struct DocumentColumns {
    mime_types: StringBuilder,
    texts: LargeStringBuilder,
    titles: StringBuilder,
    languages: StringBuilder,
    metadata: StringBuilder,
    pages: ListBuilder<UInt64Builder>,
    headings: Vec<usize>,
    heading_at: UInt64Builder,
    heading_level: UInt8Builder,
    heading_title: StringBuilder,
    tables: Vec<usize>,
    /// Start, start of the body and end of each table.
    table_offsets: [UInt64Builder; 3],
}

impl Default for DocumentColumns {
    fn default() -> Self {
        let page = Field::new_list_field(DataType::UInt64, false);
        Self {
            mime_types: StringBuilder::new(),
            texts: LargeStringBuilder::new(),
            titles: StringBuilder::new(),
            languages: StringBuilder::new(),
            metadata: StringBuilder::new(),
            pages: ListBuilder::new(UInt64Builder::new()).with_field(page),
            headings: Vec::new(),
            heading_at: UInt64Builder::new(),
            heading_level: UInt8Builder::new(),
            heading_title: StringBuilder::new(),
            tables: Vec::new(),
            table_offsets: Default::default(),
        }
    }
}

impl DocumentColumns {
    /// Adds a document, with the media type of its content.
    pub(crate) fn add(&mut self, mime_type: &str, document: Document) {
        self.mime_types.append_value(mime_type);
        self.texts.append_value(document.text);
        self.titles.append_option(document.title);
        self.languages.append_option(document.language);
        let metadata = serde_json::Value::Object(document.metadata);
        self.metadata.append_value(metadata.to_string());
        self.pages.values().append_slice(&document.pages);
        self.pages.append(true);
        self.headings.push(document.outline.len());
        for heading in document.outline {
            self.heading_at.append_value(heading.at);
            self.heading_level.append_value(heading.level);
            self.heading_title.append_value(heading.title);
        }
        self.tables.push(document.tables.len());
        for TableSpan { start, body_start, end } in document.tables {
            for (column, offset) in self.table_offsets.iter_mut().zip([start, body_start, end]) {
                column.append_value(offset);
            }
        }
    }

    /// The rows with `keep` set, with text columns in place of bytes. `keep` has one entry per
    /// input row, and as many `true` as documents were added.
    pub(crate) fn finish(
        mut self,
        rows: &RecordBatch,
        keep: Vec<bool>,
    ) -> Result<RecordBatch, ArrowError> {
        // The bytes are dropped first, so that they are not copied.
        let kept = rows.clone().without_column(BYTES.name()).filter_rows(keep)?;
        let schema = kept.schema();
        let mut columns = kept.columns().to_vec();
        columns[schema.index_of(MIME_TYPE.name())?] = Arc::new(self.mime_types.finish());
        RecordBatch::try_new(schema, columns)?
            .with_column(&*TEXT, Arc::new(self.texts.finish()))?
            .with_column(&*TITLE, Arc::new(self.titles.finish()))?
            .with_column(&*LANGUAGE, Arc::new(self.languages.finish()))?
            .with_column(&*METADATA, Arc::new(self.metadata.finish()))?
            .with_column(&*PAGES, Arc::new(self.pages.finish()))?
            .with_column(&*OUTLINE, Arc::new(self.outline()?))?
            .with_column(&*TABLES, Arc::new(self.tables()?))
    }

    fn outline(&mut self) -> Result<ListArray, ArrowError> {
        let headings = StructArray::try_new(
            outline_fields(),
            vec![
                Arc::new(self.heading_at.finish()),
                Arc::new(self.heading_level.finish()),
                Arc::new(self.heading_title.finish()),
            ],
            None,
        )?;
        list(&self.headings, headings)
    }

    fn tables(&mut self) -> Result<ListArray, ArrowError> {
        let offsets = self.table_offsets.iter_mut();
        let offsets = offsets.map(|column| Arc::new(column.finish()) as ArrayRef).collect();
        list(&self.tables, StructArray::try_new(table_fields(), offsets, None)?)
    }
}

fn list(lengths: &[usize], items: StructArray) -> Result<ListArray, ArrowError> {
    let item = Arc::new(Field::new_list_field(items.data_type().clone(), false));
    let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
    ListArray::try_new(item, offsets, Arc::new(items), None)
}
