//! The metadata of an OpenDocument file.

#![expect(clippy::wildcard_enum_match_arm, reason = "all other variants are treated alike")]

use quick_xml::events::Event;

use crate::extract::document::{Document, collapse_whitespace};
use crate::extract::error::ExtractErrorKind;
use crate::extract::language;
use crate::extract::xml::{for_each_event, text_of};

/// Elements of `office:meta` with their metadata keys. The author is the person who created the
/// document; `dc:creator` is the last person who changed it.
const KEYS: &[(&str, &str)] = &[
    ("meta:initial-creator", "author"),
    ("dc:creator", "last_modified_by"),
    ("meta:creation-date", "created"),
    ("dc:date", "modified"),
    ("dc:description", "description"),
    ("dc:subject", "subject"),
];

/// Reads the element `office:meta`. Annotations and changes have elements of the same names.
pub(super) fn read(xml: &str, document: &mut Document) -> Result<(), ExtractErrorKind> {
    let (mut in_meta, mut text) = (false, String::new());
    let mut keywords: Vec<String> = Vec::new();
    for_each_event(xml, |event| match event {
        Event::Start(element) => {
            in_meta |= element.name().as_ref() == "office:meta";
            text.clear();
        }
        Event::End(element) => {
            match element.name().as_ref() {
                "office:meta" => in_meta = false,
                _ if !in_meta || text.trim().is_empty() => {}
                "dc:title" => document.title = Some(collapse_whitespace(&text)),
                "dc:language" => document.language = language::iso_code(&text),
                "meta:keyword" => keywords.push(collapse_whitespace(&text)),
                name => {
                    if let Some((_, key)) = KEYS.iter().find(|(known, _)| *known == name) {
                        document.add_metadata(key, &text);
                    }
                }
            }
            text.clear();
        }
        event if in_meta => text.push_str(&text_of(event).unwrap_or_default()),
        _ => {}
    })?;
    document.add_metadata("keywords", &keywords.join(", "));
    Ok(())
}
