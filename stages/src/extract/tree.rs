//! Writes nested data (JSON, XML) as lines `key: value`, indented by their nesting:
//!
//! ```text
//! name: Oak
//! habitat:
//!   soil: moist, deep
//!   heights:
//!     - min: 20
//!       max: 40
//! ```
//!
//! Elements of a list that are single words share a line. Strings of several lines are kept as they
//! are. Objects, and lists of them, of the two highest levels are headings, so that a passage of a
//! long file is found and shown with the keys that lead to it; the heading of a record is its name,
//! if it has one.

use crate::extract::document::{Document, Heading, collapse_whitespace, is_printable};
use crate::extract::language;

/// Levels of nesting with headings.
const HEADING_LEVELS: usize = 2;

/// Most headings of a document; further records are text without headings.
const MAX_HEADINGS: usize = 10_000;

/// Most spaces before a line: deeper nesting is not shown, so that the text grows with the data.
const MAX_INDENT: usize = 16;

/// Keys whose value names a record, in lower case, the best first.
const NAMES: [&str; 7] = ["title", "name", "label", "key", "id", "@id", "uuid"];

/// Fewest words of a string that is prose, and bytes of prose from which a language is detected.
const PROSE_WORDS: usize = 4;
const PROSE_BYTES: usize = 200;

/// Bytes of prose that are collected.
const SAMPLE_BYTES: usize = 4096;

/// Bytes of a name that becomes a heading; a longer one is text.
const MAX_NAME: usize = 200;

/// Builds the text of nested data.
#[derive(Default)]
pub(super) struct TreeWriter {
    text: String,
    outline: Vec<Heading>,
    levels: Vec<Level>,
    /// List elements that have begun on the line to come.
    marks: usize,
    prose: String,
    title: Option<String>,
}

/// How the heading of an object is named.
#[derive(Clone, Copy, PartialEq)]
enum Naming {
    /// By its key.
    Key,
    /// By a value of it, or its number.
    Record,
    /// By its key and a value of it.
    Element,
}

/// An object or list that is being written.
struct Level {
    naming: Naming,
    /// Number of elements, for a list.
    elements: Option<usize>,
    /// Its heading, until it is added: a list of words has none.
    section: Option<Heading>,
    /// Its heading, as an index of the outline, and the length of the key in it.
    heading: Option<(usize, usize)>,
    /// `true` if a part of it has a heading: parts after it need one, too.
    has_section: bool,
    /// The rank of the key that named it.
    name_rank: usize,
    /// `true` if the last line may take another word.
    is_in_line: bool,
    /// Length of the text, and marks, at its begin.
    start: usize,
    marks: usize,
}

/// A position for [`TreeWriter::rollback`].
#[derive(Clone, Copy)]
pub(super) struct TreeCheckpoint {
    text: usize,
    outline: usize,
    levels: usize,
    marks: usize,
}

impl TreeWriter {
    /// Begins an object, below a key or as an element of a list.
    pub(super) fn begin_object(&mut self, key: Option<&str>) {
        self.begin(key, if key.is_some() { Naming::Key } else { Naming::Record }, None);
    }

    /// Begins a list.
    pub(super) fn begin_list(&mut self, key: Option<&str>) {
        self.begin(key, Naming::Key, Some(0));
    }

    /// Begins an object that has a name besides its key.
    pub(super) fn begin_element(&mut self, key: &str) {
        self.begin(Some(key), Naming::Element, None);
    }

    fn begin(&mut self, key: Option<&str>, naming: Naming, elements: Option<usize>) {
        self.reveal();
        let section = self.section(key);
        let mut level = Level {
            naming,
            elements,
            section,
            heading: None,
            has_section: false,
            name_rank: usize::MAX,
            is_in_line: key.is_some(),
            start: self.text.len(),
            marks: self.marks,
        };
        match key {
            Some(key) => {
                self.write_key(key);
                level.marks = 0;
            }
            None if !self.levels.is_empty() => self.marks += 1,
            None => {}
        }
        self.levels.push(level);
        if elements.is_none() {
            self.reveal();
        }
    }

