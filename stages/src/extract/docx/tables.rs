//! Tables of a Word document.
//!
//! A table in a cell is part of the text of the cell. A table with one row or one column is layout:
//! its cells are written as text.

use std::collections::HashMap;

use quick_xml::events::BytesStart;

use crate::extract::document::DocumentBuilder;
use crate::extract::table::Table;
use crate::extract::table_grid::{GridCell, MAX_REPEATED_BYTES, SPAN_ALLOWANCE, TableGrid};
use crate::extract::xml::attribute;

/// Flag of a table's look: the first row is formatted as a header.
const FIRST_ROW: u32 = 0x20;

/// The outermost open table, and the number of tables in it.
#[derive(Default)]
pub(super) struct OpenTables {
    table: Option<OpenTable>,
    depth: usize,
    /// Number of open cells, also in tables that have no `tbl` element.
    cell_depth: usize,
}

#[derive(Default)]
struct OpenTable {
    rows: Vec<WordRow>,
    /// The first row has the format of a header.
    has_header_look: bool,
}

#[derive(Default)]
struct WordRow {
    is_header: bool,
    cells: Vec<WordCell>,
}

#[derive(Default)]
struct WordCell {
    text: String,
    columns: usize,
    /// `true` if it continues the cell above it.
    is_continued: bool,
}

impl OpenTables {
    /// Handles the start of an element of a table.
    pub(super) fn start(&mut self, name: &str, element: &BytesStart<'_>) {
        let value = || attribute(element, "val");
        match name {
            "tbl" => self.depth += 1,
            "tc" => self.cell_depth += 1,
            _ => {}
        }
        if self.depth > 1 || self.cell_depth > 1 {
            return;
        }
        if name == "tbl" {
            self.table = Some(OpenTable::default());
        }
        let Some(table) = &mut self.table else { return };
        match name {
            "tblLook" => {
                let flags = value().and_then(|flags| u32::from_str_radix(&flags, 16).ok());
                let first_row = attribute(element, "firstRow");
                table.has_header_look = match first_row {
                    Some(first_row) => is_on(&first_row),
                    None => flags.is_some_and(|flags| flags & FIRST_ROW != 0),
                };
            }
            "tr" => table.rows.push(WordRow::default()),
            "tblHeader" => {
                if let Some(row) = table.rows.last_mut() {
                    row.is_header = value().is_none_or(|value| is_on(&value));
                }
            }
            "tc" => {
                if table.rows.is_empty() {
                    table.rows.push(WordRow::default());
                }
                let cell = WordCell { columns: 1, ..WordCell::default() };
                table.rows.last_mut().expect("a row was pushed").cells.push(cell);
            }
            "gridSpan" => {
                if let (Some(cell), Some(columns)) = (table.last_cell(), value()) {
                    cell.columns = columns.parse().unwrap_or(1);
                }
            }
            "vMerge" => {
                if let Some(cell) = table.last_cell() {
                    cell.is_continued = value().is_none_or(|value| value == "continue");
                }
            }
            _ => {}
        }
    }

    /// Handles the end of an element, and writes a table that ends.
    pub(super) fn end(&mut self, name: &str, builder: &mut DocumentBuilder) {
        match name {
            "tc" => self.cell_depth = self.cell_depth.saturating_sub(1),
            "tbl" => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        if name == "tbl" && self.depth == 0 {
            self.write(builder);
        }
    }

    /// Takes a paragraph, if a cell is open.
    pub(super) fn push_text(&mut self, text: &str) -> bool {
        if self.cell_depth == 0 {
            return false;
        }
        let Some(cell) = self.table.as_mut().and_then(OpenTable::last_cell) else { return false };
        if !cell.text.is_empty() {
            cell.text.push(' ');
        }
        cell.text.push_str(text);
        true
    }

    /// Writes the table, also if its end is missing.
    pub(super) fn write(&mut self, builder: &mut DocumentBuilder) {
        let Some(table) = self.table.take() else { return };
        let table = table.into_table();
        let columns = table.rows.iter().map(Vec::len).max().unwrap_or_default();
        if table.rows.len() > 1 && columns > 1 {
            return builder.push_table(&table);
        }
        builder.begin_block();
        for row in &table.rows {
            builder.begin_line();
            builder.push_text(&row.join(" | "));
        }
        builder.begin_block();
    }
}

impl OpenTable {
    fn last_cell(&mut self) -> Option<&mut WordCell> {
        self.rows.last_mut()?.cells.last_mut()
    }

    fn into_table(self) -> Table {
        let has_header = self.rows.iter().any(|row| row.is_header);
        let mut grid = TableGrid::default();
        // The texts that rows below may continue, by column.
        let mut above: HashMap<usize, String> = HashMap::new();
        let mut allowance = SPAN_ALLOWANCE;
        for (number, row) in self.rows.into_iter().enumerate() {
            grid.begin_row(row.is_header || !has_header && self.has_header_look && number == 0);
            let mut column: usize = 0;
            for WordCell { mut text, columns, is_continued } in row.cells {
                if !is_continued {
                    above.remove(&column);
                    if text.len() <= MAX_REPEATED_BYTES {
                        above.insert(column, text.clone());
                    }
                } else if let Some(above) = above.get(&column).filter(|it| it.len() <= allowance) {
                    allowance -= above.len();
                    text = format!("{above} {text}");
                }
                grid.push_cell(GridCell { text, columns, rows: 1, is_header: false });
                column = column.saturating_add(columns);
            }
        }
        grid.finish()
    }
}

fn is_on(value: &str) -> bool {
    !matches!(value, "0" | "false" | "off")
}
