//! Builds a text from lines that are kept as they are, with headings between them. Markup languages
//! of which the syntax stays in the text use it.

use crate::extract::document::{Document, Heading, collapse_whitespace};

/// A text of lines.
#[derive(Default)]
pub(super) struct LineText {
    text: String,
    outline: Vec<Heading>,
}

impl LineText {
    /// Appends a line.
    pub(super) fn push(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Adds a heading that begins with the next line. A title without text is no heading.
    pub(super) fn begin_heading(&mut self, level: u8, title: &str) {
        let title = collapse_whitespace(title);
        if !title.is_empty() {
            self.outline.push(Heading { at: self.text.len() as u64, level, title });
        }
    }

    /// The text and the headings as a document.
    pub(super) fn finish(self) -> Document {
        Document { text: self.text, outline: self.outline, ..Document::default() }
    }
}
