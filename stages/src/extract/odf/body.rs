//! The blocks of text of an OpenDocument file: headings, paragraphs, lists, tables and notes.

#![expect(clippy::wildcard_enum_match_arm, reason = "all other variants are treated alike")]

use quick_xml::events::{BytesStart, Event};

use crate::extract::block::{Block, Note};
use crate::extract::odf::styles::Styles;
use crate::extract::table::Table;
use crate::extract::xml::{attribute, text_of};

/// Elements whose content is ignored: deleted text, comments, embedded objects, generated indexes
/// that repeat headings, alternative texts, and the declarations of headers and footers.
const IGNORED_ELEMENTS: &[&str] = &[
    "draw:object",
    "office:annotation",
    "office:binary-data",
    "office:forms",
    "presentation:date-time-decl",
    "presentation:footer-decl",
    "presentation:header-decl",
    "svg:desc",
    "svg:title",
    "text:alphabetical-index",
    "text:illustration-index",
    "text:object-index",
    "text:ruby-text",
    "text:script",
    "text:table-index",
    "text:table-of-content",
    "text:tracked-changes",
];

/// Collects the blocks from the events of a part.
pub(crate) struct BodyReader<'s> {
    styles: &'s Styles,
    pub(crate) blocks: Vec<Block>,
    pub(crate) notes: Vec<Note>,
    /// `true` inside of `office:body`; styles contain text, too.
    in_body: bool,
    /// Number of open elements since the start of an ignored one.
    ignored_depth: usize,
    /// The open paragraphs; a text box nests paragraphs in a paragraph.
    paragraphs: Vec<ParagraphKind>,
    text: String,
    /// `true` at the start of a list item, before its first paragraph.
    begins_item: bool,
    /// Number of open tables; only the outermost one has rows and cells.
    table_depth: usize,
    table: Table,
    cell: String,
    in_header_rows: bool,
    /// Number of open notes.
    note_depth: usize,
    in_citation: bool,
    note: Note,
}

#[derive(Clone, Copy)]
enum ParagraphKind {
    Heading(u8),
    Item,
    Plain,
}

impl<'s> BodyReader<'s> {
    pub(crate) fn new(styles: &'s Styles) -> Self {
        Self {
            styles,
            blocks: Vec::new(),
            notes: Vec::new(),
            in_body: false,
            ignored_depth: 0,
            paragraphs: Vec::new(),
            text: String::new(),
            begins_item: false,
            table_depth: 0,
            table: Table::default(),
            cell: String::new(),
            in_header_rows: false,
            note_depth: 0,
            in_citation: false,
            note: Note::default(),
        }
    }

    /// Reads an event. `false` if it does not belong to the content.
    pub(crate) fn read(&mut self, event: &Event<'_>) -> bool {
        if self.ignored_depth > 0 {
            match event {
                Event::Start(_) => self.ignored_depth += 1,
                Event::End(_) => self.ignored_depth -= 1,
                _ => {}
            }
            return false;
        }
        match event {
            Event::Start(element) if !self.in_body => {
                self.in_body = element.name().as_ref() == "office:body";
            }
            Event::Start(element) => self.start(element),
            Event::End(element) => self.end(element.name().as_ref()),
            event => {
                if let (false, Some(text)) = (self.paragraphs.is_empty(), text_of(event)) {
                    self.push_text(&text);
                }
            }
        }
        self.in_body && self.ignored_depth == 0
    }

    /// Ignores the content of the element that has just begun.
    pub(crate) fn ignore(&mut self) {
        self.ignored_depth = 1;
    }

