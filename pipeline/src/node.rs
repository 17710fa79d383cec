//! The three kinds of node and the registry of node types.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use schemars::SchemaGenerator;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Cache, EmbedderOptions, Location, MetadataStore, ModelInfo, ModelProvider, Outcome,
    SchemaError, SinkFacts, StageFacts, VectorStore,
};

/// An error of any type, for code that only passes it on.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A running stage: a function from one batch to one outcome. It has no channel, thread, clock or
/// store.
///
/// An `Err` ends the run. A document that cannot be processed goes into [`Outcome::rejected`]
/// instead, and its row is left out.
///
/// A function of a batch is a stage. This one sets documents aside that have no bytes:
///
/// ```
/// use arrow::array::RecordBatch;
/// use pipeline::column::BYTES;
/// use pipeline::{BoxError, Outcome, RejectReason, Rejection, RowsExt as _, Stage};
/// # use pipeline::test_util::document_rows;
///
/// fn drop_empty(rows: RecordBatch) -> Result<Outcome, BoxError> {
///     let mut rejected = Vec::new();
///     let mut keep = Vec::with_capacity(rows.num_rows());
///     for (row, bytes) in BYTES.of(&rows)?.iter().enumerate() {
///         let is_empty = bytes.is_none_or(<[u8]>::is_empty);
///         keep.push(!is_empty);
///         if is_empty {
///             rejected.push(Rejection::from_row(&rows, row, RejectReason::Empty)?);
///         }
///     }
///     Ok(Outcome { rows: rows.filter_rows(keep)?, rejected })
/// }
///
/// let mut stage: Box<dyn Stage> = Box::new(drop_empty);
/// # let rows = document_rows(&[("a.txt", "text/plain", b"text"), ("b.txt", "text/plain", b"")]);
/// // The documents a.txt and b.txt, the second of which is empty.
/// let outcome = stage.process(rows)?;
/// assert_eq!(outcome.rows.num_rows(), 1);
/// assert!(outcome.rejected[0].location.uri.ends_with("/b.txt"));
/// # Ok::<_, BoxError>(())
/// ```
pub trait Stage: Send {
    /// Processes one batch, which has the schema that the plan gave the edge.
    ///
    /// # Errors
    /// If a later run might succeed or the stage cannot continue; the run ends with this error.
    fn process(&mut self, rows: RecordBatch) -> Result<Outcome, BoxError>;
}

impl<F> Stage for F
where
    F: FnMut(RecordBatch) -> Result<Outcome, BoxError> + Send,
{
    fn process(&mut self, rows: RecordBatch) -> Result<Outcome, BoxError> {
        self(rows)
    }
}

/// Parsed options of a stage. They derive its schema and build any number of stages.
///
/// ```
/// use std::sync::Arc;
///
/// use arrow::array::{RecordBatch, StringArray};
/// use arrow::datatypes::{Schema, SchemaRef};
/// use pipeline::column::{LANGUAGE, URI};
/// use pipeline::{
///     BoxError, Outcome, Resources, RowsExt as _, SchemaError, SchemaExt as _, Stage, StageConfig,
/// };
/// use serde_json::{Value, json};
///
/// /// Adds the column `language` with one value for all documents.
/// struct FixedLanguage {
///     code: String,
/// }
///
/// impl StageConfig for FixedLanguage {
///     fn output_schema(&self, input: &Schema) -> Result<SchemaRef, SchemaError> {
///         input.require(URI.field())?;
///         input.with_column(LANGUAGE.field())
///     }
///
///     fn build(&self, _: &Resources) -> Result<Box<dyn Stage>, BoxError> {
///         let code = self.code.clone();
///         Ok(Box::new(move |rows: RecordBatch| -> Result<Outcome, BoxError> {
///             let codes = StringArray::from(vec![&*code; rows.num_rows()]);
///             Ok(rows.with_column(&*LANGUAGE, Arc::new(codes))?.into())
///         }))
///     }
///
///     fn identity(&self) -> Value {
///         json!({ "code": self.code })
///     }
/// }
///
/// # use pipeline::test_util::{document_rows, no_resources as resources};
/// # let rows = document_rows(&[("a.txt", "text/plain", b"text")]);
/// let config = FixedLanguage { code: "de".to_owned() };
/// let schema = config.output_schema(rows.schema_ref())?;
/// let outcome = config.build(&resources())?.process(rows)?;
/// assert_eq!(outcome.rows.schema(), schema);
/// assert_eq!(LANGUAGE.of(&outcome.rows)?.value(0), "de");
/// # Ok::<_, BoxError>(())
/// ```
pub trait StageConfig: Send + Sync {
    /// The output columns for these input columns.
    ///
    /// # Errors
    /// If a required column is missing, or an added column already exists.
    fn output_schema(&self, input: &Schema) -> Result<SchemaRef, SchemaError>;

