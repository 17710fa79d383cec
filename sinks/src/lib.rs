//! The outside world: Postgres for metadata, Qdrant (server or in process) for vectors, Parquet,
//! and a memo on disk.

pub mod contract;
mod edge;
mod embedded;
mod memo;
mod memory;
mod parquet;
mod payload;
mod postgres;
mod qdrant;
mod ranking;
mod retry;
mod upsert;
mod vectors;

pub use edge::EdgeStore;
pub use embedded::{EmbeddedError, EmbeddedPostgres};
pub use memo::DiskMemo;
pub use memory::{MemoryDocument, MemoryMetadata, MemoryVectors};
pub use postgres::{
    AppliedMigration, Collection, CollectionStatus, Collections, Comparison, Deed, DocumentStatus,
    DocumentStory, DocumentSummary, Documents, Ending, Forgotten, Generation, GenerationSettings,
    GenerationStatus, Generations, Integrity, KnownPlace, LOCAL_ACCOUNT, Missing, Moved,
    NewCollection, Operation, OperationStatus, OperationSummary, OperationType, Operations, Place,
    PoolState, Postgres, PostgresOptions, Prospect, Rates, RemovedSource, RunMetadata, Side,
    SourceSummary, Sources, Stillness, Story, Swapped, Turn,
};
#[doc(hidden)]
pub use postgres::{HOT_QUERIES, HotQuery};
pub use qdrant::QdrantStore;
pub use upsert::{UpsertOptions, purge, remove_strays};
pub use vectors::{Inventory, PointKey, Quantization, Vectors, VectorsConfig};

use pipeline::NodeDef;

/// The sinks that a pipeline file may use.
pub static NODES: &[NodeDef] = &[parquet::NODE, upsert::NODE];
