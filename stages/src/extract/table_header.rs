//! Tells whether the first row of a table without declared headers names the columns.

/// Number of rows after the first one that are compared with it.
const SAMPLE_ROWS: usize = 20;

/// `true` if the first row names the columns of the other rows: it has a text above numbers, or
/// the whole row is text. A year above numbers counts as text. Rows may have different lengths.
pub(crate) fn has_header<S: AsRef<str>>(rows: &[Vec<S>]) -> bool {
    let Some((first, below)) = rows.split_first() else { return false };
    let filled = || first.iter().map(AsRef::as_ref).filter(|cell| !cell.trim().is_empty());
    let all_names = filled().all(|cell| !is_number(cell) || is_year(cell));
    let has_years = filled().any(is_year);
    let is_above_years = has_years && below.first().is_some_and(|row| has_year(row));
    let is_text = all_names && !is_above_years;
    filled().count() > 0 && (is_text || names_numbers(rows) && filled().count() * 2 > first.len())
}

/// `true` if the first row has a text above a column of numbers.
pub(crate) fn names_numbers<S: AsRef<str>>(rows: &[Vec<S>]) -> bool {
    let Some((first, rows)) = rows.split_first() else { return false };
    first.iter().map(AsRef::as_ref).enumerate().any(|(column, cell)| {
        let below = rows.iter().take(SAMPLE_ROWS).filter_map(|row| row.get(column));
        let below = below.map(AsRef::as_ref).filter(|cell| !cell.trim().is_empty());
        let (mut numbers, mut all) = (0, 0);
        for cell in below {
            all += 1;
            numbers += usize::from(is_number(cell));
        }
        !cell.trim().is_empty() && !is_number(cell) && numbers * 2 > all
    })
}

fn has_year<S: AsRef<str>>(row: &[S]) -> bool {
    row.iter().any(|cell| is_year(cell.as_ref()))
}

/// `true` for numbers, amounts, percentages, dates and times.
fn is_number(text: &str) -> bool {
    let text = text.trim();
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let others = text.chars().filter(|char| char.is_alphabetic()).count();
    digits > 0 && digits > 2 * others
}

fn is_year(text: &str) -> bool {
    let text = text.trim();
    text.len() == 4 && (text.starts_with("19") || text.starts_with("20")) && is_number(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_told_from_data() {
        let check =
            |rows: &[&[&str]]| has_header(&rows.iter().map(|row| row.to_vec()).collect::<Vec<_>>());
        assert!(check(&[&["Tree", "Age"], &["Oak", "900"]]));
        assert!(check(&[&["Name", "City"], &["Ada", "Rome"]]));
        assert!(check(&[&["Country", "2020", "2021"], &["Peru", "5", "7.5 %"]]));
        assert!(check(&[&["only", "names"]]));
        assert!(!check(&[&["Oak", "900"], &["Fir", "300"]]));
        assert!(!check(&[&["2024-01-02", "7"], &["2024-01-03", "8"]]));
        assert!(!check(&[&["1999", "2001"], &["2004", "1998"]]));
        assert!(!check(&[&["", ""], &["a", "b"]]));
        assert!(!check(&[]));
    }
}
