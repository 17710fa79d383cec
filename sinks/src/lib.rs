//! What ends a pipeline: `upsert`, which writes to the metadata and to a vector store, and `parquet`.

mod parquet;
mod upsert;

use pipeline::NodeDef;

pub use upsert::{UpsertOptions, purge, remove_strays};

/// The sinks that a pipeline file may use.
pub static NODES: &[NodeDef] = &[parquet::NODE, upsert::NODE];
