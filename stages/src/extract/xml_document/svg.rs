//! SVG drawings: title, description and labels, each on a line.

use crate::extract::document::{Document, DocumentBuilder, collapse_whitespace};
use crate::extract::error::ExtractErrorKind;
use crate::extract::format::Format;
use crate::extract::html::declared_encoding;
use crate::extract::text::decode;
use crate::extract::xml_document::events::{Part, attribute, for_each};

pub(crate) const FORMAT: Format = Format {
    name: "SVG",
    media_types: &["image/svg+xml"],
    version: 1,
    is_cached: false,
    has_titles_in_headings: true,
    parse: |bytes, _| {
        let xml = decode(bytes, declared_encoding(bytes)).ok_or(ExtractErrorKind::NotText)?;
        read(&xml).map_err(ExtractErrorKind::Corrupt)
    },
};

/// Elements whose text is shown.
const SHOWN: [&str; 5] = ["title", "desc", "text", "textPath", "p"];

/// Reads the drawing. The first `title` is that of the document.
///
/// # Errors
/// The message of the parser.
pub(super) fn read(xml: &str) -> Result<Document, String> {
    let mut builder = DocumentBuilder::default();
    let mut title: Option<String> = None;
    // Open elements whose text is shown, and whether the first title is open.
    let (mut shown, mut in_title) = (0, false);
    for_each(xml, |part| match part {
        Part::Start(start) => {
            let name = start.local_name();
            let name = name.as_ref();
            if SHOWN.contains(&name) {
                shown += 1;
                builder.begin_line();
            } else if name == "tspan" {
                // A new vertical position is a new line.
                let moves = ["y", "dy"].iter().any(|key| attribute(start, key).is_some());
                if moves { builder.begin_line() } else { builder.separate() }
            }
            in_title = name == "title" && title.is_none();
        }
        Part::End(name) => {
            if SHOWN.contains(&name) {
                shown -= 1;
                builder.begin_line();
            }
            in_title = false;
        }
        Part::Text(text) | Part::Verbatim(text) => {
            if shown > 0 {
                builder.push_text(&text);
            }
            if in_title {
                title.get_or_insert_default().push_str(&text);
            }
        }
    })?;
    let mut document = builder.finish();
    document.title = title.map(|title| collapse_whitespace(&title));
    Ok(document)
}
