//! The three kinds of node, and the table that names them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use schemars::SchemaGenerator;
use serde_json::Value;

use crate::{Location, Memo, MetadataStore, ModelInfo, Models, Outcome, SchemaError, VectorStore};

/// An error of any kind, for places that only pass it on.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A live stage: one batch in, one outcome out. It has no channel, thread, clock or store.
///
/// An `Err` ends the run; a document that cannot be processed goes into [`Outcome::set_aside`]
/// instead, and its row is left out.
pub trait Stage: Send {
    /// Processes one batch, which has the schema that the plan gave the edge.
    ///
    /// # Errors
    /// If running again might succeed, or if nothing can go on: the run ends with this cause.
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

/// What the file says about one stage: pure data that knows its schema and can be built many times.
pub trait StageConfig: Send + Sync {
    /// The columns that the stage gives, from those that it gets.
    ///
    /// # Errors
    /// If a column that it reads is missing, or one that it adds is there.
    fn output_schema(&self, input: &Schema) -> Result<SchemaRef, SchemaError>;

    /// Makes one live stage; called once for each worker.
    ///
    /// # Errors
    /// If something that the stage needs (a model, say) cannot be had.
    fn build(&self, with: &Resources) -> Result<Box<dyn Stage>, BoxError>;

    /// The options on which the stage's output depends, for its fingerprint. Options that only make
    /// it faster (devices, budgets) stay out.
    fn identity(&self) -> Value;

    /// How much input the stage wants at once; `None` takes batches as they come.
    fn gather(&self) -> Option<Gather> {
        None
    }

    /// How the stage is tied to an embedding model.
    fn model(&self) -> ModelUse<'_> {
        ModelUse::None
    }

    /// Tells the stage what is known of the model it names or follows; called before everything else.
    ///
    /// # Errors
    /// If the options do not go with the model.
    fn bind(&mut self, _model: &ModelInfo) -> Result<(), Misfit> {
        Ok(())
    }
}

/// An option that does not go with the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The option.
    pub option: &'static str,
    /// Why, in words.
    pub message: String,
}

/// How a stage is tied to an embedding model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelUse<'a> {
    /// Not at all.
    None,
    /// It runs the model in this folder.
    Names {
        /// The folder.
        model: &'a Path,
        /// Length of the vectors, if they are to be shorter than the model has them.
        dim: Option<usize>,
    },
    /// It prepares text for the model of a node behind it, if there is one.
    Follows,
    /// It prepares text for the model of a node behind it, and there must be one.
    Needs,
}

/// A request to the runtime: put batches together until they weigh this much.
#[derive(Clone, Copy)]
pub struct Gather {
    /// Weight at which the node starts. With [`Gather::first`], the largest weight of a batch.
    pub at_least: usize,
    /// Weight of one batch, in the node's own unit. The weights of the slices of a batch add up to its own.
    pub weight: fn(&RecordBatch) -> usize,
    /// Weight of the first batch, for a stage whose batches are to take about two seconds each: later ones are as
    /// large as the measured rate allows, from a quarter of this weight up to [`Gather::at_least`]. Batches are split
    /// between rows to keep to it. Two of them are in work at a time, so that the device of the stage does not wait
    /// between them. `None` keeps the weight fixed and takes batches whole.
    pub first: Option<usize>,
    /// The longest that rows wait for others. `None` waits until the batch is full or the input has ended.
    pub hold: Option<Duration>,
}

/// Where documents come from. The runtime pulls it on a thread of its own, so it may block.
#[async_trait]
pub trait Source: Send {
    /// The next batch, or `None` at the end.
    ///
    /// # Errors
    /// If the source as a whole cannot be read; one document that cannot be is set aside.
    ///
    /// # Cancellation
    /// The runtime does not drop the future; it stops asking.
    async fn next(&mut self) -> Result<Option<Outcome>, BoxError>;

    /// Asked once [`Source::next`] has given `None`: the places ([`crate::column::SOURCE`]) whose every
    /// document was given. What the collection knows of them and was not given is gone.
    fn covered(&self) -> Vec<String>;

    /// Asked with [`Source::covered`]: what the report says of the source.
    fn totals(&self) -> SourceTotals {
        SourceTotals::default()
    }
}

/// What a source says of itself when it has given everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceTotals {
    /// The covered places in which there was no document.
    pub empty: Vec<String>,
    /// How many files and folders its options left out, by the option; a folder counts once.
    pub left_out: BTreeMap<String, u64>,
}

/// What the file says about one source.
pub trait SourceConfig: Send + Sync {
    /// The columns that the source gives.
    fn schema(&self) -> SchemaRef;

    /// Opens the source.
    ///
    /// # Errors
    /// If it is not there.
    fn build(&self, with: &Resources) -> Result<Box<dyn Source>, BoxError>;

    /// What the source would make of a place, looked at now; `None` from a source that cannot say.
    fn verdict(&self, _uri: &str) -> Option<Verdict> {
        None
    }

    /// The places that it reads, as they stand in [`crate::column::SOURCE`]; none from a source that cannot say.
    fn places(&self) -> Vec<String> {
        Vec::new()
    }