    fn start(&mut self, element: &BytesStart<'_>) {
        let name = element.name();
        let name = name.as_ref();
        if IGNORED_ELEMENTS.contains(&name) || self.styles.is_hidden(element) {
            return self.ignore();
        }
        match name {
            "text:h" | "text:p" if self.note_depth > 0 => {
                self.paragraphs.push(ParagraphKind::Plain);
            }
            "text:h" => {
                let level =
                    attribute(element, "outline-level").and_then(|level| level.parse().ok());
                self.begin_paragraph(ParagraphKind::Heading(level.unwrap_or(1).clamp(1, 10)));
            }
            "text:p" => {
                let style = attribute(element, "style-name").unwrap_or_default();
                let kind = if self.styles.is_title(&style) {
                    ParagraphKind::Heading(1)
                } else if self.begins_item {
                    ParagraphKind::Item
                } else {
                    ParagraphKind::Plain
                };
                self.begin_paragraph(kind);
            }
            "text:s" | "text:tab" => self.push_text(" "),
            "text:line-break" => self.push_text("\n"),
            "text:list-item" => self.begins_item = true,
            "text:note" => self.note_depth += 1,
            "text:note-citation" => self.in_citation = true,
            "table:table" => self.begin_table(element),
            "table:table-header-rows" => self.in_header_rows = true,
            "table:table-row" if self.table_depth == 1 => self.table.rows.push(Vec::new()),
            "table:covered-table-cell" if self.table_depth == 1 => self.end_cell(),
            _ => {}
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "office:body" => self.in_body = false,
            "text:h" | "text:p" if self.note_depth > 0 => {
                self.paragraphs.pop();
                self.push_text(" ");
            }
            "text:h" | "text:p" => {
                self.write_paragraph();
                self.paragraphs.pop();
            }
            "text:list-item" => self.begins_item = false,
            "text:note" => self.end_note(),
            "text:note-citation" => self.in_citation = false,
            "table:table-cell" if self.table_depth == 1 => self.end_cell(),
            "table:table-row" if self.table_depth == 1 && self.in_header_rows => {
                self.table.header_rows += 1;
            }
            "table:table-header-rows" => self.in_header_rows = false,
            "table:table" => self.end_table(),
            _ => {}
        }
    }

    fn push_text(&mut self, text: &str) {
        let target = match (self.note_depth, self.in_citation) {
            (0, _) => &mut self.text,
            (_, true) => &mut self.note.mark,
            (_, false) => &mut self.note.text,
        };
        target.push_str(text);
    }

    fn begin_paragraph(&mut self, kind: ParagraphKind) {
        self.write_paragraph();
        self.begins_item = false;
        self.paragraphs.push(kind);
    }

    /// Writes the text of the innermost paragraph so far.
    fn write_paragraph(&mut self) {
        let text = std::mem::take(&mut self.text);
        let Some(kind) = self.paragraphs.last() else { return };
        if text.trim().is_empty() {
            return;
        }
        if self.table_depth > 0 {
            self.cell.push_str(&text);
            self.cell.push('\n');
            return;
        }
        self.blocks.push(match *kind {
            ParagraphKind::Heading(level) => Block::Heading { level, text },
            ParagraphKind::Item => Block::Item(text),
            ParagraphKind::Plain => Block::Paragraph(text),
        });
    }

    fn end_note(&mut self) {
        self.note_depth = self.note_depth.saturating_sub(1);
        if self.note_depth == 0 {
            let note = std::mem::take(&mut self.note);
            self.text.push_str(&format!("[{}]", note.mark));
            self.notes.push(note);
        }
    }

    fn begin_table(&mut self, element: &BytesStart<'_>) {
        self.write_paragraph();
        self.table_depth += 1;
        if self.table_depth == 1 {
            let has_header = attribute(element, "use-first-row-styles");
            let has_header = has_header.is_some_and(|value| value == "true");
            self.table = Table { rows: Vec::new(), header_rows: usize::from(has_header) };
            self.in_header_rows = false;
        }
    }

    /// Cells are not repeated, whatever number a file declares.
    fn end_cell(&mut self) {
        let cell = std::mem::take(&mut self.cell);
        if let Some(row) = self.table.rows.last_mut() {
            row.push(cell);
        }
    }

    fn end_table(&mut self) {
        self.table_depth = self.table_depth.saturating_sub(1);
        if self.table_depth == 0 {
            self.blocks.push(Block::Table(std::mem::take(&mut self.table)));
        }
    }
}
