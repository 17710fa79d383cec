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
        parallelism: Parallelism::Single,
        schema: options_schema::<InMemoryOptions>,
        parse: |with, _| {
            Ok(NodeKind::Source(Box::new(serde_json::from_value::<InMemoryOptions>(with)?)))
        },
    },
    NodeDef {
        name: "work",
        summary: "passes rows on, depending on their text",
        version: 1,
        parallelism: Parallelism::Any,
        schema: options_schema::<ScriptedStage>,
        parse: |with, _| {
            Ok(NodeKind::Stage(Box::new(serde_json::from_value::<ScriptedStage>(with)?)))
        },
    },
    NodeDef {
        name: "once",
        summary: "sets duplicates aside",
        version: 1,
        parallelism: Parallelism::Single,
        schema: options_schema::<StatefulStage>,
        parse: |with, _| {
            Ok(NodeKind::Stage(Box::new(serde_json::from_value::<StatefulStage>(with)?)))
        },
    },
    NodeDef {
        name: "one_by_one",
        summary: "produces a document when a sink has kept the previous one",
        version: 1,
        parallelism: Parallelism::Single,
        schema: options_schema::<OneByOne>,
        parse: |with, _| Ok(NodeKind::Source(Box::new(serde_json::from_value::<OneByOne>(with)?))),
    },
    NodeDef {
        name: "windows",
        summary: "passes rows on in adaptive batches",
        version: 1,
        parallelism: Parallelism::Single,
        schema: options_schema::<BatchRecorder>,
        parse: |with, _| {
            Ok(NodeKind::Stage(Box::new(serde_json::from_value::<BatchRecorder>(with)?)))
        },
    },
    NodeDef {
        name: "keep",
        summary: "keeps the URIs of its rows",
        version: 1,
        parallelism: Parallelism::Single,
        schema: options_schema::<CollectingSink>,
        parse: |with, _| {
            Ok(NodeKind::Sink(Box::new(serde_json::from_value::<CollectingSink>(with)?)))
        },
    },
];

/// A source of documents with the URIs `mem:0`, `mem:1`, ….
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InMemoryOptions {
    /// Contents of the documents.
    #[serde(default)]
    pub(crate) docs: Vec<String>,
    /// Documents per batch.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub(crate) per_batch: usize,
    /// Number of the first document in its URI.
    #[serde(default)]
    pub(crate) first: usize,
    /// `true` lets listing and reading run apart.
    #[serde(default)]
    pub(crate) can_split: bool,
}

fn one() -> usize {
    1
}

fn source_schema() -> SchemaRef {
    let own = [MIME_TYPE.field(), BYTES.field()];
    Arc::new(Schema::new([Location::fields().as_slice(), &own].concat()))
}

impl SourceConfig for InMemoryOptions {
    fn schema(&self) -> SchemaRef {
        source_schema()
    }
    fn build(&self, _: &Resources) -> Result<Box<dyn Source>, BoxError> {
        Ok(Box::new(InMemorySource(self.batches())))
    }
    fn split(&self) -> Option<SplitSource> {
        self.can_split.then(|| SplitSource {
            listing: Box::new(InMemoryListing(self.clone())),
            reader: Box::new(InMemoryReader(self.clone())),
        })
    }
}

impl InMemoryOptions {
    fn batches(&self) -> std::vec::IntoIter<Vec<(usize, String)>> {
        let docs: Vec<_> = (self.first..).zip(self.docs.iter().cloned()).collect();
        let batches: Vec<_> = docs.chunks(self.per_batch).map(<[_]>::to_vec).collect();
        batches.into_iter()
    }
}

/// The listing of an [`InMemoryOptions`]: its rows without their content.
struct InMemoryListing(InMemoryOptions);

impl SourceConfig for InMemoryListing {
    fn schema(&self) -> SchemaRef {
        source_schema().without_column(BYTES.name())
    }
    fn build(&self, _: &Resources) -> Result<Box<dyn Source>, BoxError> {
        Ok(Box::new(InMemoryLister(InMemorySource(self.0.batches()))))
    }
}

struct InMemoryLister(InMemorySource);

#[async_trait]
impl Source for InMemoryLister {
    async fn next_batch(&mut self) -> Result<Option<Outcome>, BoxError> {
        let found = self.0.next_batch().await?;
        Ok(found.map(|found| Outcome { rows: found.rows.without_column(BYTES.name()), ..found }))
    }
    fn exhausted_roots(&self) -> Vec<String> {
        self.0.exhausted_roots()
    }
}

