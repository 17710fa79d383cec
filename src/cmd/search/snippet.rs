//! Selects the part of a passage to show with a hit: the lines around the query terms.

use std::ops::Range;

use crate::render::{Paint, visible};

/// Width in columns if standard output is not a terminal.
pub(super) const WIDTH: usize = 160;

/// Lines shown.
const LINES: usize = 6;

/// Columns before each line.
const INDENT: usize = 5;

/// The non-empty lines around those with the most query terms, at most [`LINES`]. A line wider than
/// the terminal is cut around its query terms.
pub(super) fn lines(
    text: &str,
    highlights: &[Range<usize>],
    width: usize,
    paint: Paint,
) -> Vec<String> {
    let lines = split(text, highlights);
    let room = width.saturating_sub(INDENT).max(20);
    let from = densest_window(&lines);
    let mut shown: Vec<String> =
        lines.iter().skip(from).take(LINES).map(|line| render_line(line, room, paint)).collect();
    if from > 0
        && let Some(first) = shown.first_mut()
        && !first.starts_with('…')
    {
        first.insert(0, '…');
    }
    shown
}

/// A line without surrounding white space.
struct Line<'a> {
    text: &'a str,
    /// Byte ranges of the query terms in the text.
    words: Vec<Range<usize>>,
}

fn split<'a>(text: &'a str, highlights: &[Range<usize>]) -> Vec<Line<'a>> {
    let mut lines = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let end = start + line.len();
        let trimmed = line.trim();
        let begins = start + (line.len() - line.trim_start().len());
        if !trimmed.is_empty() {
            let ends = begins + trimmed.len();
            let within = highlights.iter().filter(|it| it.start >= begins && it.end <= ends);
            let words = within.map(|it| it.start - begins..it.end - begins).collect();
            lines.push(Line { text: trimmed, words });
        }
        start = end;
    }
    lines
}

/// The index of the first line to show: one before the window with the most query terms.
fn densest_window(lines: &[Line<'_>]) -> usize {
    let words = |from: usize| -> usize {
        lines.iter().skip(from).take(LINES - 1).map(|line| line.words.len()).sum()
    };
    let last = lines.len().saturating_sub(LINES - 1);
    let best = (0..=last).rev().max_by_key(|from| words(*from)).unwrap_or(0);
    if words(best) == 0 { 0 } else { best.saturating_sub(1) }
}

/// Formats a line in at most `room` columns, with highlighted query terms.
fn render_line(line: &Line<'_>, room: usize, paint: Paint) -> String {
    let (from, to) = visible_part(line, room);
    let mut out = String::new();
    if from > 0 {
        out.push('…');
    }
    let mut done = from;
    for word in line.words.iter().filter(|word| word.start >= from && word.end <= to) {
        if word.start < done {
            continue;
        }
        out.push_str(&visible(&line.text[done..word.start]));
        out.push_str(&paint.bold(&visible(&line.text[word.clone()])));
        done = word.end;
    }
    out.push_str(&visible(&line.text[done..to]));
    if to < line.text.len() {
        out.push('…');
    }
    out
}

/// The byte range of a line to show: its beginning, or the part around its first query term.
fn visible_part(line: &Line<'_>, room: usize) -> (usize, usize) {
    let places: Vec<usize> =
        line.text.char_indices().map(|(at, _)| at).chain([line.text.len()]).collect();
    let letters = places.len() - 1;
    if letters <= room {
        return (0, line.text.len());
    }
    let room = room.saturating_sub(2);
    let letter_of = |byte: usize| places.partition_point(|place| *place < byte);
    let first = line.words.first().map_or(0, |word| letter_of(word.start));
    // Two thirds of the room are after the term.
    let from = first.saturating_sub(room / 3).min(letters - room);
    (places[from], places[from + room])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(text: &str, words: &[&str]) -> Vec<Range<usize>> {
        let mut found: Vec<_> = words
            .iter()
            .flat_map(|word| text.match_indices(word).map(|(at, it)| at..at + it.len()))
            .collect();
        found.sort_by_key(|it| it.start);
        found
    }

    #[test]
    fn what_is_shown_has_the_words_of_the_question() {
        let text: String = (0..40).map(|n| format!("line {n} of the passage\n\n")).collect();
        let text = text.replace("line 31", "the extension 4471 stands in line 31");
        let shown = lines(&text, &found(&text, &["4471"]), 80, Paint::none());
        assert_eq!(shown.len(), LINES);
        assert!(shown[0].starts_with('…'), "{shown:?}");
        assert!(shown.iter().any(|line| line.contains("4471")), "{shown:?}");

        let long = format!("{} extension 4471 {}", "before ".repeat(60), "after ".repeat(60));
        let shown = lines(&long, &found(&long, &["4471"]), 80, Paint::none());
        assert!(shown.len() == 1 && shown[0].contains("4471"), "{shown:?}");
        assert!(shown[0].chars().count() <= 75, "{shown:?}");
    }

    #[test]
    fn without_words_the_beginning_is_shown() {
        assert_eq!(lines("\n a\n\nb\n", &[], 80, Paint::none()), ["a", "b"]);
    }

    proptest! {
        #[test]
        fn no_line_is_too_long_and_a_word_is_there(
            text in "([a-zü漢 ]{0,200}\n?){0,20}",
            width in 30_usize..200,
        ) {
            let highlights = found(&text, &["ab", "ü"]);
            let shown = lines(&text, &highlights, width, Paint::none());
            prop_assert!(shown.len() <= LINES);
            for line in &shown {
                prop_assert!(line.chars().count() <= width - INDENT + 1, "{line}");
            }
            if !highlights.is_empty() {
                let all = shown.join("\n");
                prop_assert!(all.contains("ab") || all.contains('ü'), "{shown:?}");
            }
        }
    }
}
