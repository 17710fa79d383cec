//! Runs one sample document through a pipeline as far as its model: with the real plan, nodes and
//! runtime, and with a source in memory. Uses no store and loads no model.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch, new_null_array};
use arrow::array::{LargeBinaryArray, StringArray, UInt64Array};
use arrow::datatypes::{SchemaRef, UInt32Type};
use async_trait::async_trait;
use pipeline::column::{
    BYTES, CHUNKS, LANGUAGE, METADATA, MIME_TYPE, SIZE, SOURCE, TEXT, TITLE, URI,
};
use pipeline::{
    BoxError, ChunkContents, Engine as _, InputSpec, LocalEngine, ModelInfo, ModelProvider,
    Outcome, PipelineSpec, Plan, RejectionReport, RerankerInfo, Resources, RunOptions, Sink,
    SinkConfig, Source, SourceConfig,
};
use serde_json::{Map, Value};

use crate::{composition, extract_worker};

/// Result of a sample document.
#[derive(Debug, Default)]
pub(crate) struct SampleOutcome {
    /// The document at the model, or at the sinks of a pipeline without a model.
    pub(crate) document: Option<SampleDocument>,
    /// The nodes that it reached.
    pub(crate) reached_nodes: BTreeSet<String>,
    /// Nodes that a sample does not run, because they follow a model.
    pub(crate) not_run: BTreeSet<String>,
    /// The rejection, if it was set aside.
    pub(crate) set_aside: Option<RejectionReport>,
}

/// Content of a processed document.
#[derive(Debug, Default)]
pub(crate) struct SampleDocument {
    /// `None` if no node extracts it.
    pub(crate) text: Option<String>,
    /// `title`, `language`, `mime_type`, and further fields found by extraction.
    pub(crate) metadata: Map<String, Value>,
    pub(crate) chunks: Vec<SampleChunk>,
}

#[derive(Debug, Default)]
pub(crate) struct SampleChunk {
    pub(crate) text: String,
    pub(crate) headings: Option<String>,
    pub(crate) page: Option<u32>,
    /// Number of tokens that the model reads, special tokens included.
    pub(crate) tokens: usize,
}

/// The models for any number of samples.
pub(crate) fn models() -> Arc<dyn ModelProvider> {
    Arc::new(LenientModels::default())
}

/// Runs a sample of a file.
pub(crate) async fn run(
    spec: &PipelineSpec,
    models: Arc<dyn ModelProvider>,
    input: &InputSpec,
) -> Result<SampleOutcome, BoxError> {
    let plan = Plan::compile(spec, &composition::registry(), models.as_ref())?;
    let all: Vec<String> = plan.graph().map(|(id, _, _)| id.to_owned()).collect();
    let is_source = |id: &str| plan.graph().any(|(it, _, inputs)| it == id && inputs.is_empty());
    let named = input.source.clone();
    let source = named.or_else(|| all.iter().find(|id| is_source(id)).cloned());
    let given = SampleInput::read(spec, input)?;
    let captured = CaptureSink::default();
    let plan = plan
        .with_sources(&|id, schema| {
            let given = (Some(id) == source.as_deref()).then(|| given.clone());
            Box::new(SampleSource { schema: Arc::clone(schema), input: given })
        })
        .truncate_at_models(&|| Box::new(captured.clone()));
    let run: BTreeSet<String> = plan.graph().map(|(id, _, _)| id.to_owned()).collect();
    let with = Resources {
        models,
        worker_program: plan.needs_worker().then(extract_worker::worker_program).flatten(),
        ..Resources::without_collection()
    };
    let options = RunOptions::new(&plan);
    let metrics = Arc::clone(&options.metrics);
    let report = LocalEngine.run(plan, &with, options).await?;
    let came_to = |id: &&String| {
        let node = metrics.node_state(id);
        node.rows_in > 0 || node.rows_out > 0
    };
    Ok(SampleOutcome {
        document: captured.document()?,
        reached_nodes: run.iter().filter(came_to).cloned().collect(),
        not_run: all.into_iter().filter(|id| !run.contains(id)).collect(),
        set_aside: report.set_aside.into_iter().next(),
    })
}

/// Describes a model that is not downloaded by the stand-in, which accepts any text. A sample does
/// not reach the model. The tokenizer is needed only if chunks are measured in tokens, and then
/// reports that it is missing.
#[derive(Default)]
struct LenientModels(embedding::EmbeddingEngine);

/// Name of the model that replaces one that is not downloaded.
const STAND_IN: &str = "stand-in:384";

impl ModelProvider for LenientModels {
    fn describe(&self, model: &Path) -> Result<ModelInfo, BoxError> {
        if embedding::is_available_locally(model) {
            return self.0.describe(model);
        }
        self.0.describe(Path::new(STAND_IN))
    }

    fn tokenizer(&self, model: &Path) -> Result<Arc<dyn pipeline::Tokenizer>, BoxError> {
        self.0.tokenizer(model)
    }

    fn embedder(
        &self,
        _: &Path,
        _: &pipeline::EmbedderOptions,
    ) -> Result<Arc<dyn pipeline::Embedder>, BoxError> {
        Err("a sample does not reach the model".into())
    }

    fn describe_reranker(&self, model: &Path) -> Result<RerankerInfo, BoxError> {
        if embedding::is_available_locally(model) {
            return self.0.describe_reranker(model);
        }
        let (path, short_name) = (model.to_owned(), "reranker".to_owned());
        Ok(RerankerInfo { path, short_name, max_tokens: 512, fingerprint: String::new() })
    }
}