    /// Builds one stage; called once per worker.
    ///
    /// # Errors
    /// If a resource of the stage, such as a model, is unavailable.
    fn build(&self, with: &Resources) -> Result<Box<dyn Stage>, BoxError>;

    /// The options that affect the output of the stage, for its fingerprint. Options that only
    /// affect speed (devices, budgets) are left out.
    fn identity(&self) -> Value;

    /// Batch policy of the stage; `None` takes batches unchanged.
    fn batch_policy(&self) -> Option<BatchPolicy> {
        None
    }

    /// Facts for the code around the plan.
    fn facts(&self) -> StageFacts {
        StageFacts::default()
    }

    /// Use of an embedding model by the stage.
    fn model(&self) -> ModelUse<'_> {
        ModelUse::None
    }

    /// Gives the stage the description of the model that it runs or prepares text for; called
    /// before schemas are derived and stages are built.
    ///
    /// # Errors
    /// If an option conflicts with the model.
    fn bind_model(&mut self, _model: &ModelInfo) -> Result<(), IncompatibleOption> {
        Ok(())
    }
}

/// An option that conflicts with the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncompatibleOption {
    /// Name of the option.
    pub option: &'static str,
    /// Message for the finding.
    pub message: String,
}

/// Use of an embedding model by a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelUse<'a> {
    /// The stage uses no model.
    None,
    /// The stage runs this model.
    Runs {
        /// Folder of the model, or its name on the hub.
        model: &'a Path,
        /// Options with which the stage loads the model.
        options: EmbedderOptions,
    },
    /// The stage prepares text for the model of a later node, if there is one.
    FollowsDownstream,
    /// The stage prepares text for the model of a later node, which is required.
    RequiresDownstream,
}

/// Batch policy: the runtime combines batches until they reach this weight.
#[derive(Clone, Copy)]
pub struct BatchPolicy {
    /// Minimum weight of a batch. With [`BatchPolicy::initial_weight`], the maximum weight.
    pub target_weight: usize,
    /// Weight of a batch, in a unit of the node. The weights of the slices of a batch add up to its
    /// weight.
    pub weight: fn(&RecordBatch) -> usize,
    /// Weight of the first batch, for a stage with adaptive batches. Later batches should take
    /// about two seconds each: their weight follows the measured rate, from a quarter of this
    /// weight up to [`BatchPolicy::target_weight`]. Batches are split between rows to keep to the
    /// weight. Two batches are in progress concurrently, so that the device of the stage does not
    /// idle between them. `None` keeps the weight fixed and never splits batches.
    pub initial_weight: Option<usize>,
    /// Longest wait for further rows. `None` waits until the batch is full or the input has ended.
    pub max_wait: Option<Duration>,
}

