//! Groups atoms into windows within the limits, each as full as a good split allows.

use std::ops::Range;

use crate::chunk::atoms::{Atom, Boundary};
use crate::chunk::context::{Context, DocumentContexts};
use crate::chunk::tables::Tables;

/// The limits of a chunk, its context included.
pub(super) struct ChunkLimits {
    /// The unit of `overlap`, `min_cut` and `min_section`: tokens if `true`, else characters.
    pub(super) counts_tokens: bool,
    pub(super) characters: usize,
    /// Without the special tokens and prefix that the model adds.
    pub(super) tokens: usize,
    pub(super) overlap: usize,
    /// A split that makes a chunk shorter than this has a low rank.
    pub(super) min_chunk: usize,
    /// A section shorter than this is merged with its neighbours.
    pub(super) min_section: usize,
}

/// The limits of the chunks of a document, each with the context of its first atom.
#[derive(Clone, Copy)]
pub(super) struct DocumentLimits<'a> {
    pub(super) limits: &'a ChunkLimits,
    /// `None` if chunks have no context.
    pub(super) contexts: Option<&'a DocumentContexts<'a>>,
    pub(super) tables: &'a Tables,
}

impl DocumentLimits<'_> {
    /// The context of a chunk that begins with this atom.
    pub(super) fn context(&self, first: &Atom) -> Option<&Context> {
        Some(self.contexts?.below(usize::try_from(first.headings).ok()?))
    }

    /// Maximum number of tokens and characters of the own text of a chunk that begins in this
    /// atom, at the byte `start`.
    pub(super) fn room(&self, first: &Atom, start: usize) -> (usize, usize) {
        let ChunkLimits { mut tokens, mut characters, .. } = *self.limits;
        if let Some(context) = self.context(first) {
            tokens = tokens.saturating_sub(context.ids.len());
            characters = characters.saturating_sub(context.characters);
        }
        if let Some(header) = self.tables.header_at(start) {
            tokens = tokens.saturating_sub(header.ids.len());
            characters = characters.saturating_sub(header.characters);
        }
        (tokens, characters)
    }

    /// `true` if a split before this atom is inside a table.
    fn cut_table(&self, atom: &Atom) -> bool {
        self.tables.contain(atom.start)
    }

    /// `true` if the atoms fit into one chunk.
    pub(super) fn fit(&self, atoms: &[Atom]) -> bool {
        let (Some(first), Some(last)) = (atoms.first(), atoms.last()) else { return true };
        let (tokens, characters) = self.room(first, first.start);
        last.character_end - first.character <= characters && last.token_end - first.token <= tokens
    }

    /// The size of the atoms, in the unit of the options.
    pub(super) fn size_of(&self, atoms: &[Atom]) -> usize {
        let (Some(first), Some(last)) = (atoms.first(), atoms.last()) else { return 0 };
        if self.limits.counts_tokens {
            last.token_end - first.token
        } else {
            last.character_end - first.character
        }
    }
}

/// Chooses the end of a window that begins at `start`: an atom index in `from..=to`.
pub(super) type EndSelector =
    fn(atoms: &[Atom], start: usize, from: usize, to: usize, limits: &DocumentLimits<'_>) -> usize;

/// The last possible end.
pub(super) fn select_last(
    _: &[Atom],
    _: usize,
    _: usize,
    to: usize,
    _: &DocumentLimits<'_>,
) -> usize {
    to
}

/// The end with the highest rank; of equals, the last.
pub(super) fn select_best(
    atoms: &[Atom],
    start: usize,
    from: usize,
    to: usize,
    limits: &DocumentLimits<'_>,
) -> usize {
    let mut best = (0, to);
    for end in (from..=to).rev() {
        let is_full = limits.size_of(&atoms[start..end]) >= limits.limits.min_chunk;
        let rank = boundary_rank(atoms[end].boundary, is_full);
        if rank > best.0 {
            best = (rank, end);
        }
        if !is_full && best.0 >= best_short_rank() {
            break;
        }
    }
    best.1
}

/// A full chunk that ends with a sentence ranks above a short one that ends with a section, which
/// ranks above a split inside a sentence.
fn boundary_rank(cut: Boundary, is_full: bool) -> u8 {
    match (is_full, cut) {
        (true, Boundary::Heading) => 11,
        (true, Boundary::Paragraph) => 10,
        (true, Boundary::Line) => 9,
        (true, Boundary::Sentence) => 8,
        (false, Boundary::Heading) => 7,
        (false, Boundary::Paragraph) => 6,
        (false, Boundary::Line) => 5,
        (true, Boundary::SoftLine) => 4,
        (true, Boundary::Word) => 3,
        (false, Boundary::Sentence | Boundary::SoftLine) => 2,
        (false, Boundary::Word) => 1,
    }
}

fn best_short_rank() -> u8 {
    boundary_rank(Boundary::Heading, false)
}

/// The windows of a section, in order. They contain every atom of it; an atom that is longer than a
/// chunk gets its own window.
pub(super) fn split(
    atoms: &[Atom],
    section: Range<usize>,
    limits: &DocumentLimits<'_>,
    choose: EndSelector,
) -> Vec<Range<usize>> {
    let mut windows = Vec::new();
    // Start of the window, and end of the previous windows.
    let (mut start, mut done) = (section.start, section.start);
    while done < section.end {
        if !limits.fit(&atoms[done..=done]) {
            windows.push(done..done + 1);
            done += 1;
            start = done;
            continue;
        }
        while !limits.fit(&atoms[start..=done]) {
            start += 1;
        }
        let mut full = done + 1;
        while full < section.end && limits.fit(&atoms[start..=full]) {
            full += 1;
        }
        if full == section.end {
            windows.push(start..full);
            break;
        }
        let end = choose(atoms, start, done + 1, full, limits);
        let cuts_row = atoms[end].boundary == Boundary::Word && limits.cut_table(&atoms[end]);
        if cuts_row && start < done {
            // Without the overlap, the row may fit.
            start = done;
            continue;
        }
        windows.push(start..end);
        start = overlap_start(atoms, start, end, limits);
        done = end;
    }
    windows
}

/// The start of the next window within the overlap: the earliest start of a sentence or row of a
/// table, else of a word. Nothing is repeated if a window ends with a row that does not fit into
/// the overlap.
fn overlap_start(atoms: &[Atom], start: usize, end: usize, limits: &DocumentLimits<'_>) -> usize {
    let mut from = end;
    let mut sentence = None;
    while from > start + 1 && limits.size_of(&atoms[from - 1..end]) <= limits.limits.overlap {
        from -= 1;
        if atoms[from].boundary >= Boundary::Sentence {
            sentence = Some(from);
        }
    }
    let ends_row = atoms[end].boundary >= Boundary::SoftLine;
    let is_row_cut = sentence.is_none() && ends_row && limits.cut_table(&atoms[from]);
    if is_row_cut { end } else { sentence.unwrap_or(from) }
}
