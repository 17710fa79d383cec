//! Pipelines that write no collection: they need no store, process all documents, and write their
//! artefacts.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pipeline::{
    BoxError, Engine as _, LocalEngine, NoModels, Outcome, PipelineSpec, Plan, Registry, Resources,
    RunOptions, Sink, SinkConfig, Source, SourceConfig, ipc,
};

use crate::support::TestProject;

/// A pipeline without a model; its database does not exist.
const EXPORT: &str = "\
version: 1
name: export
stores: { postgres: 'postgres://reader@127.0.0.1:1/none' }
nodes:
  - { id: scan,    uses: scan,    with: { paths: [corpus] } }
  - { id: hash,    uses: hash,    from: scan }
  - { id: extract, uses: extract, from: hash }
  - { id: chunk,   uses: chunk,   from: extract, with: { size: 60, overlap: 0, unit: characters } }
  - { id: parquet, uses: parquet, from: chunk, with: { path: out } }
";

fn project(yaml: &str) -> TestProject {
    let place = TestProject::with("model: 'stand-in:16'", "");
    std::fs::write(place.file(), yaml).unwrap();
    write_documents(&place);
    place
}

fn write_documents(place: &TestProject) {
    place.write("a.md", "# Alpha\n\nThe first document has one heading.\n");
    place.write("b.txt", "The second document is plain text.\n");
}

/// All rows of a table of a dataset.
fn rows(dataset: &Path, table: &str) -> Vec<RecordBatch> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dataset.join(table)).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(path.extension().unwrap(), "parquet", "no temporary file is left");
        let file = std::fs::File::open(path).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
        found.extend(reader.map(Result::unwrap));
    }
    found
}

/// Texts of the documents by file name.
fn texts(dataset: &Path) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    for rows in rows(dataset, "documents") {
        let uris = rows.column_by_name("uri").unwrap().as_string::<i32>();
        let content = rows.column_by_name("text").unwrap().as_string::<i64>();
        for (uri, text) in uris.iter().flatten().zip(content.iter().flatten()) {
            let name = uri.rsplit('/').next().unwrap().to_owned();
            assert!(texts.insert(name, text.trim().to_owned()).is_none(), "{uri} occurs twice");
        }
    }
    texts
}

fn chunk_count(dataset: &Path) -> usize {
    rows(dataset, "chunks").iter().map(RecordBatch::num_rows).sum()
}