/// A running source. The runtime polls it on its own thread, so it may block.
///
/// ```
/// use async_trait::async_trait;
/// use pipeline::test_util::document_rows;
/// use pipeline::{BoxError, Outcome, Source};
///
/// /// Produces one document per batch.
/// struct Texts(std::vec::IntoIter<&'static str>);
///
/// #[async_trait]
/// impl Source for Texts {
///     async fn next_batch(&mut self) -> Result<Option<Outcome>, BoxError> {
///         let Some(text) = self.0.next() else { return Ok(None) };
///         // The columns of the location, `mime_type` and `bytes`.
///         let rows = document_rows(&[(text, "text/plain", text.as_bytes())]);
///         Ok(Some(rows.into()))
///     }
///
///     fn exhausted_roots(&self) -> Vec<String> {
///         vec!["file:///corpus".to_owned()]
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let mut source = Texts(vec!["one", "two"].into_iter());
/// let mut documents = 0;
/// while let Some(outcome) = source.next_batch().await? {
///     documents += outcome.rows.num_rows();
/// }
/// assert_eq!(documents, 2);
/// // Stored documents of this root that were not produced are deleted.
/// assert_eq!(source.exhausted_roots(), ["file:///corpus"]);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Source: Send {
    /// The next batch; `None` at the end.
    ///
    /// # Errors
    /// If the source as a whole cannot be read. A single unreadable document is set aside instead.
    ///
    /// # Cancellation
    /// The runtime never drops the future; it stops calling the method.
    async fn next_batch(&mut self) -> Result<Option<Outcome>, BoxError>;

    /// Source roots ([`crate::column::SOURCE`]) of which all documents were produced; called
    /// after [`Source::next_batch`] returned `None`. Known documents of these roots that were not
    /// produced are gone.
    fn exhausted_roots(&self) -> Vec<String>;

    /// Totals for the report; called together with [`Source::exhausted_roots`].
    fn totals(&self) -> SourceTotals {
        SourceTotals::default()
    }
}

/// Totals of a source that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceTotals {
    /// Covered source roots without a document.
    pub empty_roots: Vec<String>,
    /// Number of files and folders that options excluded, by option; a folder counts once.
    pub excluded: BTreeMap<String, u64>,
}

/// Parsed options of a source.
pub trait SourceConfig: Send + Sync {
    /// The columns that the source produces.
    fn schema(&self) -> SchemaRef;

    /// Opens the source.
    ///
    /// # Errors
    /// If the source does not exist.
    fn build(&self, with: &Resources) -> Result<Box<dyn Source>, BoxError>;

    /// The source in two parts, for [`crate::Plan::cut`]; `None` if listing and reading are one
    /// step.
    fn split(&self) -> Option<SplitSource> {
        None
    }

    /// Decision of the source about a URI at this time; `None` if the source cannot decide.
    fn decide(&self, _uri: &str) -> Option<SourceDecision> {
        None
    }

    /// Source roots, as in [`crate::column::SOURCE`]; empty if the source does not know them.
    fn roots(&self) -> Vec<String> {
        Vec::new()
    }

    /// Conditions that would currently make a run fail or find no documents. It may read the source
    /// roots, so it may be slow.
    fn warnings(&self) -> Vec<SourceWarning> {
        Vec::new()
    }
}

/// A source in two parts, which together produce the rows of the source.
pub struct SplitSource {
    /// Lists the documents and detects changes; its rows have no content.
    pub listing: Box<dyn SourceConfig>,
    /// Maps rows of the listing to rows of the source. A document that cannot be read is set aside.
    pub reader: Box<dyn StageConfig>,
}

/// A warning about a source root, shown before a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceWarning {
    /// The option, as a path below `with`: `paths/0`.
    pub option: String,
    /// Message in one line.
    pub message: String,
    /// Suggested remedy.
    pub help: String,
}

/// Decision of a source about a URI ([`crate::column::URI`]).
#[derive(Clone, Debug, PartialEq)]
pub enum SourceDecision {
    /// The source produces the document, if it is new or changed.
    Included(Location),
    /// The source sets the document aside.
    Rejected(crate::Rejection),
    /// The URI is below a source root and excluded by options; one description per option.
    Excluded(Vec<String>),
    /// The URI is below a source root and does not exist.
    Missing,
    /// The URI is outside the source roots.
    OutsideSource,
}

