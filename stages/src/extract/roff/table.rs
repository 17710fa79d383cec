//! Tables of tbl(1) in manual pages, as rows of cells.

use crate::extract::roff::reader::{LineMode, RoffReader};

impl RoffReader {
    /// Parses a line between `.TS` and `.TE`.
    pub(super) fn table_line(&mut self, line: &str) {
        if self.mode == LineMode::Table(false) {
            // Options end with a semicolon, the format with a full stop.
            if line.trim_end().ends_with('.') {
                self.mode = LineMode::Table(true);
            }
            return;
        }
        if line.starts_with(".T&") {
            self.mode = LineMode::Table(false);
            return;
        }
        if self.in_cell {
            return match line.strip_prefix("T}") {
                Some(rest) => {
                    self.in_cell = false;
                    self.cells(rest.trim_start_matches(['\t', ':', '@', '|']));
                }
                None => self.continue_cell(line),
            };
        }
        // Rules, and requests between rows.
        if matches!(line.trim(), "_" | "=" | "") || line.starts_with(['.', '\'']) {
            return;
        }
        self.cells(line);
    }

    /// The cells of a line; the last one may continue over several lines.
    fn cells(&mut self, line: &str) {
        let separator =
            ['\t', ':', '@', '|'].into_iter().find(|sign| line.contains(*sign)).unwrap_or('\t');
        for cell in line.split(separator) {
            if cell == "T{" {
                self.in_cell = true;
                self.row.push(String::new());
            } else if !cell.is_empty() {
                let cell = self.strings.expand(cell);
                self.row.push(cell);
            }
        }
        if !self.in_cell {
            self.end_row();
        }
    }

    fn continue_cell(&mut self, line: &str) {
        let words = match line.strip_prefix('.') {
            // A request in a cell sets a font, which may change within a word.
            Some(request) => {
                let (name, rest) = request.split_once(' ').unwrap_or((request, ""));
                let by_turns = matches!(name, "BR" | "BI" | "IB" | "IR" | "RB" | "RI");
                self.arguments(rest).join(if by_turns { "" } else { " " })
            }
            None => self.strings.expand(line),
        };
        if let Some(cell) = self.row.last_mut() {
            if !cell.is_empty() {
                cell.push(' ');
            }
            cell.push_str(words.trim());
        }
    }

    fn end_row(&mut self) {
        let row = std::mem::take(&mut self.row);
        self.builder.begin_line();
        self.builder.push_text(&row.join(" | "));
    }

    pub(super) fn end_table(&mut self) {
        if !self.row.is_empty() {
            self.end_row();
        }
        self.in_cell = false;
        if matches!(self.mode, LineMode::Table(_)) {
            self.mode = LineMode::Text;
        }
        self.builder.begin_block();
    }
}
