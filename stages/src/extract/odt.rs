//! OpenDocument texts: headings, paragraphs, lists, tables and notes.
//!
//! Headers, footers, comments, deleted and hidden text, and generated indexes are left out. Notes
//! follow the text.

use crate::extract::document::{Document, DocumentBuilder};
use crate::extract::error::ExtractErrorKind;
use crate::extract::format::Format;
use crate::extract::odf::OpenDocument;
use crate::extract::odf::body::BodyReader;
use crate::extract::xml::for_each_event;

pub(crate) const FORMAT: Format = Format {
    name: "ODT",
    media_types: &[
        "application/vnd.oasis.opendocument.text",
        "application/vnd.oasis.opendocument.text-flat-xml",
        "application/vnd.oasis.opendocument.text-template",
    ],
    version: 0,
    is_cached: true,
    has_titles_in_headings: true,
    parse: extract,
};

/// Extracts the document; the parts that are read may unpack to at most `most` bytes in total.
fn extract(bytes: &[u8], most: u64) -> Result<Document, ExtractErrorKind> {
    let file = OpenDocument::read(bytes, most)?;
    let mut body = BodyReader::new(&file.styles);
    for_each_event(&file.content, |event| {
        body.read(event);
    })?;
    let mut builder = DocumentBuilder::default();
    for block in &body.blocks {
        builder.push_block(block);
    }
    builder.push_notes(&body.notes);
    let mut document = builder.finish();
    file.add_metadata(&mut document)?;
    Ok(document)
}
