//! Markdown, kept verbatim. A parser finds the headings and tables, so a `#` in a code block is not
//! a heading; front matter becomes metadata.

use pulldown_cmark::{Event, HeadingLevel, MetadataBlockKind, Options, Parser, Tag, TagEnd};
use serde_json::Value;

use crate::extract::document::{Document, Heading, collapse_whitespace};
use crate::extract::error::ExtractErrorKind;
use crate::extract::format::Format;
use crate::extract::table::TableSpan;
use crate::extract::text::decode_verbatim;

pub(crate) const FORMAT: Format = Format {
    name: "Markdown",
    media_types: &["text/markdown"],
    version: 1,
    is_cached: true,
    has_titles_in_headings: true,
    parse: |bytes, _| extract(bytes).ok_or(ExtractErrorKind::NotText),
};

/// The document; `None` if the bytes are not text.
fn extract(bytes: &[u8]) -> Option<Document> {
    Some(from_text(decode_verbatim(bytes, None)?))
}

/// The document of a printable text.
pub(crate) fn from_text(text: String) -> Document {
    let mut document = Document::default();
    let mut front_matter = String::new();
    read_structure(&text, &mut document, &mut front_matter);
    read_front_matter(&front_matter, &mut document);
    if document.title.is_none() {
        let first = document.outline.iter().find(|heading| heading.level == 1);
        document.title = first.map(|heading| heading.title.clone());
    }
    document.text = text;
    document
}

/// Reads headings, tables and front matter.
fn read_structure(text: &str, document: &mut Document, front_matter: &mut String) {
    let options = Options::ENABLE_YAML_STYLE_METADATA_BLOCKS
        | Options::ENABLE_PLUSES_DELIMITED_METADATA_BLOCKS
        | Options::ENABLE_TABLES
        | Options::ENABLE_HEADING_ATTRIBUTES;
    let mut heading: Option<Heading> = None;
    let mut in_front_matter = false;
    for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                let (at, level) = (range.start as u64, heading_level(level));
                heading = Some(Heading { at, level, title: String::new() });
            }
            Event::End(TagEnd::Heading(_)) => {
                if let Some(mut heading) = heading.take() {
                    heading.title = collapse_whitespace(&heading.title);
                    if !heading.title.is_empty() {
                        document.outline.push(heading);
                    }
                }
            }
            Event::Start(Tag::Table(_)) => {
                let end = text[..range.end].trim_end().len() as u64;
                document.tables.push(TableSpan { start: range.start as u64, body_start: end, end });
            }
            Event::Start(Tag::TableRow) => {
                if let Some(table) = document.tables.last_mut() {
                    table.body_start = table.body_start.min(range.start as u64);
                }
            }
            Event::Start(Tag::MetadataBlock(
                MetadataBlockKind::YamlStyle | MetadataBlockKind::PlusesStyle,
            )) => in_front_matter = true,
            Event::End(TagEnd::MetadataBlock(_)) => in_front_matter = false,
            Event::Text(words) if in_front_matter => front_matter.push_str(&words),
            Event::Text(words) | Event::Code(words) => {
                if let Some(heading) = &mut heading {
                    heading.title.push_str(&words);
                }
            }
            Event::SoftBreak | Event::HardBreak => {
                if let Some(heading) = &mut heading {
                    heading.title.push(' ');
                }
            }
            Event::Start(_)
            | Event::End(_)
            | Event::InlineMath(_)
            | Event::DisplayMath(_)
            | Event::Html(_)
            | Event::InlineHtml(_)
            | Event::FootnoteReference(_)
            | Event::Rule
            | Event::TaskListMarker(_) => {}
        }
    }
}

fn heading_level(level: HeadingLevel) -> u8 {
    match level {
        HeadingLevel::H1 => 1,
        HeadingLevel::H2 => 2,
        HeadingLevel::H3 => 3,
        HeadingLevel::H4 => 4,
        HeadingLevel::H5 => 5,
        HeadingLevel::H6 => 6,
    }
}

