//! Removes the words of a question from what is indexed of its own document.

use std::ops::Range;

use pipeline::{HEADING_SEPARATOR, Payload};

use crate::tuning::clicks::fold;

/// The content of `payload` without the part that it shares with a byte range of the content of
/// `source`, a chunk of the same document; `None` if they share nothing. Chunks overlap, so the end
/// of a sentence may begin the next chunk.
pub(crate) fn cut_range(
    source: &Payload,
    range: &Range<usize>,
    payload: &Payload,
) -> Option<String> {
    let sentence = &source.content[range.clone()];
    let is_exact = |it: &Payload| it.end.saturating_sub(it.start) == it.content.len() as u64;
    let shared = if is_exact(source) && is_exact(payload) {
        let at = |byte: usize| source.start + byte as u64;
        let (start, end) = (at(range.start).max(payload.start), at(range.end).min(payload.end));
        let within = |byte: u64| usize::try_from(byte.saturating_sub(payload.start)).ok();
        (start < end).then_some(within(start)?..within(end)?)
    } else {
        payload.content.find(sentence).map(|at| at..at + sentence.len())
    };
    let shared = shared.filter(|it| payload.content.get(it.clone()).is_some())?;
    let (before, after) = (&payload.content[..shared.start], &payload.content[shared.end..]);
    Some(format!("{before} {after}"))
}

/// A text without the lines that are this heading, whatever marks them as one.
pub(crate) fn cut_lines(text: &str, heading: &str) -> String {
    let heading = bare(heading);
    text.split_inclusive('\n').filter(|line| bare(line) != heading).collect()
}

/// A heading path without this heading; `None` if nothing is left.
pub(crate) fn without_heading(path: Option<&str>, heading: &str) -> Option<String> {
    let heading = bare(heading);
    let kept: Vec<&str> =
        path?.split(HEADING_SEPARATOR).filter(|part| bare(part) != heading).collect();
    (!kept.is_empty()).then(|| kept.join(HEADING_SEPARATOR))
}

fn bare(line: &str) -> String {
    fold(line.trim().trim_matches(|it| matches!(it, '#' | '*' | '=' | '-' | ':')))
}

#[cfg(test)]
mod tests {
    use pipeline::test_util::payload;

    use super::*;

    #[test]
    fn a_sentence_is_cut_from_every_chunk_that_has_some_of_it() {
        let text = "Intro here. An oak is a tree that lives long. It grows.";
        let part = |range: Range<usize>| Payload {
            content: text[range.clone()].to_owned(),
            start: range.start as u64,
            end: range.end as u64,
            ..payload("oak", "")
        };
        let (first, second, third) = (part(0..34), part(28..55), part(46..55));
        let whole = part(0..55);
        let sentence = 12..45;
        assert_eq!(cut_range(&whole, &sentence, &first).unwrap(), "Intro here.  ");
        assert_eq!(cut_range(&whole, &sentence, &second).unwrap(), "  It grows.");
        assert_eq!(cut_range(&whole, &sentence, &third), None);
    }

    #[test]
    fn headings_are_removed_however_they_are_marked() {
        let text = "## Table locks\nTable locks protect.\n";
        assert_eq!(cut_lines(text, "Table Locks"), "Table locks protect.\n");
        assert_eq!(without_heading(Some("Locks > Table locks"), "Table locks").unwrap(), "Locks");
        assert_eq!(without_heading(Some("Table locks"), "Table locks"), None);
    }
}
