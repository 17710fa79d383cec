//! Events, attributes and text of the XML of a part.

#![expect(clippy::wildcard_enum_match_arm, reason = "all other variants are treated alike")]

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use crate::extract::error::ExtractErrorKind;
use crate::extract::package::corrupt;

/// Calls `on` for each event of a part. A part that ends within an element is corrupt.
pub(crate) fn for_each_event<'a>(
    xml: &'a str,
    mut on: impl FnMut(&Event<'a>),
) -> Result<(), ExtractErrorKind> {
    let mut reader = Reader::from_str(xml);
    let mut depth = 0_usize;
    loop {
        match reader.read_event().map_err(corrupt)? {
            Event::Eof if depth > 0 => return Err(corrupt("a part is truncated")),
            Event::Eof => return Ok(()),
            // `<w:p/>` is also an empty paragraph.
            Event::Empty(start) => {
                let end = start.to_end().into_owned();
                on(&Event::Start(start));
                on(&Event::End(end));
            }
            event => {
                match event {
                    Event::Start(_) => depth += 1,
                    Event::End(_) => depth = depth.saturating_sub(1),
                    _ => {}
                }
                on(&event);
            }
        }
    }
}

/// Calls `on` for each element that contains text and no elements, with its text.
pub(crate) fn for_each_field<'a>(
    xml: &'a str,
    mut on: impl FnMut(&BytesStart<'a>, &str),
) -> Result<(), ExtractErrorKind> {
    let (mut element, mut text) = (None, String::new());
    for_each_event(xml, |event| match event {
        Event::Start(start) => {
            element = Some(start.clone());
            text.clear();
        }
        Event::End(_) => {
            if let Some(element) = element.take().filter(|_| !text.trim().is_empty()) {
                on(&element, &text);
            }
            text.clear();
        }
        event => text.push_str(&text_of(event).unwrap_or_default()),
    })
}

/// The value of an attribute, with any prefix.
pub(crate) fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let found =
        element.attributes().flatten().find(|found| found.key.local_name().as_ref() == name)?;
    found.normalized_value(XmlVersion::Implicit1_0).ok().map(|value| value.into_owned())
}

/// The text of an event, with entities resolved; `None` if the event is not text.
pub(crate) fn text_of(event: &Event<'_>) -> Option<String> {
    match event {
        Event::Text(text) => Some(text.xml10_content().into_owned()),
        Event::CData(text) => Some(text.xml10_content().into_owned()),
        Event::GeneralRef(entity) => Some(match entity.resolve_char_ref() {
            Ok(Some(char)) => char.to_string(),
            Ok(None) | Err(_) => {
                quick_xml::escape::resolve_predefined_entity(entity).unwrap_or("").to_owned()
            }
        }),
        Event::Start(_)
        | Event::End(_)
        | Event::Empty(_)
        | Event::Comment(_)
        | Event::Decl(_)
        | Event::PI(_)
        | Event::DocType(_)
        | Event::Eof => None,
    }
}
