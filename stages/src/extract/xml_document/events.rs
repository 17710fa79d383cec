//! Events, attributes and text of an XML document.

use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use crate::extract::text::normalize_newlines;

/// Deepest nesting of elements.
const MAX_DEPTH: usize = 256;

/// A part of a document.
pub(super) enum Part<'a> {
    Start(&'a BytesStart<'a>),
    End(&'a str),
    Text(String),
    /// Text whose white space counts.
    Verbatim(String),
}

/// The name of the outermost element; `None` if there is no element.
pub(super) fn root_name(xml: &str) -> Option<String> {
    let mut reader = Reader::from_str(xml);
    loop {
        match reader.read_event() {
            Ok(Event::Start(start) | Event::Empty(start)) => {
                return Some(start.local_name().as_ref().to_owned());
            }
            Ok(Event::Eof) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

/// Calls `on` for each part of a document.
///
/// # Errors
/// A message with the position of the fault, if the document is not well-formed, has no element, or
/// is nested too deeply.
pub(super) fn for_each(xml: &str, mut on: impl FnMut(Part<'_>)) -> Result<(), String> {
    let mut reader = Reader::from_str(xml);
    let (mut depth, mut elements) = (0_usize, 0_usize);
    loop {
        let event = reader.read_event();
        let event = event.map_err(|error| fault(xml, reader.error_position(), &error))?;
        match event {
            Event::Start(start) => {
                (depth, elements) = (depth + 1, elements + 1);
                if depth > MAX_DEPTH {
                    let fault_at = reader.buffer_position();
                    return Err(fault(xml, fault_at, &format!("nested deeper than {MAX_DEPTH}")));
                }
                on(Part::Start(&start));
            }
            Event::Empty(start) => {
                elements += 1;
                on(Part::Start(&start));
                on(Part::End(start.local_name().as_ref()));
            }
            Event::End(end) => {
                depth = depth.saturating_sub(1);
                on(Part::End(end.local_name().as_ref()));
            }
            Event::Text(text) => on(Part::Text(text.xml10_content().into_owned())),
            Event::CData(text) => {
                on(Part::Verbatim(normalize_newlines(&text.xml10_content()).into_owned()));
            }
            Event::GeneralRef(entity) => on(Part::Text(resolve(&entity))),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            Event::Eof if depth > 0 => {
                return Err(fault(xml, xml.len() as u64, &"an element is not closed"));
            }
            Event::Eof if elements == 0 => return Err("it has no element".to_owned()),
            Event::Eof => return Ok(()),
        }
    }
}

/// The character of a reference; references to declared entities are kept.
fn resolve(entity: &BytesRef<'_>) -> String {
    if let Ok(Some(char)) = entity.resolve_char_ref() {
        return char.to_string();
    }
    let known = quick_xml::escape::resolve_predefined_entity(entity);
    known.map_or_else(|| format!("&{};", &**entity), str::to_owned)
}

/// A message with the line of a byte offset.
fn fault(xml: &str, at: u64, message: &dyn std::fmt::Display) -> String {
    let at = usize::try_from(at).unwrap_or(usize::MAX).min(xml.len());
    let line = 1 + xml.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count();
    format!("{message} (line {line})")
}

/// The attributes of an element by local name, without declarations of name spaces and schemas.
pub(super) fn attributes(element: &BytesStart<'_>) -> Vec<(String, String)> {
    let mut attributes = element.attributes();
    let attributes = attributes.with_checks(false).flatten().filter(|it| {
        let name = it.key.as_ref();
        name != "xmlns" && !name.starts_with("xmlns:") && !name.ends_with("schemaLocation")
    });
    attributes
        .filter_map(|it| {
            let value = it.normalized_value(XmlVersion::Implicit1_0).ok()?.into_owned();
            Some((it.key.local_name().as_ref().to_owned(), value))
        })
        .collect()
}

/// The value of an attribute with this local name.
pub(super) fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    attributes(element).into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
}