/// The document as the source provides it.
#[derive(Clone)]
struct SampleInput {
    uri: String,
    source: String,
    bytes: Vec<u8>,
    mime_type: &'static str,
}

impl SampleInput {
    fn read(spec: &PipelineSpec, input: &InputSpec) -> Result<Self, BoxError> {
        let (bytes, path) = match (&input.text, &input.file) {
            (Some(text), _) => (text.clone().into_bytes(), None),
            (None, Some(file)) => (fs_err::read(spec.base.join(file))?, Some(spec.base.join(file))),
            (None, None) => return Err("the sample has neither `text` nor `file`".into()),
        };
        let named = input.name.as_ref().map(|name| spec.base.join(name));
        let path = named.or(path).ok_or("a sample of `text` needs a `name`")?;
        let mime_type = sources::mime::detect(&path, &bytes);
        let source = pipeline::uri::of_path(&spec.base);
        Ok(Self { uri: pipeline::uri::of_path(&path), source, bytes, mime_type })
    }

    /// One row with the columns that the source would provide.
    fn row(&self, schema: &SchemaRef) -> Result<RecordBatch, BoxError> {
        let column = |name: &str| -> Option<ArrayRef> {
            let text = |value: &str| Arc::new(StringArray::from(vec![value])) as ArrayRef;
            if name == URI.name() {
                return Some(text(&self.uri));
            }
            if name == SOURCE.name() {
                return Some(text(&self.source));
            }
            if name == MIME_TYPE.name() {
                return Some(text(self.mime_type));
            }
            if name == SIZE.name() {
                return Some(Arc::new(UInt64Array::from(vec![self.bytes.len() as u64])));
            }
            if name == BYTES.name() {
                return Some(Arc::new(LargeBinaryArray::from(vec![self.bytes.as_slice()])));
            }
            None
        };
        let columns = schema.fields().iter().map(|field| {
            column(field.name()).unwrap_or_else(|| new_null_array(field.data_type(), 1))
        });
        let columns = columns.collect();
        Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
    }
}

/// A source that provides the sample, or nothing.
struct SampleSource {
    schema: SchemaRef,
    input: Option<SampleInput>,
}

impl SourceConfig for SampleSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn build(&self, _: &Resources) -> Result<Box<dyn Source>, BoxError> {
        let rows = self.input.as_ref().map(|given| given.row(&self.schema)).transpose()?;
        Ok(Box::new(OneShot(rows)))
    }
}

struct OneShot(Option<RecordBatch>);

#[async_trait]
impl Source for OneShot {
    async fn next_batch(&mut self) -> Result<Option<Outcome>, BoxError> {
        Ok(self.0.take().map(Outcome::from))
    }

    fn exhausted_roots(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A sink that keeps its input. Clones share the storage.
#[derive(Clone, Default)]
struct CaptureSink(Arc<Mutex<Vec<RecordBatch>>>);

impl SinkConfig for CaptureSink {
    fn build(&self, _: &Resources) -> Result<Box<dyn Sink>, BoxError> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait]
impl Sink for CaptureSink {
    async fn write(&mut self, rows: RecordBatch) -> Result<(), BoxError> {
        pipeline::lock(&self.0).push(rows);
        Ok(())
    }
}

impl CaptureSink {
    /// The document, if one arrived. If several branches delivered one, the first that is chunked.
    fn document(&self) -> Result<Option<SampleDocument>, BoxError> {
        let kept = pipeline::lock(&self.0);
        let kept: Vec<&RecordBatch> = kept.iter().filter(|rows| rows.num_rows() > 0).collect();
        let chunked = kept.iter().find(|rows| CHUNKS.of(rows).is_ok());
        chunked.or(kept.first()).map(|rows| document(rows)).transpose()
    }
}

/// Reads the first row of a batch.
fn document(rows: &RecordBatch) -> Result<SampleDocument, BoxError> {
    let mut document = SampleDocument {
        text: TEXT.of(rows).ok().map(|texts| texts.value(0).to_owned()),
        ..SampleDocument::default()
    };
    let json = METADATA.of(rows).ok().map(|json| json.value(0));
    if let Some(Value::Object(metadata)) = json.and_then(|json| serde_json::from_str(json).ok()) {
        document.metadata = metadata;
    }
    for column in [&TITLE, &LANGUAGE, &MIME_TYPE] {
        let value = column.of(rows).ok().filter(|values| values.is_valid(0));
        if let Some(values) = value {
            document.metadata.insert(column.name().to_owned(), values.value(0).into());
        }
    }
    let (Ok(chunks), Some(text)) = (CHUNKS.of(rows), &document.text) else { return Ok(document) };
    let chunks = chunks.value(0);
    let fields = chunks.as_struct();
    let field = |name: &str| fields.column_by_name(name).ok_or("a chunk lacks a field");
    let (pages, headings, tokens) = (field("page")?, field("headings")?, field("tokens")?);
    let contents = ChunkContents::of(fields);
    let (pages, headings) = (pages.as_primitive::<UInt32Type>(), headings.as_string::<i32>());
    let tokens = tokens.as_list::<i32>();
    for at in 0..chunks.len() {
        let content = contents.content(text, at).ok_or("a chunk is outside its text")?;
        document.chunks.push(SampleChunk {
            text: content.into_owned(),
            headings: headings.is_valid(at).then(|| headings.value(at).to_owned()),
            page: pages.is_valid(at).then(|| pages.value(at)),
            tokens: tokens.value(at).len(),
        });
    }
    Ok(document)
}