    /// Adds the heading of the innermost level, if it has one that is not added yet.
    fn reveal(&mut self) {
        let Some(level) = self.levels.last_mut() else { return };
        let Some(heading) = level.section.take() else { return };
        level.heading = Some((self.outline.len(), heading.title.len()));
        self.outline.push(heading);
        if let Some(parent) = self.levels.iter_mut().nth_back(1) {
            parent.has_section = true;
        }
    }

    /// Ends the last object or list.
    pub(super) fn end(&mut self) {
        let Some(level) = self.levels.pop() else { return };
        self.marks = self.marks.min(level.marks);
        if let Some((heading, _)) = level.heading.filter(|_| self.text.len() == level.start) {
            self.outline.truncate(heading);
        }
        if let Some(parent) = self.levels.last_mut() {
            parent.is_in_line = false;
        }
    }

    /// Writes a string, below a key or as an element of a list.
    pub(super) fn string(&mut self, key: Option<&str>, value: &str) {
        let words = value.split_whitespace().take(PROSE_WORDS).count();
        if words == PROSE_WORDS && self.prose.len() < SAMPLE_BYTES {
            let end = value.floor_char_boundary(SAMPLE_BYTES);
            self.prose.push_str(&value[..end]);
            self.prose.push('\n');
        }
        if let Some(key) = key {
            self.name(key, value);
        }
        self.leaf(key, value, words > 1);
    }

    /// Writes a number or a literal.
    pub(super) fn literal(&mut self, key: Option<&str>, value: &str) {
        if let Some(key) = key {
            self.name(key, value);
        }
        self.leaf(key, value, false);
    }

    fn leaf(&mut self, key: Option<&str>, value: &str, is_long: bool) {
        let value = value.trim();
        let Some(key) = key else { return self.element(value, is_long) };
        if self.levels.last().is_some_and(|level| level.has_section) {
            let heading = self.section(Some(key));
            self.outline.extend(heading);
        }
        self.write_key(key);
        if !value.is_empty() {
            self.text.push(' ');
            self.push(value);
        }
    }

    fn write_key(&mut self, key: &str) {
        self.begin_line(self.levels.len().saturating_sub(1));
        self.push(&collapse_whitespace(key));
        self.text.push(':');
    }

    /// Writes an element of a list: after the previous one if both are single words, otherwise on a
    /// line of its own.
    fn element(&mut self, value: &str, is_long: bool) {
        let depth = self.levels.len();
        let Some(level) = self.levels.last_mut() else {
            self.push(value);
            return;
        };
        let is_first = level.elements == Some(0);
        level.elements = level.elements.map(|count| count + 1);
        let continues = std::mem::replace(&mut level.is_in_line, !is_long) && !is_long;
        if continues {
            self.text.push_str(if is_first { " " } else { ", " });
        } else if is_first && !is_long {
            self.begin_line(depth - 1);
        } else {
            self.marks += 1;
            self.begin_line(depth);
        }
        self.push(value);
    }

