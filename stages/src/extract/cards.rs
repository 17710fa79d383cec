//! Calendars (iCalendar) and address books (vCard): each event, task or contact is a section with
//! its name as a heading and a line for each property that people read.

use std::borrow::Cow;

use crate::extract::document::{Document, DocumentBuilder, collapse_whitespace};
use crate::extract::error::ExtractErrorKind;
use crate::extract::format::Format;
use crate::extract::text::{decode, normalize_newlines};

pub(crate) const FORMAT: Format = Format {
    name: "calendar or contacts",
    media_types: &["text/calendar", "text/vcard"],
    version: 1,
    is_cached: false,
    has_titles_in_headings: false,
    parse: |bytes, _| extract(bytes).ok_or(ExtractErrorKind::NotText),
};

/// Components that are sections.
const SECTIONS: [&str; 4] = ["VCARD", "VEVENT", "VJOURNAL", "VTODO"];

/// Properties that name a section, the best first.
const NAMES: [&str; 3] = ["FN", "SUMMARY", "N"];

/// Properties that are shown, with their labels.
const SHOWN: &[(&str, &str)] = &[
    ("ADR", "Address"),
    ("ATTENDEE", "Attendee"),
    ("BDAY", "Birthday"),
    ("CATEGORIES", "Categories"),
    ("COMMENT", "Comment"),
    ("DESCRIPTION", "Description"),
    ("DTEND", "End"),
    ("DTSTART", "Start"),
    ("DUE", "Due"),
    ("EMAIL", "Email"),
    ("LOCATION", "Location"),
    ("NICKNAME", "Nickname"),
    ("NOTE", "Note"),
    ("ORG", "Organization"),
    ("ORGANIZER", "Organizer"),
    ("ROLE", "Role"),
    ("RRULE", "Recurrence"),
    ("STATUS", "Status"),
    ("TEL", "Telephone"),
    ("TITLE", "Title"),
    ("URL", "URL"),
];

/// A line `NAME;PARAMETER=…:VALUE`.
struct Property<'a> {
    /// In upper case, without the group before a dot.
    name: String,
    parameters: &'a str,
    value: Cow<'a, str>,
}

/// The document; `None` if the bytes are not text.
fn extract(bytes: &[u8]) -> Option<Document> {
    let text = decode(bytes, None)?;
    // A line that begins with white space continues the one before.
    let text = normalize_newlines(&text).replace("\n ", "").replace("\n\t", "");
    let mut builder = DocumentBuilder::default();
    let mut title = None;
    let mut section: Option<Vec<Property<'_>>> = None;
    // Number of open components within a section, such as alarms.
    let mut nested = 0_usize;
    for property in properties(&text) {
        let component = property.value.to_uppercase();
        match (property.name.as_str(), &mut section) {
            ("BEGIN", None) if SECTIONS.contains(&component.as_str()) => section = Some(Vec::new()),
            ("BEGIN", Some(_)) => nested += 1,
            ("END", Some(_)) if nested > 0 => nested -= 1,
            ("END", Some(properties)) => {
                write_section(properties, &mut builder);
                section = None;
            }
            ("X-WR-CALNAME", None) => title = Some(collapse_whitespace(&property.value)),
            (_, Some(properties)) if nested == 0 => properties.push(property),
            _ => {}
        }
    }
    let mut document = builder.finish();
    document.title = title.or_else(|| match &document.outline[..] {
        [only] => Some(only.title.clone()),
        _ => None,
    });
    Some(document)
}

/// The properties, with the value on the lines after a soft line break of vCard 2.1.
fn properties(text: &str) -> impl Iterator<Item = Property<'_>> {
    let mut lines = text.lines();
    std::iter::from_fn(move || {
        loop {
            let (head, value) = split_value(lines.next()?);
            let Some(value) = value else { continue };
            let (name, parameters) = head.split_once(';').unwrap_or((head, ""));
            let name = name.rsplit('.').next().unwrap_or(name).to_uppercase();
            let mut value = Cow::Borrowed(value);
            if parameters.to_uppercase().contains("QUOTED-PRINTABLE") {
                while value.ends_with('=')
                    && let Some(next) = lines.next()
                {
                    let value = value.to_mut();
                    value.pop();
                    value.push_str(next);
                }
                value = Cow::Owned(decode_quoted_printable(&value));
            }
            return Some(Property { name, parameters, value });
        }
    })
}

