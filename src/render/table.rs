//! Tables: boxed to the width of a terminal, or lines of tab-separated values if the output is not
//! a terminal.

use std::borrow::Cow;

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{ContentArrangement, Table};

use super::{visible, visible_line, width_of_output};

/// Border and padding of a table, in columns: per column of the table, and for the left border.
const PADDING: usize = 3;
const BORDER: usize = 1;

/// Minimum width of a shortened path.
const MIN_PATH_WIDTH: usize = 24;

/// Maximum width counted for other columns when the space for paths is divided; longer text is
/// wrapped.
const MAX_TEXT_WIDTH: usize = 30;

/// A table; without a header if `head` is empty. Tab-separated lines if standard output is not a
/// terminal.
pub(crate) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let rows: Vec<_> = rows.into_iter().collect();
    match width_of_output() {
        Some(width) => boxed(head, rows, width),
        None => tab_separated(head, &rows),
    }
}

/// A table after another one. An empty line separates them if they have no borders.
pub(crate) fn next_table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let part = if width_of_output().is_some() { "" } else { "\n" };
    format!("{part}{}", table(head, rows))
}

fn tab_separated(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut out = String::new();
    if !head.is_empty() {
        out.push_str(&head.join("\t"));
        out.push('\n');
    }
    for row in rows {
        let cells: Vec<_> = row
            .iter()
            .map(|cell| visible_line(&strip_thousands(cell.trim())).into_owned())
            .collect();
        out.push_str(&cells.join("\t"));
        out.push('\n');
    }
    out
}

/// A cell. A whole number loses the spaces between its thousands.
fn strip_thousands(cell: &str) -> Cow<'_, str> {
    let is_number = cell.chars().all(|letter| letter.is_ascii_digit() || letter == '\u{202f}');
    if is_number && cell.contains('\u{202f}') {
        return Cow::Owned(cell.replace('\u{202f}', ""));
    }
    Cow::Borrowed(cell)
}

fn boxed(head: &[&str], mut rows: Vec<Vec<String>>, width: usize) -> String {
    for cell in rows.iter_mut().flatten() {
        // A tab would move the border.
        *cell = visible(&cell.replace('\t', " ")).into_owned();
    }
    shorten_paths(head, &mut rows, width);
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(width).unwrap_or(u16::MAX));
    if !head.is_empty() {
        table.set_header(head);
    }
    table.add_rows(rows);
    format!("{table}\n")
}

/// Shortens paths in the middle if the table does not fit; other text is wrapped between words.
fn shorten_paths(head: &[&str], rows: &mut [Vec<String>], width: usize) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0).max(head.len());
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    widths.resize(columns, 0);
    let mut has_paths = vec![false; columns];
    for row in rows.iter() {
        for (column, cell) in row.iter().enumerate() {
            let longest = cell.lines().map(|line| line.chars().count()).max().unwrap_or(0);
            widths[column] = widths[column].max(longest);
            has_paths[column] |= is_path(cell);
        }
    }
    let room = width.saturating_sub(PADDING * columns + BORDER);
    let paths = has_paths.iter().filter(|has| **has).count();
    if paths == 0 || widths.iter().sum::<usize>() <= room {
        return;
    }
    let others = widths.iter().zip(&has_paths).filter(|(_, has)| !**has);
    let others: usize = others.map(|(width, _)| (*width).min(MAX_TEXT_WIDTH)).sum();
    let most = (room.saturating_sub(others) / paths).max(MIN_PATH_WIDTH);
    for cell in rows.iter_mut().flatten().filter(|cell| is_path(cell)) {
        *cell = shorten_path(cell, most);
    }
}

fn is_path(cell: &str) -> bool {
    (cell.starts_with('/') || cell.contains("://")) && !cell.contains('\n')
}

/// A path of at most `most` columns: its beginning and, twice as long, its end, which identifies it
/// best.
fn shorten_path(path: &str, most: usize) -> String {
    let letters: Vec<char> = path.chars().collect();
    if letters.len() <= most {
        return path.to_owned();
    }
    let beginning = (most - 1) / 3;
    let end = letters.len() - (most - 1 - beginning);
    letters[..beginning].iter().chain(['…'].iter()).chain(&letters[end..]).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows() -> Vec<Vec<String>> {
        let row = |cells: [&str; 4]| cells.map(str::to_owned).to_vec();
        vec![
            row([
                "file:///srv/documents/company/contracts/2024/delivery-of-lenses.pdf",
                "extract",
                "failed",
                "is not a valid PDF file: the cross-reference table is damaged",
            ]),
            row(["file:///srv/a.md", "extract", "12\u{202f}345", "a\ttab\nand \u{1b}[2J"]),
        ]
    }

    const HEAD: [&str; 4] = ["set aside", "at", "reason", "because it"];

    #[test]
    fn a_table_fits_the_terminal() {
        let shown = [160, 80, 60].map(|width| boxed(&HEAD, rows(), width));
        insta::assert_snapshot!(shown.join("\n"));
    }

    #[test]
    fn without_a_terminal_there_are_tabs_and_nothing_else() {
        assert_eq!(
            tab_separated(&HEAD, &rows()),
            "set aside\tat\treason\tbecause it\n\
             file:///srv/documents/company/contracts/2024/delivery-of-lenses.pdf\textract\tfailed\t\
             is not a valid PDF file: the cross-reference table is damaged\n\
             file:///srv/a.md\textract\t12345\ta\\ttab\\nand \\u{1b}[2J\n"
        );
    }

    proptest! {
        #[test]
        fn no_line_is_longer_than_the_terminal_is_wide(
            width in 40_usize..200,
            cells in prop::collection::vec(
                prop::collection::vec("[a-z ]{0,60}|/[a-z/]{0,120}|[a-z0-9-]{36}", 4), 0..6),
        ) {
            for line in boxed(&HEAD, cells, width).lines() {
                prop_assert!(line.chars().count() <= width, "{} columns: {line}", line.chars().count());
            }
        }

        /// For any content of the cells, a row is one line with the same number of fields.
        #[test]
        fn a_row_is_a_line(cells in prop::collection::vec(prop::collection::vec("(\\PC|[\u{0}-\u{a0}]){0,20}", 4), 1..6)) {
            let shown = tab_separated(&HEAD, &cells);
            prop_assert_eq!(shown.lines().count(), cells.len() + 1);
            prop_assert!(shown.lines().all(|line| line.split('\t').count() == 4));
        }
    }
}
