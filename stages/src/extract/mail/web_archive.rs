//! Web archives (MHTML): a page with its images and styles as the parts of a message.

use mail_parser::MessageParser;

use crate::extract::document::{Document, collapse_whitespace};
use crate::extract::error::ExtractErrorKind;
use crate::extract::format::Format;
use crate::extract::html;
use crate::extract::mail::body;

pub(crate) const FORMAT: Format = Format {
    name: "web archive",
    media_types: &["multipart/related"],
    version: 1,
    is_cached: true,
    has_titles_in_headings: true,
    parse: |bytes, _| extract(bytes),
};

/// The document of the first page in the archive.
fn extract(bytes: &[u8]) -> Result<Document, ExtractErrorKind> {
    let message = MessageParser::default().parse(bytes);
    let page = message.as_ref().and_then(|message| body::page(message));
    let page = page.ok_or_else(|| ExtractErrorKind::Corrupt("it has no page".to_owned()))?;
    let mut document = html::from_text(&page);
    let message = message.unwrap_or_default();
    if document.title.is_none() {
        document.title = message.subject().map(collapse_whitespace);
    }
    if let Some(date) = message.date().filter(|date| date.is_valid()) {
        document.add_metadata("created", &date.to_rfc3339());
    }
    Ok(document)
}