/// The parts before and after the first colon that is not quoted.
fn split_value(line: &str) -> (&str, Option<&str>) {
    let mut is_quoted = false;
    for (at, char) in line.char_indices() {
        match char {
            '"' => is_quoted = !is_quoted,
            ':' if !is_quoted => return (&line[..at], Some(&line[at + 1..])),
            _ => {}
        }
    }
    (line, None)
}

fn decode_quoted_printable(value: &str) -> String {
    let decoded =
        mail_parser::decoders::quoted_printable::quoted_printable_decode(value.as_bytes());
    let decoded = decoded.unwrap_or_else(|| value.as_bytes().to_vec());
    decode(&decoded, None).map_or_else(|| value.to_owned(), Cow::into_owned)
}

fn write_section(properties: &[Property<'_>], builder: &mut DocumentBuilder) {
    let value = |name: &str| properties.iter().find(|property| property.name == name);
    let name = NAMES.iter().find_map(|name| value(name)).map(|property| readable(property));
    builder.begin_heading(1);
    builder.push_text(&name.unwrap_or_default());
    builder.end_heading();
    for property in properties {
        let shown = SHOWN.iter().find(|(name, _)| *name == property.name);
        let Some((_, label)) = shown else { continue };
        builder.push_text(&format!("{label}: "));
        builder.push_verbatim(&readable(property));
        builder.begin_line();
    }
}

/// The value without escapes; the parts of an address are separated by commas. An address of a
/// person has the name in its parameters.
fn readable(property: &Property<'_>) -> String {
    let mut text = String::with_capacity(property.value.len());
    let mut chars = property.value.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next() {
                Some('n' | 'N') => text.push('\n'),
                Some(other) => text.push(other),
                None => {}
            },
            ';' if matches!(property.name.as_str(), "ADR" | "N" | "ORG") => text.push_str(", "),
            other => text.push(other),
        }
    }
    let parts = text.split(", ").filter(|part| !part.trim().is_empty());
    let text = parts.collect::<Vec<_>>().join(", ");
    let address = text.strip_prefix("mailto:").or_else(|| text.strip_prefix("MAILTO:"));
    let Some(address) = address else { return text };
    let name = property.parameters.split(';').find_map(|it| it.strip_prefix("CN="));
    name.map_or_else(
        || address.to_owned(),
        |name| format!("{} <{address}>", name.trim_matches('"')),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_and_contacts_are_sections() {
        let calendar = "BEGIN:VCALENDAR\r\nX-WR-CALNAME:Trees\r\nBEGIN:VEVENT\r\nSUMMARY:Plant\\, water\r\nDTSTART;TZID=\"Europe/Vienna:x\":20240501T100000\r\nORGANIZER;CN=\"Ann Lee\":mailto:ann@example.org\r\nDESCRIPTION:Line one\\nline t\r\n wo\r\nBEGIN:VALARM\r\nDESCRIPTION:alarm\r\nEND:VALARM\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
        let document = extract(calendar.as_bytes()).unwrap();
        assert_eq!(document.title.as_deref(), Some("Trees"));
        insta::assert_snapshot!(document.text, @r#"
        Plant, water

        Start: 20240501T100000
        Organizer: Ann Lee <ann@example.org>
        Description: Line one
        line two
        "#);
        let card = "BEGIN:VCARD\r\nVERSION:2.1\r\nN;ENCODING=QUOTED-PRINTABLE;CHARSET=UTF-8:=C3=96berg;Bj=C3=\r\n=B6rn\r\nitem1.ORG:Trees;;North\r\nADR:;;Main St 1;Graz;;8010;AT\r\nEND:VCARD\r\n";
        let document = extract(card.as_bytes()).unwrap();
        assert_eq!(document.title.as_deref(), Some("Öberg, Björn"));
        insta::assert_snapshot!(document.text, @r#"
        Öberg, Björn

        Organization: Trees, North
        Address: Main St 1, Graz, 8010, AT
        "#);
    }
}
