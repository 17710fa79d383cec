//! Groups atoms into windows within the limits, each as full as a good split allows.

use std::ops::Range;

use crate::chunk::atoms::{Atom, Cut};

/// The limits of a chunk.
pub(super) struct Limits {
    /// The unit of `overlap`, `min_cut` and `min_section`: tokens if `true`, else characters.
    pub(super) by_tokens: bool,
    pub(super) characters: usize,
    /// Without the special tokens and prefix that the model adds.
    pub(super) tokens: usize,
    pub(super) overlap: usize,
    /// A split that makes a chunk shorter than this has a low rank.
    pub(super) min_cut: usize,
    /// A section shorter than this is merged with its neighbours.
    pub(super) min_section: usize,
}

impl Limits {
    /// `true` if the atoms fit into one chunk.
    pub(super) fn hold(&self, atoms: &[Atom]) -> bool {
        let (Some(first), Some(last)) = (atoms.first(), atoms.last()) else { return true };
        last.character_end - first.character <= self.characters
            && last.token_end - first.token <= self.tokens
    }

    /// The size of the atoms, in the unit of the options.
    pub(super) fn measure(&self, atoms: &[Atom]) -> usize {
        let (Some(first), Some(last)) = (atoms.first(), atoms.last()) else { return 0 };
        if self.by_tokens {
            last.token_end - first.token
        } else {
            last.character_end - first.character
        }
    }
}

/// Chooses the end of a window that begins at `start`: an atom index in `from..=to`.
pub(super) type Choose =
    fn(atoms: &[Atom], start: usize, from: usize, to: usize, limits: &Limits) -> usize;

/// The last possible end.
pub(super) fn last(_: &[Atom], _: usize, _: usize, to: usize, _: &Limits) -> usize {
    to
}

/// The end with the highest rank; of equals, the last.
pub(super) fn best(atoms: &[Atom], start: usize, from: usize, to: usize, limits: &Limits) -> usize {
    let mut best = (0, to);
    for end in (from..=to).rev() {
        let is_full = limits.measure(&atoms[start..end]) >= limits.min_cut;
        let rank = rank(atoms[end].before, is_full);
        if rank > best.0 {
            best = (rank, end);
        }
        if !is_full && best.0 >= rank_of_the_best_short_cut() {
            break;
        }
    }
    best.1
}

/// A full chunk that ends with a sentence ranks above a short one that ends with a section, which
/// ranks above a split inside a sentence.
fn rank(cut: Cut, is_full: bool) -> u8 {
    match (is_full, cut) {
        (true, Cut::Heading) => 11,
        (true, Cut::Paragraph) => 10,
        (true, Cut::Line) => 9,
        (true, Cut::Sentence) => 8,
        (false, Cut::Heading) => 7,
        (false, Cut::Paragraph) => 6,
        (false, Cut::Line) => 5,
        (true, Cut::SoftLine) => 4,
        (true, Cut::Word) => 3,
        (false, Cut::Sentence | Cut::SoftLine) => 2,
        (false, Cut::Word) => 1,
    }
}

fn rank_of_the_best_short_cut() -> u8 {
    rank(Cut::Heading, false)
}

/// The windows of a section, in order. They contain every atom of it; an atom that is longer than a
/// chunk gets its own window.
pub(super) fn of(
    atoms: &[Atom],
    section: Range<usize>,
    limits: &Limits,
    choose: Choose,
) -> Vec<Range<usize>> {
    let mut windows = Vec::new();
    // Start of the window, and end of the previous windows.
    let (mut start, mut done) = (section.start, section.start);
    while done < section.end {
        if !limits.hold(&atoms[done..=done]) {
            windows.push(done..done + 1);
            done += 1;
            start = done;
            continue;
        }
        while !limits.hold(&atoms[start..=done]) {
            start += 1;
        }
        let mut full = done + 1;
        while full < section.end && limits.hold(&atoms[start..=full]) {
            full += 1;
        }
        if full == section.end {
            windows.push(start..full);
            break;
        }
        let end = choose(atoms, start, done + 1, full, limits);
        windows.push(start..end);
        start = overlap_from(atoms, start, end, limits);
        done = end;
    }
    windows
}

/// The start of the next window within the overlap: the earliest start of a sentence, else of a
/// word.
fn overlap_from(atoms: &[Atom], start: usize, end: usize, limits: &Limits) -> usize {
    let mut from = end;
    let mut sentence = None;
    while from > start + 1 && limits.measure(&atoms[from - 1..end]) <= limits.overlap {
        from -= 1;
        if atoms[from].before >= Cut::Sentence {
            sentence = Some(from);
        }
    }
    sentence.unwrap_or(from)
}