/// A running sink. Writes are idempotent.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use arrow::array::RecordBatch;
/// use async_trait::async_trait;
/// use pipeline::column::{SIZE, URI};
/// use pipeline::{BoxError, Sink};
/// # use pipeline::test_util::document_rows;
///
/// /// Keeps the size of each document. A second write of a document replaces the first.
/// #[derive(Default)]
/// struct Sizes(BTreeMap<String, u64>);
///
/// #[async_trait]
/// impl Sink for Sizes {
///     async fn write(&mut self, rows: RecordBatch) -> Result<(), BoxError> {
///         let (uris, sizes) = (URI.of(&rows)?, SIZE.of(&rows)?);
///         for row in 0..rows.num_rows() {
///             self.0.insert(uris.value(row).to_owned(), sizes.value(row));
///         }
///         Ok(())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// # let rows = document_rows(&[("a.txt", "text/plain", b"text")]);
/// let mut sink = Sizes::default();
/// sink.write(rows.clone()).await?;
/// sink.write(rows).await?;
/// assert_eq!(sink.0.into_values().collect::<Vec<_>>(), [4]);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Sink: Send {
    /// Writes one batch. The rows are durable when the method returns.
    ///
    /// # Errors
    /// If the rows could not be written; the run ends with this error.
    async fn write(&mut self, rows: RecordBatch) -> Result<(), BoxError>;
}

/// Parsed options of a sink.
pub trait SinkConfig: Send + Sync {
    /// Checks the input columns.
    ///
    /// # Errors
    /// If a required column is missing.
    fn accepts(&self, input: &Schema) -> Result<(), SchemaError>;

    /// Facts for the code around the plan.
    fn facts(&self) -> SinkFacts;

    /// Opens the sink.
    ///
    /// # Errors
    /// If the target of the sink is unavailable.
    fn build(&self, with: &Resources) -> Result<Box<dyn Sink>, BoxError>;

    /// Batch policy of the sink; `None` takes batches unchanged.
    fn batch_policy(&self) -> Option<BatchPolicy> {
        None
    }
}

/// Resources that nodes receive when they are built.
#[derive(Clone)]
pub struct Resources {
    /// Id of the collection.
    pub collection: uuid::Uuid,
    /// Embedding models.
    pub models: Arc<dyn ModelProvider>,
    /// Metadata store of the collection.
    pub metadata: Arc<dyn MetadataStore>,
    /// Vector store of the collection.
    pub vectors: Arc<dyn VectorStore>,
    /// Content hashes that are stored with the current settings, loaded before the run.
    pub known_hashes: Arc<crate::KnownHashes>,
    /// Program that a stage can start as its child process; the stage chooses the arguments. With
    /// `None`, the stage works in this process.
    pub worker_program: Option<PathBuf>,
    /// Cache of earlier results; `None` computes everything.
    pub cache: Option<Arc<dyn Cache>>,
}

/// A node with its parsed options.
pub enum NodeKind {
    /// Produces batches of documents.
    Source(Box<dyn SourceConfig>),
    /// Maps one batch to one batch.
    Stage(Box<dyn StageConfig>),
    /// Writes batches and has no output.
    Sink(Box<dyn SinkConfig>),
}

/// Limit on the workers of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parallelism {
    /// Any number of workers: the node keeps no state between batches.
    Any,
    /// One worker: the node keeps state between batches or uses an exclusive resource.
    Single,
}

