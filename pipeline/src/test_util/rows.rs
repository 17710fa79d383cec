//! Batches as sources produce them, and payloads as stores keep them.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, LargeBinaryArray, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::Schema;

use uuid::Uuid;

use crate::column::{BYTES, MIME_TYPE};
use crate::{Location, Payload};

/// One row per document, given as its name below `/corpus`, its media type and its content, with
/// the columns of [`Location`], `mime_type` and `bytes`. Times and inodes are null.
pub fn document_rows(documents: &[(&str, &str, &[u8])]) -> RecordBatch {
    let count = documents.len();
    let own = [MIME_TYPE.field(), BYTES.field()];
    let schema = Schema::new([Location::fields().as_slice(), &own].concat());
    let times =
        || Arc::new(TimestampMicrosecondArray::from(vec![None; count]).with_timezone("UTC"));
    let uris = documents.iter().map(|(name, ..)| format!("file:///corpus/{name}"));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(uris)),
        Arc::new(StringArray::from(vec!["file:///corpus"; count])),
        Arc::new(UInt64Array::from_iter_values(documents.iter().map(|it| it.2.len() as u64))),
        times(),
        times(),
        Arc::new(UInt64Array::from(vec![None; count])),
        Arc::new(StringArray::from_iter_values(documents.iter().map(|it| it.1))),
        Arc::new(LargeBinaryArray::from_iter_values(documents.iter().map(|it| it.2))),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

/// The only chunk of the plain text document `/corpus/NAME` with this content, whose id derives
/// from the name. Optional fields are `None`.
pub fn payload(name: &str, content: &str) -> Payload {
    let collection = Uuid::nil();
    Payload {
        collection,
        document: Uuid::new_v5(&collection, name.as_bytes()),
        chunk_index: 0,
        content: content.to_owned(),
        uri: format!("file:///corpus/{name}"),
        source: "file:///corpus".to_owned(),
        mime_type: "text/plain".to_owned(),
        title: None,
        language: None,
        headings: None,
        page: None,
        start: 0,
        end: content.len() as u64,
        modified_at: None,
        facts: Vec::new(),
    }
}
