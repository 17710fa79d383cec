//! The framework without work in its nodes: a batch on an edge, changes of a batch, and a filter on
//! a payload.

use std::hint::black_box;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use criterion::{BatchSize, Criterion, Throughput};
use pipeline::column::CONTENT_HASH;
use pipeline::test_util::{document_rows, payload};
use pipeline::{
    BoxError, Engine as _, Filter, KeywordField, LocalEngine, NoModels, NodeDef, NodeKind,
    NumericField, NumericRange, Outcome, Parallelism, Payload, PipelineSpec, Plan, Registry,
    Resources, RowsExt as _, RunOptions, SchemaError, Sink, SinkConfig, Source, SourceConfig,
    Stage, StageConfig, TextField, options_schema,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Documents per batch, as many as `scan` reads at a time.
const ROWS: usize = 256;

/// Batches per run.
const BATCHES: u64 = 100;

const YAML: &str = "
version: 1
name: dataflow
collection: dataflow
nodes:
  - { id: source, uses: source }
  - { id: first, uses: pass, from: source }
  - { id: second, uses: pass, from: first }
  - { id: third, uses: pass, from: second }
  - { id: sink, uses: discard, from: third }
";

/// Every node type has these options.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NoOptions {}

static NODES: &[NodeDef] = &[
    NodeDef {
        name: "source",
        summary: "Produces the documents of `DOCUMENTS`",
        version: 1,
        parallelism: Parallelism::Single,
        schema: options_schema::<NoOptions>,
        parse: |with, _| Ok(NodeKind::Source(Box::new(serde_json::from_value::<NoOptions>(with)?))),
    },
    NodeDef {
        name: "pass",
        summary: "Passes rows on",
        version: 1,
        parallelism: Parallelism::Any,
        schema: options_schema::<NoOptions>,
        parse: |with, _| Ok(NodeKind::Stage(Box::new(serde_json::from_value::<NoOptions>(with)?))),
    },
    NodeDef {
        name: "discard",
        summary: "Drops rows",
        version: 1,
        parallelism: Parallelism::Single,
        schema: options_schema::<NoOptions>,
        parse: |with, _| Ok(NodeKind::Sink(Box::new(serde_json::from_value::<NoOptions>(with)?))),
    },
];

/// A run refuses a document that it has seen before, so no URI occurs twice.
static DOCUMENTS: LazyLock<Vec<RecordBatch>> = LazyLock::new(|| (0..BATCHES).map(batch).collect());

fn batch(number: u64) -> RecordBatch {
    let names: Vec<String> = (0..ROWS).map(|row| format!("{number}/{row}.txt")).collect();
    let documents = names.iter().map(|name| (&**name, "text/plain", name.as_bytes()));
    document_rows(&documents.collect::<Vec<_>>())
}

impl SourceConfig for NoOptions {
    fn schema(&self) -> SchemaRef {
        DOCUMENTS[0].schema()
    }

    fn build(&self, _: &Resources) -> Result<Box<dyn Source>, BoxError> {
        Ok(Box::new(Documents(DOCUMENTS.iter())))
    }
}

struct Documents(std::slice::Iter<'static, RecordBatch>);

#[async_trait]
impl Source for Documents {
    async fn next_batch(&mut self) -> Result<Option<Outcome>, BoxError> {
        Ok(self.0.next().cloned().map(Outcome::from))
    }

    fn exhausted_roots(&self) -> Vec<String> {
        Vec::new()
    }
}

impl StageConfig for NoOptions {
    fn output_schema(&self, input: &Schema) -> Result<SchemaRef, SchemaError> {
        Ok(Arc::new(input.clone()))
    }

    fn build(&self, _: &Resources) -> Result<Box<dyn Stage>, BoxError> {
        Ok(Box::new(|rows: RecordBatch| Ok(Outcome::from(rows))))
    }

    fn identity(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
}

impl SinkConfig for NoOptions {
    fn build(&self, _: &Resources) -> Result<Box<dyn Sink>, BoxError> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait]
impl Sink for NoOptions {
    async fn write(&mut self, rows: RecordBatch) -> Result<(), BoxError> {
        drop(rows);
        Ok(())
    }
}

fn compile() -> Plan {
    let spec = PipelineSpec::from_yaml(Path::new("dataflow.yaml"), YAML, &|_| None);
    let spec = spec.expect("the file is valid");
    Plan::compile(&spec, &Registry::new(&[NODES]), &NoModels).expect("the graph is valid")
}

/// Batches through three stages that do nothing, from the first poll of the source to the report.
fn edges(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    let mut group = criterion.benchmark_group("edges");
    group.throughput(Throughput::Elements(BATCHES));
    group.sample_size(20);
    group.bench_function("batches through three stages", |bencher| {
        bencher.iter_batched(
            compile,
            |plan| {
                let options = RunOptions::new(&plan);
                let resources = Resources::without_collection();
                let report = runtime.block_on(LocalEngine.run(plan, &resources, options));
                report.expect("no node fails").documents.stored
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn batches(criterion: &mut Criterion) {
    let rows = batch(0);
    let hashes = arrow::array::FixedSizeBinaryArray::try_from_iter((0..ROWS).map(|_| [7_u8; 32]));
    let hashes: arrow::array::ArrayRef = Arc::new(hashes.expect("all have 32 bytes"));
    let mut group = criterion.benchmark_group("batch");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("build", |bencher| bencher.iter(|| batch(black_box(0))));
    group.bench_function("add a column", |bencher| {
        bencher.iter(|| rows.with_column(&*CONTENT_HASH, Arc::clone(&hashes)));
    });
    group.bench_function("keep every second row", |bencher| {
        bencher.iter(|| rows.filter_rows((0..ROWS).map(|row| row % 2 == 0).collect()));
    });
    group.finish();
}

fn filter(criterion: &mut Criterion) {
    let payload = Payload {
        title: Some("Staff handbook, second edition".to_owned()),
        page: Some(3),
        facts: ["author=Ada", "year=2024", "department=legal"].map(str::to_owned).to_vec(),
        ..payload("handbook.pdf", "Every contract has two signatures.")
    };
    let pages = NumericRange { gte: Some(1), lt: Some(10), ..NumericRange::default() };
    let filter: Filter = Filter::All(vec![
        Filter::In(KeywordField::Fact, vec!["department=legal".to_owned()]),
        Filter::Range(NumericField::Page, pages),
        Filter::Not(Box::new(Filter::In(KeywordField::Language, vec!["de".to_owned()]))),
        Filter::Match(TextField::Title, "handbook edition".to_owned()),
    ]);
    criterion.bench_function("filter/four conditions on a payload", |bencher| {
        bencher.iter(|| black_box(&filter).matches(black_box(&payload)));
    });
}

fn main() {
    let criterion = Criterion::default().warm_up_time(Duration::from_millis(500));
    let mut criterion = criterion.measurement_time(Duration::from_secs(2)).configure_from_args();
    edges(&mut criterion);
    batches(&mut criterion);
    filter(&mut criterion);
    criterion.final_summary();
}