    /// Begins a line at this depth, with the marks of the list elements that begin on it.
    fn begin_line(&mut self, depth: usize) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        let marks = std::mem::take(&mut self.marks);
        self.text.extend(std::iter::repeat_n(' ', indent(depth, marks)));
        self.text.extend(std::iter::repeat_n("- ", marks));
    }

    /// The heading of a part that begins with the next line; `None` below the levels with headings.
    fn section(&mut self, key: Option<&str>) -> Option<Heading> {
        let depth = self.levels.len();
        let parent = self.levels.last_mut()?;
        parent.elements = parent.elements.map(|count| count + 1);
        let number = parent.elements.unwrap_or(1);
        if depth > HEADING_LEVELS || self.outline.len() >= MAX_HEADINGS {
            return None;
        }
        let title = key.map_or_else(|| format!("#{number}"), collapse_whitespace);
        if title.is_empty() || title.len() > MAX_NAME {
            return None;
        }
        // The heading is the line that follows: after the break and the indentation.
        let indent = match key {
            Some(_) => indent(depth - 1, self.marks),
            None => indent(depth, self.marks + 1),
        };
        let at = self.text.len() + usize::from(!self.text.is_empty()) + indent;
        let level = u8::try_from(depth).unwrap_or(u8::MAX);
        Some(Heading { at: at as u64, level, title })
    }

    /// Names the record that is being written, and the document, by a value of it. Other keys than
    /// [`NAMES`] are ignored.
    pub(super) fn name(&mut self, key: &str, value: &str) {
        let key = key.to_lowercase();
        let Some(rank) = NAMES.iter().position(|name| *name == key) else { return };
        let value = collapse_whitespace(value);
        if value.is_empty() || value.len() > MAX_NAME {
            return;
        }
        let is_root = self.levels.len() == 1;
        let Some(level) = self.levels.last_mut() else { return };
        if is_root && rank == 0 && self.title.is_none() {
            self.title = Some(value.clone());
        }
        let Some((heading, key_length)) = level.heading else { return };
        if level.naming == Naming::Key || rank >= level.name_rank {
            return;
        }
        level.name_rank = rank;
        let Some(heading) = self.outline.get_mut(heading) else { return };
        if level.naming == Naming::Record {
            heading.title = value;
        } else {
            heading.title.truncate(key_length);
            heading.title.push_str(": ");
            heading.title.push_str(&value);
        }
    }

    fn push(&mut self, text: &str) {
        if text.chars().all(is_printable) {
            self.text.push_str(text);
        } else {
            let text = text.replace("\r\n", "\n");
            self.text.extend(text.chars().filter(|char| is_printable(*char)));
        }
    }

    pub(super) fn checkpoint(&self) -> TreeCheckpoint {
        TreeCheckpoint {
            text: self.text.len(),
            outline: self.outline.len(),
            levels: self.levels.len(),
            marks: self.marks,
        }
    }

    /// Removes everything written since `mark`, within the same list.
    pub(super) fn rollback(&mut self, mark: TreeCheckpoint) {
        self.text.truncate(mark.text);
        self.outline.truncate(mark.outline);
        self.levels.truncate(mark.levels);
        self.marks = mark.marks;
    }

    /// The document. Its language is that of the prose in its strings; its title is the string
    /// `title` of the outermost object.
    pub(super) fn finish(self) -> Document {
        let has_prose = self.prose.len() >= PROSE_BYTES;
        Document {
            language: has_prose.then(|| language::detect(&self.prose)).flatten(),
            text: self.text,
            title: self.title,
            outline: self.outline,
            ..Document::default()
        }
    }
}

/// Spaces before a line at this depth that begins with these marks.
fn indent(depth: usize, marks: usize) -> usize {
    (2 * depth.saturating_sub(marks)).min(MAX_INDENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_is_indentation_and_records_have_headings() {
        let mut tree = TreeWriter::default();
        tree.begin_object(None);
        tree.string(Some("title"), "Trees");
        tree.begin_list(Some("trees"));
        for (name, height) in [("Oak", "40"), ("Yew", "20")] {
            tree.begin_object(None);
            tree.literal(Some("height"), height);
            tree.begin_list(Some("soils"));
            tree.string(None, "moist");
            tree.string(None, "deep");
            tree.string(None, "as found near rivers");
            tree.end();
            tree.string(Some("name"), name);
            tree.end();
        }
        tree.end();
        tree.begin_list(Some("grid"));
        for row in [["1", "2"], ["3", "4"]] {
            tree.begin_list(None);
            row.iter().for_each(|cell| tree.literal(None, cell));
            tree.end();
        }
        tree.end();
        tree.literal(Some("after"), "null");
        tree.end();
        let document = tree.finish();
        insta::assert_snapshot!(document.text, @r#"
        title: Trees
        trees:
          - height: 40
            soils: moist, deep
              - as found near rivers
            name: Oak
          - height: 20
            soils: moist, deep
              - as found near rivers
            name: Yew
        grid:
          - 1, 2
          - 3, 4
        after: null
        "#);
        let outline: Vec<_> = document
            .outline
            .iter()
            .map(|heading| {
                let line = &document.text[usize::try_from(heading.at).unwrap()..];
                (heading.level, heading.title.as_str(), line.lines().next().unwrap())
            })
            .collect();
        assert_eq!(
            outline,
            [
                (1, "trees", "trees:"),
                (2, "Oak", "- height: 40"),
                (2, "Yew", "- height: 20"),
                (1, "grid", "grid:"),
                (1, "after", "after: null"),
            ]
        );
    }
}
