//! Media types of markup languages and of data in text form, by extension and by content.

use super::{TEX, XML};

const CALENDAR: &str = "text/calendar";
const CONTACTS: &str = "text/vcard";
const JSON: &str = "application/json";
const JSON_LINES: &str = "application/jsonl";
const ORG: &str = "text/org";
const SUBTITLES: &str = "text/vtt";
const SVG: &str = "image/svg+xml";

/// Types by lower-case extension, sorted.
const BY_EXTENSION: &[(&str, &str)] = &[
    ("asciidoc", "text/asciidoc"),
    ("atom", XML),
    ("dbk", XML),
    ("dita", XML),
    ("docbook", XML),
    ("geojson", JSON),
    ("gpx", XML),
    ("ical", CALENDAR),
    ("ics", CALENDAR),
    ("ipynb", "application/x-ipynb+json"),
    ("jsonc", JSON),
    ("kml", XML),
    ("latex", TEX),
    ("ltx", TEX),
    ("ndjson", JSON_LINES),
    ("nxml", XML),
    ("opml", XML),
    ("org", ORG),
    ("plist", XML),
    ("rdf", XML),
    ("rss", XML),
    ("srt", "application/x-subrip"),
    ("svg", SVG),
    ("tei", XML),
    ("vcard", CONTACTS),
    ("vcf", CONTACTS),
    ("vtt", SUBTITLES),
    ("webmanifest", JSON),
    ("wsdl", XML),
    ("xsd", XML),
    ("xsl", XML),
    ("xslt", XML),
];

/// The type that an extension stands for.
pub(super) fn by_extension(extension: &[u8]) -> Option<&'static str> {
    super::lookup(BY_EXTENSION, extension)
}

/// The type of a text that begins, and for JSON also ends, as only one language does.
pub(super) fn by_content(bytes: &[u8]) -> Option<&'static str> {
    let text = bytes.trim_ascii();
    let begins = |word: &str| {
        text.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word.as_bytes()))
    };
    if begins("\\documentclass") {
        return Some(TEX);
    }
    if begins("#+title:") {
        return Some(ORG);
    }
    let words = [
        ("<svg ", SVG),
        ("begin:vcalendar", CALENDAR),
        ("begin:vcard", CONTACTS),
        ("webvtt\n", SUBTITLES),
    ];
    if let Some((_, kind)) = words.iter().find(|(word, _)| begins(word)) {
        return Some(kind);
    }
    is_json(text).then_some(JSON)
}

/// `true` for an object with a first key, and for a list of such objects.
fn is_json(text: &[u8]) -> bool {
    let inner = match text {
        [b'{', inner @ .., b'}'] => inner,
        [b'[', inner @ .., b']'] => match inner.trim_ascii() {
            [b'{', inner @ .., b'}'] => inner,
            _ => return false,
        },
        _ => return false,
    };
    inner.trim_ascii_start().starts_with(b"\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order() {
        assert!(BY_EXTENSION.is_sorted());
    }
}
