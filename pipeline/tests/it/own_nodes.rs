//! Nodes of a program outside this workspace: a source, a stage and a sink of its own, run by name
//! from a pipeline file.

use std::path::Path;
use std::sync::{Arc, Mutex};

use arrow::array::{
    ArrayRef, LargeBinaryArray, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use pipeline::column::{BYTES, URI};
use pipeline::{
    BoxError, DocumentError, Engine as _, LocalEngine, Location, NoModels, NodeDef, NodeKind,
    Outcome, Parallelism, PipelineSpec, Plan, Registry, Rejection, Resources, RowsExt as _,
    RunOptions, SchemaError, SchemaExt as _, Sink, SinkConfig, Source, SourceConfig, Stage,
    StageConfig, options_schema,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::pipeline_runs::runtime;

static NODES: &[NodeDef] = &[
    NodeDef {
        name: "lines",
        summary: "Produces one document per line",
        version: 1,
        parallelism: Parallelism::Single,
        schema: options_schema::<Lines>,
        parse: |with, _| Ok(NodeKind::Source(Box::new(serde_json::from_value::<Lines>(with)?))),
    },
    NodeDef {
        name: "shout",
        summary: "Converts content to upper case",
        version: 1,
        parallelism: Parallelism::Any,
        schema: options_schema::<Shout>,
        parse: |with, _| Ok(NodeKind::Stage(Box::new(serde_json::from_value::<Shout>(with)?))),
    },
    NodeDef {
        name: "remember",
        summary: "Keeps content in memory",
        version: 1,
        parallelism: Parallelism::Single,
        schema: options_schema::<Remember>,
        parse: |with, _| Ok(NodeKind::Sink(Box::new(serde_json::from_value::<Remember>(with)?))),
    },
];

/// Options of `lines`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Lines {
    /// The text.
    text: String,
}

impl SourceConfig for Lines {
    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new([Location::fields().as_slice(), &[BYTES.field()]].concat()))
    }

    fn build(&self, _: &Resources) -> Result<Box<dyn Source>, BoxError> {
        Ok(Box::new(LineSource { schema: self.schema(), text: Some(self.text.clone()) }))
    }
}

struct LineSource {
    schema: SchemaRef,
    text: Option<String>,
}

#[async_trait]
impl Source for LineSource {
    async fn next_batch(&mut self) -> Result<Option<Outcome>, BoxError> {
        let Some(text) = self.text.take() else { return Ok(None) };
        let lines: Vec<&str> = text.lines().collect();
        let uris = (1..=lines.len()).map(|line| format!("line:{line}"));
        let times =
            || TimestampMicrosecondArray::from(vec![None; lines.len()]).with_timezone("UTC");
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(uris)),
            Arc::new(StringArray::from(vec!["line:"; lines.len()])),
            Arc::new(UInt64Array::from_iter_values(lines.iter().map(|it| it.len() as u64))),
            Arc::new(times()),
            Arc::new(times()),
            Arc::new(UInt64Array::from(vec![None; lines.len()])),
            Arc::new(LargeBinaryArray::from_iter_values(&lines)),
        ];
        Ok(Some(RecordBatch::try_new(Arc::clone(&self.schema), columns)?.into()))
    }

    fn exhausted_roots(&self) -> Vec<String> {
        vec!["line:".to_owned()]
    }
}

/// Options of `shout`.
#[derive(Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Shout {
    /// Appended to each document.
    #[serde(default)]
    suffix: String,
}

impl StageConfig for Shout {
    fn output_schema(&self, input: &Schema) -> Result<SchemaRef, SchemaError> {
        input.require(BYTES.field())?;
        Ok(Arc::new(input.clone()))
    }

