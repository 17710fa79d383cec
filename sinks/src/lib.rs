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
mod retry;
mod upsert;
mod vectors;

pub use edge::EdgeStore;
pub use embedded::{EmbeddedError, EmbeddedPostgres};
pub use memo::DiskMemo;
pub use memory::{MemoryDocument, MemoryMetadata, MemoryVectors};
pub use postgres::{
    AppliedMigration, Change, Changes, Collection, CollectionStatus, Collections, Comparison, Deed,
    DocumentStatus, DocumentStory, DocumentSummary, Documents, DueRun, Ending, ExecutorSummary,
    Executors, Forgotten, Generation, GenerationSettings, GenerationStatus, Generations,
    HandedOver, Integrity, KnownPlace, LOCAL_ACCOUNT, Look, Meeting, Message, Messages, Missing,
    Moved, NewCollection, Operation, OperationStatus, OperationSummary, OperationType, Operations,
    Place, PoolState, Postgres, PostgresOptions, Prospect, Rates, RemovedSource, RunFate,
    RunMetadata, ScheduleKey, ScheduleRun, ScheduleSummary, Schedules, Side, SourceSummary,
    Sources, Stillness, Story, Swapped, Turn,
};
#[doc(hidden)]
pub use postgres::{HOT_QUERIES, HotQuery};
pub use qdrant::QdrantStore;
pub use upsert::{UpsertOptions, purge, remove_strays};
pub use vectors::{Inventory, PointKey, Quantization, Vectors, VectorsConfig};

use pipeline::NodeDef;

/// The sinks that a pipeline file may use.
pub static NODES: &[NodeDef] = &[parquet::NODE, upsert::NODE];
