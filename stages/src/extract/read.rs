//! Extracts one document. The extract worker calls this, or the main process if no worker is
//! configured.
//!
//! The result is a function of the request alone: content, media type and file extension.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use pipeline::{DocumentError, RejectReason, panic_message};

use crate::extract::document::Document;
use crate::extract::error::{ExtractError, ExtractErrorKind};
use crate::extract::format::Format;
use crate::extract::formats::{by_media_type, is_prose, known_name};
use crate::extract::gzip::{self, is_gzip};
use crate::extract::{language, source_code};
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

/// The reason for which a document with this error is set aside.
pub(crate) fn reject_reason(error: ExtractError) -> RejectReason {
    let format = error.format.as_deref().and_then(known_name).unwrap_or(gzip::NAME);
    match error.kind {
        ExtractErrorKind::Empty => RejectReason::Empty,
        ExtractErrorKind::ImagesOnly(images, pages) => RejectReason::ImagesOnly { images, pages },
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

/// The refusal of content that needs no parser: empty, or of an unsupported type. `None` for gzip,
/// which must be unpacked first.
pub(crate) fn reject_by_type(mime_type: &str, bytes: &[u8]) -> Option<ExtractError> {
    if is_gzip(mime_type) {
        return None;
    }
    let format = by_media_type(mime_type);
    if bytes.is_empty() {
        return Some(ExtractErrorKind::Empty.with_format(format.map(|it| it.name)));
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
    let Some(format) = by_media_type(mime_type) else {
        return Err(ExtractErrorKind::NotText.with_format(None));
    };
    let parsed = parse(format, &bytes, unpacked);
    let mut document = parsed.map_err(|refusal| refusal.with_format(Some(format.name)))?;
    if document.text.trim().is_empty() {
        return Err(ExtractErrorKind::Empty.with_format(Some(format.name)));
    }
    source_code::describe(mime_type, &mut document);
    if document.language.is_none() && is_prose(format) {
        document.language = language::detect(&document.text);
    }
    Ok((mime_type.to_owned(), document))
}

/// A panic of a parser becomes a refusal of this document.
fn parse(format: &Format, bytes: &[u8], unpacked: u64) -> Result<Document, ExtractErrorKind> {
    catch_unwind(AssertUnwindSafe(|| (format.parse)(bytes, unpacked)))
        .unwrap_or_else(|panic| Err(ExtractErrorKind::Corrupt(panic_message(&*panic).to_owned())))
}