    /// What would make a run fail, or find nothing, as it is now. It may look at the places, so it takes time.
    fn warnings(&self) -> Vec<SourceWarning> {
        Vec::new()
    }
}

/// Something about the places of a source that a person should know before a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceWarning {
    /// The option concerned, as a path below `with`: `paths/0`.
    pub option: String,
    /// What it is, in one line.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

/// What a source would make of a place ([`crate::column::URI`]).
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It gives it, if it is new or changed.
    Given(Location),
    /// It sets it aside.
    SetAside(crate::SetAside),
    /// It lies in what the source reads, and options leave it out: each with what it is, in words.
    LeftOut(Vec<String>),
    /// It lies in what the source reads, and is not there.
    NotThere,
    /// It lies elsewhere.
    Elsewhere,
}

/// Where rows end. Writing the same rows twice has the effect of writing them once.
#[async_trait]
pub trait Sink: Send {
    /// Writes one batch. When it returns, the rows survive a crash.
    ///
    /// # Errors
    /// If the rows could not be written; the run ends with this cause.
    async fn write(&mut self, rows: RecordBatch) -> Result<(), BoxError>;
}

/// What the file says about one sink.
pub trait SinkConfig: Send + Sync {
    /// Checks that the sink can take these columns.
    ///
    /// # Errors
    /// If a column that it reads is missing.
    fn accepts(&self, input: &Schema) -> Result<(), SchemaError>;

    /// The options that hold for the pipeline's collection as a whole, as a JSON object; `None` if the sink writes no
    /// vectors into the collection. All sinks of a pipeline that write into it must agree on them, and on the model.
    fn collection_settings(&self) -> Option<Value>;

    /// Opens the sink.
    ///
    /// # Errors
    /// If what it writes to cannot be had.
    fn build(&self, with: &Resources) -> Result<Box<dyn Sink>, BoxError>;

    /// How much input the sink wants at once; `None` takes batches as they come.
    fn gather(&self) -> Option<Gather> {
        None
    }
}

/// What nodes may need from outside, given to them when they are built.
#[derive(Clone)]
pub struct Resources {
    /// Id of the collection.
    pub collection: uuid::Uuid,
    /// The embedding models.
    pub models: Arc<dyn Models>,
    /// What is known of the collection's documents.
    pub metadata: Arc<dyn MetadataStore>,
    /// The collection's vectors.
    pub vectors: Arc<dyn VectorStore>,
    /// Contents that are stored already as these settings would store them, loaded before the run.
    pub known: Arc<crate::KnownHashes>,
    /// The program that extracts documents in a process of its own, given the argument `extract-worker`;
    /// `None` extracts in this process, without limits of time and memory.
    pub extract_worker: Option<PathBuf>,
    /// What was computed before; `None` computes everything.
    pub memo: Option<Arc<dyn Memo>>,
}

/// A node as its options make it.
pub enum NodeKind {
    /// Gives documents.
    Source(Box<dyn SourceConfig>),
    /// Turns one batch into another.
    Stage(Box<dyn StageConfig>),
    /// Takes documents for good.
    Sink(Box<dyn SinkConfig>),
}

/// May several workers run the node at once?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parallel {
    /// Yes: it keeps nothing from one batch to the next.
    Any,
    /// No: it keeps state, or there is but one of what it uses.
    Single,
}

/// One line of the registry.
pub struct NodeDef {
    /// The word for it in `uses:`.
    pub name: &'static str,
    /// What it does, in one sentence without a full stop.
    pub summary: &'static str,
    /// Raised by one whenever the same options and input give another output than before.
    pub version: u32,
    /// May several workers run it at once?
    pub parallel: Parallel,
    /// JSON Schema of its options ([`options_schema`] of the options struct).
    pub schema: fn(&mut SchemaGenerator) -> schemars::Schema,
    /// Reads its options, which were found valid by the schema; relative paths in them are relative to
    /// the folder.
    pub parse: fn(Value, &Path) -> Result<NodeKind, serde_json::Error>,
}

/// JSON Schema of an options struct, for [`NodeDef::schema`].
pub fn options_schema<T: schemars::JsonSchema>(
    generator: &mut SchemaGenerator,
) -> schemars::Schema {
    generator.subschema_for::<T>()
}

/// Every node that a file may use.
pub struct Registry(Vec<&'static NodeDef>);

impl Registry {
    /// Puts the tables of several crates together, in order of name.
    pub fn new(tables: &[&'static [NodeDef]]) -> Self {
        let mut defs: Vec<_> = tables.iter().copied().flatten().collect();
        defs.sort_by_key(|def| def.name);
        Self(defs)
    }

    /// The node of this name.
    pub fn get(&self, name: &str) -> Option<&'static NodeDef> {
        self.0.iter().copied().find(|def| def.name == name)
    }

    /// Every node, in order of name.
    pub fn iter(&self) -> impl Iterator<Item = &'static NodeDef> + '_ {
        self.0.iter().copied()
    }
}

/// The folder of a path option: absolute as it is, else below the pipeline file's folder.
pub fn resolve_path(base: &Path, path: &Path) -> PathBuf {
    let joined = base.join(path);
    // `./a/../b` and the like stay as they are; only `.` steps go.
    joined.components().collect()
}
