//! In-memory sources, stages and sinks, with which whole pipelines run in microseconds.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use arrow::array::*;
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use pipeline::column::*;
use pipeline::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Node types of these tests.
pub(crate) static NODES: &[NodeDef] = &[
    NodeDef {
        name: "memory",
        summary: "produces the documents in the file",
        version: 1,
        parallel: Parallel::Single,
        schema: options_schema::<Memory>,
        parse: |with, _| Ok(NodeKind::Source(Box::new(serde_json::from_value::<Memory>(with)?))),
    },
    NodeDef {
        name: "work",
        summary: "passes rows on, depending on their text",
        version: 1,
        parallel: Parallel::Any,
        schema: options_schema::<Work>,
        parse: |with, _| Ok(NodeKind::Stage(Box::new(serde_json::from_value::<Work>(with)?))),
    },
    NodeDef {
        name: "once",
        summary: "sets duplicates aside",
        version: 1,
        parallel: Parallel::Single,
        schema: options_schema::<Once>,
        parse: |with, _| Ok(NodeKind::Stage(Box::new(serde_json::from_value::<Once>(with)?))),
    },
    NodeDef {
        name: "one_by_one",
        summary: "produces a document when a sink has kept the previous one",
        version: 1,
        parallel: Parallel::Single,
        schema: options_schema::<OneByOne>,
        parse: |with, _| Ok(NodeKind::Source(Box::new(serde_json::from_value::<OneByOne>(with)?))),
    },
    NodeDef {
        name: "windows",
        summary: "passes rows on in adaptive batches",
        version: 1,
        parallel: Parallel::Single,
        schema: options_schema::<Windows>,
        parse: |with, _| Ok(NodeKind::Stage(Box::new(serde_json::from_value::<Windows>(with)?))),
    },
    NodeDef {
        name: "keep",
        summary: "keeps the URIs of its rows",
        version: 1,
        parallel: Parallel::Single,
        schema: options_schema::<Keep>,
        parse: |with, _| Ok(NodeKind::Sink(Box::new(serde_json::from_value::<Keep>(with)?))),
    },
];

/// A source of documents with the URIs `mem:0`, `mem:1`, ….
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Memory {
    /// Contents of the documents.
    #[serde(default)]
    pub(crate) docs: Vec<String>,
    /// Documents per batch.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub(crate) per_batch: usize,
}

fn one() -> usize {
    1
}

fn source_schema() -> SchemaRef {
    let own = [MIME_TYPE.field(), BYTES.field()];
    Arc::new(Schema::new([Location::fields().as_slice(), &own].concat()))
}

impl SourceConfig for Memory {
    fn schema(&self) -> SchemaRef {
        source_schema()
    }
    fn build(&self, _: &Resources) -> Result<Box<dyn Source>, BoxError> {
        let docs: Vec<_> = self.docs.iter().cloned().enumerate().collect();
        let batches: Vec<_> = docs.chunks(self.per_batch).map(<[_]>::to_vec).collect();
        Ok(Box::new(MemorySource(batches.into_iter())))
    }
}

struct MemorySource(std::vec::IntoIter<Vec<(usize, String)>>);

#[async_trait]
impl Source for MemorySource {
    async fn next(&mut self) -> Result<Option<Outcome>, BoxError> {
        tokio::task::yield_now().await;
        let Some(docs) = self.0.next() else { return Ok(None) };
        Ok(Some(rows_of(&docs)?.into()))
    }

    fn covered(&self) -> Vec<String> {
        vec!["mem:".to_owned()]
    }
}

fn rows_of(docs: &[(usize, String)]) -> Result<RecordBatch, BoxError> {
    if docs.iter().any(|(_, text)| text == "source panics") {
        panic!("the source is broken");
    }
    let n = docs.len();
    let mime = |text: &str| if text.starts_with("html") { "text/html" } else { "text/plain" };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(docs.iter().map(|(i, _)| format!("mem:{i}")))),
        Arc::new(StringArray::from(vec!["mem:"; n])),
        Arc::new(UInt64Array::from_iter_values(docs.iter().map(|(_, text)| text.len() as u64))),
        Arc::new(TimestampMicrosecondArray::from(vec![None; n]).with_timezone("UTC")),
        Arc::new(TimestampMicrosecondArray::from(vec![None; n]).with_timezone("UTC")),
        Arc::new(UInt64Array::from(vec![None; n])),
        Arc::new(StringArray::from_iter_values(docs.iter().map(|(_, text)| mime(text)))),
        Arc::new(LargeBinaryArray::from_iter_values(docs.iter().map(|(_, text)| text))),
    ];
    Ok(RecordBatch::try_new(source_schema(), columns)?)
}

/// A source that produces its next document when the sink of this name has kept all previous ones.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OneByOne {
    /// Name of the sink.
    pub(crate) name: String,
    /// Number of documents.
    pub(crate) count: usize,
}

impl SourceConfig for OneByOne {
    fn schema(&self) -> SchemaRef {
        source_schema()
    }
    fn build(&self, _: &Resources) -> Result<Box<dyn Source>, BoxError> {
        Ok(Box::new(OneByOneSource { options: self.clone(), given: 0 }))
    }
}

