//! A pipeline with a stage of this program: `word_count` adds a column, `when:` selects documents
//! by it, and the dataset has it.
//!
//! ```text
//! cargo run -p examples --example own_stage -- docs
//! ```
//!
//! exports the Markdown files below `docs` that have at least 100 words to `docs/.dataset`.
//!
//! A node type consists of a struct for its options, the implementation of [`StageConfig`] for it,
//! and an entry in a table of [`NodeDef`]. A pipeline file then uses it like the others: its
//! options are checked, and its columns are known to the nodes after it.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use pipeline::column::TEXT;
use pipeline::{
    BoxError, Engine as _, LocalEngine, NoModels, NodeDef, NodeKind, Outcome, Parallelism,
    PipelineSpec, Plan, Registry, Resources, RunOptions, RunReport, SchemaError, SchemaExt as _,
    Stage, StageConfig, options_schema,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

const PIPELINE: &str = "
version: 1
name: own_stage
collection: documents
nodes:
  - { id: scan, uses: scan, with: { paths: ['.'], include: ['**/*.md'] } }
  - { id: hash, uses: hash, from: scan }
  - { id: extract, uses: extract, from: hash }
  - { id: words, uses: word_count, from: extract, with: { min_length: 2 } }
  - id: chunk
    uses: chunk
    from: words
    when: { word_count: { min: 100 } }
    with: { strategy: markdown, unit: characters, size: 1000, overlap: 0 }
  - { id: export, uses: parquet, from: chunk, with: { path: .dataset } }
";

/// The node types of this program.
static NODES: &[NodeDef] = &[NodeDef {
    name: "word_count",
    summary: "Counts the words of each document",
    version: 1,
    parallelism: Parallelism::Any,
    schema: options_schema::<WordCountOptions>,
    parse: |with, _| {
        let options: WordCountOptions = serde_json::from_value(with)?;
        Ok(NodeKind::Stage(Box::new(options)))
    },
}];

/// Options of `word_count`; their descriptions are in the JSON Schema for editors.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WordCountOptions {
    /// Minimum length of a word in characters; shorter words are not counted.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    min_length: usize,
}

fn one() -> usize {
    1
}

impl StageConfig for WordCountOptions {
    fn output_schema(&self, input: &Schema) -> Result<SchemaRef, SchemaError> {
        input.require(TEXT.field())?;
        input.with_column(Field::new("word_count", DataType::UInt64, false))
    }

    fn build(&self, _: &Resources) -> Result<Box<dyn Stage>, BoxError> {
        let min_length = self.min_length;
        Ok(Box::new(move |rows: RecordBatch| add_word_count(&rows, min_length).map(Outcome::from)))
    }

    /// A changed option changes the fingerprint of the pipeline.
    fn identity(&self) -> Value {
        serde_json::to_value(self).expect("a number is JSON")
    }
}

fn add_word_count(rows: &RecordBatch, min_length: usize) -> Result<RecordBatch, BoxError> {
    let is_word = |word: &&str| word.chars().count() >= min_length;
    let words = |text: &str| text.split_whitespace().filter(is_word).count() as u64;
    let counts = TEXT.of(rows)?.iter().map(|text| text.map_or(0, words));
    let schema =
        rows.schema_ref().with_column(Field::new("word_count", DataType::UInt64, false))?;
    let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
    columns.push(Arc::new(UInt64Array::from_iter_values(counts)));
    Ok(RecordBatch::try_new(schema, columns)?)
}

async fn run(folder: &Path) -> Result<RunReport, BoxError> {
    // The file name is for messages and relative paths; the file itself is `PIPELINE`.
    let spec = PipelineSpec::from_yaml(&folder.join("pipeline.yaml"), PIPELINE, &|_| None)?;
    let registry = Registry::new(&[sources::NODES, stages::NODES, sinks::NODES, NODES]);
    let plan = Plan::compile(&spec, &registry, &NoModels)?;
    let options = RunOptions::new(&plan);
    Ok(LocalEngine.run(plan, &Resources::without_collection(), options).await?)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let folder = std::env::args_os().nth(1).ok_or("usage: own_stage FOLDER")?;
    let report = run(Path::new(&folder)).await?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} documents exported", report.documents.stored)?;
    for document in report.set_aside {
        writeln!(out, "{}: {}", document.uri, document.message)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray as _;
    use arrow::datatypes::UInt64Type;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn short_documents_are_set_aside_and_others_have_their_count() {
        let folder = tempfile::tempdir().unwrap();
        let long = "word ".repeat(120) + "a b c";
        fs_err::write(folder.path().join("long.md"), long).unwrap();
        fs_err::write(folder.path().join("short.md"), "only a few words").unwrap();
        let report = run(folder.path()).await.unwrap();
        assert_eq!((report.documents.stored, report.reasons["unrouted"]), (1, 1));

        let dataset = fs_err::read_dir(folder.path().join(".dataset/documents")).unwrap();
        let mut files = dataset.map(|entry| entry.unwrap().path());
        let file = files.find(|path| path.extension().is_some_and(|it| it == "parquet")).unwrap();
        let file = std::fs::File::open(file).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
        let rows: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
        let counts = rows[0].column_by_name("word_count").unwrap().as_primitive::<UInt64Type>();
        assert_eq!(counts.values()[..], [120]);
    }
}
