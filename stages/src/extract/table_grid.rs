//! Builds tables from cells that may span several columns and rows, as in HTML and Word.
//!
//! A text that spans rows is repeated in each of them, so that each row is complete. A text that
//! spans columns is repeated in headers, where it is part of the name of each column; in other
//! rows it is in the first of them. What spans add to a table is limited: after that, each cell
//! has one column and one row.

use crate::extract::table::Table;

/// Bytes that the spans of one table may add, cell separators included.
pub(crate) const SPAN_ALLOWANCE: usize = 64 << 10;

/// Maximum length in bytes of a text that is repeated.
pub(crate) const MAX_REPEATED_BYTES: usize = 200;

const SEPARATOR_BYTES: usize = 3;

/// A table under construction.
#[derive(Debug)]
pub(crate) struct TableGrid {
    table: Table,
    row: Option<OpenRow>,
    /// Texts that continue in the next rows, by column.
    spanning: Vec<Option<SpanningText>>,
    allowance: usize,
}

#[derive(Debug, Default)]
struct OpenRow {
    cells: Vec<String>,
    is_header: bool,
    has_data: bool,
}

#[derive(Clone, Debug)]
struct SpanningText {
    text: String,
    rows_left: usize,
}

/// A cell with the number of columns and rows that it covers.
#[derive(Debug)]
pub(crate) struct GridCell {
    pub(crate) text: String,
    pub(crate) columns: usize,
    pub(crate) rows: usize,
    pub(crate) is_header: bool,
}

impl Default for TableGrid {
    fn default() -> Self {
        let (table, spanning) = (Table::default(), Vec::new());
        Self { table, row: None, spanning, allowance: SPAN_ALLOWANCE }
    }
}

impl TableGrid {
    /// Begins a row, and ends the previous one. The first rows of a table that are declared as
    /// headers, or have only header cells, are its header.
    pub(crate) fn begin_row(&mut self, is_header: bool) {
        self.end_row();
        self.row = Some(OpenRow { is_header, ..OpenRow::default() });
    }

    /// Adds a cell to the row, which begins if none is open.
    pub(crate) fn push_cell(&mut self, cell: GridCell) {
        let mut row = self.row.take().unwrap_or_default();
        self.fill_spanned(&mut row.cells);
        let GridCell { text, columns, rows, is_header } = cell;
        row.has_data |= !is_header;
        let repeated = if text.len() <= MAX_REPEATED_BYTES { text.clone() } else { String::new() };
        let beside = if is_header || row.is_header { repeated.clone() } else { String::new() };
        let added = beside.len() + SEPARATOR_BYTES;
        let columns = columns.clamp(1, 1 + self.allowance / added);
        self.allowance -= (columns - 1) * added;
        let first = row.cells.len();
        row.cells.push(text);
        row.cells.extend(std::iter::repeat_n(beside.clone(), columns - 1));
        if rows > 1 {
            self.spanning.resize(self.spanning.len().max(first + columns), None);
            for column in first..first + columns {
                let text = if column == first { repeated.clone() } else { beside.clone() };
                self.spanning[column] = Some(SpanningText { text, rows_left: rows - 1 });
            }
        }
        self.row = Some(row);
    }

    pub(crate) fn finish(mut self) -> Table {
        self.end_row();
        self.table
    }

    fn end_row(&mut self) {
        let Some(mut row) = self.row.take() else { return };
        while let Some(next) = self.next_spanned(row.cells.len()) {
            row.cells.resize(next, String::new());
            self.fill_spanned(&mut row.cells);
        }
        let is_header = row.is_header || !row.has_data && !row.cells.is_empty();
        if is_header && self.table.header_rows == self.table.rows.len() {
            self.table.header_rows += 1;
        }
        self.table.rows.push(row.cells);
    }

    /// The first column from `from` into which a cell of an earlier row continues.
    fn next_spanned(&self, from: usize) -> Option<usize> {
        let spanning = self.spanning.get(from..)?;
        spanning.iter().position(Option::is_some).map(|at| from + at)
    }

    /// Adds the cells of earlier rows that continue in the next columns.
    fn fill_spanned(&mut self, cells: &mut Vec<String>) {
        while let Some(Some(spanning)) = self.spanning.get_mut(cells.len()) {
            let cost = spanning.text.len() + SEPARATOR_BYTES;
            let Some(allowance) = self.allowance.checked_sub(cost) else {
                self.spanning.clear();
                return;
            };
            self.allowance = allowance;
            let column = cells.len();
            cells.push(spanning.text.clone());
            spanning.rows_left -= 1;
            if spanning.rows_left == 0 {
                self.spanning[column] = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(text: &str, columns: usize, rows: usize, is_header: bool) -> GridCell {
        GridCell { text: text.to_owned(), columns, rows, is_header }
    }

    #[test]
    fn spans_complete_headers_and_rows() {
        let mut grid = TableGrid::default();
        grid.begin_row(false);
        grid.push_cell(cell("Tree", 1, 2, true));
        grid.push_cell(cell("Height", 2, 1, true));
        grid.begin_row(false);
        grid.push_cell(cell("min", 1, 1, true));
        grid.push_cell(cell("max", 1, 1, true));
        grid.begin_row(false);
        grid.push_cell(cell("Oak", 1, 2, true));
        grid.push_cell(cell("20 to 40", 2, 1, false));
        grid.push_cell(cell("old", 1, 2, false));
        grid.begin_row(false);
        grid.push_cell(cell("18", 1, 1, false));
        let table = grid.finish();
        assert_eq!(table.header_rows, 2);
        let rows: Vec<String> = table.rows.iter().map(|row| row.join("|")).collect();
        let expected = ["Tree|Height|Height", "Tree|min|max", "Oak|20 to 40||old", "Oak|18||old"];
        assert_eq!(rows, expected);
    }

    #[test]
    fn spans_add_a_limited_amount() {
        let mut grid = TableGrid::default();
        for _ in 0..1000 {
            grid.begin_row(true);
            grid.push_cell(cell(&"x".repeat(100), usize::MAX, usize::MAX, true));
        }
        let bytes: usize = grid.finish().rows.iter().flatten().map(|cell| cell.len() + 3).sum();
        assert!(bytes <= 1000 * 103 + SPAN_ALLOWANCE, "{bytes}");
    }
}
