//! `extract`: converts the bytes of a document to text with headings, pages and metadata.
//!
//! A worker process ([`worker`]) parses every format. Its time, memory and stack are limited and it
//! can open neither files nor connections (ADR 22), so a corrupt or malicious file affects one
//! document only. Without a configured worker, as in tests of single stages, the main process
//! parses the documents, without these limits. A file compressed by gzip is unpacked first; its
//! media type becomes that of its content. Documents extracted before come from the cache.
//!
//! ```
//! use arrow::array::AsArray as _;
//! use pipeline::column::{OUTLINE, TEXT, TITLE};
//! # use std::path::Path;
//! # use pipeline::test_util::{document_rows, no_resources};
//! # use pipeline::{NodeKind, Outcome};
//! # fn run(name: &str, options: serde_json::Value, rows: arrow::array::RecordBatch) -> Outcome {
//! #     let def = stages::NODES.iter().find(|def| def.name == name).unwrap();
//! #     let NodeKind::Stage(config) = (def.parse)(options, Path::new("/")).unwrap() else {
//! #         unreachable!()
//! #     };
//! #     config.build(&no_resources()).unwrap().process(rows).unwrap()
//! # }
//!
//! let page = "# Trees\n\nSome *live* long.\n\n## Oaks\n\nCenturies.";
//! let documents: [(&str, &str, &[u8]); 2] =
//!     [("trees.md", "text/markdown", page.as_bytes()), ("tree.jpg", "image/jpeg", b"\xff\xd8")];
//! let outcome = run("extract", serde_json::json!({}), document_rows(&documents));
//! assert_eq!(outcome.rejected[0].reason.code(), "unsupported");
//! let rows = outcome.rows;
//! assert_eq!(TITLE.of(&rows)?.value(0), "Trees");
//! assert!(TEXT.of(&rows)?.value(0).contains("Some *live* long."), "Markdown keeps its syntax");
//! let outline = OUTLINE.of(&rows)?.value(0);
//! let headings = outline.as_struct().column_by_name("title").unwrap().as_string::<i32>();
//! assert_eq!(headings.iter().flatten().collect::<Vec<_>>(), ["Trees", "Oaks"]);
//! # Ok::<_, pipeline::BoxError>(())
//! ```

mod asciidoc;
mod block;
mod cache;
mod cards;
mod columns;
mod csv;
mod document;
mod docx;
mod epub;
mod error;
mod format;
mod formats;
mod gzip;
mod html;
mod json;
mod language;
mod latex;
mod limits;
mod lines;
mod mail;
mod markdown;
mod notebook;
mod odf;
mod odp;
mod ods;
mod odt;
mod ole;
mod ooxml;
mod org;
mod package;
mod pdf;
mod powerpoint_97;
mod pptx;
mod read;
mod roff;
mod rst;
mod rtf;
mod sheet;
mod slides;
mod source_code;
mod spreadsheet;
mod subtitles;
mod table;
mod table_grid;
mod table_header;
mod text;
mod title;
mod tree;
mod word_97;
mod worker;
mod xml;
mod xml_document;

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use pipeline::column::{
    BYTES, LANGUAGE, METADATA, MIME_TYPE, OUTLINE, PAGES, TABLES, TEXT, TITLE, URI,
};
use pipeline::{
    BoxError, NodeDef, NodeKind, Outcome, Parallelism, Rejection, Resources, SchemaError,
    SchemaExt as _, Stage, StageConfig, StageFacts, options_schema,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::extract::cache::{BatchCache, ExtractionCache};
use crate::extract::columns::DocumentColumns;
use crate::extract::gzip::content_path;
use crate::extract::limits::ExtractLimits;
use crate::extract::read::{
    ExtractRequest, ExtractResult, extract_document, reject_by_type, reject_reason,
};
use crate::extract::title::with_title;
use crate::extract::worker::WorkerClient;
use pipeline::ByteSize;

pub use worker::{EXTRACT_BUILD, extract_worker};

/// Version of the stage without those of its formats.
const VERSION: u32 = 2;

pub(crate) const NODE: NodeDef = NodeDef {
    name: "extract",
    summary: "Extracts the text of each document, with headings, pages and metadata",
    version: VERSION + formats::total_version(),
    parallelism: Parallelism::Any,
    schema: options_schema::<ExtractOptions>,
    parse: |with, _| Ok(NodeKind::Stage(Box::new(serde_json::from_value::<ExtractOptions>(with)?))),
};

/// Options of `extract`.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ExtractOptions {
    /// Time limit of the extraction of one document, in seconds.
    #[serde(default = "max_seconds")]
    #[schemars(range(min = 1))]
    max_seconds: u32,
    /// Memory limit of the extraction of one document. Compressed content may unpack to a quarter
    /// of it.
    #[serde(default = "max_memory")]
    max_memory: ByteSize,
}

