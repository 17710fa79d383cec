//! The sections of a text, by its headings, as ranges of atoms.

use std::ops::Range;

use crate::chunk::Heading;
use crate::chunk::atoms::Atom;
use crate::chunk::windows::Limits;

/// The sections, in order, together all atoms. A small section is put together with those behind it as
/// long as they lie under the same parent and all of it fits into one chunk.
pub(super) fn of(atoms: &[Atom], headings: &[Heading], limits: &Limits) -> Vec<Range<usize>> {
    let mut sections: Vec<(u8, Range<usize>)> = Vec::new();
    // Where the section begins, and the level of its heading, if it has one.
    let (mut start, mut level) = (0, None);
    for heading in headings {
        let at = start + atoms[start..].partition_point(|atom| atom.start < heading.at);
        if at > start {
            sections.push((level.unwrap_or(0), start..at));
            (start, level) = (at, None);
        }
        // Headings at one place are those of one section, as when bookmarks only name a page.
        level = Some(level.map_or(heading.level, |level: u8| level.min(heading.level)));
    }
    if start < atoms.len() {
        sections.push((level.unwrap_or(0), start..atoms.len()));
    }
    merge(sections, atoms, limits)
}

fn merge(sections: Vec<(u8, Range<usize>)>, atoms: &[Atom], limits: &Limits) -> Vec<Range<usize>> {
    let mut merged: Vec<(u8, Range<usize>)> = Vec::new();
    for (level, section) in sections {
        if let Some((first, group)) = merged.last_mut() {
            let is_small = limits.measure(&atoms[group.clone()]) < limits.min_section
                || limits.measure(&atoms[section.clone()]) < limits.min_section;
            let same_parent = level >= *first;
            if is_small && same_parent && limits.hold(&atoms[group.start..section.end]) {
                group.end = section.end;
                continue;
            }
        }
        merged.push((level, section));
    }
    merged.into_iter().map(|(_, section)| section).collect()
}