#[test]
fn an_export_needs_no_store_and_processes_everything_each_time() {
    let place = project(EXPORT);
    place.write("broken.pdf", "%PDF-1.7 and nothing else");
    let dataset = place.path().join("out");

    let ran = place.semantik(&["run", "pipeline.yaml", "--json"]);
    assert_eq!(ran.code, 2, "a failed document has its exit code: {}", ran.stderr);
    let report = ran.json();
    assert_eq!(
        (&report["documents"]["stored"], &report["documents"]["set_aside"]),
        (&2.into(), &1.into())
    );
    assert_eq!(report["set_aside"][0]["node"], "extract");
    assert_eq!(report["tokens"], 0);
    assert!(report.get("exhausted_roots").is_none());
    let found = texts(&dataset);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["a.md", "b.txt"]);
    assert!(found["a.md"].contains("one heading"));
    assert_eq!(found["b.txt"], "The second document is plain text.");
    assert_eq!(report["chunks"], chunk_count(&dataset));

    // Without a record of the first run, the second one reads and writes every document.
    std::fs::remove_file(place.corpus().join("broken.pdf")).unwrap();
    place.write("b.txt", "The second document has changed.\n");
    let ran = place.semantik(&["run", "pipeline.yaml", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let documents = &ran.json()["documents"];
    assert_eq!((&documents["stored"], &documents["unchanged"]), (&2.into(), &0.into()));
    let found = texts(&dataset);
    assert_eq!(found.len(), 2);
    assert_eq!(found["b.txt"], "The second document has changed.");
    for store in ["postgres", "vectors"] {
        assert!(!place.path().join(".semantik").join(store).exists(), "{store} was opened");
    }

    let table = place.semantik(&["run", "pipeline.yaml"]);
    assert_eq!(table.code, 0, "{}", table.stderr);
    assert!(table.stdout.contains("stored") && table.stdout.contains("chunks"), "{}", table.stdout);
}

#[test]
fn a_source_without_a_file_is_an_error_of_an_export() {
    let place = project(&EXPORT.replace("paths: [corpus]", "paths: [corpus], include: ['*.none']"));
    let ran = place.semantik(&["run", "pipeline.yaml"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("no file in file://"), "{}", ran.stderr);
    let plan = place.semantik(&["plan", "pipeline.yaml"]);
    assert_eq!(plan.code, 0);
    assert!(plan.stdout.contains("would end with an error: no file in"), "{}", plan.stdout);
}

#[test]
fn verbs_know_exports() {
    let place = project(EXPORT);
    for verb in ["check", "graph", "plan"] {
        let ran = place.semantik(&[verb, "pipeline.yaml"]);
        assert_eq!(ran.code, 0, "{verb}: {}", ran.stderr);
    }
    let plan = place.semantik(&["plan", "pipeline.yaml"]).stdout;
    let out = place.path().join("out");
    let said = format!("export all documents to {}; no collection is written", out.display());
    assert!(plan.contains(&said), "{plan}");
    assert!(plan.contains("to export: 2 documents, "), "{plan}");
    let plan = place.semantik(&["plan", "pipeline.yaml", "--json"]).json();
    assert_eq!(plan["exports"], serde_json::json!([out]));
    assert_eq!((&plan["documents"]["new"], &plan["to_embed"]["documents"]), (&2.into(), &0.into()));
    assert!(!out.exists() && !place.path().join(".semantik").exists(), "a plan changes nothing");

    for args in [
        vec!["status", "pipeline.yaml"],
        vec!["verify", "pipeline.yaml"],
        vec!["reindex", "pipeline.yaml"],
        vec!["rollback", "pipeline.yaml"],
        vec!["search", "pipeline.yaml", "words"],
        vec!["documents", "list", "pipeline.yaml"],
        vec!["operations", "list", "pipeline.yaml"],
        vec!["why", "pipeline.yaml", "corpus/a.md"],
    ] {
        let ran = place.semantik(&args);
        assert_eq!(ran.code, 78, "{args:?}: {}", ran.stderr);
        let is_clear = ran.stderr.contains("pipeline `export` writes no collection")
            && ran.stderr.contains("add an `embed` node and an `upsert` node");
        assert!(is_clear, "{args:?}: {}", ran.stderr);
    }
    assert!(!place.path().join(".semantik").exists(), "no store was opened");
}

#[test]
fn keys_about_operations_have_no_effect_in_an_export() {
    let keys = "lifecycle: { retention_days: 5 }\nschedule: { cron: '0 3 * * *' }\n";
    let place = project(&EXPORT.replace("nodes:\n", &format!("{keys}nodes:\n")));
    let checked = place.semantik(&["check", "pipeline.yaml", "--json"]);
    assert_eq!(checked.code, 0, "{}", checked.stderr);
    let warnings = checked.json()["warnings"].to_string();
    for key in ["lifecycle", "schedule"] {
        assert!(warnings.contains(&format!("`{key}` has no effect")), "{warnings}");
    }
    let ran = place.semantik(&["run", "pipeline.yaml"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("`schedule` has no effect"), "{}", ran.stderr);
}

#[test]
fn vectors_can_be_exported_without_a_collection() {
    let embed = "  - { id: embed, uses: embed, from: chunk, with: { model: 'stand-in:16' } }\n";
    let yaml = EXPORT.replace(
        "  - { id: parquet, uses: parquet, from: chunk",
        &format!("{embed}  - {{ id: parquet, uses: parquet, from: embed"),
    );
    let place = project(&yaml);
    let ran = place.semantik(&["run", "pipeline.yaml", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let report = ran.json();
    assert!(report["tokens"].as_u64().unwrap() > 0);
    let chunks = rows(&place.path().join("out"), "chunks");
    for rows in &chunks {
        let vectors = rows.column_by_name("vector").unwrap();
        assert_eq!(vectors.as_fixed_size_list().value_length(), 16);
    }
    assert_eq!(report["chunks"], chunks.iter().map(RecordBatch::num_rows).sum::<usize>());
    // The cache serves exports too.
    let again = place.semantik(&["run", "pipeline.yaml", "--json"]).json();
    assert_eq!(again["tokens"], 0);
    assert_eq!(again["tokens_reused"], report["tokens"]);
}

#[test]
fn a_collection_can_be_exported_beside_its_vectors() {
    let place = TestProject::with_stand_in();
    write_documents(&place);
    place.append_pipeline("  - { id: parquet, uses: parquet, from: chunk, with: { path: out } }\n");
    assert_eq!(place.run()["documents"]["stored"], 2);
    assert_eq!(texts(&place.path().join("out")).len(), 2);
    assert_eq!(place.search("second document", 5).len(), 2);
    assert_eq!(place.run()["documents"]["unchanged"], 2);
}

#[test]
fn a_file_names_its_collection_if_it_has_one() {
    let place = project(&EXPORT.replace("name: export\n", "name: export\nengine: local\n"));
    assert_eq!(place.semantik(&["check", "pipeline.yaml"]).code, 0);
    place.edit_pipeline("engine: local", "engine: ballista");
    let ran = place.semantik(&["check", "pipeline.yaml"]);
    assert_eq!(ran.code, 78);
    let names_all = ran.stderr.contains("`engine` cannot be") && ran.stderr.contains("local");
    assert!(names_all, "{}", ran.stderr);

    place.write_pipeline("model: 'stand-in:16'", "", "size: 64, overlap: 8");
    place.edit_pipeline("collection: test\n", "");
    let ran = place.semantik(&["check", "pipeline.yaml"]);
    assert_eq!(ran.code, 78);
    let says_so = ran.stderr.contains("missing key `collection`")
        && ran.stderr.contains("name the collection that `upsert` writes");
    assert!(says_so, "{}", ran.stderr);
}

/// Both ends of a cut, in one process: the rows of the listing, as Arrow IPC.
#[derive(Clone)]
struct Border {
    schema: Option<SchemaRef>,
    streams: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl SinkConfig for Border {
    fn build(&self, _: &Resources) -> Result<Box<dyn Sink>, BoxError> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait]
impl Sink for Border {
    async fn write(&mut self, rows: RecordBatch) -> Result<(), BoxError> {
        assert!(rows.column_by_name("bytes").is_none(), "no content crosses the cut");
        self.streams.lock().unwrap().push(ipc::encode(&rows)?);
        Ok(())
    }
}

impl SourceConfig for Border {
    fn schema(&self) -> SchemaRef {
        self.schema.clone().unwrap()
    }

    fn build(&self, _: &Resources) -> Result<Box<dyn Source>, BoxError> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait]
impl Source for Border {
    async fn next_batch(&mut self) -> Result<Option<Outcome>, BoxError> {
        let next = self.streams.lock().unwrap().pop();
        Ok(next.map(|stream| ipc::decode(&stream)).transpose()?.map(Outcome::from))
    }

    fn exhausted_roots(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The nodes of this project on both sides of a cut, with plans of their own from the same file.
#[test]
fn an_export_in_two_parts_has_the_rows_of_the_whole() {
    let place = project(EXPORT);
    for n in 0..40 {
        place.write(&format!("many/{n}.txt"), format!("Document number {n} of a folder.\n"));
    }
    let compile = |out: &str| {
        let yaml = EXPORT.replace("path: out", &format!("path: {out}"));
        let spec = PipelineSpec::from_yaml(&place.file(), &yaml, &|_| None).unwrap();
        let registry = Registry::new(&[sources::NODES, stages::NODES, sinks::NODES]);
        Plan::compile(&spec, &registry, &NoModels).unwrap()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let run = |plan: Plan| {
        let (options, with) = (RunOptions::new(&plan), Resources::without_collection());
        runtime.block_on(LocalEngine.run(plan, &with, options)).unwrap()
    };
    let whole = run(compile("whole"));

    let border = Border { schema: None, streams: Arc::default() };
    let (head, _) = compile("parts").cut();
    let listed = run(head.with_sinks(&|_| Box::new(border.clone())));
    assert_eq!(listed.documents.stored, whole.documents.seen);
    assert!(!place.path().join("parts").exists(), "the first part writes nothing");
    let (_, tail) = compile("parts").cut();
    assert_eq!(tail.fingerprint(), compile("whole").fingerprint());
    let parts = run(tail.with_sources(&|_, schema| {
        Box::new(Border { schema: Some(Arc::clone(schema)), ..border.clone() })
    }));
    assert_eq!((parts.documents.stored, parts.chunks), (whole.documents.stored, whole.chunks));
    let dataset = |name: &str| place.path().join(name);
    assert_eq!(texts(&dataset("parts")), texts(&dataset("whole")));
    assert_eq!(texts(&dataset("parts")).len(), 42);
    assert_eq!(chunk_count(&dataset("parts")), chunk_count(&dataset("whole")));
}
