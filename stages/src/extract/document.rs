//! The output of every extractor, and the builder of its text.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::extract::table::TableSpan;

/// A document as text. All offsets are bytes into `text`, on character boundaries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Document {
    pub(crate) text: String,
    pub(crate) title: Option<String>,
    /// ISO 639-1 code, if the document declares it.
    pub(crate) language: Option<String>,
    /// Other metadata that the document declares.
    pub(crate) metadata: Map<String, Value>,
    /// The start of each page.
    pub(crate) pages: Vec<u64>,
    pub(crate) outline: Vec<Heading>,
    /// The tables in the text, in order; they do not overlap.
    #[serde(default)]
    pub(crate) tables: Vec<TableSpan>,
}

/// A heading of a document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Heading {
    /// Its start in the text.
    pub(crate) at: u64,
    /// 1 is the highest.
    pub(crate) level: u8,
    pub(crate) title: String,
}

impl Document {
    /// Adds metadata, unless the value is empty or the key is already set.
    pub(crate) fn add_metadata(&mut self, key: &str, value: &str) {
        let value = collapse_whitespace(value);
        if !value.is_empty() {
            self.metadata.entry(key).or_insert(Value::String(value));
        }
    }

    /// Adds one value of several as metadata: the second one makes a list.
    pub(crate) fn append_metadata(&mut self, key: &str, value: &str) {
        let value = Value::String(collapse_whitespace(value));
        if value == "" {
            return;
        }
        match self.metadata.get_mut(key) {
            None => {
                self.metadata.insert(key.to_owned(), value);
            }
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }

    /// Appends the text of a document as a block, with its pages, headings and tables.
    pub(crate) fn append(&mut self, other: Self) {
        if !self.text.is_empty() && !other.text.is_empty() {
            self.text.push_str("\n\n");
        }
        let base = self.text.len() as u64;
        self.text.push_str(&other.text);
        self.pages.extend(other.pages.iter().map(|page| base + page));
        let headings = other.outline.into_iter();
        self.outline.extend(headings.map(|it| Heading { at: base + it.at, ..it }));
        self.tables.extend(other.tables.into_iter().map(|table| TableSpan {
            start: base + table.start,
            body_start: base + table.body_start,
            end: base + table.end,
        }));
    }
}

#[cfg(test)]
impl Document {
    /// Level, title and the first `bytes` bytes of the text of each heading.
    pub(crate) fn heading_starts(&self, bytes: usize) -> Vec<(u8, &str, &str)> {
        let text = |at: u64| &self.text[usize::try_from(at).unwrap()..][..bytes];
        self.outline.iter().map(|it| (it.level, it.title.as_str(), text(it.at))).collect()
    }
}

/// The words of a text separated by single spaces, without control characters.
pub(crate) fn collapse_whitespace(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for word in text.split(|char: char| char.is_whitespace() || char.is_control()) {
        if !word.is_empty() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    line
}

/// `true` for characters that extracted text may contain: PostgreSQL rejects NUL, and other control
/// characters are not readable.
pub(crate) fn is_printable(char: char) -> bool {
    matches!(char, '\n' | '\t') || !char.is_control()
}

/// The separator between two parts of a text; of several, the greatest applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Separator {
    #[default]
    None,
    Space,
    Line,
    Block,
}

/// Builds running text: collapses white space, merges repeated line and block breaks, and records
/// headings and pages at the start of their text.
#[derive(Clone, Debug, Default)]
pub(crate) struct DocumentBuilder {
    text: String,
    outline: Vec<Heading>,
    pages: Vec<u64>,
    tables: Vec<TableSpan>,
    separator: Separator,
    /// Pages begun since text was last written.
    pending_pages: usize,
    heading: Option<OpenHeading>,
    /// `true` directly after the marker of a list item, where breaks become spaces.
    after_marker: bool,
}

#[derive(Clone, Copy, Debug)]
struct OpenHeading {
    level: u8,
    at: Option<usize>,
}

/// A position for [`DocumentBuilder::rollback`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checkpoint {
    text: usize,
    outline: usize,
    tables: usize,
    separator: Separator,
    heading: Option<OpenHeading>,
}

