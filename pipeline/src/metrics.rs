//! All metrics of a run with their names and labels. The runtime counts; stages do not.
//!
//! Progress displays and the report of a run read the same counters, so no number is kept twice.
//! Names follow <https://prometheus.io/docs/practices/naming/>. Label values come from pipeline
//! files and from constants in the code, so their number is bounded; no label is a document, a path
//! or a message.

mod embedding;
pub(crate) mod exporter;
mod node;
mod register;
mod stores;

use std::collections::BTreeMap;
use std::sync::Arc;

use prometheus::core::Collector as _;
use prometheus::{IntCounter, IntCounterVec, Registry};

use self::embedding::EmbeddingMetrics;
pub(crate) use self::node::NodeMetrics;
use self::node::NodeVecs;
use self::register::text;
pub use self::register::{register_counters, register_gauges, register_histograms};
pub use self::stores::StoreMetrics;
use crate::EmbedderUsage;
use crate::node_state::NodeState;

/// Metrics of one run.
pub struct Metrics {
    registry: Registry,
    pipeline: String,
    node: NodeVecs,
    embedding: EmbeddingMetrics,
    seen: IntCounter,
    documents: IntCounterVec,
    chunks: IntCounter,
    tokens: IntCounter,
}

impl Metrics {
    /// Metrics of one run of a pipeline, all at zero.
    pub fn new(pipeline: &str) -> Self {
        let registry = Registry::new();
        let of_pipeline = |name, help| {
            register_counters(&registry, name, help, &["pipeline"]).with_label_values(&[pipeline])
        };
        Self {
            node: NodeVecs::new(&registry),
            embedding: EmbeddingMetrics::new(&registry),
            seen: of_pipeline("semantik_documents_seen_total", "Documents produced by sources"),
            documents: register_counters(
                &registry,
                "semantik_documents_total",
                "Documents that left the pipeline, by outcome: stored or a reason",
                &["pipeline", "outcome"],
            ),
            chunks: of_pipeline("semantik_chunks_total", "Chunks of stored documents"),
            tokens: of_pipeline("semantik_tokens_total", "Tokens of stored chunks"),
            pipeline: pipeline.to_owned(),
            registry,
        }
    }

    /// The registry of the run, for exposition.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The metrics in the text format of Prometheus.
    pub fn encode_text(&self) -> String {
        text(&self.registry.gather())
    }

    /// Number of documents that have left the pipeline so far, by outcome: `stored` or a reason.
    pub fn outcomes(&self) -> BTreeMap<String, u64> {
        let families = self.documents.collect();
        let metrics = families.iter().flat_map(|family| family.get_metric());
        metrics
            .filter_map(|metric| {
                let outcome = metric.get_label().iter().find(|label| label.name() == "outcome")?;
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a count"
                )]
                let count = metric.get_counter().get_value() as u64;
                Some((outcome.value().to_owned(), count))
            })
            .collect()
    }

    /// Number of documents that sources have produced so far.
    pub fn documents_seen(&self) -> u64 {
        self.seen.get()
    }

    /// Chunks of the documents stored so far.
    pub fn chunks(&self) -> u64 {
        self.chunks.get()
    }

    /// Tokens of the documents stored so far.
    pub fn tokens(&self) -> u64 {
        self.tokens.get()
    }

    /// Updates the metrics of a model, given its short name and its usage so far.
    pub fn record_embedding(&self, model: &str, usage: EmbedderUsage) {
        self.embedding.update(&self.pipeline, model, usage);
    }

    /// Counters of a node so far.
    pub fn node_state(&self, id: &str) -> NodeState {
        self.node_metrics(id).state()
    }

    pub(crate) fn add_seen(&self, documents: u64) {
        self.seen.inc_by(documents);
    }

    pub(crate) fn count_outcome(&self, outcome: &str) {
        self.documents.with_label_values(&[self.pipeline.as_str(), outcome]).inc();
    }

    pub(crate) fn add_stored(&self, chunks: u64, tokens: u64) {
        self.count_outcome("stored");
        self.chunks.inc_by(chunks);
        self.tokens.inc_by(tokens);
    }

    pub(crate) fn node_metrics(&self, node: &str) -> Arc<NodeMetrics> {
        Arc::new(self.node.for_node(&self.pipeline, node))
    }
}