struct OneByOneSource {
    options: OneByOne,
    given: usize,
}

#[async_trait]
impl Source for OneByOneSource {
    async fn next(&mut self) -> Result<Option<Outcome>, BoxError> {
        let OneByOne { name, count } = &self.options;
        while KEPT.lock().unwrap().get(name).map_or(0, Vec::len) < self.given {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if self.given == *count {
            return Ok(None);
        }
        self.given += 1;
        Ok(Some(rows_of(&[(self.given - 1, "text".to_owned())])?.into()))
    }

    fn covered(&self) -> Vec<String> {
        vec!["mem:".to_owned()]
    }
}

/// A stage that passes batches on and records their sizes.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Windows {
    /// Key for [`windows`].
    pub(crate) name: String,
    /// Rows per batch.
    pub(crate) at_least: usize,
    /// Rows of the first batch, if batches adapt.
    pub(crate) first: Option<usize>,
    /// Longest wait for further rows, in milliseconds.
    pub(crate) hold: Option<u64>,
}

static WINDOWS: LazyLock<Mutex<HashMap<String, Vec<usize>>>> = LazyLock::new(Mutex::default);

/// Rows of the batches that a [`Windows`] of this name received.
pub(crate) fn windows(name: &str) -> Vec<usize> {
    WINDOWS.lock().unwrap().remove(name).unwrap_or_default()
}

impl StageConfig for Windows {
    fn output_schema(&self, input: &Schema) -> Result<SchemaRef, SchemaError> {
        Ok(Arc::new(input.clone()))
    }
    fn build(&self, _: &Resources) -> Result<Box<dyn Stage>, BoxError> {
        let name = self.name.clone();
        Ok(Box::new(move |rows: RecordBatch| {
            WINDOWS.lock().unwrap().entry(name.clone()).or_default().push(rows.num_rows());
            // Concurrent batches differ in speed.
            std::thread::sleep(Duration::from_micros(rows.num_rows() as u64 % 5 * 50));
            Ok(rows.into())
        }))
    }
    fn identity(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
    fn gather(&self) -> Option<Gather> {
        let (at_least, first) = (self.at_least, self.first);
        let hold = self.hold.map(Duration::from_millis);
        Some(Gather { at_least, weight: RecordBatch::num_rows, first, hold })
    }
}

/// A stage whose result depends on the text of its rows.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Work {
    /// Part of the identity, so that another value counts as other output.
    #[serde(default)]
    pub(crate) seed: u32,
}

impl StageConfig for Work {
    fn output_schema(&self, input: &Schema) -> Result<SchemaRef, SchemaError> {
        input.require(BYTES.field())?;
        Ok(Arc::new(input.clone()))
    }
    fn build(&self, _: &Resources) -> Result<Box<dyn Stage>, BoxError> {
        Ok(Box::new(|rows: RecordBatch| {
            let mut set_aside = Vec::new();
            let mut keep = Vec::new();
            for (row, bytes) in BYTES.of(&rows)?.iter().enumerate() {
                let bytes = bytes.unwrap_or_default();
                match bytes {
                    b"panic" => panic!("the stage is broken"),
                    b"error" => return Err("the stage has failed".into()),
                    _ => {}
                }
                // Workers of different speed must not change the order.
                std::thread::sleep(Duration::from_micros(bytes.len() as u64 % 7 * 30));
                keep.push(!bytes.starts_with(b"bad"));
                if bytes.starts_with(b"bad") {
                    let why = DocError::Corrupt { format: "test", cause: "it says so".into() };
                    set_aside.push(SetAside::row(&rows, row, why.into())?);
                }
            }
            let mut rows = rows.keeping(keep)?;
            if BYTES.of(&rows)?.iter().any(|bytes| bytes == Some(b"double")) {
                rows = arrow::compute::concat_batches(rows.schema_ref(), [&rows, &rows])?;
            }
            Ok(Outcome { rows, set_aside })
        }))
    }
    fn identity(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap()
    }
}

/// A stage with state.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Once {}

impl StageConfig for Once {
    fn output_schema(&self, input: &Schema) -> Result<SchemaRef, SchemaError> {
        input.require(BYTES.field())?;
        Ok(Arc::new(input.clone()))
    }
    fn build(&self, _: &Resources) -> Result<Box<dyn Stage>, BoxError> {
        let mut seen = HashSet::new();
        Ok(Box::new(move |rows: RecordBatch| {
            let mut set_aside = Vec::new();
            let mut keep = Vec::new();
            for (row, bytes) in BYTES.of(&rows)?.iter().enumerate() {
                let is_new = seen.insert(bytes.unwrap_or_default().to_vec());
                keep.push(is_new);
                if !is_new {
                    set_aside.push(SetAside::row(&rows, row, Why::Duplicate)?);
                }
            }
            Ok(Outcome { rows: rows.keeping(keep)?, set_aside })
        }))
    }
    fn identity(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
    fn gather(&self) -> Option<Gather> {
        Some(Gather { at_least: 3, weight: RecordBatch::num_rows, first: None, hold: None })
    }
}

/// A sink that keeps the URIs of its rows under a name.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Keep {
    /// Key for [`kept`].
    pub(crate) name: String,
    /// Duration of a write in milliseconds.
    #[serde(default)]
    pub(crate) pause: u64,
    /// `true` makes writes fail.
    #[serde(default)]
    pub(crate) fail: bool,
    /// `true` makes writes panic.
    #[serde(default)]
    pub(crate) panic: bool,
}

