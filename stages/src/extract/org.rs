//! Org files, kept as they are apart from comments. Lines with stars are headings, without their
//! task state, priority and tags; keywords such as `#+TITLE:` become metadata.

use crate::extract::document::{Document, collapse_whitespace};
use crate::extract::error::ExtractErrorKind;
use crate::extract::format::Format;
use crate::extract::language;
use crate::extract::lines::LineText;
use crate::extract::text::decode_verbatim;

pub(crate) const FORMAT: Format = Format {
    name: "Org",
    media_types: &["text/org"],
    version: 1,
    is_cached: false,
    has_titles_in_headings: true,
    parse: |bytes, _| extract(bytes).ok_or(ExtractErrorKind::NotText),
};

/// Task states before a heading that are common; a file may define others.
const STATES: [&str; 8] =
    ["TODO", "DONE", "NEXT", "WAITING", "CANCELLED", "CANCELED", "STARTED", "HOLD"];

/// The word that makes a heading and what is below it a comment.
const COMMENT: &str = "COMMENT";

/// The document; `None` if the bytes are not text.
fn extract(bytes: &[u8]) -> Option<Document> {
    let text = decode_verbatim(bytes, None)?;
    let (mut out, mut head) = (LineText::default(), Document::default());
    // The name of the open block, and the level of the heading that is a comment.
    let (mut block, mut comment): (Option<String>, Option<usize>) = (None, None);
    for line in text.lines() {
        let keyword = keyword(line);
        if let Some(name) = &block {
            let is_end = keyword.as_ref().is_some_and(|(key, _)| key == &format!("end_{name}"));
            if name != "comment" && comment.is_none() {
                out.push(line);
            }
            if is_end {
                block = None;
            }
            continue;
        }
        if let Some((stars, title)) = heading(line) {
            comment = comment.filter(|level| stars > *level);
            if comment.is_none() && is_comment_heading(title) {
                comment = Some(stars);
            }
            if comment.is_none() {
                out.begin_heading(u8::try_from(stars).unwrap_or(u8::MAX), &plain_title(title));
            }
        }
        if let Some((key, value)) = &keyword {
            block = key.strip_prefix("begin_").map(str::to_owned);
            read_keyword(key, value, &mut head);
        }
        let is_comment =
            comment.is_some() || is_comment_line(line) || block.as_deref() == Some("comment");
        if !is_comment {
            out.push(line);
        }
    }
    let Document { title, language, metadata, .. } = head;
    let body = out.finish();
    let first = body.outline.first().filter(|heading| heading.level == 1);
    let title = title.or_else(|| first.map(|heading| heading.title.clone()));
    Some(Document { title, language, metadata, ..body })
}

/// Number of stars, and the text after them.
fn heading(line: &str) -> Option<(usize, &str)> {
    let title = line.trim_start_matches('*');
    let stars = line.len() - title.len();
    (stars > 0).then_some(())?;
    title.strip_prefix(' ').map(|title| (stars, title.trim()))
}

fn is_comment_heading(title: &str) -> bool {
    title == COMMENT || title.strip_prefix(COMMENT).is_some_and(|rest| rest.starts_with(' '))
}

fn is_comment_line(line: &str) -> bool {
    let line = line.trim_start();
    line == "#" || line.starts_with("# ")
}

/// The title without task state, priority (`[#A]`) and tags (`:a:b:`).
fn plain_title(title: &str) -> String {
    let state = STATES.iter().find_map(|state| {
        title.strip_prefix(state).filter(|rest| rest.is_empty() || rest.starts_with(' '))
    });
    let title = state.unwrap_or(title).trim();
    let priority = title.strip_prefix("[#").and_then(|rest| rest.split_once(']'));
    let title = priority.map_or(title, |(_, rest)| rest).trim();
    let is_tags = |word: &str| word.len() > 2 && word.starts_with(':') && word.ends_with(':');
    match title.rsplit_once(char::is_whitespace) {
        Some((words, last)) if is_tags(last) => words.trim().to_owned(),
        _ => title.to_owned(),
    }
}

/// Key in lower case, and value, of a line `#+KEY: value` or `#+begin_src name`.
fn keyword(line: &str) -> Option<(String, &str)> {
    let rest = line.trim_start().strip_prefix("#+")?;
    let (key, value) = rest.split_once([':', ' ']).unwrap_or((rest, ""));
    Some((key.trim_end().to_lowercase(), value.trim()))
}

fn read_keyword(key: &str, value: &str, head: &mut Document) {
    match key {
        "title" if !value.is_empty() => head.title = Some(collapse_whitespace(value)),
        "language" => head.language = language::iso_code(value),
        "author" | "description" | "keywords" => head.add_metadata(key, value),
        "date" => head.add_metadata("created", value.trim_matches(['<', '>', '[', ']'])),
        "filetags" => head.add_metadata("keywords", &value.replace(':', " ")),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_are_headings_and_comments_are_left_out() {
        let text = "#+TITLE: On Trees\n#+AUTHOR: Ann Lee\n#+DATE: <2024-05-01>\n#+LANGUAGE: de\n# a comment\n* TODO [#A] Oaks :wood:old:\ntext *bold*\n#+BEGIN_SRC sh\n# kept\n#+END_SRC\n#+begin_comment\ngone\n#+end_comment\n** Deep\n* COMMENT Draft\n** gone, too\n* Yews\n";
        let document = extract(text.as_bytes()).unwrap();
        assert!(!document.text.contains("a comment") && !document.text.contains("gone"));
        assert!(document.text.contains("# kept"));
        let outline = document.heading_starts(4);
        assert_eq!(outline, [(1, "Oaks", "* TO"), (2, "Deep", "** D"), (1, "Yews", "* Ye")]);
        assert_eq!(document.title.as_deref(), Some("On Trees"));
        assert_eq!(document.language.as_deref(), Some("de"));
        let metadata = serde_json::to_string(&document.metadata).unwrap();
        insta::assert_snapshot!(metadata, @r#"{"author":"Ann Lee","created":"2024-05-01"}"#);
    }
}
