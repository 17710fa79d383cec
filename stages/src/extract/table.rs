//! Tables of documents: rows of cell texts, written as Markdown tables (GFM).
//!
//! A table has one header line, because GFM has no more: the cells of several header rows are
//! joined by column. The delimiter line is as short as GFM allows, because each of its characters
//! is a token for many models. Empty cells at the end of a row are left out, which GFM allows.

use serde::{Deserialize, Serialize};

use crate::extract::document::{DocumentBuilder, collapse_whitespace};

/// Rows of cell texts. Rows may have different lengths.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Table {
    pub(crate) rows: Vec<Vec<String>>,
    /// Number of rows at the start that name the columns; 0 if none does.
    pub(crate) header_rows: usize,
}

/// The place of a table in the text, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TableSpan {
    pub(crate) start: u64,
    /// Start of the first row that is not a header: `start` if the table has no header, `end` if
    /// it has nothing else.
    pub(crate) body_start: u64,
    pub(crate) end: u64,
}

impl Table {
    /// One text per column: the distinct texts of its header cells. Empty without a header.
    pub(crate) fn header(&self) -> Vec<String> {
        let rows = &self.rows[..self.header_rows.min(self.rows.len())];
        let column = |at: usize| {
            let mut texts: Vec<String> = Vec::new();
            for cell in rows.iter().filter_map(|row| row.get(at)) {
                let text = collapse_whitespace(cell);
                if !text.is_empty() && !texts.contains(&text) {
                    texts.push(text);
                }
            }
            texts.join(" ")
        };
        (0..column_count(rows)).map(column).collect()
    }
}

fn column_count(rows: &[Vec<String>]) -> usize {
    rows.iter().map(Vec::len).max().unwrap_or_default()
}

impl DocumentBuilder {
    /// Writes a table as a block of its own. A table without any text is left out.
    pub(crate) fn push_table(&mut self, table: &Table) {
        let mut writer = self.begin_table(&table.header(), column_count(&table.rows));
        for row in table.rows.iter().skip(table.header_rows) {
            writer.push_row(row.iter().map(String::as_str));
        }
        writer.finish();
    }

    /// Begins a table whose rows are written one by one. `columns` is the number of columns if it
    /// is greater than that of `header`; the header line, which GFM requires, is filled with empty
    /// cells. A table has no header if none of its cells has text.
    pub(crate) fn begin_table(&mut self, header: &[String], columns: usize) -> TableWriter<'_> {
        let named = header.iter().rposition(|cell| !collapse_whitespace(cell).is_empty());
        let named = named.map_or(0, |last| last + 1);
        let columns = columns.max(header.len());
        let (names, empty) =
            (row_line(header.iter().map(String::as_str)), " |".repeat(columns - named));
        let header = format!("{names}{empty}\n|{}", "-|".repeat(columns));
        TableWriter { builder: self, header, has_header: named > 0, span: None }
    }
}

/// Writes the rows of a table; [`Self::finish`] records its place.
pub(crate) struct TableWriter<'a> {
    builder: &'a mut DocumentBuilder,
    /// The header line and the delimiter line.
    header: String,
    has_header: bool,
    /// `None` before anything is written.
    span: Option<TableSpan>,
}

impl TableWriter<'_> {
    /// Writes a row, unless all its cells are empty.
    pub(crate) fn push_row<'a>(&mut self, cells: impl IntoIterator<Item = &'a str>) {
        let line = row_line(cells);
        if line == EMPTY_ROW {
            return;
        }
        let mut span = self.span.unwrap_or_else(|| self.write_header());
        let row = self.builder.push_table_line(&line);
        if self.has_header && span.body_start == span.end {
            span.body_start = row.start;
        }
        span.end = row.end;
        self.span = Some(span);
    }

    pub(crate) fn finish(mut self) {
        if self.has_header && self.span.is_none() {
            self.span = Some(self.write_header());
        }
        if let Some(span) = self.span {
            self.builder.end_table(span);
        }
    }

    fn write_header(&mut self) -> TableSpan {
        self.builder.begin_table_block();
        let header = self.builder.push_table_line(&self.header);
        let body_start = if self.has_header { header.end } else { header.start };
        TableSpan { start: header.start, body_start, end: header.end }
    }
}

const EMPTY_ROW: &str = "|";

/// The cells in one line. A `|` is escaped, and so are backslashes directly before it.
fn row_line<'a>(cells: impl IntoIterator<Item = &'a str>) -> String {
    let mut line = EMPTY_ROW.to_owned();
    let mut filled = line.len();
    for cell in cells {
        line.push(' ');
        let mut backslashes = 0;
        for char in collapse_whitespace(cell).chars() {
            if char == '|' {
                line.extend(std::iter::repeat_n('\\', backslashes + 1));
            }
            backslashes = if char == '\\' { backslashes + 1 } else { 0 };
            line.push(char);
        }
        if !line.ends_with(' ') {
            line.push_str(" |");
            filled = line.len();
        } else {
            line.push('|');
        }
    }
    line.truncate(filled);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(rows: &[&[&str]], header_rows: usize) -> crate::extract::document::Document {
        let cells = |row: &&[&str]| row.iter().map(|cell| (*cell).to_owned()).collect();
        let mut builder = DocumentBuilder::default();
        builder.push_text("before");
        builder.push_table(&Table { rows: rows.iter().map(cells).collect(), header_rows });
        builder.push_text("after");
        builder.finish()
    }

    #[test]
    fn tables_are_markdown_with_their_place() {
        let rows: [&[&str]; 5] = [
            &["Year", "Sold", "Sold"],
            &["Year", " Q1", "Q2"],
            &["2023", "a|b \\| c\\", "two\n lines", ""],
            &["", "\u{0}", ""],
            &["", "5"],
        ];
        let document = document(&rows, 2);
        insta::assert_snapshot!(document.text, @r#"
        before

        | Year | Sold Q1 | Sold Q2 | |
        |-|-|-|-|
        | 2023 | a\|b \\\| c\ | two lines |
        | | 5 |

        after
        "#);
        let [span] = document.tables[..] else { panic!("one table") };
        let at = |offset: u64| &document.text[usize::try_from(offset).unwrap()..];
        assert!(at(span.start).starts_with("| Year") && at(span.body_start).starts_with("| 2023"));
        assert_eq!(at(span.end), "\n\nafter");
    }

    #[test]
    fn a_table_without_a_header_gets_an_empty_one_that_is_not_repeated() {
        let document = document(&[&["a", "b"], &["c"]], 0);
        insta::assert_snapshot!(document.text, @r#"
        before

        | | |
        |-|-|
        | a | b |
        | c |

        after
        "#);
        let [span] = document.tables[..] else { panic!("one table") };
        assert_eq!(span.start, span.body_start);
    }

    #[test]
    fn tables_may_be_all_header_or_nothing() {
        let all_header = document(&[&["a", "b"]], 1);
        let [span] = all_header.tables[..] else { panic!("one table") };
        assert_eq!(
            (span.body_start, &*all_header.text),
            (span.end, "before\n\n| a | b |\n|-|-|\n\nafter")
        );
        for nothing in [document(&[], 1), document(&[&["", " "], &[]], 1), document(&[&[""]], 0)] {
            assert_eq!((&*nothing.text, nothing.tables.len()), ("beforeafter", 0));
        }
    }
}
