//! The state of a manual page between two lines, and the running text that it writes.

use crate::extract::document::{Document, DocumentBuilder};
use crate::extract::roff::escape;
use crate::extract::roff::escape::StringRegisters;

/// The treatment of the following lines.
#[derive(Default, PartialEq)]
pub(super) enum LineMode {
    #[default]
    Text,
    /// Skips the body of a macro definition or ignored text, up to this line.
    Skip(String),
    /// Skips a branch whose condition is false, at this depth of braces.
    SkippedBranch(usize),
    /// A table: `false` before and `true` after the end of its format.
    Table(bool),
}

#[derive(Default)]
pub(super) struct RoffReader {
    pub(super) builder: DocumentBuilder,
    pub(super) strings: StringRegisters,
    pub(super) mode: LineMode,
    /// `true` in blocks without filling.
    pub(super) no_fill: bool,
    /// A heading, or the tag of a paragraph, whose text is on the next line.
    pub(super) next_line: Option<NextLine>,
    /// The result of the last condition, for `.el`.
    pub(super) last_condition: bool,
    /// The cells of an incomplete table row.
    pub(super) row: Vec<String>,
    pub(super) in_cell: bool,
    /// The name of the page in mdoc, which `.Nm` prints.
    pub(super) name: String,
    pub(super) title: Option<String>,
    pub(super) document: Document,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum NextLine {
    Heading(u8),
    Tag,
}

impl RoffReader {
    /// `source` is the size of the source in bytes.
    pub(super) fn new(source: usize) -> Self {
        Self { strings: StringRegisters::new(source), ..Self::default() }
    }

    /// A line of text.
    pub(super) fn text_line(&mut self, line: &str) {
        let text = self.strings.expand(line);
        if self.no_fill {
            self.builder.begin_line();
            if text.trim().is_empty() {
                self.builder.begin_block();
            } else {
                // The indent is kept.
                self.builder.push_verbatim(&text);
            }
            return;
        }
        if text.trim().is_empty() && line.trim().is_empty() {
            return self.builder.begin_block();
        }
        if line.starts_with(' ') {
            self.builder.begin_line();
        }
        self.push_words(&text, !line.ends_with("\\c"));
    }

    /// Writes running text; `apart` separates the next words from it.
    pub(super) fn push_words(&mut self, text: &str, apart: bool) {
        self.builder.push_text(text);
        match self.next_line.take() {
            Some(NextLine::Heading(_)) => self.builder.end_heading(),
            Some(NextLine::Tag) => self.builder.begin_line(),
            None if apart => self.builder.separate(),
            None => {}
        }
    }

    pub(super) fn arguments(&mut self, rest: &str) -> Vec<String> {
        escape::arguments(rest).iter().map(|argument| self.strings.expand(argument)).collect()
    }
}
