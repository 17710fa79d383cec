//! Tables in a text: where they are cut, and the header that a chunk repeats.
//!
//! A chunk that begins inside a table, after its first character, repeats the header of the table
//! before its own text, within the limits of a chunk. A header that is longer than a third of a
//! limit is not repeated. Tables are cut between rows; only a row that is longer than a chunk is
//! cut as other text. A table that fits into one chunk stays whole where possible.

use std::cmp::Ordering;
use std::ops::Range;

use pipeline::{BoxError, Tokenizer};

use crate::chunk::atoms::{Atom, Boundary};
use crate::chunk::context::ids_before_line;
use crate::chunk::windows::{ChunkLimits, DocumentLimits};

/// The part of a chunk that a repeated header may take.
const HEADER_SHARE: usize = 3;

/// The place of a table in the text, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct TablePlace {
    pub(super) start: usize,
    /// Start of the first row that is not a header.
    pub(super) body_start: usize,
    pub(super) end: usize,
}

/// The header of a table, as a chunk repeats it.
#[derive(Debug)]
pub(super) struct TableHeader {
    /// Its place in the text, line break included.
    pub(super) range: Range<usize>,
    /// Empty without a model.
    pub(super) ids: Vec<u32>,
    pub(super) characters: usize,
}

struct Table {
    place: TablePlace,
    /// `None` if it is not repeated.
    header: Option<TableHeader>,
}

/// The tables of a document, in text order.
pub(super) struct Tables(Vec<Table>);

impl Tables {
    /// # Errors
    /// If the tokenizer fails.
    pub(super) fn new(
        text: &str,
        places: Vec<TablePlace>,
        tokenizer: Option<&dyn Tokenizer>,
        limits: &ChunkLimits,
    ) -> Result<Self, BoxError> {
        let tables = places.into_iter().map(|place| {
            let header = repeated_header(text, place, tokenizer, limits)?;
            Ok(Table { place, header })
        });
        tables.collect::<Result<_, _>>().map(Self)
    }

    /// The header that a chunk repeats that begins at this byte.
    pub(super) fn header_at(&self, start: usize) -> Option<&TableHeader> {
        self.around(start)?.header.as_ref()
    }

    /// `true` if a text that begins at this byte begins inside a table.
    pub(super) fn contain(&self, start: usize) -> bool {
        self.around(start).is_some()
    }

    fn around(&self, start: usize) -> Option<&Table> {
        let next = self.0.partition_point(|table| table.place.start < start);
        self.0[..next].last().filter(|table| start < table.place.end)
    }

    /// Sets the quality of the splits in and around tables.
    pub(super) fn rank_splits(&self, text: &str, atoms: &mut [Atom], limits: &DocumentLimits<'_>) {
        for Table { place, .. } in &self.0 {
            let index = |at: usize| atoms.partition_point(|atom| atom.start < at);
            let (first, end) = (index(place.start), index(place.end));
            if first == end {
                continue;
            }
            let row_end =
                if limits.fit(&atoms[first..end]) { Boundary::SoftLine } else { Boundary::Line };
            for row in rows(text, atoms, first..end) {
                let fits = limits.fit(&atoms[row.clone()]);
                let (row, inner) = atoms[row].split_first_mut().expect("a row has an atom");
                // Without a row after it, a header says nothing.
                let rank = match row.start.cmp(&place.body_start.max(place.start)) {
                    Ordering::Less => Boundary::Word,
                    Ordering::Equal => Boundary::SoftLine,
                    Ordering::Greater => row_end,
                };
                set(&mut row.boundary, rank);
                if fits {
                    inner.iter_mut().for_each(|atom| set(&mut atom.boundary, Boundary::Word));
                }
            }
            for edge in [first, end] {
                if let Some(atom) = atoms.get_mut(edge) {
                    atom.boundary = atom.boundary.max(Boundary::Paragraph);
                }
            }
        }
    }
}

/// A heading remains one.
fn set(boundary: &mut Boundary, to: Boundary) {
    if *boundary != Boundary::Heading {
        *boundary = to;
    }
}

/// The rows of a table as ranges of atoms, header lines included.
fn rows(text: &str, atoms: &[Atom], table: Range<usize>) -> Vec<Range<usize>> {
    let mut rows = Vec::new();
    let mut start = table.start;
    for next in table.start + 1..table.end {
        if text[atoms[next - 1].end..atoms[next].start].contains('\n') {
            rows.push(start..next);
            start = next;
        }
    }
    rows.push(start..table.end);
    rows
}

/// `None` if the table has no header, nothing else, or a header that is too long.
fn repeated_header(
    text: &str,
    place: TablePlace,
    tokenizer: Option<&dyn Tokenizer>,
    limits: &ChunkLimits,
) -> Result<Option<TableHeader>, BoxError> {
    let range = place.start..place.body_start;
    let header = &text[range.clone()];
    let characters = header.chars().count();
    let is_repeated = !header.is_empty()
        && place.body_start < place.end
        && characters <= limits.characters / HEADER_SHARE;
    if !is_repeated {
        return Ok(None);
    }
    let ids = match tokenizer {
        Some(tokenizer) => ids_before_line(tokenizer, header.trim_end())?,
        None => Vec::new(),
    };
    let fits = ids.len() <= limits.tokens / HEADER_SHARE;
    Ok(fits.then_some(TableHeader { range, ids, characters }))
}
