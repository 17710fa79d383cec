//! The framework: batches, nodes, checks of a pipeline file, and runs.
//!
//! Data flows one way: [`PipelineSpec`] (content of the file) → [`Plan`] (checked) →
//! [`Engine::run`] → [`RunReport`] (result). This crate contains no concrete stage, store or model.

mod batch_sizer;
mod bm25f;
mod box_error;
mod byte_size;
mod cache;
mod channel;
mod chunk_contents;
mod chunk_counts;
pub mod column;
mod compile;
mod document_tracker;
mod editor;
mod embedder;
mod engine;
mod error_text;
mod facts;
mod filter;
mod finding;
mod hex;
mod hub_model;
mod index;
mod inventory;
pub mod ipc;
mod lifecycle;
mod lock;
mod metrics;
mod no_stores;
mod node;
mod node_input;
mod node_output;
mod node_state;
mod operation_request;
mod outcome;
mod panic_text;
mod pattern;
mod plan;
pub mod private_files;
mod progress;
mod progress_sampler;
mod redact;
mod rejection_log;
mod report;
mod reranker;
mod retry;
mod run;
mod schedule;
mod schema;
mod secret;
mod sparse;
mod spec;
mod split_mix;
mod store;
mod store_call;
#[cfg(feature = "test-util")]
pub mod test_util;
mod title;
pub mod uri;
mod validate;
mod vectors_config;
mod vocabulary;
mod when;
mod yaml;
mod yaml_edit;

pub use bm25f::{Bm25fParameters, FieldEncoder, FieldParameters, TermFrequencies};
pub use box_error::BoxError;
pub use byte_size::ByteSize;
pub use cache::{Cache, CacheKey};
pub use chunk_contents::{ChunkContents, repeated_header_len};
pub use chunk_counts::chunk_and_token_counts;
pub use editor::file_schema;
pub use embedder::{
    Embedder, EmbedderOptions, EmbedderUsage, EncodedInput, ModelInfo, ModelProvider, TextKind,
    TokenizedText, Tokenizer,
};
pub use engine::{Engine, LocalEngine, RunError, RunOptions};
pub use error_text::{error_chain, io_error_text, strip_os_error_code, url_origin};
pub use facts::{Chunking, CollectionFacts, SinkFacts, StageFacts};
pub use filter::{Filter, KeywordField, NumericField, NumericRange, TextField};
pub use finding::{Finding, Findings};
pub use hub_model::{HubModel, HubModelError, is_plain_name};
pub use index::{
    Facet, Hit, IndexQuery, QueryVectors, RankedChunk, SearchAccuracy, VectorIndex, cosine,
    term_rarity,
};
pub use inventory::{InspectedPoint, Inventory, PointKey, Vectors};
pub use lifecycle::{ForgottenBatch, Lifecycle, MissingDocuments, Relocation};
pub use lock::lock;
pub use metrics::exporter::{ExportedRun, MetricsExporter};
pub use metrics::{Metrics, StoreMetrics, register_counters, register_gauges, register_histograms};
pub use no_stores::NoModels;
pub use node::{
    BatchPolicy, IncompatibleOption, ModelUse, NodeDef, NodeKind, Parallelism, Registry, Resources,
    Sink, SinkConfig, Source, SourceConfig, SourceDecision, SourceTotals, SourceWarning,
    SplitSource, Stage, StageConfig, options_schema, resolve_path,
};
pub use node_state::NodeState;
pub use operation_request::{OperationRequest, RunRequest};
pub use outcome::{
    ContentHash, DocumentError, FAILED_REASON, Location, Outcome, RejectReason, Rejection,
};
pub use panic_text::panic_message;
pub use pattern::{
    MAX_ALTERNATIVES, MAX_BRACE_DEPTH, MAX_PATTERN_BYTES, MAX_PATTERNS, PatternError,
    check_pattern, check_patterns,
};
pub use plan::{Plan, PlanHead, PlanTail};
pub use progress::Progress;
pub use progress_sampler::ProgressSampler;
pub use rejection_log::RejectionLog;
pub use report::{DocumentCounts, EarlierRejection, NodeReport, RejectionReport, RunReport};
pub use reranker::{Reranker, RerankerInfo, RerankerOptions};
pub use retry::{retrying, retrying_while};
pub use schedule::{Occurrence, OccurrenceStatus, Schedule, ScheduleError};
pub use schema::{RowsExt, SchemaError, SchemaExt};
pub use secret::Secret;
pub use sparse::{
    HEADING_SEPARATOR, Passage, PassageField, QueryTerm, QueryTermKind, SparseEncoder,
    SparseVector, TermMatch, TermPosition,
};
pub use spec::{
    ChunkSpec, ChunksSpec, DocumentsSpec, EngineSpec, ExpectSpec, FreshnessField, FreshnessSpec,
    FusionSpec, GoldenSpec, HumanDuration, InputSpec, LifecycleSpec, Migrate, MinScoresSpec,
    MissedRunPolicy, NodeSpec, NotifyEvent, NotifySpec, Overlap, PipelineFile, PipelineSpec,
    PostgresSpec, ProximitySpec, QdrantSpec, RerankSpec, RetrySpec, RouteSpec, SampleSpec,
    ScheduleSpec, ScheduledOperation, SearchSpec, StoresSpec, TextSpec, VectorsSpec, WebhookSpec,
    Webhooks,
};
pub use split_mix::SplitMix64;
pub use store::{
    DocumentIdentity, DocumentLocation, Fingerprint, IncomingDocument, KnownHashes, KnownLocation,
    KnownState, MetadataStore, Payload, Point, ReadOnly, Remedy, StoreError, StoredDocument,
    VectorStore, format_fact, point_id,
};
pub use store_call::{STORE_CALL, STORE_CALLS, STORE_RETRY, store_call};
pub use title::is_meaningful_title;
pub use vectors_config::{Quantization, VectorLayout, VectorsConfig};
pub use vocabulary::{MAX_WORD_BYTES, MemoryVocabulary, Vocabulary, is_vocabulary_word};
pub use yaml_edit::{YamlEditError, set_in_yaml, value_in_yaml};

/// The code of `docs/extending.md`.
#[cfg(doctest)]
#[doc = include_str!("../../docs/extending.md")]
struct Extending;
