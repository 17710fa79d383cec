//! Splits a text into sections at its headings, as ranges of atoms.

use std::ops::Range;

use crate::chunk::atoms::Atom;
use crate::chunk::text_chunk::SectionHeading;
use crate::chunk::windows::DocumentLimits;

/// The sections in order; together they contain all atoms. A small section is merged with the
/// following ones while they have the same parent and the result fits into one chunk.
pub(super) fn split(
    atoms: &[Atom],
    headings: &[SectionHeading],
    limits: &DocumentLimits<'_>,
) -> Vec<Range<usize>> {
    let mut sections: Vec<(u8, Range<usize>)> = Vec::new();
    // Start of the section, and the level of its heading, if any.
    let (mut start, mut level) = (0, None);
    for heading in headings {
        let at = start + atoms[start..].partition_point(|atom| atom.start < heading.at);
        if at > start {
            sections.push((level.unwrap_or(0), start..at));
            (start, level) = (at, None);
        }
        // Headings at the same position belong to one section, for example bookmarks that only name
        // a page.
        level = Some(level.map_or(heading.level, |level: u8| level.min(heading.level)));
    }
    if start < atoms.len() {
        sections.push((level.unwrap_or(0), start..atoms.len()));
    }
    merge_small(sections, atoms, limits)
}

fn merge_small(
    sections: Vec<(u8, Range<usize>)>,
    atoms: &[Atom],
    limits: &DocumentLimits<'_>,
) -> Vec<Range<usize>> {
    let mut merged: Vec<(u8, Range<usize>)> = Vec::new();
    for (level, section) in sections {
        if let Some((first, group)) = merged.last_mut() {
            let is_small = limits.size_of(&atoms[group.clone()]) < limits.limits.min_section
                || limits.size_of(&atoms[section.clone()]) < limits.limits.min_section;
            let same_parent = level >= *first;
            if is_small && same_parent && limits.fit(&atoms[group.start..section.end]) {
                group.end = section.end;
                continue;
            }
        }
        merged.push((level, section));
    }
    merged.into_iter().map(|(_, section)| section).collect()
}