    fn build(&self, _: &Resources) -> Result<Box<dyn Stage>, BoxError> {
        let Self { suffix } = self.clone();
        Ok(Box::new(move |rows: RecordBatch| {
            let (mut keep, mut rejected, mut loud) = (Vec::new(), Vec::new(), Vec::new());
            for (row, bytes) in BYTES.of(&rows)?.iter().enumerate() {
                let text = std::str::from_utf8(bytes.unwrap_or_default())?;
                keep.push(!text.is_empty());
                if text.is_empty() {
                    let error = DocumentError::Unreadable { cause: "an empty line".to_owned() };
                    rejected.push(Rejection::from_row(&rows, row, error.into())?);
                } else {
                    loud.push(format!("{}{suffix}", text.to_uppercase()));
                }
            }
            let kept = rows.filter_rows(keep)?;
            let bytes = Arc::new(LargeBinaryArray::from_iter_values(loud));
            let kept = kept.without_column(BYTES.name()).with_column(&*BYTES, bytes)?;
            Ok(Outcome { rows: kept, rejected })
        }))
    }

    fn identity(&self) -> Value {
        serde_json::to_value(self).expect("options are plain data")
    }
}

/// `remember` has no options.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Remember {}

static REMEMBERED: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

impl SinkConfig for Remember {
    fn accepts(&self, input: &Schema) -> Result<(), SchemaError> {
        input.require(BYTES.field())
    }

    fn build(&self, _: &Resources) -> Result<Box<dyn Sink>, BoxError> {
        Ok(Box::new(Self {}))
    }
}

#[async_trait]
impl Sink for Remember {
    async fn write(&mut self, rows: RecordBatch) -> Result<(), BoxError> {
        let (uris, contents) = (URI.of(&rows)?.iter(), BYTES.of(&rows)?.iter());
        for (uri, content) in uris.zip(contents) {
            let content = String::from_utf8(content.unwrap_or_default().to_vec())?;
            REMEMBERED.lock().unwrap().push((uri.unwrap_or_default().to_owned(), content));
        }
        Ok(())
    }
}

const FILE: &str = "\
version: 1
name: shouting
nodes:
  - { id: lines, uses: lines, with: { text: \"one\\n\\nthree\" } }
  - { id: shout, uses: shout, from: lines, with: { suffix: '!' } }
  - { id: remember, uses: remember, from: shout }
";

#[test]
fn a_program_runs_nodes_of_its_own() {
    let spec = PipelineSpec::from_yaml(Path::new("own.yaml"), FILE, &|_| None).unwrap();
    let plan = Plan::compile(&spec, &Registry::new(&[NODES]), &NoModels).unwrap();
    assert!(!plan.writes_collection());
    let options = RunOptions::new(&plan);
    let resources = Resources::without_collection();
    let report = runtime().block_on(LocalEngine.run(plan, &resources, options)).unwrap();

    let expected = [("line:1", "ONE!"), ("line:3", "THREE!")];
    let expected = expected.map(|(uri, content)| (uri.to_owned(), content.to_owned()));
    assert_eq!(*REMEMBERED.lock().unwrap(), expected);
    assert_eq!((report.documents.stored, report.documents.set_aside), (2, 1));
    let [out] = &report.set_aside[..] else { panic!("{:?}", report.set_aside) };
    assert_eq!((out.uri.as_str(), out.node.as_str()), ("line:2", "shout"));
    assert_eq!(report.exhausted_roots, ["line:"]);
}

/// The options of own nodes are checked like those of others, with their positions.
#[test]
fn options_of_own_nodes_are_checked() {
    let wrong = FILE.replace("suffix:", "sufix:");
    let spec = PipelineSpec::from_yaml(Path::new("own.yaml"), &wrong, &|_| None).unwrap();
    let findings = Plan::compile(&spec, &Registry::new(&[NODES]), &NoModels).err().unwrap();
    let [finding] = &findings.findings[..] else { panic!("{findings}") };
    assert_eq!(finding.message, "unknown key `sufix`");
    assert!(finding.help.as_ref().unwrap().contains("suffix"), "{findings}");
}
