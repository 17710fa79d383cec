//! CSV and TSV: each record is a row of one table.
//!
//! The separator is the one of `,`, `;`, tab and `|` with which most records have the same number
//! of fields. A file without such a separator is plain text: prose, or one value per line.

use csv::{Reader, ReaderBuilder};

use crate::extract::document::{Document, DocumentBuilder};
use crate::extract::error::ExtractErrorKind;
use crate::extract::format::Format;
use crate::extract::package::corrupt;
use crate::extract::table_header::has_header;
use crate::extract::text::{decode, plain_text};

pub(crate) const FORMAT: Format = Format {
    name: "CSV",
    media_types: &["text/csv", "text/tab-separated-values"],
    version: 1,
    is_cached: false,
    has_titles_in_headings: true,
    parse: |bytes, _| extract(bytes),
};

const SEPARATORS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// Part of a file that is examined to find its separator.
const SAMPLE_BYTES: usize = 64 << 10;

/// Number of records that are examined to find the separator and the header.
const SAMPLE_RECORDS: usize = 64;

fn extract(bytes: &[u8]) -> Result<Document, ExtractErrorKind> {
    let text = decode(bytes, None).ok_or(ExtractErrorKind::NotText)?;
    let (declared, content) = declared_separator(&text);
    let Some(separator) = declared.or_else(|| find_separator(content)) else {
        return Ok(plain_text(&text));
    };
    let mut records = reader(content, separator).into_records();
    let mut first: Vec<Vec<String>> = Vec::new();
    for record in records.by_ref().take(SAMPLE_RECORDS) {
        first.push(record.map_err(corrupt)?.iter().map(str::to_owned).collect());
    }
    // Empty lines and lines of separators at the start are no header.
    let is_filled = |row: &Vec<String>| row.iter().any(|cell| !cell.trim().is_empty());
    first.drain(..first.iter().position(is_filled).unwrap_or(first.len()));
    let header = if has_header(&first) { first.remove(0) } else { Vec::new() };
    let columns = first.iter().map(Vec::len).max().unwrap_or_default();
    let mut builder = DocumentBuilder::default();
    let mut table = builder.begin_table(&header, columns);
    for row in &first {
        table.push_row(row.iter().map(String::as_str));
    }
    for record in records {
        table.push_row(&record.map_err(corrupt)?);
    }
    table.finish();
    Ok(builder.finish())
}

fn reader(text: &str, separator: u8) -> Reader<&[u8]> {
    ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(separator)
        .from_reader(text.as_bytes())
}

/// The separator in a first line `sep=;`, which Excel writes, and the text after that line.
fn declared_separator(text: &str) -> (Option<u8>, &str) {
    let declared = text.split_once('\n').and_then(|(line, rest)| {
        let value = line.trim_end_matches('\r').strip_prefix("sep=")?.as_bytes();
        let separator = value.first().filter(|it| value.len() == 1 && it.is_ascii())?;
        Some((*separator, rest))
    });
    declared.map_or((None, text), |(separator, rest)| (Some(separator), rest))
}

/// The separator with which the largest share of records has the same number of fields; of equals,
/// the one with the most fields.
fn find_separator(text: &str) -> Option<u8> {
    let sample = &text[..text.floor_char_boundary(SAMPLE_BYTES)];
    let scored = SEPARATORS.into_iter().filter_map(|separator| {
        let mut counts: Vec<usize> = Vec::new();
        let mut records = reader(sample, separator).into_records();
        while let Some(Ok(record)) = records.next().filter(|_| counts.len() < SAMPLE_RECORDS) {
            counts.push(record.len());
        }
        if counts.len() > 1 && sample.len() < text.len() {
            // The sample may end inside the last record.
            counts.pop();
        }
        let same = |fields: usize| counts.iter().filter(|count| **count == fields).count();
        let fields = counts.iter().copied().filter(|count| *count > 1);
        let usual = fields.max_by_key(|fields| (same(*fields), *fields))?;
        let share = same(usual) * 1000 / counts.len();
        (share >= 500).then_some((share, usual, separator))
    });
    scored.max_by_key(|(share, fields, _)| (*share, *fields)).map(|(_, _, separator)| separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> String {
        extract(bytes).unwrap().text
    }

    #[test]
    fn records_are_rows() {
        let bytes = b"\xef\xbb\xbfTree;Note;Age\r\nOak;\"tall; and\r\n\"\"old\"\"\";900\r\n\r\nFir;|;300;more\r\nYew\r\n";
        let document = extract(bytes).unwrap();
        insta::assert_snapshot!(document.text, @r#"
        | Tree | Note | Age | |
        |-|-|-|-|
        | Oak | tall; and "old" | 900 |
        | Fir | \| | 300 | more |
        | Yew |
        "#);
        let body = usize::try_from(document.tables[0].body_start).unwrap();
        assert!(document.text[body..].starts_with("| Oak"));
    }

    #[test]
    fn separators_and_encodings_are_found() {
        let expected = "| Baum | H\u{f6}he |\n|-|-|\n| Eiche, alt | 40 |\n| Fichte, jung | 3 |";
        for separator in [";", "\t", "|", ","] {
            let quote = if separator == "," { "\"" } else { "" };
            let rows = [["Baum", "H\u{f6}he"], ["Eiche, alt", "40"], ["Fichte, jung", "3"]];
            let lines = rows.map(|[name, age]| format!("{quote}{name}{quote}{separator}{age}\n"));
            let content = lines.concat();
            assert_eq!(text(content.as_bytes()), expected, "{separator}");
            let (latin_1, ..) = encoding_rs::WINDOWS_1252.encode(&content);
            assert_eq!(text(&latin_1), expected, "{separator}");
            let utf_16 = content.encode_utf16().flat_map(u16::to_le_bytes);
            assert_eq!(text(&[&[0xff, 0xfe], &*utf_16.collect::<Vec<_>>()].concat()), expected);
        }
        assert_eq!(text(b"sep=:\na:1\nb:2\n"), "| | |\n|-|-|\n| a | 1 |\n| b | 2 |");
    }

    #[test]
    fn prose_stays_prose() {
        let prose = "Just a line.\nAnother, with a comma.\nA third\n";
        assert_eq!(text(prose.as_bytes()), prose.trim_end());
        assert_eq!(extract(b"\0\x01\x02\xff\xfe\0"), Err(ExtractErrorKind::NotText));
    }
}