/// Reads the lines `key: value` (YAML) or `key = value` (TOML) of the front matter, and lists on
/// one line or with one item per line. Deeper nesting is ignored; it remains in the text.
fn read_front_matter(front_matter: &str, document: &mut Document) {
    let mut list: Option<String> = None;
    for line in front_matter.lines() {
        if let (Some(item), Some(key)) = (line.trim_start().strip_prefix("- "), &list) {
            if let Some(Value::Array(items)) = document.metadata.get_mut(key) {
                items.push(Value::String(unquote(item).to_owned()));
            }
            continue;
        }
        list = None;
        if line.starts_with([' ', '\t', '#', '[']) {
            continue;
        }
        let Some((key, value)) = line.split_once([':', '=']) else { continue };
        let (key, value) = (canonical_key(key.trim()), value.trim());
        match (key.as_str(), unquote(value)) {
            ("title", title) if !title.is_empty() => {
                document.title = Some(collapse_whitespace(title));
            }
            ("language", language) if !language.is_empty() => {
                document.language = super::language::iso_code(language);
            }
            (_, "") => {
                document.metadata.insert(key.clone(), Value::Array(Vec::new()));
                list = Some(key);
            }
            (_, _) if value.starts_with('[') => {
                let items = value.trim_start_matches('[').trim_end_matches(']').split(',');
                let items = items.map(|item| Value::String(unquote(item.trim()).to_owned()));
                document.metadata.insert(key, Value::Array(items.collect()));
            }
            (_, value) => document.add_metadata(&key, value),
        }
    }
    document.metadata.retain(|_, value| value.as_array().is_none_or(|items| !items.is_empty()));
}

/// The metadata key for a key of the front matter.
fn canonical_key(key: &str) -> String {
    let key = key.trim_matches(['"', '\'']).to_lowercase();
    match key.as_str() {
        "lang" => "language".to_owned(),
        "authors" => "author".to_owned(),
        "date" => "created".to_owned(),
        "lastmod" | "updated" | "last_modified" => "modified".to_owned(),
        "tags" => "keywords".to_owned(),
        "summary" => "description".to_owned(),
        _ => key,
    }
}

fn unquote(value: &str) -> &str {
    let bare = |quote: char| value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote));
    bare('"').or_else(|| bare('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "---\ntitle: \"On Trees\"\nauthors: [A. Author, B]\ndate: 2024-05-01\ntags:\n  - x\n  - y\nlang: de-AT\n---\r\n\
        # One `code`\n\n```sh\n# no heading\n```\n\nSetext *em*\n---\n\n### Three {#id}\ntext  \nend\n";

    #[test]
    fn headings_are_found_where_they_stand() {
        let document = extract(TEXT.as_bytes()).unwrap();
        assert_eq!(document.text, TEXT.replace('\r', ""));
        let headings: Vec<_> = document
            .outline
            .iter()
            .map(|h| {
                (h.level, h.title.as_str(), &document.text[usize::try_from(h.at).unwrap()..][..3])
            })
            .collect();
        assert_eq!(
            headings,
            [(1, "One code", "# O"), (2, "Setext em", "Set"), (3, "Three", "###")]
        );
    }

    #[test]
    fn tables_are_found_with_their_header() {
        let text = "a | b\n-|-\n1 | 2\n3 | 4\n\n```\n| x |\n|-|\n```\n\n> | c |\n> |---|\n> | 5 |\n\n| d |\n|-|\n";
        let document = extract(text.as_bytes()).unwrap();
        let part = |from: u64, to: u64| {
            &text[usize::try_from(from).unwrap()..usize::try_from(to).unwrap()]
        };
        let tables: Vec<_> = document
            .tables
            .iter()
            .map(|it| (part(it.start, it.body_start), part(it.body_start, it.end)))
            .collect();
        let expected =
            [("a | b\n-|-\n", "1 | 2\n3 | 4"), ("| c |\n> |---|\n> ", "| 5 |"), ("| d |\n|-|", "")];
        assert_eq!(tables, expected);
    }

    #[test]
    fn front_matter_is_metadata() {
        let document = extract(TEXT.as_bytes()).unwrap();
        assert_eq!(document.title.as_deref(), Some("On Trees"));
        assert_eq!(document.language.as_deref(), Some("de"));
        let metadata = serde_json::to_string(&document.metadata).unwrap();
        insta::assert_snapshot!(metadata, @r#"{"author":["A. Author","B"],"created":"2024-05-01","keywords":["x","y"]}"#);
    }

    #[test]
    fn the_first_heading_is_the_title_of_last_resort() {
        assert_eq!(extract(b"## Two\n\n# One\n").unwrap().title.as_deref(), Some("One"));
        assert_eq!(extract(b"no heading").unwrap().title, None);
    }
}