impl Checkpoint {
    /// `true` if no text was written between this position and `other`, or this one is earlier.
    pub(crate) fn is_before(self, other: Self) -> bool {
        self.text <= other.text
    }
}

impl DocumentBuilder {
    /// Writes running text; each run of white space becomes one space.
    pub(crate) fn push_text(&mut self, text: &str) {
        let mut words = text.split(char::is_whitespace);
        self.push_word(words.next().unwrap_or_default());
        for word in words {
            self.separate();
            self.push_word(word);
        }
    }

    /// Writes text without white space.
    fn push_word(&mut self, word: &str) {
        if word.is_empty() {
            return;
        }
        self.flush_separator();
        self.push(word);
    }

    fn push(&mut self, text: &str) {
        if text.chars().all(is_printable) {
            self.text.push_str(text);
        } else {
            self.text.extend(text.chars().filter(|char| is_printable(*char)));
        }
    }

    /// Writes preformatted text directly after the previous text. White space at line ends, and
    /// more than two blank lines in a row, are removed.
    pub(crate) fn push_verbatim(&mut self, text: &str) {
        for (index, line) in text.split('\n').enumerate() {
            if index > 0 {
                let blank_lines = self.text.bytes().rev().take_while(|byte| *byte == b'\n').count();
                if self.separator == Separator::None && !self.text.is_empty() && blank_lines < 3 {
                    self.trim_line();
                    self.text.push('\n');
                }
            }
            // White space alone does not end a break, or blank lines would accumulate before the
            // text.
            if self.separator == Separator::None && !self.text.is_empty() || !line.trim().is_empty()
            {
                self.flush_separator();
                self.push(line);
            }
        }
    }

    /// Separates the next word from the last one.
    pub(crate) fn separate(&mut self) {
        self.separator = self.separator.max(Separator::Space);
    }

    /// Removes the pending space before the next word.
    pub(crate) fn join(&mut self) {
        if self.separator == Separator::Space {
            self.separator = Separator::None;
        }
    }

    /// Begins a line, unless one has begun already.
    pub(crate) fn begin_line(&mut self) {
        let wanted = if self.after_marker { Separator::Space } else { Separator::Line };
        self.separator = self.separator.max(wanted);
    }

    /// Begins a block, with an empty line before it.
    pub(crate) fn begin_block(&mut self) {
        let wanted = if self.after_marker { Separator::Space } else { Separator::Block };
        self.separator = self.separator.max(wanted);
    }

    /// Begins a list item with its marker.
    pub(crate) fn begin_item(&mut self, sign: &str) {
        self.after_marker = false;
        self.begin_line();
        self.push_text(sign);
        self.separate();
        self.after_marker = true;
    }

    /// Begins a page.
    pub(crate) fn begin_page(&mut self) {
        self.begin_block();
        self.pending_pages += 1;
    }

    /// Begins a heading; level 1 is the highest.
    pub(crate) fn begin_heading(&mut self, level: u8) {
        self.end_heading();
        self.heading = Some(OpenHeading { level, at: None });
    }

    /// Ends the open heading, if any. A heading without text is dropped.
    pub(crate) fn end_heading(&mut self) {
        self.begin_block();
        let Some(OpenHeading { level, at: Some(at) }) = self.heading.take() else { return };
        let title = collapse_whitespace(&self.text[at..]);
        if !title.is_empty() {
            self.outline.push(Heading { at: at as u64, level, title });
        }
    }

    /// Begins the block of a table, also in a list item.
    pub(super) fn begin_table_block(&mut self) {
        self.after_marker = false;
        self.end_heading();
    }

    /// Writes a line of a table that contains no control characters, and returns its place.
    pub(super) fn push_table_line(&mut self, line: &str) -> Range<u64> {
        self.flush_separator();
        let start = self.text.len() as u64;
        self.text.push_str(line);
        self.separator = Separator::Line;
        start..self.text.len() as u64
    }

    /// Ends the block of a table.
    pub(super) fn end_table(&mut self, table: TableSpan) {
        self.tables.push(table);
        self.begin_block();
    }