/// A node type in the registry.
///
/// ```
/// use pipeline::{NodeDef, NodeKind, Parallelism, Registry, options_schema};
/// use schemars::JsonSchema;
/// use serde::{Deserialize, Serialize};
/// # use std::sync::Arc;
/// # use arrow::datatypes::{Schema, SchemaRef};
/// # use pipeline::{BoxError, Resources, SchemaError, Stage, StageConfig};
///
/// /// Options of `limit`.
/// #[derive(Serialize, Deserialize, JsonSchema)]
/// #[serde(deny_unknown_fields)]
/// struct LimitOptions {
///     /// Maximum number of documents.
///     #[schemars(range(min = 1))]
///     documents: u64,
/// }
/// # impl StageConfig for LimitOptions {
/// #     fn output_schema(&self, input: &Schema) -> Result<SchemaRef, SchemaError> {
/// #         Ok(Arc::new(input.clone()))
/// #     }
/// #     fn build(&self, _: &Resources) -> Result<Box<dyn Stage>, BoxError> {
/// #         Err("not built in this example".into())
/// #     }
/// #     fn identity(&self) -> serde_json::Value {
/// #         serde_json::to_value(self).unwrap()
/// #     }
/// # }
///
/// static NODES: &[NodeDef] = &[NodeDef {
///     name: "limit",
///     summary: "Passes the first documents on",
///     version: 1,
///     parallelism: Parallelism::Single,
///     schema: options_schema::<LimitOptions>,
///     parse: |with, _| {
///         let options: LimitOptions = serde_json::from_value(with)?;
///         Ok(NodeKind::Stage(Box::new(options)))
///     },
/// }];
///
/// let registry = Registry::new(&[NODES]);
/// let limit = registry.get("limit").unwrap();
/// let options = serde_json::json!({ "documents": 10 });
/// assert!(matches!((limit.parse)(options, "/etc/semantik".as_ref())?, NodeKind::Stage(_)));
/// assert!((limit.parse)(serde_json::json!({ "document": 10 }), "/".as_ref()).is_err());
/// # Ok::<_, serde_json::Error>(())
/// ```
pub struct NodeDef {
    /// Name of the type in `uses:`.
    pub name: &'static str,
    /// Description in one sentence, without a full stop.
    pub summary: &'static str,
    /// Incremented when the same options and input give another output than before.
    pub version: u32,
    /// Limit on the workers of the node.
    pub parallelism: Parallelism,
    /// JSON Schema of the options ([`options_schema`] of the options struct).
    pub schema: fn(&mut SchemaGenerator) -> schemars::Schema,
    /// Parses the options, which are valid against the schema; relative paths in them are relative
    /// to the folder.
    pub parse: fn(Value, &Path) -> Result<NodeKind, serde_json::Error>,
}

/// JSON Schema of an options struct, for [`NodeDef::schema`].
pub fn options_schema<T: schemars::JsonSchema>(
    generator: &mut SchemaGenerator,
) -> schemars::Schema {
    generator.subschema_for::<T>()
}

/// All node types that a pipeline file may use.
///
/// ```
/// use pipeline::{NodeDef, NodeKind, Parallelism, Registry};
/// # use serde::de::Error as _;
/// # const fn def(name: &'static str) -> NodeDef {
/// #     NodeDef {
/// #         name,
/// #         summary: "does nothing",
/// #         version: 1,
/// #         parallelism: Parallelism::Any,
/// #         schema: pipeline::options_schema::<()>,
/// #         parse: |_, _| Err(serde_json::Error::custom("not parsed in this example")),
/// #     }
/// # }
/// static SOURCES: &[NodeDef] = &[def("scan")];
/// static STAGES: &[NodeDef] = &[def("hash"), def("chunk")];
///
/// let registry = Registry::new(&[SOURCES, STAGES]);
/// let names: Vec<&str> = registry.iter().map(|def| def.name).collect();
/// assert_eq!(names, ["chunk", "hash", "scan"]);
/// assert!(registry.get("embed").is_none());
/// ```
pub struct Registry(Vec<&'static NodeDef>);

impl Registry {
    /// Merges the tables of several crates, sorted by name. A program outside this workspace adds
    /// its own: `Registry::new(&[sources::NODES, stages::NODES, sinks::NODES, NODES])`.
    pub fn new(tables: &[&'static [NodeDef]]) -> Self {
        let mut defs: Vec<_> = tables.iter().copied().flatten().collect();
        defs.sort_by_key(|def| def.name);
        Self(defs)
    }

    /// The node type of this name; `None` if it is unknown.
    pub fn get(&self, name: &str) -> Option<&'static NodeDef> {
        self.0.iter().copied().find(|def| def.name == name)
    }

    /// All node types, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &'static NodeDef> + '_ {
        self.0.iter().copied()
    }
}

/// Resolves a path option: a relative path is relative to the folder of the pipeline file.
///
/// ```
/// use std::path::Path;
///
/// use pipeline::resolve_path;
///
/// let base = Path::new("/etc/semantik");
/// assert_eq!(resolve_path(base, Path::new("./out")), Path::new("/etc/semantik/out"));
/// assert_eq!(resolve_path(base, Path::new("/srv/out")), Path::new("/srv/out"));
/// ```
pub fn resolve_path(base: &Path, path: &Path) -> PathBuf {
    let joined = base.join(path);
    // Removes `.` components and keeps `..`.
    joined.components().collect()
}
