//! A pipeline with a source of this program: `feed` reads documents from a file in JSON Lines,
//! as an export of a content management system or a crawler writes it.
//!
//! ```text
//! echo '{"url": "https://example.org/oak", "html": "<h1>Oaks</h1><p>They live long."}' > feed.jsonl
//! cargo run -p examples --example own_source -- feed.jsonl dataset
//! ```
//!
//! A source produces batches with the columns of [`Location`], `mime_type` and `bytes`. A document
//! that it cannot read is set aside, and the run continues.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, LargeBinaryArray, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use pipeline::column::{BYTES, MIME_TYPE};
use pipeline::{
    BoxError, DocumentError, Engine as _, LocalEngine, Location, NoModels, NodeDef, NodeKind,
    Outcome, Parallelism, PipelineSpec, Plan, Registry, Rejection, Resources, RunOptions,
    RunReport, Source, SourceConfig, options_schema, resolve_path, uri,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

/// Lines per batch.
const BATCH: usize = 100;

/// The node types of this program.
static NODES: &[NodeDef] = &[NodeDef {
    name: "feed",
    summary: "Reads HTML documents from a file in JSON Lines",
    version: 1,
    parallelism: Parallelism::Single,
    schema: options_schema::<FeedOptions>,
    parse: |with, folder| {
        let mut options: FeedOptions = serde_json::from_value(with)?;
        options.path = resolve_path(folder, &options.path);
        Ok(NodeKind::Source(Box::new(options)))
    },
}];

/// Options of `feed`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FeedOptions {
    /// File with one document per line, relative to the pipeline file.
    path: PathBuf,
}

/// A line of the file.
#[derive(Deserialize)]
struct Entry {
    url: String,
    html: String,
}

impl SourceConfig for FeedOptions {
    fn schema(&self) -> SchemaRef {
        let own = [MIME_TYPE.field(), BYTES.field()];
        Arc::new(Schema::new([Location::fields().as_slice(), &own].concat()))
    }

    fn build(&self, _: &Resources) -> Result<Box<dyn Source>, BoxError> {
        let lines = BufReader::new(fs_err::File::open(&self.path)?).lines();
        let source = uri::of_path(&self.path);
        Ok(Box::new(Feed { lines, line: 0, source, schema: self.schema() }))
    }
}

struct Feed {
    lines: Lines<BufReader<fs_err::File>>,
    /// Number of the last line that was read, from 1.
    line: u64,
    /// URI of the file.
    source: String,
    schema: SchemaRef,
}

#[async_trait]
impl Source for Feed {
    async fn next_batch(&mut self) -> Result<Option<Outcome>, BoxError> {
        let (mut entries, mut rejected): (Vec<Entry>, Vec<Rejection>) = (Vec::new(), Vec::new());
        while entries.len() + rejected.len() < BATCH
            && let Some(line) = self.lines.next()
        {
            // An unreadable file ends the run; an invalid line only loses its document.
            let line = line?;
            self.line += 1;
            match serde_json::from_str(&line) {
                Ok(entry) => entries.push(entry),
                Err(error) => rejected.push(self.reject(&line, &error)),
            }
        }
        if entries.is_empty() && rejected.is_empty() {
            return Ok(None);
        }
        Ok(Some(Outcome { rows: self.rows(&entries)?, rejected }))
    }

    fn exhausted_roots(&self) -> Vec<String> {
        vec![self.source.clone()]
    }
}

impl Feed {
    fn reject(&self, line: &str, error: &serde_json::Error) -> Rejection {
        let location = Location {
            uri: format!("{}#line={}", self.source, self.line),
            source: self.source.clone(),
            size: line.len() as u64,
            mtime: None,
            ctime: None,
            inode: None,
        };
        let cause = error.to_string();
        let reason = DocumentError::Corrupt { format: "JSON".into(), cause }.into();
        Rejection { location, content_hash: None, reason }
    }

    /// The URI of a document is its URL. Sizes and times let later runs skip unchanged documents; a
    /// feed has no times.
    fn rows(&self, entries: &[Entry]) -> Result<RecordBatch, BoxError> {
        let count = entries.len();
        let unknown =
            || Arc::new(TimestampMicrosecondArray::from(vec![None; count]).with_timezone("UTC"));
        let sizes = entries.iter().map(|it| it.html.len() as u64);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(entries.iter().map(|it| &it.url))),
            Arc::new(StringArray::from(vec![&*self.source; count])),
            Arc::new(UInt64Array::from_iter_values(sizes)),
            unknown(),
            unknown(),
            Arc::new(UInt64Array::from(vec![None; count])),
            Arc::new(StringArray::from(vec!["text/html"; count])),
            Arc::new(LargeBinaryArray::from_iter_values(entries.iter().map(|it| &it.html))),
        ];
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

async fn run(feed: &Path, dataset: &Path) -> Result<RunReport, BoxError> {
    let chunking = json!({ "unit": "characters", "size": 1000, "overlap": 0 });
    // JSON is YAML, and needs no escaping of paths.
    let file = json!({
        "version": 1,
        "name": "own_source",
        "collection": "documents",
        "nodes": [
            { "id": "feed", "uses": "feed", "with": { "path": feed } },
            { "id": "hash", "uses": "hash", "from": "feed" },
            { "id": "extract", "uses": "extract", "from": "hash" },
            { "id": "chunk", "uses": "chunk", "from": "extract", "with": chunking },
            { "id": "export", "uses": "parquet", "from": "chunk", "with": { "path": dataset } },
        ],
    });
    let spec = PipelineSpec::from_yaml(Path::new("pipeline.yaml"), &file.to_string(), &|_| None)?;
    let registry = Registry::new(&[sources::NODES, stages::NODES, sinks::NODES, NODES]);
    let plan = Plan::compile(&spec, &registry, &NoModels)?;
    let options = RunOptions::new(&plan);
    Ok(LocalEngine.run(plan, &Resources::without_collection(), options).await?)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [feed, dataset] = &arguments[..] else {
        return Err("usage: own_source FEED FOLDER".into());
    };
    let report = run(feed, dataset).await?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} documents, {} chunks", report.documents.stored, report.chunks)?;
    for document in report.set_aside {
        writeln!(out, "{}: {}", document.uri, document.message)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn valid_lines_are_documents_and_others_are_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let feed = folder.path().join("feed.jsonl");
        let page = |n: usize| {
            let url = format!("https://example.org/{n}");
            json!({ "url": url, "html": format!("<h1>Page {n}</h1><p>Text.") }).to_string()
        };
        let mut lines: Vec<String> = (0..2 * BATCH).map(page).collect();
        lines.insert(1, "{\"url\": 7}".to_owned());
        fs_err::write(&feed, lines.join("\n")).unwrap();
        let report = run(&feed, &folder.path().join("dataset")).await.unwrap();
        assert_eq!(report.documents.stored, 2 * BATCH as u64);
        assert_eq!(report.reasons["failed"], 1);
        assert!(report.set_aside[0].uri.ends_with("/feed.jsonl#line=2"));
        assert!(folder.path().join("dataset/chunks").is_dir());
    }
}