    /// Length of the text in bytes.
    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    /// The text written since its length was `start`; empty if it is shorter.
    pub(crate) fn text_since(&self, start: usize) -> &str {
        self.text.get(start..).unwrap_or_default()
    }

    /// The current position.
    pub(crate) fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            text: self.text.len(),
            outline: self.outline.len(),
            tables: self.tables.len(),
            separator: self.separator,
            heading: self.heading,
        }
    }

    /// Removes everything written since `mark`.
    pub(crate) fn rollback(&mut self, mark: Checkpoint) {
        self.text.truncate(mark.text);
        self.outline.truncate(mark.outline);
        self.tables.truncate(mark.tables);
        self.separator = mark.separator;
        self.heading = mark.heading;
        self.after_marker = false;
    }

    /// Number of headings completed since `mark`.
    pub(crate) fn headings_since(&self, mark: Checkpoint) -> usize {
        self.outline.len().saturating_sub(mark.outline)
    }

    /// Completes the document. Title, language and metadata are left to the extractor.
    pub(crate) fn finish(mut self) -> Document {
        self.end_heading();
        let text = self.text.trim_end().len();
        self.text.truncate(text);
        self.record_pages();
        for page in &mut self.pages {
            *page = (*page).min(text as u64);
        }
        Document {
            text: self.text,
            pages: self.pages,
            outline: self.outline,
            tables: self.tables,
            ..Document::default()
        }
    }

    /// Writes the pending separator, and records the pages and the heading that begin here.
    fn flush_separator(&mut self) {
        let between = std::mem::take(&mut self.separator);
        self.after_marker = false;
        if !self.text.is_empty() {
            match between {
                Separator::None => {}
                Separator::Space => {
                    if !self.text.ends_with([' ', '\n']) {
                        self.text.push(' ');
                    }
                }
                Separator::Line => self.ensure_newlines(1),
                Separator::Block => self.ensure_newlines(2),
            }
        }
        self.record_pages();
        let here = self.text.len();
        if let Some(heading) = &mut self.heading {
            heading.at.get_or_insert(here);
        }
    }

    fn record_pages(&mut self) {
        let here = self.text.len() as u64;
        self.pages.extend(std::iter::repeat_n(here, std::mem::take(&mut self.pending_pages)));
    }

    fn ensure_newlines(&mut self, wanted: usize) {
        self.trim_line();
        let there = self.text.bytes().rev().take_while(|byte| *byte == b'\n').count();
        self.text.extend(std::iter::repeat_n('\n', wanted.saturating_sub(there)));
    }

    /// Removes the white space at the end of the line.
    fn trim_line(&mut self) {
        let end = self.text.trim_end_matches([' ', '\t']).len();
        self.text.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaks_are_made_once_and_headings_begin_at_their_text() {
        let mut pen = DocumentBuilder::default();
        pen.begin_page();
        pen.begin_heading(1);
        pen.push_text("  Über \n uns ");
        pen.end_heading();
        pen.begin_block();
        pen.push_text("One\u{a0}two");
        pen.push_text(" three");
        pen.push_text("s ");
        pen.begin_line();
        pen.push_text("next\0line");
        pen.begin_page();
        pen.begin_page();
        pen.begin_block();
        pen.push_verbatim("  a\n\n\n\n\n    b  \nc\n");
        pen.push_text("\nend");
        let document = pen.finish();
        assert_eq!(document.text, "Über uns\n\nOne two threes\nnextline\n\n  a\n\n\n    b\nc\nend");
        let expected = Heading { at: 0, level: 1, title: "Über uns".to_owned() };
        assert_eq!(document.outline, [expected]);
        let third = document.text.find("  a").unwrap() as u64;
        assert_eq!(document.pages, [0, third, third]);
    }

    #[test]
    fn what_is_taken_back_was_never_there() {
        let mut pen = DocumentBuilder::default();
        pen.push_text("kept");
        let mark = pen.checkpoint();
        pen.begin_heading(2);
        pen.push_text("Menu");
        pen.end_heading();
        assert_eq!(pen.headings_since(mark), 1);
        pen.rollback(mark);
        pen.push_text(" too");
        let document = pen.finish();
        assert_eq!((document.text.as_str(), document.outline.len()), ("kept too", 0));
    }
}
