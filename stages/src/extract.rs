//! `extract`: turns the bytes of a document into its text, with headings, pages and what it says of
//! itself.
//!
//! Text, Markdown, HTML and manual pages are read in this process, by code that goes through its input
//! once and stays within a small multiple of it. PDF and DOCX are read by a process of their own, whose
//! time and memory are limited, so that a broken or hostile file costs one document. A file that gzip
//! has compressed is unpacked first; its media type becomes that of what is in it. What was read before is
//! not read again (`remembered`).

mod document;
mod docx;
mod gzip;
mod html;
mod language;
mod markdown;
mod pdf;
mod remembered;
mod roff;
mod rows;
mod text;
mod worker;

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use pipeline::column::{BYTES, LANGUAGE, METADATA, MIME_TYPE, OUTLINE, PAGES, TEXT, TITLE, URI};
use pipeline::{
    BoxError, DocError, NodeDef, NodeKind, Outcome, Parallel, Resources, SchemaError,
    SchemaExt as _, SetAside, Stage, StageConfig, Why, options_schema,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::byte_size::ByteSize;
use crate::extract::document::Document;
use crate::extract::remembered::{Memory, Remembered};
use crate::extract::rows::Rows;
use crate::extract::worker::Worker;
use crate::{mime, uri};

pub use worker::extract_worker;

pub(crate) const NODE: NodeDef = NodeDef {
    name: "extract",
    summary: "Turns the bytes of a document into its text, with headings and pages",
    version: 1,
    parallel: Parallel::Any,
    schema: options_schema::<Extract>,
    parse: |with, _| Ok(NodeKind::Stage(Box::new(serde_json::from_value::<Extract>(with)?))),
};

/// Options of `extract`.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Extract {
    /// Most seconds that one PDF or DOCX may take.
    #[serde(default = "max_seconds")]
    #[schemars(range(min = 1))]
    max_seconds: u32,
    /// Most memory that one PDF or DOCX may take. What is compressed may unpack to a quarter of it.
    #[serde(default = "max_memory")]
    max_memory: ByteSize,
}

fn max_seconds() -> u32 {
    60
}

fn max_memory() -> ByteSize {
    ByteSize::mib(1024)
}

impl StageConfig for Extract {
    fn output_schema(&self, input: &Schema) -> Result<SchemaRef, SchemaError> {
        input.require(URI.field())?;
        input.require(MIME_TYPE.field())?;
        input.require(BYTES.field())?;
        input
            .without(BYTES.name())
            .adding(TEXT.field())?
            .adding(TITLE.field())?
            .adding(LANGUAGE.field())?
            .adding(METADATA.field())?
            .adding(PAGES.field())?
            .adding(OUTLINE.field())
    }

    fn build(&self, with: &Resources) -> Result<Box<dyn Stage>, BoxError> {
        let limits = Limits {
            time: Duration::from_secs(self.max_seconds.into()),
            memory: self.max_memory.0,
        };
        let worker =
            with.extract_worker.as_ref().map(|command: &PathBuf| Worker::new(command, limits));
        let memory = with.memo.as_ref().map(|memo| Memory::new(memo, &self.identity()));
        Ok(Box::new(Extractor { limits, worker, memory }))
    }

    /// The limits are part of it: with others, other documents are set aside.
    fn identity(&self) -> Value {
        json!({ "max_seconds": self.max_seconds, "max_memory": self.max_memory.0 })
    }
}

/// What one document may cost.
#[derive(Clone, Copy, Debug)]
struct Limits {
    time: Duration,
    memory: u64,
}

impl Limits {
    /// How much a compressed file may unpack to: its text and what is made of it must fit as well.
    fn unpacked(self) -> u64 {
        self.memory / 4
    }
}

/// A format that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Format {
    Text,
    Markdown,
    Html,
    Roff,
    Pdf,
    Docx,
}

impl Format {
    fn of(mime_type: &str) -> Option<Self> {
        Some(match mime_type {
            "text/markdown" => Self::Markdown,
            "text/html" | "application/xhtml+xml" => Self::Html,
            "text/troff" => Self::Roff,
            "application/pdf" => Self::Pdf,
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document" => Self::Docx,
            "application/json" | "application/jsonl" | "application/sql" | "application/toml"
            | "application/xml" | "application/yaml" => Self::Text,
            other if other.starts_with("text/") => Self::Text,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Markdown => "Markdown",
            Self::Html => "HTML",
            Self::Roff => "manual page",
            Self::Pdf => "PDF",
            Self::Docx => "DOCX",
        }
    }

    /// Whether reading it calls for a process of its own.
    fn is_risky(self) -> bool {
        matches!(self, Self::Pdf | Self::Docx)
    }
}

/// Why there is no text of a document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
enum Refusal {
    /// What claims to be text is something else.
    #[error("not a text")]
    NotText,
    /// What the parser said.
    #[error("corrupt: {0}")]
    Corrupt(String),
    #[error("encrypted")]
    Encrypted,
    /// The limit that it exceeds.
    #[error("exceeds {0}")]
    Limit(String),
}

impl Refusal {
    fn unpacks_to_more_than(most: u64) -> Self {
        Self::Limit(format!("{} of unpacked content (a quarter of max_memory)", ByteSize(most)))
    }