/// The reader of an [`InMemoryOptions`].
struct InMemoryReader(InMemoryOptions);

impl StageConfig for InMemoryReader {
    fn output_schema(&self, input: &Schema) -> Result<SchemaRef, SchemaError> {
        input.with_column(BYTES.field())
    }
    fn build(&self, _: &Resources) -> Result<Box<dyn Stage>, BoxError> {
        let InMemoryOptions { docs, first, .. } = self.0.clone();
        Ok(Box::new(move |rows: RecordBatch| {
            let index = |uri: &str| uri.strip_prefix("mem:").unwrap().parse::<usize>().unwrap();
            let uris = URI.of(&rows)?.iter().flatten();
            let bytes =
                LargeBinaryArray::from_iter_values(uris.map(|uri| &docs[index(uri) - first]));
            Ok(rows.with_column(&*BYTES, Arc::new(bytes))?.into())
        }))
    }
    fn identity(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
}

struct InMemorySource(std::vec::IntoIter<Vec<(usize, String)>>);

#[async_trait]
impl Source for InMemorySource {
    async fn next_batch(&mut self) -> Result<Option<Outcome>, BoxError> {
        tokio::task::yield_now().await;
        let Some(docs) = self.0.next() else { return Ok(None) };
        Ok(Some(rows_of(&docs)?.into()))
    }

    fn exhausted_roots(&self) -> Vec<String> {
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
    async fn next_batch(&mut self) -> Result<Option<Outcome>, BoxError> {
        let OneByOne { name, count } = &self.options;
        while COLLECTED.lock().unwrap().get(name).map_or(0, Vec::len) < self.given {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if self.given == *count {
            return Ok(None);
        }
        self.given += 1;
        Ok(Some(rows_of(&[(self.given - 1, "text".to_owned())])?.into()))
    }

    fn exhausted_roots(&self) -> Vec<String> {
        vec!["mem:".to_owned()]
    }
}

/// A stage that passes batches on and records their sizes.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BatchRecorder {
    /// Key for [`recorded_batches`].
    pub(crate) name: String,
    /// Rows per batch.
    pub(crate) at_least: usize,
    /// Rows of the first batch, if batches adapt.
    pub(crate) first: Option<usize>,
    /// Longest wait for further rows, in milliseconds.
    pub(crate) hold: Option<u64>,
    /// Rows with which the stage starts if no further ones are in its queue.
    pub(crate) idle: Option<usize>,
}

static RECORDED_BATCHES: LazyLock<Mutex<HashMap<String, Vec<usize>>>> =
    LazyLock::new(Mutex::default);

/// Rows of the batches that a [`BatchRecorder`] of this name received.
pub(crate) fn recorded_batches(name: &str) -> Vec<usize> {
    RECORDED_BATCHES.lock().unwrap().remove(name).unwrap_or_default()
}

impl StageConfig for BatchRecorder {
    fn output_schema(&self, input: &Schema) -> Result<SchemaRef, SchemaError> {
        Ok(Arc::new(input.clone()))
    }
    fn build(&self, _: &Resources) -> Result<Box<dyn Stage>, BoxError> {
        let name = self.name.clone();
        Ok(Box::new(move |rows: RecordBatch| {
            RECORDED_BATCHES.lock().unwrap().entry(name.clone()).or_default().push(rows.num_rows());
            // Concurrent batches differ in speed.
            std::thread::sleep(Duration::from_micros(rows.num_rows() as u64 % 5 * 50));
            Ok(rows.into())
        }))
    }
    fn identity(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
    fn batch_policy(&self) -> Option<BatchPolicy> {
        let (at_least, first) = (self.at_least, self.first);
        let hold = self.hold.map(Duration::from_millis);
        Some(BatchPolicy {
            target_weight: at_least,
            weight: RecordBatch::num_rows,
            initial_weight: first,
            idle_weight: self.idle,
            max_wait: hold,
        })
    }
}

/// A stage whose result depends on the text of its rows.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScriptedStage {
    /// Part of the identity, so that another value counts as other output.
    #[serde(default)]
    pub(crate) seed: u32,
}

impl StageConfig for ScriptedStage {
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
                    let (format, cause) = ("test".into(), "it says so".into());
                    let why = DocumentError::Corrupt { format, cause };
                    set_aside.push(Rejection::from_row(&rows, row, why.into())?);
                }
            }
            let mut rows = rows.filter_rows(keep)?;
            if BYTES.of(&rows)?.iter().any(|bytes| bytes == Some(b"double")) {
                rows = arrow::compute::concat_batches(rows.schema_ref(), [&rows, &rows])?;
            }
            Ok(Outcome { rows, rejected: set_aside })
        }))
    }
    fn identity(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap()
    }
}

