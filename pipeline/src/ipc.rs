//! Batches as Arrow IPC streams, the form in which they leave this process.
//!
//! ```
//! use std::sync::Arc;
//!
//! use arrow::array::{RecordBatch, StringArray};
//! use pipeline::ipc;
//!
//! let uris = StringArray::from(vec!["file:///a", "file:///b"]);
//! let rows = RecordBatch::try_from_iter([("uri", Arc::new(uris) as _)])?;
//! assert_eq!(ipc::decode(&ipc::encode(&rows)?)?, rows);
//! # Ok::<(), arrow::error::ArrowError>(())
//! ```

use std::fmt;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::Error as _;
use serde::{Deserializer, Serializer};

/// A batch as an Arrow IPC stream: its schema and its rows. Of a slice, only its rows are written.
///
/// # Errors
/// If a column has a type that the format lacks; the columns of [`crate::column`] have none.
pub fn encode(rows: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut writer = StreamWriter::try_new(Vec::new(), rows.schema_ref())?;
    writer.write(rows)?;
    writer.into_inner()
}

/// The batch of a stream from [`encode`].
///
/// # Errors
/// If the bytes are not such a stream, or not of exactly one batch.
pub fn decode(stream: &[u8]) -> Result<RecordBatch, ArrowError> {
    let mut batches = StreamReader::try_new(stream, None)?;
    match (batches.next().transpose()?, batches.next().transpose()?) {
        (Some(rows), None) => Ok(rows),
        _ => Err(ArrowError::IpcError("expected a stream of one batch".to_owned())),
    }
}

/// For `#[serde(with = "crate::ipc")]`.
pub(crate) fn serialize<S: Serializer>(rows: &RecordBatch, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_bytes(&encode(rows).map_err(S::Error::custom)?)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<RecordBatch, D::Error> {
    let stream = from.deserialize_byte_buf(StreamVisitor)?;
    decode(&stream).map_err(D::Error::custom)
}

/// Reads bytes, which text formats such as JSON write as a list of numbers.
struct StreamVisitor;

impl<'de> Visitor<'de> for StreamVisitor {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an Arrow IPC stream")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    fn visit_byte_buf<E: serde::de::Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(bytes)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<u8>, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = items.next_element()? {
            bytes.push(byte);
        }
        Ok(bytes)
    }
}
