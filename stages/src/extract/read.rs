//! Extracts one document. The extract worker calls this, or the main process if no worker is
//! configured.
//!
//! The result is a function of the request alone: content, media type and file extension.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use pipeline::{DocumentError, RejectReason};
use serde::{Deserialize, Serialize};

use crate::extract::document::Document;
use crate::extract::{docx, gzip, html, language, markdown, pdf, roff, text};
use pipeline::ByteSize;
use sources::mime;

/// A document to extract.
pub(crate) struct ExtractRequest<'a> {
    pub(crate) mime_type: Cow<'a, str>,
    /// The extension of its file name; for a compressed file, that of the name inside.
    pub(crate) extension: Cow<'a, str>,
    pub(crate) bytes: Cow<'a, [u8]>,
}

/// The media type of the extracted content, and the document.
pub(crate) type ExtractedDocument = (String, Document);

/// The result of a request.
pub(crate) type ExtractResult = Result<ExtractedDocument, ExtractError>;

/// A document without text, with the reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ExtractError {
    /// The format of the parser; `None` if the document was refused before one was chosen.
    pub(crate) format: Option<Format>,
    pub(crate) kind: ExtractErrorKind,
}

/// The reason for which a document has no text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum ExtractErrorKind {
    #[error("empty")]
    Empty,
    /// The number of pages that are images, and the number of all pages.
    #[error("{0} of {1} pages are images")]
    ImagesOnly(u64, u64),
    /// The media type without a parser.
    #[error("unsupported: {0}")]
    Unsupported(String),
    /// The content is binary, although its type is text.
    #[error("not text")]
    NotText,
    /// The message of the parser.
    #[error("corrupt: {0}")]
    Corrupt(String),
    #[error("encrypted")]
    Encrypted,
    /// The limit that the document exceeds.
    #[error("exceeds {0}")]
    LimitExceeded(String),
}

impl ExtractErrorKind {
    pub(crate) fn unpack_limit(most: u64) -> Self {
        Self::LimitExceeded(format!(
            "{} of unpacked content (a quarter of max_memory)",
            ByteSize(most)
        ))
    }

    pub(crate) fn with_format(self, format: Option<Format>) -> ExtractError {
        ExtractError { format, kind: self }
    }
}

impl ExtractError {
    pub(crate) fn into_reject_reason(self) -> RejectReason {
        let format = self.format.map_or("gzip", Format::name);
        match self.kind {
            ExtractErrorKind::Empty => RejectReason::Empty,
            ExtractErrorKind::ImagesOnly(images, pages) => {
                RejectReason::ImagesOnly { images, pages }
            }
            ExtractErrorKind::Unsupported(mime_type) => RejectReason::Unsupported { mime_type },
            ExtractErrorKind::NotText => {
                RejectReason::Unsupported { mime_type: mime::BINARY.to_owned() }
            }
            ExtractErrorKind::Corrupt(cause) => {
                DocumentError::Corrupt { format: format.into(), cause }.into()
            }
            ExtractErrorKind::Encrypted => DocumentError::Encrypted.into(),
            ExtractErrorKind::LimitExceeded(limit) => DocumentError::LimitExceeded { limit }.into(),
        }
    }
}

/// A format with a parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Format {
    Text,
    Markdown,
    Html,
    Roff,
    Pdf,
    Docx,
}

impl Format {
    pub(crate) fn from_mime_type(mime_type: &str) -> Option<Self> {
        Some(match mime_type {
            "text/markdown" => Self::Markdown,
            "text/html" | "application/xhtml+xml" => Self::Html,
            "text/troff" => Self::Roff,
            "application/pdf" => Self::Pdf,
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document" => Self::Docx,
            "application/json" | "application/jsonl" | "application/sql" | "application/toml"
            | "application/xml" | "application/yaml" => Self::Text,
            // A markup language without a parser, although its type is text.
            "text/rtf" => return None,
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
}

pub(crate) fn is_gzip(mime_type: &str) -> bool {
    mime_type == "application/gzip"
}

/// The refusal of content that needs no parser: empty, or of an unsupported type. `None` for gzip,
/// which must be unpacked first.
pub(crate) fn reject_by_type(mime_type: &str, bytes: &[u8]) -> Option<ExtractError> {
    if is_gzip(mime_type) {
        return None;
    }
    let format = Format::from_mime_type(mime_type);
    if bytes.is_empty() {
        return Some(ExtractErrorKind::Empty.with_format(format));
    }
    format.is_none().then(|| ExtractErrorKind::Unsupported(mime_type.to_owned()).with_format(None))
}

/// Extracts one document. Compressed content may unpack to at most `unpacked` bytes.
pub(crate) fn extract_document(request: &ExtractRequest<'_>, unpacked: u64) -> ExtractResult {
    let mut mime_type = request.mime_type.as_ref();
    let mut bytes = Cow::Borrowed(request.bytes.as_ref());
    if is_gzip(mime_type) {
        let content =
            gzip::unpack(&bytes, unpacked).map_err(|refusal| refusal.with_format(None))?;
        let name = PathBuf::from(format!("document.{}", request.extension));
        mime_type = mime::detect(&name, &content);
        if is_gzip(mime_type) {
            return Err(ExtractErrorKind::Unsupported(mime_type.to_owned()).with_format(None));
        }
        bytes = Cow::Owned(content);
    }
    if let Some(refused) = reject_by_type(mime_type, &bytes) {
        return Err(refused);
    }
    let format = Format::from_mime_type(mime_type);
    let parsed =
        format.map_or(Err(ExtractErrorKind::NotText), |format| parse(format, &bytes, unpacked));
    let mut document = parsed.map_err(|refusal| refusal.with_format(format))?;
    if document.text.trim().is_empty() {
        return Err(ExtractErrorKind::Empty.with_format(format));
    }
    if document.language.is_none() {
        document.language = language::detect(&document.text);
    }
    Ok((mime_type.to_owned(), document))
}

/// A panic of a parser becomes a refusal of this document.
fn parse(format: Format, bytes: &[u8], unpacked: u64) -> Result<Document, ExtractErrorKind> {
    let parse = || match format {
        Format::Text => text::extract(bytes).ok_or(ExtractErrorKind::NotText),
        Format::Markdown => markdown::extract(bytes).ok_or(ExtractErrorKind::NotText),
        Format::Html => html::extract(bytes).ok_or(ExtractErrorKind::NotText),
        Format::Roff => roff::extract(bytes).ok_or(ExtractErrorKind::NotText),
        Format::Pdf => pdf::extract(bytes),
        Format::Docx => docx::extract(bytes, unpacked),
    };
    catch_unwind(AssertUnwindSafe(parse)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned()));
        Err(ExtractErrorKind::Corrupt(said.unwrap_or_else(|| "the parser panicked".to_owned())))
    })
}
