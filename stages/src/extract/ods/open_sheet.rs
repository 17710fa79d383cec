//! A sheet that is being read.

use quick_xml::events::BytesStart;

use crate::extract::document::{DocumentBuilder, collapse_whitespace};
use crate::extract::error::ExtractErrorKind;
use crate::extract::sheet::{MergedCells, Sheet, WorkbookBudget};
use crate::extract::xml::attribute;

/// Columns that a repeated cell with text fills at most.
const MAX_REPEATED_CELLS: u32 = 64;

/// Spaces that `text:s` stands for at most.
const MAX_SPACES: usize = 64;

/// The cells of a sheet, and the cell or comment that is open.
#[derive(Default)]
pub(super) struct OpenSheet {
    name: String,
    cells: Sheet,
    /// Number of open tables in cells.
    depth: usize,
    row: u32,
    /// The number of the row if repeated rows with text are counted once.
    line: u32,
    rows_repeated: u32,
    row_has_text: bool,
    column: u32,
    cell: Option<OpenCell>,
    /// Number of open paragraphs.
    paragraph_depth: usize,
    /// Text of a comment, or of a drawing outside the cells.
    note: String,
    in_comment: bool,
}

#[derive(Default)]
struct OpenCell {
    text: String,
    repeated: u32,
    columns: u32,
    rows: u32,
}

impl OpenSheet {
    pub(super) fn new(name: String) -> Self {
        Self { name, ..Self::default() }
    }

    /// `true` outside of tables in cells.
    pub(super) fn is_outermost(&self) -> bool {
        self.depth == 0
    }

    pub(super) fn write(
        mut self,
        builder: &mut DocumentBuilder,
        budget: &mut WorkbookBudget,
    ) -> Result<(), ExtractErrorKind> {
        self.end_cell(budget)?;
        self.end_note();
        self.cells.write(&self.name, builder, budget)
    }

    pub(super) fn start(&mut self, name: &str, element: &BytesStart<'_>) {
        let number = |name| attribute(element, name).and_then(|value| value.parse::<u32>().ok());
        match name {
            "table:table" => self.depth += 1,
            "table:table-row" => {
                self.row_has_text = false;
                self.rows_repeated = number("number-rows-repeated").unwrap_or(1);
                self.column = 0;
            }
            "table:table-cell" | "table:covered-table-cell" => {
                self.cell = Some(OpenCell {
                    text: String::new(),
                    repeated: number("number-columns-repeated").unwrap_or(1).max(1),
                    columns: number("number-columns-spanned").unwrap_or(1).max(1),
                    rows: number("number-rows-spanned").unwrap_or(1).max(1),
                });
            }
            "office:annotation" => {
                self.end_note();
                self.in_comment = true;
            }
            "text:p" | "text:h" => {
                self.paragraph_depth += 1;
                self.push(" ");
            }
            "text:s" => {
                let count = number("c").and_then(|count| usize::try_from(count).ok());
                self.push(&" ".repeat(count.unwrap_or(1).min(MAX_SPACES)));
            }
            "text:tab" | "text:line-break" => self.push(" "),
            _ => {}
        }
    }

    pub(super) fn end(
        &mut self,
        name: &str,
        budget: &mut WorkbookBudget,
    ) -> Result<(), ExtractErrorKind> {
        match name {
            "text:p" | "text:h" => self.paragraph_depth = self.paragraph_depth.saturating_sub(1),
            "office:annotation" => {
                self.in_comment = true;
                self.end_note();
                self.in_comment = false;
            }
            "table:table-cell" | "table:covered-table-cell" => self.end_cell(budget)?,
            "table:table" => self.depth = self.depth.saturating_sub(1),
            "table:table-row" => {
                let written = if self.row_has_text { 1 } else { self.rows_repeated };
                self.line = self.line.saturating_add(written);
                self.row = self.row.saturating_add(self.rows_repeated);
            }
            "table:shapes" => self.end_note(),
            _ => {}
        }
        Ok(())
    }

    pub(super) fn text(&mut self, text: &str) {
        if self.paragraph_depth > 0 {
            self.push(text);
        }
    }

    fn push(&mut self, text: &str) {
        match &mut self.cell {
            Some(cell) if !self.in_comment => cell.text.push_str(text),
            Some(_) | None => self.note.push_str(text),
        }
    }

    fn end_cell(&mut self, budget: &mut WorkbookBudget) -> Result<(), ExtractErrorKind> {
        let Some(OpenCell { text, repeated, columns, rows }) = self.cell.take() else {
            return Ok(());
        };
        let text = collapse_whitespace(&text);
        if !text.is_empty() {
            self.row_has_text = true;
            for column in 0..repeated.min(MAX_REPEATED_CELLS) {
                let column = self.column.saturating_add(column);
                self.cells.push(self.line, column, text.clone(), budget)?;
            }
            if columns > 1 || rows > 1 {
                self.cells.push_merged(MergedCells {
                    row: self.line,
                    column: self.column,
                    end_row: self.line.saturating_add(rows - 1),
                    end_column: self.column.saturating_add(columns - 1),
                });
            }
        }
        self.column = self.column.saturating_add(repeated);
        Ok(())
    }

    fn end_note(&mut self) {
        let note = std::mem::take(&mut self.note);
        if note.trim().is_empty() {
            return;
        }
        let place = if self.in_comment {
            format!("Comment at {}: ", cell_name(self.row, self.column))
        } else {
            String::new()
        };
        self.cells.push_note(format!("{place}{}", collapse_whitespace(&note)));
    }
}

/// The name of a cell, such as `B3`.
fn cell_name(row: u32, column: u32) -> String {
    let (mut letters, mut rest) = (Vec::new(), u64::from(column) + 1);
    while rest > 0 {
        letters.push(char::from(b'A' + u8::try_from((rest - 1) % 26).unwrap_or_default()));
        rest = (rest - 1) / 26;
    }
    let letters: String = letters.into_iter().rev().collect();
    format!("{letters}{}", u64::from(row) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_have_the_names_of_a_spreadsheet() {
        for (row, column, name) in
            [(0, 0, "A1"), (2, 25, "Z3"), (9, 26, "AA10"), (0, 16383, "XFD1")]
        {
            assert_eq!(cell_name(row, column), name);
        }
    }
}