static KEPT: LazyLock<Mutex<HashMap<String, Vec<String>>>> = LazyLock::new(Mutex::default);

/// The URIs that a [`Keep`] of this name received, in order.
pub(crate) fn kept(name: &str) -> Vec<String> {
    KEPT.lock().unwrap().remove(name).unwrap_or_default()
}

/// A name that no other test uses.
pub(crate) fn fresh_name() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("keep{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

impl SinkConfig for Keep {
    fn accepts(&self, input: &Schema) -> Result<(), SchemaError> {
        input.require(URI.field())
    }
    fn collection_settings(&self) -> Option<serde_json::Value> {
        None
    }

    fn build(&self, _: &Resources) -> Result<Box<dyn Sink>, BoxError> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait]
impl Sink for Keep {
    async fn write(&mut self, rows: RecordBatch) -> Result<(), BoxError> {
        if self.fail {
            return Err("the disk is on fire".into());
        }
        assert!(!self.panic, "the sink is broken");
        tokio::time::sleep(Duration::from_millis(self.pause)).await;
        let uris = URI.of(&rows)?.iter().flatten().map(str::to_owned);
        KEPT.lock().unwrap().entry(self.name.clone()).or_default().extend(uris);
        Ok(())
    }
}

/// Stores without documents, which keep recorded rejections.
#[derive(Default)]
pub(crate) struct Stores {
    pub(crate) recorded: Mutex<Vec<(String, SetAside)>>,
    pub(crate) record_panics: bool,
}

#[async_trait]
impl MetadataStore for Stores {
    async fn locate(&self, uris: &[String]) -> Result<Vec<Option<KnownLocation>>, StoreError> {
        Ok(vec![None; uris.len()])
    }
    async fn known_hashes(&self) -> Result<KnownHashes, StoreError> {
        Ok(KnownHashes::new())
    }
    async fn identify(&self, _: &[Incoming]) -> Result<Vec<Identity>, StoreError> {
        unreachable!("these sinks do not call it")
    }
    async fn commit(&self, _: &[StoredDocument]) -> Result<Vec<Uuid>, StoreError> {
        unreachable!("these sinks do not call it")
    }
    async fn record(&self, set_aside: &[(String, SetAside)]) -> Result<Vec<Uuid>, StoreError> {
        assert!(!self.record_panics, "the store is broken");
        self.recorded.lock().unwrap().extend_from_slice(set_aside);
        Ok(Vec::new())
    }
    async fn purged(&self, _: &[Uuid]) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait]
impl VectorStore for Stores {
    async fn upsert(&self, _: Vec<Point>) -> Result<(), StoreError> {
        Ok(())
    }
    async fn relocate(&self, _: Uuid, _: &Place) -> Result<(), StoreError> {
        Ok(())
    }

    async fn truncate(&self, _: Uuid, _: u32) -> Result<(), StoreError> {
        Ok(())
    }
    async fn remove(&self, _: &[Uuid]) -> Result<(), StoreError> {
        Ok(())
    }
    async fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Models that always fail.
pub(crate) struct NoModels;

impl Models for NoModels {
    fn describe(&self, model: &Path) -> Result<ModelInfo, BoxError> {
        Err(format!("no model in {}", model.display()).into())
    }
    fn tokenizer(&self, model: &Path) -> Result<Arc<dyn Tokenizer>, BoxError> {
        Err(format!("no model in {}", model.display()).into())
    }
    fn embedder(&self, model: &Path, _: &EmbedderOptions) -> Result<Arc<dyn Embedder>, BoxError> {
        Err(format!("no model in {}", model.display()).into())
    }
}

pub(crate) fn resources(stores: &Arc<Stores>) -> Resources {
    Resources {
        collection: Uuid::nil(),
        models: Arc::new(NoModels),
        metadata: Arc::clone(stores) as Arc<dyn MetadataStore>,
        vectors: Arc::clone(stores) as Arc<dyn VectorStore>,
        known: Arc::new(KnownHashes::new()),
        extract_worker: None,
        memo: None,
    }
}

pub(crate) fn registry() -> Registry {
    Registry::new(&[NODES])
}

/// Compiles a file with these nodes; the only variable is `SET`.
pub(crate) fn compile(nodes: &str) -> Result<Plan, Findings> {
    let yaml = format!("version: 1\nname: test\ncollection: test\nnodes:\n{nodes}");
    compile_file(&yaml)
}

pub(crate) fn compile_file(yaml: &str) -> Result<Plan, Findings> {
    let env = |name: &str| (name == "SET").then(|| "value".to_owned());
    let spec = PipelineSpec::from_yaml(Path::new("test.yaml"), yaml, &env)?;
    Plan::compile(&spec, &registry(), &NoModels)
}
