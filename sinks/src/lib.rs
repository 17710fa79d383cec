//! Sinks: `upsert`, which writes to the metadata store and a vector store, and `parquet`.

mod parquet;
#[cfg(feature = "test-util")]
pub mod test_util;
mod upsert;

use pipeline::NodeDef;

pub use upsert::{UpsertOptions, purge, remove_orphaned_points};

/// The sinks that pipeline files can use.
pub static NODES: &[NodeDef] = &[parquet::NODE, upsert::NODE];
