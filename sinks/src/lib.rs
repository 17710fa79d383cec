//! Sinks: `upsert`, which writes to the metadata store and a vector store, and `parquet`.

mod parquet;
#[cfg(feature = "test-util")]
pub mod test_util;
mod upsert;

use pipeline::NodeDef;

pub use upsert::{purge, remove_orphaned_points};

/// The sinks that pipeline files can use.
///
/// ```
/// use std::path::Path;
///
/// use arrow::datatypes::Schema;
/// use pipeline::NodeKind;
/// use pipeline::column::URI;
/// use serde_json::json;
///
/// let parquet = sinks::NODES.iter().find(|def| def.name == "parquet").unwrap();
/// let options = json!({ "path": "out", "compression": "snappy" });
/// let NodeKind::Sink(sink) = (parquet.parse)(options, Path::new("/srv"))? else { unreachable!() };
/// let error = sink.accepts(&Schema::new(vec![URI.field()])).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "needs the column `content_hash`, but its input has only: uri"
/// );
/// # Ok::<_, serde_json::Error>(())
/// ```
pub static NODES: &[NodeDef] = &[parquet::NODE, upsert::NODE];
