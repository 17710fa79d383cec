//! The blocks of a sheet, as tables and lines.

use std::collections::BTreeSet;

use crate::extract::document::DocumentBuilder;
use crate::extract::error::ExtractErrorKind;
use crate::extract::sheet::{MergedCells, SheetRow, WorkbookBudget};
use crate::extract::table::Table;
use crate::extract::table_header::{has_header, names_numbers};

/// Number of rows that are examined to find a header.
const SAMPLE_ROWS: usize = 20;

/// Cells of a table per cell with text, at most, if the table is large.
const MAX_SPARSENESS: usize = 16;

/// Number of cells of a table that may be empty in any case.
const SMALL_TABLE: usize = 1 << 12;

/// Writes the rows of a sheet.
pub(super) struct SheetWriter<'a> {
    builder: &'a mut DocumentBuilder,
    budget: &'a mut WorkbookBudget,
    merged: &'a [MergedCells],
}

/// Consecutive rows of a sheet.
struct Block<'a> {
    rows: &'a [SheetRow],
    columns: BTreeSet<u32>,
}

/// Blocks that form one table.
struct SheetTable<'a> {
    blocks: Vec<&'a [SheetRow]>,
    columns: BTreeSet<u32>,
}

impl<'a> Block<'a> {
    fn new(rows: &'a [SheetRow]) -> Self {
        let columns = rows.iter().flat_map(|row| &row.cells).map(|cell| cell.column).collect();
        Self { rows, columns }
    }

    fn is_table(&self) -> bool {
        let cells: usize = self.rows.iter().map(|row| row.cells.len()).sum();
        let all = self.rows.len().saturating_mul(self.columns.len());
        let is_dense = all <= SMALL_TABLE || all / MAX_SPARSENESS <= cells;
        self.rows.len() > 1 && self.columns.len() > 1 && is_dense
    }

    /// `true` if the block is more of the table, after an empty row.
    fn continues(&self, table: &SheetTable<'_>) -> bool {
        let rows = self.rows.len().saturating_mul(table.columns.len());
        self.columns.len() > 1
            && self.columns.is_subset(&table.columns)
            && (self.is_table() || self.rows.len() == 1)
            && rows <= SMALL_TABLE.max(MAX_SPARSENESS * self.rows.len() * self.columns.len())
            && !names_numbers(&dense(self.rows, &self.columns, SAMPLE_ROWS))
    }
}

impl<'a> SheetWriter<'a> {
    pub(super) fn new(
        builder: &'a mut DocumentBuilder,
        budget: &'a mut WorkbookBudget,
        merged: &'a [MergedCells],
    ) -> Self {
        Self { builder, budget, merged }
    }

    pub(super) fn write(mut self, rows: &[SheetRow]) -> Result<(), ExtractErrorKind> {
        let mut open: Option<SheetTable<'_>> = None;
        for rows in rows.chunk_by(|row, next| next.number - row.number == 1) {
            let titles = title_rows(rows);
            let block = Block::new(&rows[titles..]);
            if titles == 0
                && let Some(table) = open.as_mut().filter(|table| block.continues(table))
            {
                table.blocks.push(block.rows);
                continue;
            }
            self.write_table(open.take())?;
            self.write_lines(&rows[..titles])?;
            if block.is_table() {
                open = Some(SheetTable { blocks: vec![block.rows], columns: block.columns });
            } else {
                self.write_lines(block.rows)?;
            }
        }
        self.write_table(open)
    }

    fn write_lines(&mut self, rows: &[SheetRow]) -> Result<(), ExtractErrorKind> {
        self.builder.begin_block();
        for row in rows {
            let cells: Vec<&str> = row.cells.iter().map(|cell| cell.text.as_str()).collect();
            let line = cells.join(" | ");
            self.budget.take(line.len() as u64)?;
            self.builder.begin_line();
            self.builder.push_text(&line);
        }
        self.builder.begin_block();
        Ok(())
    }

    fn write_table(&mut self, table: Option<SheetTable<'_>>) -> Result<(), ExtractErrorKind> {
        let Some(SheetTable { blocks, columns }) = table else { return Ok(()) };
        let header_rows = self.header_rows(blocks[0], &columns);
        let (header, body) = blocks[0].split_at(header_rows);
        let header = self.header(header, &columns);
        let mut table = self.builder.begin_table(&header, columns.len());
        let rows = body.iter().chain(blocks[1..].iter().copied().flatten());
        for row in rows {
            let text: usize = row.cells.iter().map(|cell| cell.text.len()).sum();
            self.budget.take((text + 3 * columns.len()) as u64)?;
            table.push_row(dense_row(row, &columns));
        }
        table.finish();
        Ok(())
    }

    /// Number of header rows of a table: two if cells of the first row are merged above several
    /// names.
    fn header_rows(&self, rows: &[SheetRow], columns: &BTreeSet<u32>) -> usize {
        let is_grouped = self.groups(rows[0].number, columns).next().is_some();
        if is_grouped && rows.len() > 2 && has_header(&dense(&rows[1..], columns, SAMPLE_ROWS)) {
            return 2;
        }
        usize::from(has_header(&dense(rows, columns, SAMPLE_ROWS)))
    }

    /// Cells of a row that are merged over several columns of the table.
    fn groups(&self, row: u32, columns: &BTreeSet<u32>) -> impl Iterator<Item = &MergedCells> {
        self.merged.iter().filter(move |merged| {
            let covered = columns.range(merged.column..=merged.end_column.max(merged.column));
            merged.row == row && covered.take(2).count() == 2
        })
    }

    /// The names of the columns. The text of merged cells is part of the name of each column below.
    fn header(&self, rows: &[SheetRow], columns: &BTreeSet<u32>) -> Vec<String> {
        let to_owned = |row| dense_row(row, columns).map(str::to_owned).collect();
        let mut cells: Vec<Vec<String>> = rows.iter().map(to_owned).collect();
        for (row, cells) in rows.iter().zip(&mut cells) {
            for merged in self.groups(row.number, columns) {
                let first = columns.range(..merged.column).count();
                let end = columns.range(..=merged.end_column).count();
                let Some(text) = cells.get(first).cloned() else { continue };
                for cell in &mut cells[first..end] {
                    if cell.is_empty() {
                        cell.clone_from(&text);
                    }
                }
            }
        }
        Table { header_rows: cells.len(), rows: cells }.header()
    }
}

/// Number of rows of a single cell before the first row with several.
fn title_rows(rows: &[SheetRow]) -> usize {
    rows.iter().position(|row| row.cells.len() > 1).unwrap_or_default()
}

/// The first rows of a table, with empty cells.
fn dense<'a>(rows: &'a [SheetRow], columns: &BTreeSet<u32>, most: usize) -> Vec<Vec<&'a str>> {
    rows.iter().take(most).map(|row| dense_row(row, columns).collect()).collect()
}

/// The cells of a row of a table; their columns are among those of the table.
fn dense_row<'a>(row: &'a SheetRow, columns: &BTreeSet<u32>) -> impl Iterator<Item = &'a str> {
    let mut cells = row.cells.iter().peekable();
    columns.iter().map(move |column| {
        cells.next_if(|cell| cell.column == *column).map_or("", |cell| cell.text.as_str())
    })
}
