//! The blocks of an RTF document: paragraphs, headings, lists, tables and notes.

use crate::extract::block::{Block, Note};
use crate::extract::table::Table;

/// The properties of a paragraph that determine its block.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ParagraphKind {
    /// Level of a heading by `\outlinelevel`, or by the style.
    pub(super) level: Option<u8>,
    pub(super) is_item: bool,
    pub(super) in_table: bool,
}

/// Collects the blocks.
#[derive(Default)]
pub(super) struct Body {
    pub(super) blocks: Vec<Block>,
    pub(super) notes: Vec<Note>,
    /// The text of the open paragraph.
    pub(super) text: String,
    /// `true` if the open paragraph has a list marker.
    pub(super) has_marker: bool,
    table: Table,
    row: Vec<String>,
    cell: String,
    /// `true` if the open row is a header.
    pub(super) is_header_row: bool,
}

impl Body {
    pub(super) fn end_paragraph(&mut self, kind: ParagraphKind) {
        let has_marker = std::mem::take(&mut self.has_marker);
        if kind.in_table {
            return self.end_line_of_cell();
        }
        self.end_table();
        let text = std::mem::take(&mut self.text);
        if text.trim().is_empty() {
            return;
        }
        self.blocks.push(match kind.level {
            Some(level) => Block::Heading { level, text },
            None if has_marker || kind.is_item => Block::Item(text),
            None => Block::Paragraph(text),
        });
    }

    /// Ends a paragraph of a cell, or a cell of a table in a cell.
    pub(super) fn end_line_of_cell(&mut self) {
        self.cell.push_str(&std::mem::take(&mut self.text));
        self.cell.push('\n');
    }

    pub(super) fn end_cell(&mut self) {
        self.has_marker = false;
        self.end_line_of_cell();
        self.row.push(std::mem::take(&mut self.cell));
    }

    pub(super) fn end_row(&mut self) {
        if !self.text.trim().is_empty() {
            self.end_cell();
        }
        let is_header = std::mem::take(&mut self.is_header_row);
        if is_header && self.table.header_rows == self.table.rows.len() {
            self.table.header_rows += 1;
        }
        self.table.rows.push(std::mem::take(&mut self.row));
    }

    /// Writes the rows so far.
    fn end_table(&mut self) {
        if !self.cell.trim().is_empty() {
            self.row.push(std::mem::take(&mut self.cell));
        }
        self.cell.clear();
        if !self.row.is_empty() {
            self.table.rows.push(std::mem::take(&mut self.row));
        }
        let table = std::mem::take(&mut self.table);
        if !table.rows.is_empty() {
            self.blocks.push(Block::Table(table));
        }
    }

    /// Begins a note, and refers to it in the text.
    pub(super) fn begin_note(&mut self) {
        let mark = (self.notes.len() + 1).to_string();
        self.text.push_str(&format!("[{mark}]"));
        self.notes.push(Note { mark, text: String::new() });
    }

    /// Adds text to the open note.
    pub(super) fn push_note(&mut self, text: &str) {
        if let Some(note) = self.notes.last_mut() {
            note.text.push_str(text);
        }
    }

    /// Completes the last paragraph.
    pub(super) fn finish(&mut self) {
        self.end_paragraph(ParagraphKind::default());
        self.end_table();
    }
}