/// A stage with state.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StatefulStage {}

impl StageConfig for StatefulStage {
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
                    set_aside.push(Rejection::from_row(&rows, row, RejectReason::Duplicate)?);
                }
            }
            Ok(Outcome { rows: rows.filter_rows(keep)?, rejected: set_aside })
        }))
    }
    fn identity(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
    fn batch_policy(&self) -> Option<BatchPolicy> {
        Some(BatchPolicy {
            target_weight: 3,
            weight: RecordBatch::num_rows,
            initial_weight: None,
            idle_weight: None,
            max_wait: None,
        })
    }
}

/// A sink that keeps the URIs of its rows under a name.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CollectingSink {
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

static COLLECTED: LazyLock<Mutex<HashMap<String, Vec<String>>>> = LazyLock::new(Mutex::default);

/// The URIs that a [`CollectingSink`] of this name received, in order.
pub(crate) fn collected(name: &str) -> Vec<String> {
    COLLECTED.lock().unwrap().remove(name).unwrap_or_default()
}

static COLLECTED_ROWS: LazyLock<Mutex<HashMap<String, Vec<RecordBatch>>>> =
    LazyLock::new(Mutex::default);

/// The rows that a [`CollectingSink`] of this name received, in order, as one batch; `None` without
/// rows.
pub(crate) fn collected_rows(name: &str) -> Option<RecordBatch> {
    let batches = COLLECTED_ROWS.lock().unwrap().remove(name)?;
    Some(arrow::compute::concat_batches(batches[0].schema_ref(), &batches).unwrap())
}

/// A name that no other test uses.
pub(crate) fn fresh_name() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("keep{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

impl SinkConfig for CollectingSink {
    fn accepts(&self, input: &Schema) -> Result<(), SchemaError> {
        input.require(URI.field())
    }
    fn build(&self, _: &Resources) -> Result<Box<dyn Sink>, BoxError> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait]
impl Sink for CollectingSink {
    async fn write(&mut self, rows: RecordBatch) -> Result<(), BoxError> {
        if self.fail {
            return Err("the disk is on fire".into());
        }
        assert!(!self.panic, "the sink is broken");
        tokio::time::sleep(Duration::from_millis(self.pause)).await;
        let uris = URI.of(&rows)?.iter().flatten().map(str::to_owned);
        COLLECTED.lock().unwrap().entry(self.name.clone()).or_default().extend(uris);
        COLLECTED_ROWS.lock().unwrap().entry(self.name.clone()).or_default().push(rows);
        Ok(())
    }
}

/// Stores without documents, which keep recorded rejections.
#[derive(Default)]
pub(crate) struct FakeStores {
    pub(crate) recorded: Mutex<Vec<(String, Rejection)>>,
    pub(crate) record_panics: bool,
}

#[async_trait]
impl MetadataStore for FakeStores {
    async fn lookup_locations(
        &self,
        uris: &[String],
    ) -> Result<Vec<Option<KnownLocation>>, StoreError> {
        Ok(vec![None; uris.len()])
    }
    async fn known_hashes(&self) -> Result<KnownHashes, StoreError> {
        Ok(KnownHashes::new())
    }
    async fn assign_ids(
        &self,
        _: &[IncomingDocument],
    ) -> Result<Vec<DocumentIdentity>, StoreError> {
        unreachable!("these sinks do not call it")
    }
    async fn commit(&self, _: &[StoredDocument]) -> Result<Vec<Uuid>, StoreError> {
        unreachable!("these sinks do not call it")
    }
    async fn record_rejections(
        &self,
        set_aside: &[(String, Rejection)],
    ) -> Result<Vec<Uuid>, StoreError> {
        assert!(!self.record_panics, "the store is broken");
        self.recorded.lock().unwrap().extend_from_slice(set_aside);
        Ok(Vec::new())
    }
    async fn mark_purged(&self, _: &[Uuid]) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait]
impl VectorStore for FakeStores {
    async fn upsert(&self, _: Vec<Point>) -> Result<(), StoreError> {
        Ok(())
    }
    async fn update_location(&self, _: Uuid, _: &DocumentLocation) -> Result<(), StoreError> {
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

pub(crate) fn resources(stores: &Arc<FakeStores>) -> Resources {
    Resources {
        metadata: Arc::clone(stores) as Arc<dyn MetadataStore>,
        vectors: Arc::clone(stores) as Arc<dyn VectorStore>,
        ..Resources::without_collection()
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