fn max_seconds() -> u32 {
    60
}

fn max_memory() -> ByteSize {
    ByteSize::mib(1024)
}

impl StageConfig for ExtractOptions {
    fn output_schema(&self, input: &Schema) -> Result<SchemaRef, SchemaError> {
        input.require(URI.field())?;
        input.require(MIME_TYPE.field())?;
        input.require(BYTES.field())?;
        input
            .without_column(BYTES.name())
            .with_column(TEXT.field())?
            .with_column(TITLE.field())?
            .with_column(LANGUAGE.field())?
            .with_column(METADATA.field())?
            .with_column(PAGES.field())?
            .with_column(OUTLINE.field())?
            .with_column(TABLES.field())
    }

    fn build(&self, with: &Resources) -> Result<Box<dyn Stage>, BoxError> {
        let limits = ExtractLimits {
            time: Duration::from_secs(self.max_seconds.into()),
            memory: self.max_memory.0,
        };
        let worker = with
            .worker_program
            .as_ref()
            .map(|command: &PathBuf| WorkerClient::new(command, limits));
        let memory =
            with.cache.as_ref().map(|memo| ExtractionCache::new(memo, VERSION, &self.identity()));
        let memory = memory.transpose()?;
        Ok(Box::new(Extractor { limits, worker, cache: memory }))
    }

    /// Includes the limits, because they determine which documents are set aside.
    fn identity(&self) -> Value {
        json!({ "max_seconds": self.max_seconds, "max_memory": self.max_memory.0 })
    }

    fn facts(&self) -> StageFacts {
        StageFacts { needs_worker: true, ..StageFacts::default() }
    }
}

struct Extractor {
    limits: ExtractLimits,
    worker: Option<WorkerClient>,
    cache: Option<ExtractionCache>,
}

impl Stage for Extractor {
    fn process(&mut self, rows: RecordBatch) -> Result<Outcome, BoxError> {
        let (uris, mime_types, contents) = (URI.of(&rows)?, MIME_TYPE.of(&rows)?, BYTES.of(&rows)?);
        let paths: Vec<PathBuf> = (0..rows.num_rows())
            .map(|row| content_path(uris.value(row), mime_types.value(row)))
            .collect();
        let mut remembered = BatchCache::look_up(self.cache.as_mut(), &rows)?;
        let (mut asked, mut requests) = (Vec::new(), Vec::new());
        let mut answers: Vec<Option<ExtractResult>> = Vec::with_capacity(rows.num_rows());
        for (row, path) in paths.iter().enumerate() {
            let (mime_type, bytes) = (mime_types.value(row), contents.value(row));
            let known = remembered.take(row).map(Ok);
            let answer = known.or_else(|| reject_by_type(mime_type, bytes).map(Err));
            if answer.is_none() {
                asked.push(row);
                requests.push(ExtractRequest {
                    mime_type: Cow::Borrowed(mime_type),
                    extension: path.extension().unwrap_or_default().to_string_lossy(),
                    bytes: Cow::Borrowed(bytes),
                });
            }
            answers.push(answer);
        }
        let mut asked = asked.into_iter();
        // Runs for each answer as it arrives, while the worker reads the documents after it.
        let mut take = |answer: ExtractResult| {
            let Some(row) = asked.next() else { return };
            if let Ok((mime_type, document)) = &answer {
                remembered.add(row, mime_type, document);
            }
            answers[row] = Some(answer);
        };
        match &mut self.worker {
            Some(worker) => worker.read(&requests, &mut take)?,
            None => {
                let unpacked = self.limits.max_unpacked_bytes();
                requests.iter().map(|request| extract_document(request, unpacked)).for_each(take);
            }
        }
        remembered.write();
        let mut set_aside = Vec::new();
        let mut keep = Vec::with_capacity(rows.num_rows());
        let mut read = DocumentColumns::default();
        for (row, answer) in answers.into_iter().enumerate() {
            let answer = answer.ok_or("the extract worker returned fewer answers than requests")?;
            keep.push(answer.is_ok());
            match answer {
                Ok((mime_type, document)) => {
                    let document = with_title(document, &mime_type, &paths[row]);
                    read.add(&mime_type, document);
                }
                Err(refused) => {
                    set_aside.push(Rejection::from_row(&rows, row, reject_reason(refused))?);
                }
            }
        }
        Ok(Outcome { rows: read.finish(&rows, keep)?, rejected: set_aside })
    }
}
