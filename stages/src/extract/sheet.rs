//! Sheets of a workbook: sparse cells, written as headings, tables and lines.
//!
//! Only cells with text are kept, so that a sheet costs what it contains, whatever its extent.
//! A sheet is divided into blocks at its empty rows. A block with several rows and columns is a
//! table; its first row is the header if it looks like one, and rows of a single cell before it
//! are lines. A block that continues the columns of the table before it belongs to that table.
//! Everything else, and what would be almost only empty cells as a table, is written as lines.

mod blocks;

use crate::extract::document::DocumentBuilder;
use crate::extract::error::ExtractErrorKind;
use crate::extract::sheet::blocks::SheetWriter;
use crate::extract::table_grid::{MAX_REPEATED_BYTES, SPAN_ALLOWANCE};

/// Memory of a cell beside its text, which counts towards the limit of unpacked content.
const CELL_BYTES: u64 = 64;

/// A cell with text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SheetCell {
    pub(crate) column: u32,
    pub(crate) text: String,
}

/// A row with cells, by ascending column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SheetRow {
    pub(crate) number: u32,
    pub(crate) cells: Vec<SheetCell>,
}

/// Merged cells; the text is in the first one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MergedCells {
    pub(crate) row: u32,
    pub(crate) column: u32,
    /// The last row and column.
    pub(crate) end_row: u32,
    pub(crate) end_column: u32,
}

/// The cells of one sheet.
#[derive(Debug, Default)]
pub(crate) struct Sheet {
    rows: Vec<SheetRow>,
    merged: Vec<MergedCells>,
    /// Text outside the cells, such as comments.
    notes: Vec<String>,
}

/// What the sheets of one workbook may still take, in bytes.
#[derive(Debug)]
pub(crate) struct WorkbookBudget {
    left: u64,
    most: u64,
}

impl WorkbookBudget {
    pub(crate) fn new(most: u64) -> Self {
        Self { left: most, most }
    }

    /// # Errors
    /// If the limit is exceeded.
    pub(crate) fn take(&mut self, bytes: u64) -> Result<(), ExtractErrorKind> {
        let left = self.left.checked_sub(bytes);
        self.left = left.ok_or_else(|| ExtractErrorKind::unpack_limit(self.most))?;
        Ok(())
    }
}

impl Sheet {
    /// Adds a cell. Most readers deliver them row by row.
    ///
    /// # Errors
    /// If the limit of the workbook is exceeded.
    pub(crate) fn push(
        &mut self,
        row: u32,
        column: u32,
        text: String,
        budget: &mut WorkbookBudget,
    ) -> Result<(), ExtractErrorKind> {
        if text.trim().is_empty() {
            return Ok(());
        }
        budget.take(text.len() as u64 + CELL_BYTES)?;
        let cell = SheetCell { column, text };
        match self.rows.last_mut() {
            Some(last) if last.number == row => last.cells.push(cell),
            _ => self.rows.push(SheetRow { number: row, cells: vec![cell] }),
        }
        Ok(())
    }

    pub(crate) fn push_merged(&mut self, merged: MergedCells) {
        self.merged.push(merged);
    }

    /// Adds text that is written after the cells.
    pub(crate) fn push_note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Writes the sheet below a heading with its name; nothing if it is empty.
    ///
    /// # Errors
    /// If the limit of the workbook is exceeded.
    pub(crate) fn write(
        mut self,
        name: &str,
        builder: &mut DocumentBuilder,
        budget: &mut WorkbookBudget,
    ) -> Result<(), ExtractErrorKind> {
        if self.rows.is_empty() && self.notes.is_empty() {
            return Ok(());
        }
        builder.begin_heading(1);
        builder.push_text(name);
        builder.end_heading();
        self.sort();
        self.fill_merged();
        SheetWriter::new(builder, budget, &self.merged).write(&self.rows)?;
        builder.begin_block();
        for note in &self.notes {
            builder.push_text(note);
            builder.begin_block();
        }
        Ok(())
    }

    /// Puts rows and cells in order, and joins rows of the same number.
    fn sort(&mut self) {
        self.rows.sort_by_key(|row| row.number);
        self.rows.dedup_by(|next, row| {
            let is_same = next.number == row.number;
            if is_same {
                row.cells.append(&mut next.cells);
            }
            is_same
        });
        for row in &mut self.rows {
            row.cells.sort_by_key(|cell| cell.column);
            // Of cells at one place, the last one counts.
            row.cells.dedup_by(|next, cell| {
                let is_same = next.column == cell.column;
                if is_same {
                    std::mem::swap(next, cell);
                }
                is_same
            });
        }
    }

    /// Repeats the text of merged cells in the rows that they cover, within an allowance.
    fn fill_merged(&mut self) {
        let mut allowance = SPAN_ALLOWANCE;
        for merged in &self.merged {
            let first = self.rows.partition_point(|row| row.number < merged.row);
            let Some(top) = self.rows.get(first).filter(|row| row.number == merged.row) else {
                continue;
            };
            let Ok(at) = top.cells.binary_search_by_key(&merged.column, |cell| cell.column) else {
                continue;
            };
            let text = top.cells[at].text.clone();
            if text.len() > MAX_REPEATED_BYTES {
                continue;
            }
            let below = self.rows[first + 1..].iter_mut();
            for row in below.take_while(|row| row.number <= merged.end_row) {
                let cost = text.len() + usize::try_from(CELL_BYTES).unwrap_or(usize::MAX);
                let Some(left) = allowance.checked_sub(cost) else { return };
                allowance = left;
                let place = row.cells.binary_search_by_key(&merged.column, |cell| cell.column);
                if let Err(place) = place {
                    let cell = SheetCell { column: merged.column, text: text.clone() };
                    row.cells.insert(place, cell);
                }
            }
        }
    }
}