    fn why(self, format: &'static str) -> Why {
        match self {
            Self::NotText => Why::Unsupported { mime_type: mime::BINARY.to_owned() },
            Self::Corrupt(cause) => DocError::Corrupt { format, cause }.into(),
            Self::Encrypted => DocError::Encrypted.into(),
            Self::Limit(limit) => DocError::Limit { limit }.into(),
        }
    }
}

/// Reads one document. Panics of a parser are its own, and cost this document only.
fn read(format: Format, bytes: &[u8], unpacked: u64) -> Result<Document, Refusal> {
    let read = || match format {
        Format::Text => text::extract(bytes).ok_or(Refusal::NotText),
        Format::Markdown => markdown::extract(bytes).ok_or(Refusal::NotText),
        Format::Html => html::extract(bytes).ok_or(Refusal::NotText),
        Format::Roff => roff::extract(bytes).ok_or(Refusal::NotText),
        Format::Pdf => pdf::extract(bytes),
        Format::Docx => docx::extract(bytes, unpacked),
    };
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned()));
        Err(Refusal::Corrupt(said.unwrap_or_else(|| "its reader gave up".to_owned())))
    })
}

struct Extractor {
    limits: Limits,
    worker: Option<Worker>,
    memory: Option<Memory>,
}

/// A document, with the media type of what was read.
type Extracted = (String, Document);

impl Stage for Extractor {
    fn process(&mut self, rows: RecordBatch) -> Result<Outcome, BoxError> {
        let (uris, mime_types, contents) = (URI.of(&rows)?, MIME_TYPE.of(&rows)?, BYTES.of(&rows)?);
        let mut set_aside = Vec::new();
        let mut keep = Vec::with_capacity(rows.num_rows());
        let mut read = Rows::default();
        let mut remembered = Remembered::look_up(self.memory.as_ref(), &rows)?;
        for row in 0..rows.num_rows() {
            let mime_type = mime_types.value(row);
            let path = path_of(uris.value(row), mime_type);
            let extracted = match remembered.take(row) {
                Some(extracted) => Ok(extracted),
                None => self
                    .extract(&path, mime_type, contents.value(row))?
                    .inspect(|(mime_type, document)| remembered.note(row, mime_type, document)),
            };
            keep.push(extracted.is_ok());
            match extracted {
                Ok((mime_type, document)) => read.add(&mime_type, titled(document, &path)),
                Err(why) => set_aside.push(SetAside::row(&rows, row, why)?),
            }
        }
        remembered.store();
        Ok(Outcome { rows: read.finish(&rows, keep)?, set_aside })
    }
}

impl Extractor {
    /// Reads one document, whose path is that of [`path_of`].
    fn extract(
        &mut self,
        path: &Path,
        mut mime_type: &str,
        bytes: &[u8],
    ) -> Result<Result<Extracted, Why>, BoxError> {
        let mut bytes = Cow::Borrowed(bytes);
        if is_gzip(mime_type) {
            match gzip::unpack(&bytes, self.limits.unpacked()) {
                Ok(content) => bytes = Cow::Owned(content),
                Err(refusal) => return Ok(Err(refusal.why("gzip"))),
            }
            mime_type = mime::of(path, &bytes);
        }
        let Some(format) = Format::of(mime_type) else {
            // Nothing is of no type, and says what it is.
            let why = if bytes.is_empty() {
                Why::Empty
            } else {
                Why::Unsupported { mime_type: mime_type.to_owned() }
            };
            return Ok(Err(why));
        };
        if bytes.is_empty() {
            return Ok(Err(Why::Empty));
        }
        let unpacked = self.limits.unpacked();
        let document = match &mut self.worker {
            Some(worker) if format.is_risky() => worker.read(format, &bytes)?,
            Some(_) | None => read(format, &bytes, unpacked),
        };
        let mut document = match document {
            Ok(document) => document,
            Err(refusal) => return Ok(Err(refusal.why(format.name()))),
        };
        if document.text.trim().is_empty() {
            return Ok(Err(Why::Empty));
        }
        if document.language.is_none() {
            document.language = language::detect(&document.text);
        }
        Ok(Ok((mime_type.to_owned(), document)))
    }
}

fn is_gzip(mime_type: &str) -> bool {
    mime_type == "application/gzip"
}

/// The path of what is read: without its last extension, if that is one of compression.
fn path_of(uri: &str, mime_type: &str) -> PathBuf {
    let mut path = uri::to_path(uri).unwrap_or_else(|| PathBuf::from(uri));
    if is_gzip(mime_type) {
        path.set_extension("");
    }
    path
}

/// The document with a title: its own, or the name of its file.
fn titled(mut document: Document, path: &Path) -> Document {
    if document.title.is_none() {
        document.title = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    }
    document
}
