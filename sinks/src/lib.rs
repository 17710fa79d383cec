//! The outside world: Postgres for metadata, Qdrant (server or in process) for vectors, Parquet,
//! and a memo on disk.

mod call;
pub mod contract;
mod edge;
mod embedded;
mod memo;
mod memory;
mod parquet;
mod payload;
mod postgres;
pub mod private;
mod qdrant;
mod ranking;
mod retry;
mod upsert;
mod vectors;

pub use call::TARGET as CALLS;
pub use edge::{DamagedFile, EdgeStore, FileFault, is_of_damage};
pub use embedded::{EmbeddedError, EmbeddedPostgres};
pub use memo::DiskMemo;
pub use memory::{MemoryDocument, MemoryMetadata, MemoryVectors};
pub use postgres::OPERATIONS;
pub use postgres::{
    ApiKey, AppliedMigration, Asked, Audit, AuditEntry, Before, By, Change, Changes, Collection,
    CollectionChange, CollectionStanding, CollectionStatus, Collections, Comparison, Deed,
    DeletedCollection, DocumentList, DocumentSelection, DocumentSort, DocumentStatus,
    DocumentStory, Documents, Downgrade, DueRun, Ending, ExecutorSummary, Executors, Forgotten,
    Generation, GenerationSettings, GenerationStatus, Generations, Grant, Grantee, Grants,
    HandedOver, Integrity, KeyUse, Keys, KnownPlace, LOCAL_ACCOUNT, Lifetime, Limits,
    ListedDocument, Look, Meeting, Message, Messages, Missing, Moved, NewCollection, NewKey,
    NewToken, NewUser, Operation, OperationStatus, OperationSummary, OperationType, Operations,
    PastOperation, Place, PlaceSetAside, PoolState, Postgres, PostgresOptions, Prospect, Rates,
    Reader, RemovedSource, ResourceLimits, Rotation, RunFate, RunMetadata, ScheduleKey,
    ScheduleRun, ScheduleStanding, ScheduleSummary, Schedules, Schema, Seen, Sessions,
    SetAsideCount, Side, SigningKey, SourceSummary, Sources, Standing, Stillness, Story, Swapped,
    Turn, Usage, User, UserChange, Users,
};
#[doc(hidden)]
pub use postgres::{HOT_QUERIES, HotQuery, ListQuery, Reads, SESSION, document_list_queries};
pub use qdrant::QdrantStore;
pub use upsert::{UpsertOptions, purge, remove_strays};
pub use vectors::{Inspected, Inventory, PointKey, Quantization, Vectors, VectorsConfig};

use pipeline::NodeDef;

/// The sinks that a pipeline file may use.
pub static NODES: &[NodeDef] = &[parquet::NODE, upsert::NODE];
