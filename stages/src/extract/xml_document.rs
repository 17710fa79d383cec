//! XML. Documents in a vocabulary for publications (DocBook, TEI, JATS, DITA) are read as running
//! text with headings ([`publication`]), XHTML and SVG by their own readers, and everything else as
//! data ([`data`]): every text and attribute with the names of its elements.
//!
//! Entities that a document declares are not expanded; a reference to one is kept as it is. A file
//! that is not well-formed is read as plain text; then the metadata `syntax_error` names the fault.

mod data;
mod events;
mod publication;
pub(super) mod svg;

use crate::extract::document::Document;
use crate::extract::error::ExtractErrorKind;
use crate::extract::format::Format;
use crate::extract::html::{self, declared_encoding};
use crate::extract::text::{decode, plain_with_error};

pub(crate) const FORMAT: Format = Format {
    name: "XML",
    media_types: &["application/xml"],
    version: 1,
    is_cached: false,
    has_titles_in_headings: false,
    parse: |bytes, _| extract(bytes).ok_or(ExtractErrorKind::NotText),
};

/// The document; `None` if the bytes are not text.
fn extract(bytes: &[u8]) -> Option<Document> {
    let text = decode(bytes, declared_encoding(bytes))?;
    let root = events::root_name(&text);
    let read = match root.as_deref() {
        Some("html") => Ok(html::from_text(&text)),
        Some("svg") => svg::read(&text),
        Some(root) if publication::is_likely(root, &text) => publication::read(&text),
        Some(_) | None => data::read(&text),
    };
    Some(read.unwrap_or_else(|error| plain_with_error(&text, &error)))
}
