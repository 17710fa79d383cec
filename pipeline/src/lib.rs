//! The framework: batches, nodes, checks of a pipeline file, and runs.
//!
//! Data flows one way: [`PipelineSpec`] (content of the file) → [`Plan`] (checked) → [`run`] →
//! [`RunReport`] (result). This crate contains no concrete stage, store or model.

mod accounts;
mod byte_size;
mod causes;
mod channel;
pub mod column;
mod compile;
mod editor;
mod embedder;
mod filter;
mod finding;
mod hub_model;
mod index;
mod inlet;
mod inventory;
mod mask;
mod memo;
mod metrics;
mod node;
mod outcome;
mod outlet;
mod pattern;
mod plan;
pub mod private;
mod progress;
mod report;
mod retry;
mod run;
mod schedule;
mod schema;
mod secret;
mod spec;
mod store;
mod store_call;
#[cfg(feature = "test-util")]
pub mod test_util;
mod title;
pub mod uri;
mod validate;
mod vectors_config;
mod when;
mod window;
mod words;
mod yaml;

pub use accounts::chunks_and_tokens;
pub use byte_size::ByteSize;
pub use causes::{chain, io_words, origin, without_numbers};
pub use editor::file_schema;
pub use embedder::{
    Embedder, EmbedderOptions, EmbedderUsage, ModelInfo, Models, Reading, TextKind, Tokenizer,
    Tokens,
};
pub use filter::{Bounds, Filter, Keyword, Number, Text};
pub use finding::{Finding, Findings};
pub use hub_model::{HubModel, HubModelError, is_plain_name};
pub use index::{Effort, Facet, Fusion, Hit, IndexQuery, Legs, VectorIndex};
pub use inventory::{Inspected, Inventory, PointKey, Vectors};
pub use memo::{Memo, MemoKey};
pub use metrics::{Exposed, Exposition, Metrics, StoreMetrics, counters, gauges, histograms};
pub use node::{
    BoxError, Gather, Misfit, ModelUse, NodeDef, NodeKind, Parallel, Registry, Resources, Sink,
    SinkConfig, Source, SourceConfig, SourceTotals, SourceWarning, Stage, StageConfig, Verdict,
    options_schema, resolve_path,
};
pub use outcome::{ContentHash, DocError, FAILED, Location, Outcome, SetAside, Why};
pub use pattern::{
    MAX_ALTERNATIVES, MAX_BRACE_DEPTH, MAX_PATTERN_BYTES, MAX_PATTERNS, PatternError,
    check_pattern, check_patterns,
};
pub use plan::Plan;
pub use progress::{Feed, NodeState, Progress, Watch};
pub use report::{DocumentCounts, Known, NodeReport, RunReport, SetAsideReport};
pub use retry::{retrying, retrying_while};
pub use run::{RunError, RunOptions, run};
pub use schedule::{Due, Fate, Schedule, ScheduleFault};
pub use schema::{RowsExt, SchemaError, SchemaExt};
pub use secret::Secret;
pub use spec::{
    ChunkSpec, ChunksSpec, Event, ExpectSpec, GoldenSpec, InputSpec, LeastSpec, LifecycleSpec,
    Migrate, Missed, NodeSpec, NotifySpec, Overlap, PipelineFile, PipelineSpec, PostgresSpec,
    QdrantSpec, RetrySpec, RouteSpec, SampleSpec, ScheduleSpec, ScheduledOperation, Span,
    StoresSpec, TextSpec, VectorsSpec, WebhookSpec, Webhooks,
};
pub use store::{
    Fingerprint, Identity, Incoming, KnownHashes, KnownLocation, KnownState, MetadataStore,
    Payload, Place, Point, ReadOnly, Remedy, StoreError, StoredDocument, VectorStore, fact,
    point_id,
};
pub use store_call::{TARGET as STORE_CALLS, store_call};
pub use title::is_meaningful_title;
pub use vectors_config::{Quantization, VectorsConfig};
pub use words::{SparseVector, Words};
