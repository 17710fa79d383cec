//! AsciiDoc, kept as it is apart from comments. Section titles are headings; the attributes of the
//! header become metadata.

use crate::extract::document::Document;
use crate::extract::error::ExtractErrorKind;
use crate::extract::format::Format;
use crate::extract::language;
use crate::extract::lines::LineText;
use crate::extract::text::decode_verbatim;

pub(crate) const FORMAT: Format = Format {
    name: "AsciiDoc",
    media_types: &["text/asciidoc"],
    version: 1,
    is_cached: false,
    has_titles_in_headings: true,
    parse: |bytes, _| extract(bytes).ok_or(ExtractErrorKind::NotText),
};

/// Delimiters of blocks whose content is no markup. Longer runs of the same sign delimit, too.
const VERBATIM: [&str; 4] = ["----", "....", "++++", "```"];

const COMMENT_BLOCK: &str = "////";

/// Signs that underline a title, from the highest level.
const UNDERLINES: [char; 5] = ['=', '-', '~', '^', '+'];

/// The document; `None` if the bytes are not text.
fn extract(bytes: &[u8]) -> Option<Document> {
    let text = decode_verbatim(bytes, None)?;
    let lines: Vec<&str> = text.lines().collect();
    let mut out = LineText::default();
    // The delimiter that ends the block.
    let mut until: Option<&str> = None;
    // The line that underlines the last title.
    let mut underline = 0;
    for (index, line) in lines.iter().enumerate() {
        let line_end = line.trim_end();
        if let Some(end) = until {
            if line_end == end {
                until = None;
            }
            if !end.starts_with(COMMENT_BLOCK) {
                out.push(line);
            }
        } else if is_delimiter(line_end, COMMENT_BLOCK) {
            until = Some(line_end);
        } else if !is_comment(line) {
            // The underline of a title may look like a delimiter.
            let is_underline = underline == index && index > 0;
            if !is_underline && VERBATIM.iter().any(|sign| is_delimiter(line_end, sign)) {
                until = Some(line_end);
            } else if let Some((level, title)) = section(line_end) {
                out.begin_heading(level, title);
            } else if let Some(level) = underlined(&lines, index) {
                out.begin_heading(level, line_end);
                underline = index + 1;
            }
            out.push(line);
        }
    }
    let mut document = out.finish();
    read_header(&lines, &mut document);
    Some(document)
}

fn is_delimiter(line: &str, sign: &str) -> bool {
    line.starts_with(sign) && line.chars().all(|char| sign.starts_with(char))
        // The fence of a code block may name its language.
        || sign == "```" && line.starts_with(sign)
}

fn is_comment(line: &str) -> bool {
    line.starts_with("//") && !line.starts_with("///")
}

/// Level and title of a line `== Title`, where one `=` is the title of the document.
fn section(line: &str) -> Option<(u8, &str)> {
    let sign = line.chars().next().filter(|sign| matches!(sign, '=' | '#'))?;
    let title = line.trim_start_matches(sign);
    let level = line.len() - title.len();
    let title = title.strip_prefix(' ')?;
    // A title may be closed by the same signs, and begin with an anchor.
    let title = title.trim().trim_end_matches(sign).trim_end();
    let title =
        title.strip_prefix("[[").and_then(|it| it.split_once("]]")).map_or(title, |it| it.1);
    u8::try_from(level).ok().filter(|level| *level <= 6).map(|level| (level, title))
}

/// The level of a title whose next line underlines it.
fn underlined(lines: &[&str], index: usize) -> Option<u8> {
    let is_after_empty = index == 0 || lines[index - 1].trim().is_empty();
    let (title, line) = (lines[index].trim_end(), lines.get(index + 1)?.trim_end());
    let sign = line.chars().next()?;
    let level = UNDERLINES.iter().position(|known| *known == sign)?;
    let (width, length) = (title.chars().count(), line.chars().count());
    let is_title = is_after_empty
        && title.starts_with(char::is_alphanumeric)
        && line.chars().all(|char| char == sign)
        && width.abs_diff(length) <= 2
        && length > 2;
    is_title.then(|| u8::try_from(level + 1).unwrap_or(u8::MAX))
}

/// Reads the title, the line of authors, that of the revision, and the attributes before the body.
fn read_header(lines: &[&str], document: &mut Document) {
    let title = document.outline.first().filter(|heading| heading.level == 1);
    document.title = title.map(|heading| heading.title.clone());
    let start = lines.iter().position(|line| section(line).is_some_and(|(level, _)| level == 1));
    let attributes = lines.iter().take_while(|line| section(line).is_none_or(|(it, _)| it == 1));
    for line in attributes.clone() {
        read_attribute(line, document);
    }
    let Some(start) = start else { return };
    let mut header = lines[start + 1..].iter().take_while(|line| !line.trim().is_empty());
    let is_text = |line: &&&str| !line.starts_with([':', '/', '[', '=']);
    let Some(authors) = header.next().filter(is_text) else { return };
    let names = authors.split(';').map(|author| author.split('<').next().unwrap_or(author).trim());
    names.for_each(|name| document.append_metadata("author", name));
    if let Some(revision) = header.next().filter(is_text) {
        let date = revision.split([',', ':']).map(str::trim).find(|part| is_date(part));
        document.add_metadata("created", date.unwrap_or_default());
    }
}

/// `true` for a date such as 2024-01-31.
fn is_date(text: &str) -> bool {
    text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

/// Reads a line `:key: value`.
fn read_attribute(line: &str, document: &mut Document) {
    let Some((key, value)) = line.strip_prefix(':').and_then(|line| line.split_once(':')) else {
        return;
    };
    let value = value.trim();
    match key {
        "lang" => document.language = language::iso_code(value),
        "doctitle" if document.title.is_none() => document.title = Some(value.to_owned()),
        "author" | "authors" => document.add_metadata("author", value),
        "revdate" | "date" => document.add_metadata("created", value),
        "description" | "keywords" => document.add_metadata(key, value),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_headings_and_comments_are_left_out() {
        let text = "// a comment\n= On *Trees*\nAnn Lee <ann@example.org>; Bo Berg\nv1.2, 2024-05-01: second\n:lang: de\n:keywords: oak, yew\n\n== [[oaks]]Oaks ==\n\n----\n== no title\n// kept\n----\n\n////\n== gone\n////\n\nYews\n~~~~\ntext\n";
        let document = extract(text.as_bytes()).unwrap();
        assert!(!document.text.contains("comment") && !document.text.contains("gone"));
        assert!(document.text.contains("// kept"));
        let outline = document.heading_starts(4);
        assert_eq!(outline, [(1, "On *Trees*", "= On"), (2, "Oaks", "== ["), (3, "Yews", "Yews")]);
        assert_eq!(document.title.as_deref(), Some("On *Trees*"));
        assert_eq!(document.language.as_deref(), Some("de"));
        let metadata = serde_json::to_string(&document.metadata).unwrap();
        insta::assert_snapshot!(metadata, @r#"{"keywords":"oak, yew","author":["Ann Lee","Bo Berg"],"created":"2024-05-01"}"#);
    }
}
