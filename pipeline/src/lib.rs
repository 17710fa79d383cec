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

pub use accounts::chunk_and_token_counts;
pub use byte_size::ByteSize;
pub use causes::{error_chain, io_error_text, strip_os_error_code, url_origin};
pub use editor::file_schema;
pub use embedder::{
    Embedder, EmbedderOptions, EmbedderUsage, EncodedInput, ModelInfo, ModelProvider, TextKind,
    TokenizedText, Tokenizer,
};
pub use filter::{Filter, KeywordField, NumericField, NumericRange, TextField};
pub use finding::{Finding, Findings};
pub use hub_model::{HubModel, HubModelError, is_plain_name};
pub use index::{Facet, Fusion, Hit, IndexQuery, QueryVectors, SearchAccuracy, VectorIndex};
pub use inventory::{InspectedPoint, Inventory, PointKey, Vectors};
pub use memo::{Cache, CacheKey};
pub use metrics::{
    ExportedRun, Metrics, MetricsExporter, StoreMetrics, register_counters, register_gauges,
    register_histograms,
};
pub use node::{
    BatchPolicy, BoxError, IncompatibleOption, ModelUse, NodeDef, NodeKind, Parallelism, Registry,
    Resources, Sink, SinkConfig, Source, SourceConfig, SourceDecision, SourceTotals, SourceWarning,
    Stage, StageConfig, options_schema, resolve_path,
};
pub use outcome::{
    ContentHash, DocumentError, FAILED_REASON, Location, Outcome, RejectReason, Rejection,
};
pub use pattern::{
    MAX_ALTERNATIVES, MAX_BRACE_DEPTH, MAX_PATTERN_BYTES, MAX_PATTERNS, PatternError,
    check_pattern, check_patterns,
};
pub use plan::Plan;
pub use progress::{NodeState, Progress, ProgressSampler, RejectionLog};
pub use report::{DocumentCounts, EarlierRejection, NodeReport, RejectionReport, RunReport};
pub use retry::{retrying, retrying_while};
pub use run::{RunError, RunOptions, run};
pub use schedule::{Occurrence, OccurrenceStatus, Schedule, ScheduleError};
pub use schema::{RowsExt, SchemaError, SchemaExt};
pub use secret::Secret;
pub use spec::{
    ChunkSpec, ChunksSpec, ExpectSpec, GoldenSpec, HumanDuration, InputSpec, LifecycleSpec,
    Migrate, MinScoresSpec, MissedRunPolicy, NodeSpec, NotifyEvent, NotifySpec, Overlap,
    PipelineFile, PipelineSpec, PostgresSpec, QdrantSpec, RetrySpec, RouteSpec, SampleSpec,
    ScheduleSpec, ScheduledOperation, StoresSpec, TextSpec, VectorsSpec, WebhookSpec, Webhooks,
};
pub use store::{
    DocumentIdentity, DocumentLocation, Fingerprint, IncomingDocument, KnownHashes, KnownLocation,
    KnownState, MetadataStore, Payload, Point, ReadOnly, Remedy, StoreError, StoredDocument,
    VectorStore, format_fact, point_id,
};
pub use store_call::{TARGET as STORE_CALLS, store_call};
pub use title::is_meaningful_title;
pub use vectors_config::{Quantization, VectorsConfig};
pub use words::{SparseEncoder, SparseVector};
