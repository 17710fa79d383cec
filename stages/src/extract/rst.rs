//! reStructuredText, kept as it is apart from comments. Titles with an underline are headings; the
//! order in which the kinds of underlines occur gives their levels. Fields before the first section
//! become metadata.

use crate::extract::document::Document;
use crate::extract::error::ExtractErrorKind;
use crate::extract::format::Format;
use crate::extract::lines::LineText;
use crate::extract::text::decode_verbatim;

pub(crate) const FORMAT: Format = Format {
    name: "reStructuredText",
    media_types: &["text/x-rst"],
    version: 1,
    is_cached: false,
    has_titles_in_headings: true,
    parse: |bytes, _| extract(bytes).ok_or(ExtractErrorKind::NotText),
};

/// Shortest underline of a title that is longer than the underline.
const SHORT_UNDERLINE: usize = 4;

/// The sign of an underline, and whether the title also has an overline.
type Adornment = (char, bool);

/// The document; `None` if the bytes are not text.
fn extract(bytes: &[u8]) -> Option<Document> {
    let text = decode_verbatim(bytes, None)?;
    let lines: Vec<&str> = text.lines().collect();
    let mut out = LineText::default();
    let mut levels: Vec<Adornment> = Vec::new();
    let mut document = Document::default();
    let mut is_comment = false;
    // Lines of a heading that are still to be written.
    let mut heading_lines = 0;
    for (index, line) in lines.iter().enumerate() {
        if heading_lines == 0 {
            is_comment = is_comment && (line.trim().is_empty() || line.starts_with([' ', '\t']))
                || begins_comment(line);
            if is_comment {
                continue;
            }
            if let Some((adornment, title)) = heading(&lines[index..], lines[..index].last()) {
                let known = levels.iter().position(|known| *known == adornment);
                let level = known.unwrap_or_else(|| {
                    levels.push(adornment);
                    levels.len() - 1
                });
                out.begin_heading(
                    u8::try_from(level + 1).unwrap_or(u8::MAX),
                    &without_roles(title),
                );
                heading_lines = if adornment.1 { 3 } else { 2 };
            } else if levels.len() < 2 {
                read_field(line, &mut document);
            }
        }
        heading_lines -= usize::from(heading_lines > 0);
        out.push(line);
    }
    let body = out.finish();
    let title = body.outline.first().filter(|it| it.level == 1).map(|it| it.title.clone());
    Some(Document { title, metadata: document.metadata, ..body })
}

/// `true` for `..` with text that is no directive, footnote, target or substitution.
fn begins_comment(line: &str) -> bool {
    let Some(rest) = line.strip_prefix("..") else { return false };
    let text = rest.trim();
    if text.is_empty() {
        return true;
    }
    rest.starts_with([' ', '\t']) && !text.starts_with(['_', '[', '|']) && !is_directive(text)
}

/// `true` for `name::`, with arguments or without.
fn is_directive(text: &str) -> bool {
    let Some((name, _)) = text.split_once("::") else { return false };
    !name.is_empty()
        && name.chars().all(|char| char.is_alphanumeric() || "-_.:+ ".contains(char))
        && !name.contains("  ")
        && name.split(' ').count() == 1
}

/// The adornment and title of a heading that begins with these lines.
fn heading<'a>(lines: &[&'a str], before: Option<&&str>) -> Option<(Adornment, &'a str)> {
    let is_after_text = before.is_some_and(|line| !line.trim().is_empty());
    if let (Some(over), [_, title, under, ..]) = (adornment(lines[0]), lines)
        && adornment(under) == Some(over)
        && !title.trim().is_empty()
        && adornment(title).is_none()
        && fits(title, under)
    {
        return Some(((over, true), title.trim()));
    }
    let [title, under, ..] = lines else { return None };
    let sign = adornment(under)?;
    let is_title = !is_after_text
        && !title.is_empty()
        && !title.starts_with([' ', '\t'])
        && adornment(title).is_none()
        && fits(title, under);
    is_title.then(|| ((sign, false), title.trim()))
}

/// The sign of which a line consists, if it can adorn a title.
fn adornment(line: &str) -> Option<char> {
    let line = line.trim_end();
    let sign = line.chars().next().filter(char::is_ascii_punctuation)?;
    (line.len() > 1 && line.chars().all(|char| char == sign)).then_some(sign)
}

/// `true` if an underline is as long as its title, or long enough for an intended one.
fn fits(title: &str, under: &str) -> bool {
    let (width, length) = (title.trim_end().chars().count(), under.trim_end().len());
    length >= width.min(SHORT_UNDERLINE)
}

/// A title without the signs of literals and roles.
fn without_roles(title: &str) -> String {
    let mut parts = title.split('`');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        // The name of a role before a backtick, such as `:ref:`.
        if plain.ends_with(':')
            && let Some(start) = plain[..plain.len() - 1].rfind(':')
            && plain[start + 1..plain.len() - 1]
                .chars()
                .all(|char| char.is_alphanumeric() || char == '-')
        {
            plain.truncate(start);
        }
        plain.push_str(part);
    }
    plain
}

/// Reads a line `:key: value`, also in the directive `meta`.
fn read_field(line: &str, document: &mut Document) {
    let Some((key, value)) = line.trim_start().strip_prefix(':').and_then(|it| it.split_once(": "))
    else {
        return;
    };
    let key = match key.to_lowercase().as_str() {
        "author" | "authors" => "author",
        "date" => "created",
        "description" | "abstract" => "description",
        "keywords" => "keywords",
        _ => return,
    };
    if key == "author" {
        return document.append_metadata(key, value);
    }
    // Version control systems replace `$Date: …$`.
    document.add_metadata(key, value.trim().trim_matches('$').trim_start_matches("Date: "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn underlines_make_headings_in_their_order() {
        let text = "========\nOn Trees\n========\n\n:Author: Ann Lee\n:Date: 2024-05-01\n\n.. A comment\n   of two lines\n\n.. note:: kept\n\nOaks\n====\n\n.. _target:\n\n``code`` and :ref:`x`\n---------------------\n\n::\n\n    Not\n    ===\n\n..\n   gone\n\nYews\n====\n\n=====  =====\na      b\n=====  =====\n";
        let document = extract(text.as_bytes()).unwrap();
        assert!(!document.text.contains("comment") && !document.text.contains("gone"));
        assert!(document.text.contains(".. note:: kept") && document.text.contains(".. _target:"));
        let outline = document.heading_starts(4);
        assert_eq!(
            outline,
            [
                (1, "On Trees", "===="),
                (2, "Oaks", "Oaks"),
                (3, "code and x", "``co"),
                (2, "Yews", "Yews")
            ]
        );
        assert_eq!(document.title.as_deref(), Some("On Trees"));
        let metadata = serde_json::to_string(&document.metadata).unwrap();
        insta::assert_snapshot!(metadata, @r#"{"author":"Ann Lee","created":"2024-05-01"}"#);
    }
}
