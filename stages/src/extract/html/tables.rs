//! Tables of a page: which of them contain data, and their cells.
//!
//! The text of a table is written like other text while the table is open. At its end, a table of
//! data replaces that text by a Markdown table; a layout table keeps it.

use crate::extract::document::{Checkpoint, DocumentBuilder};
use crate::extract::html::tag::Tag;
use crate::extract::table_grid::{GridCell, TableGrid};

/// Elements in a cell that make its table a layout table.
const LAYOUT_ELEMENTS: &[&str] =
    &["form", "h1", "h2", "h3", "h4", "h5", "h6", "iframe", "main", "nav", "pre", "section"];

/// Elements in a cell of a table without a header that make it a layout table.
const BLOCKS: &[&str] = &["blockquote", "dl", "div", "ol", "p", "ul"];

/// The open tables, outermost first.
#[derive(Default)]
pub(super) struct OpenTables(Vec<OpenTable>);

struct OpenTable {
    start: Checkpoint,
    /// `None` for a layout table.
    data: Option<DataTable>,
}

#[derive(Default)]
struct DataTable {
    grid: TableGrid,
    caption: String,
    part: Part,
    in_head: bool,
    has_header: bool,
    has_blocks: bool,
}

/// The part of a table that is being written, with the start of its text.
#[derive(Default)]
enum Part {
    #[default]
    None,
    Caption(usize),
    Cell(usize, GridCell),
}

impl OpenTables {
    /// Ends the open cell before one of these elements begins or ends.
    pub(super) fn end_part(&mut self, name: &str, builder: &DocumentBuilder) {
        const PARTS: &[&str] = &["caption", "tbody", "td", "tfoot", "th", "thead", "tr"];
        if PARTS.contains(&name)
            && let Some(OpenTable { data: Some(table), .. }) = self.0.last_mut()
        {
            table.end_part(builder);
        }
    }

    /// Handles a start tag, after breaks and separators have been written.
    pub(super) fn start(&mut self, tag: &Tag, builder: &DocumentBuilder) {
        let name = tag.name.as_str();
        if name == "table" {
            // A table with a table in it is layout.
            self.keep_text();
            let role = tag.attribute("role");
            let is_layout = matches!(role, Some("presentation" | "none"));
            let data = (!is_layout).then(DataTable::default);
            return self.0.push(OpenTable { start: builder.checkpoint(), data });
        }
        if LAYOUT_ELEMENTS.contains(&name) {
            return self.keep_text();
        }
        let Some(OpenTable { data: Some(table), .. }) = self.0.last_mut() else { return };
        let at = builder.len();
        match name {
            "caption" => table.part = Part::Caption(at),
            "thead" => table.in_head = true,
            "tbody" | "tfoot" => table.in_head = false,
            "tr" => table.grid.begin_row(table.in_head),
            "td" | "th" => {
                let is_header = name == "th";
                table.has_header |= is_header || table.in_head;
                let span = |name| tag.attribute(name).and_then(|it| it.trim().parse().ok());
                let (columns, rows) = (span("colspan").unwrap_or(1), span("rowspan").unwrap_or(1));
                let cell = GridCell { text: String::new(), columns, rows, is_header };
                table.part = Part::Cell(at, cell);
            }
            _ => table.has_blocks |= BLOCKS.contains(&name),
        }
    }

    /// Handles an end tag.
    pub(super) fn end(&mut self, name: &str, builder: &mut DocumentBuilder) {
        self.end_part(name, builder);
        if name == "table" {
            self.end_table(builder);
        } else if name == "thead"
            && let Some(OpenTable { data: Some(table), .. }) = self.0.last_mut()
        {
            table.in_head = false;
        }
    }

    /// `true` if the innermost table began at or before this position.
    pub(super) fn has_begun_before(&self, position: Checkpoint) -> bool {
        self.0.last().is_some_and(|table| table.start.is_before(position))
    }

    /// Handles text: a table with text outside its cells is layout.
    pub(super) fn text(&mut self, text: &str) {
        if let Some(OpenTable { data: Some(table), .. }) = self.0.last()
            && matches!(table.part, Part::None)
            && !text.trim().is_empty()
        {
            self.keep_text();
        }
    }

    /// Makes the innermost table a layout table.
    pub(super) fn keep_text(&mut self) {
        if let Some(table) = self.0.last_mut() {
            table.data = None;
        }
    }

    /// Ends all open tables.
    pub(super) fn finish(&mut self, builder: &mut DocumentBuilder) {
        while !self.0.is_empty() {
            self.end_table(builder);
        }
    }

    fn end_table(&mut self, builder: &mut DocumentBuilder) {
        let Some(OpenTable { start, data: Some(mut data) }) = self.0.pop() else { return };
        data.end_part(builder);
        let DataTable { grid, caption, has_header, has_blocks, .. } = data;
        let table = grid.finish();
        let columns = table.rows.iter().map(Vec::len);
        let is_regular = columns.clone().min() == columns.clone().max();
        let is_data = if has_header || !caption.trim().is_empty() {
            columns.max() > Some(1)
        } else {
            !has_blocks && is_regular && table.rows.len() > 2 && columns.max() > Some(1)
        };
        if is_data {
            builder.rollback(start);
            builder.begin_block();
            builder.push_text(&caption);
            builder.push_table(&table);
        }
    }
}

impl DataTable {
    fn end_part(&mut self, builder: &DocumentBuilder) {
        match std::mem::take(&mut self.part) {
            Part::None => {}
            Part::Caption(start) => self.caption.push_str(builder.text_since(start)),
            Part::Cell(start, cell) => {
                let text = builder.text_since(start).to_owned();
                self.grid.push_cell(GridCell { text, ..cell });
            }
        }
    }
}
