//! Blocks of text, as parsers of office documents produce them.

use crate::extract::document::DocumentBuilder;
use crate::extract::table::Table;

/// A block of a document. In its text, `\n` begins a line, and other white space separates words.
pub(crate) enum Block {
    Heading {
        level: u8,
        text: String,
    },
    Paragraph(String),
    /// An item of a list.
    Item(String),
    Table(Table),
}

impl DocumentBuilder {
    /// Writes a block.
    pub(crate) fn push_block(&mut self, block: &Block) {
        match block {
            Block::Heading { level, text } => {
                self.begin_heading(*level);
                self.push_text(text);
                self.end_heading();
            }
            Block::Paragraph(text) => {
                self.begin_block();
                self.push_lines(text);
                self.begin_block();
            }
            Block::Item(text) => {
                self.begin_item("-");
                self.push_lines(text);
            }
            Block::Table(table) => self.push_table(table),
        }
    }

    fn push_lines(&mut self, text: &str) {
        for line in text.split('\n') {
            self.push_text(line);
            self.begin_line();
        }
    }

    /// Writes notes after the text that refers to them.
    pub(crate) fn push_notes(&mut self, notes: &[Note]) {
        for note in notes {
            self.begin_block();
            self.push_text(&format!("[{}] {}", note.mark, note.text));
        }
    }
}

/// A footnote or endnote. The text refers to it by its mark in brackets.
#[derive(Default)]
pub(crate) struct Note {
    pub(crate) mark: String,
    pub(crate) text: String,
}
