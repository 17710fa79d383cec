//! The port to what executes plans, and the engine of this process.
//!
//! An engine is a value of the program around the pipeline. It receives a compiled plan and the
//! resources of its nodes. An engine that works elsewhere sends the spec, and the documents as
//! Arrow IPC ([`crate::ipc`]): the part behind [`Plan::cut`] is compiled there from the same spec,
//! and an equal [`Plan::fingerprint`] proves that it makes the same rows.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::rejection_log::RejectionLog;
use crate::{BoxError, Plan, Resources, RunReport, StoreError};

/// Executes compiled plans.
#[async_trait]
pub trait Engine: Send + Sync {
    /// Runs a plan to its end.
    ///
    /// # Errors
    /// The first error of a node, of the metadata store or of the document accounts.
    ///
    /// # Cancellation
    /// Cancel `options.stop` instead of dropping the future, so that batches in flight are stored.
    /// Cancel `options.abort` if that takes too long.
    async fn run(
        &self,
        plan: Plan,
        resources: &Resources,
        options: RunOptions,
    ) -> Result<RunReport, RunError>;
}

/// Runs every node in this process, on the current Tokio runtime with several threads.
///
/// ```
/// use std::path::Path;
///
/// use pipeline::{
///     BoxError, Engine as _, LocalEngine, NoModels, PipelineSpec, Plan, Registry, Resources,
///     RunOptions,
/// };
/// # mod program {
/// #     use std::sync::Arc;
/// #     use arrow::array::RecordBatch;
/// #     use arrow::datatypes::SchemaRef;
/// #     use pipeline::test_util::document_rows;
/// #     use pipeline::*;
/// #     #[derive(Clone, serde::Deserialize, schemars::JsonSchema)]
/// #     pub struct None {}
/// #     pub static NODES: &[NodeDef] = &[
/// #         NodeDef {
/// #             name: "two_texts",
/// #             summary: "produces two documents",
/// #             version: 1,
/// #             parallelism: Parallelism::Single,
/// #             schema: options_schema::<None>,
/// #             parse: |_, _| Ok(NodeKind::Source(Box::new(None {}))),
/// #         },
/// #         NodeDef {
/// #             name: "discard",
/// #             summary: "drops its rows",
/// #             version: 1,
/// #             parallelism: Parallelism::Single,
/// #             schema: options_schema::<None>,
/// #             parse: |_, _| Ok(NodeKind::Sink(Box::new(None {}))),
/// #         },
/// #     ];
/// #     fn rows() -> RecordBatch {
/// #         document_rows(&[("a", "text/plain", b"one"), ("b", "text/plain", b"two")])
/// #     }
/// #     impl SourceConfig for None {
/// #         fn schema(&self) -> SchemaRef {
/// #             rows().schema()
/// #         }
/// #         fn build(&self, _: &Resources) -> Result<Box<dyn Source>, BoxError> {
/// #             Ok(Box::new(Once(Some(rows()))))
/// #         }
/// #     }
/// #     struct Once(Option<RecordBatch>);
/// #     #[async_trait::async_trait]
/// #     impl Source for Once {
/// #         async fn next_batch(&mut self) -> Result<Option<Outcome>, BoxError> {
/// #             Ok(self.0.take().map(Outcome::from))
/// #         }
/// #         fn exhausted_roots(&self) -> Vec<String> {
/// #             vec!["file:///corpus".to_owned()]
/// #         }
/// #     }
/// #     impl SinkConfig for None {
/// #         fn build(&self, _: &Resources) -> Result<Box<dyn Sink>, BoxError> {
/// #             Ok(Box::new(self.clone()))
/// #         }
/// #     }
/// #     #[async_trait::async_trait]
/// #     impl Sink for None {
/// #         async fn write(&mut self, _: RecordBatch) -> Result<(), BoxError> {
/// #             Ok(())
/// #         }
/// #     }
/// # }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), BoxError> {
/// // The node types of this program: a source `two_texts` and a sink `discard`.
/// let registry = Registry::new(&[program::NODES]);
/// let yaml = "
/// version: 1
/// name: minimal
/// collection: minimal
/// nodes:
///   - { id: texts, uses: two_texts }
///   - { id: end, uses: discard, from: texts }
/// ";
/// let spec = PipelineSpec::from_yaml(Path::new("minimal.yaml"), yaml, &|_| None)?;
/// let plan = Plan::compile(&spec, &registry, &NoModels)?;
/// assert!(plan.to_string().ends_with("end (discard) ← texts\n"));
///
/// let options = RunOptions::new(&plan);
/// let report = LocalEngine.run(plan, &Resources::without_collection(), options).await?;
/// assert_eq!((report.documents.seen, report.documents.stored), (2, 2));
/// assert_eq!(report.exhausted_roots, ["file:///corpus"]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalEngine;

#[async_trait]
impl Engine for LocalEngine {
    async fn run(
        &self,
        plan: Plan,
        resources: &Resources,
        options: RunOptions,
    ) -> Result<RunReport, RunError> {
        crate::run::run(plan, resources, options).await
    }
}

/// Cancellation, metrics and rejection log of a run.
pub struct RunOptions {
    /// Stops the sources when cancelled; batches in flight are still processed and stored.
    pub stop: CancellationToken,
    /// Cuts the run short when cancelled after `stop`. Output of the model is stored, batches in
    /// the model get 5 seconds to finish, and all batches before it are left for the next run.
    pub abort: CancellationToken,
    /// Counters of the run; progress displays read them.
    pub metrics: Arc<Metrics>,
    /// The documents that the run set aside last.
    pub rejections: RejectionLog,
}

impl RunOptions {
    /// Options of a run to the end, with new metrics.
    pub fn new(plan: &Plan) -> Self {
        Self {
            stop: CancellationToken::new(),
            abort: CancellationToken::new(),
            metrics: Arc::new(Metrics::new(plan.name())),
            rejections: RejectionLog::default(),
        }
    }
}

/// An error that ended a run. Documents stored before it stay stored, and the next run continues
/// from there.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A node could not be built; no node has started.
    #[error("node `{node}` could not be started")]
    Build {
        /// Id of the node.
        node: Arc<str>,
        /// The cause.
        source: BoxError,
    },
    /// A node returned an error.
    #[error("node `{node}` failed")]
    Node {
        /// Id of the node.
        node: Arc<str>,
        /// The cause.
        source: BoxError,
    },
    /// A node returned rows that do not match its declared schema: a bug of the node.
    #[error("node `{node}` returned rows that do not match its declared schema")]
    Schema {
        /// Id of the node.
        node: Arc<str>,
    },
    /// A node panicked: a bug of the node.
    #[error("node `{node}` panicked: {message}")]
    Panic {
        /// Id of the node.
        node: Arc<str>,
        /// The panic message.
        message: String,
    },
    /// The metadata store could not record rejections.
    #[error("documents that were set aside could not be recorded")]
    RecordRejections(#[from] StoreError),
    /// A node returned a document more than once: a bug of the node.
    #[error("a node returned the document {uri} more than once")]
    DuplicateDocument {
        /// URI of the document.
        uri: String,
    },
    /// A node dropped documents without a rejection: a bug of the node.
    #[error("{count} documents were lost between nodes, among them {first}")]
    LostDocuments {
        /// Number of lost documents.
        count: usize,
        /// URI of one of them.
        first: String,
    },
}
