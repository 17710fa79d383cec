//! Selects the part of a passage to show with a hit: the rows around most query terms.
//!
//! The passage is wrapped to the width of the terminal first, so that a paragraph on one line has
//! as much room as one on many lines.

use std::collections::HashSet;
use std::ops::Range;

use crate::render::{Paint, visible};

/// Width in columns if standard output is not a terminal.
pub(super) const WIDTH: usize = 160;

/// Rows shown.
const ROWS: usize = 6;

/// Columns before each row.
const INDENT: usize = 5;

/// Columns of the ellipses of a row.
const ELLIPSES: usize = 2;

/// The rows with the most different query terms, at most [`ROWS`], each one at most `width` columns
/// with its indent. An ellipsis shows where the passage goes on.
pub(super) fn lines(
    text: &str,
    highlights: &[Range<usize>],
    width: usize,
    paint: Paint,
) -> Vec<String> {
    let rows = rows_of(text, width.saturating_sub(INDENT).max(20) - ELLIPSES);
    let from = densest_window(text, &rows, highlights);
    let to = rows.len().min(from + ROWS);
    let shown = rows[from..to].iter().map(|row| render_row(text, row, highlights, paint));
    let mut shown: Vec<String> = shown.collect();
    if from > 0
        && let Some(first) = shown.first_mut()
    {
        first.insert(0, '…');
    }
    if to < rows.len()
        && let Some(last) = shown.last_mut()
    {
        last.push('…');
    }
    shown
}

/// The byte ranges of the rows of a text, without empty ones and white space around them.
fn rows_of(text: &str, room: usize) -> Vec<Range<usize>> {
    let mut rows = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim();
        if !trimmed.is_empty() {
            let begins = start + (line.len() - line.trim_start().len());
            wrap(text, begins..begins + trimmed.len(), room, &mut rows);
        }
        start += line.len();
    }
    rows
}

/// Divides a line between words, and a word that is wider than a row inside.
fn wrap(text: &str, line: Range<usize>, room: usize, rows: &mut Vec<Range<usize>>) {
    let mut row = line.start..line.start;
    let mut columns = 0;
    // The end of the last whole word of the row, and the start of the word after it.
    let mut gap: Option<Range<usize>> = None;
    for (at, letter) in text[line.clone()].char_indices() {
        let at = line.start + at;
        let wide = width_of(letter);
        if letter.is_whitespace() {
            gap = match gap {
                Some(it) if it.end == at => Some(it.start..at + letter.len_utf8()),
                Some(_) | None => Some(at..at + letter.len_utf8()),
            };
        } else if columns + wide > room {
            let (end, next) = match gap.take() {
                Some(gap) if gap.start > row.start => (gap.start, gap.end),
                Some(_) | None => (at, at),
            };
            rows.push(row.start..end);
            row.start = next;
            columns = text[next..at].chars().map(width_of).sum();
        }
        columns += wide;
        row.end = at + letter.len_utf8();
    }
    rows.push(row);
}

/// Columns of a character. A tab is shown as a space.
fn width_of(letter: char) -> usize {
    match letter {
        '\t' => 1,
        letter => textwrap::core::display_width(letter.encode_utf8(&mut [0; 4])),
    }
}

/// The index of the first row to show: one before the window with the most different query terms,
/// of these the one with the most, and of these the first.
fn densest_window(text: &str, rows: &[Range<usize>], highlights: &[Range<usize>]) -> usize {
    let found: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let words = highlights.iter().filter(|it| row.contains(&it.start));
            words.filter_map(|it| text.get(it.clone())).map(str::to_lowercase).collect()
        })
        .collect();
    let terms = |from: usize| {
        let window: Vec<&String> = found[from..].iter().take(ROWS - 1).flatten().collect();
        (window.iter().collect::<HashSet<_>>().len(), window.len())
    };
    let last = rows.len().saturating_sub(ROWS - 1);
    let best = (0..=last).rev().max_by_key(|from| terms(*from)).unwrap_or(0);
    if found[best..].iter().take(ROWS - 1).all(Vec::is_empty) { 0 } else { best.saturating_sub(1) }
}

/// Formats a row with highlighted query terms.
fn render_row(text: &str, row: &Range<usize>, highlights: &[Range<usize>], paint: Paint) -> String {
    let shown = |range: Range<usize>| visible(&text[range].replace('\t', " ")).into_owned();
    let mut out = String::new();
    let mut done = row.start;
    for word in highlights {
        // A wide word may go on in the next row.
        let (start, end) = (word.start.max(done), word.end.min(row.end));
        if start >= end || text.get(start..end).is_none() {
            continue;
        }
        out.push_str(&shown(done..start));
        out.push_str(&paint.highlighted(&shown(start..end)));
        done = end;
    }
    out.push_str(&shown(done..row.end));
    out
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

    const PARAGRAPH: &str = "A mutex protects data. A thread that locks a mutex owns it, and every \
        other thread that wants it waits. The owner unlocks the mutex when it has finished. Two \
        threads that wait for each other never finish: this is a deadlock. To avoid a deadlock, \
        threads lock all mutexes in one order. A thread that cannot keep the order tries to lock \
        the second mutex, and unlocks the first one if that fails. A mutex of the type that checks \
        for errors reports a deadlock instead of waiting forever, at the price of some time.";

    #[test]
    fn a_snippet_is_cut_around_the_densest_matches() {
        let marks = found(PARAGRAPH, &["avoid", "deadlock", "order", "lock"]);
        let mut apart: Vec<Range<usize>> = Vec::new();
        for mark in marks {
            match apart.last() {
                Some(last) if mark.start < last.end => {}
                Some(_) | None => apart.push(mark),
            }
        }
        let draw = |width: usize, paint: Paint| lines(PARAGRAPH, &apart, width, paint).join("\n");
        insta::assert_snapshot!(draw(40, Paint::none()), @r"
        …threads that wait for each other
        never finish: this is a deadlock.
        To avoid a deadlock, threads lock
        all mutexes in one order. A
        thread that cannot keep the order
        tries to lock the second mutex,…
        ");
        let coloured = draw(40, Paint::always()).replace('\u{1b}', "␛");
        insta::assert_snapshot!(coloured, @r"
        …threads that wait for each other
        never finish: this is a ␛[1;33mdeadlock␛[0m.
        To ␛[1;33mavoid␛[0m a ␛[1;33mdeadlock␛[0m, threads ␛[1;33mlock␛[0m
        all mutexes in one ␛[1;33morder␛[0m. A
        thread that cannot keep the ␛[1;33morder␛[0m
        tries to ␛[1;33mlock␛[0m the second mutex,…
        ");
        insta::assert_snapshot!(draw(160, Paint::none()), @r"
        A mutex protects data. A thread that locks a mutex owns it, and every other thread that wants it waits. The owner unlocks the mutex when it has finished.
        Two threads that wait for each other never finish: this is a deadlock. To avoid a deadlock, threads lock all mutexes in one order. A thread that cannot
        keep the order tries to lock the second mutex, and unlocks the first one if that fails. A mutex of the type that checks for errors reports a deadlock
        instead of waiting forever, at the price of some time.
        ");
    }

    #[test]
    fn many_terms_count_more_than_many_matches() {
        let text = format!("{}\n{}end\nlock order\n", "lock lock lock\n", "nothing\n".repeat(9));
        let shown = lines(&text, &found(&text, &["lock", "order"]), 80, Paint::none());
        assert!(shown.iter().any(|line| line.contains("lock order")), "{shown:?}");
    }

    #[test]
    fn what_is_shown_has_the_words_of_the_query() {
        let text: String = (0..40).map(|n| format!("line {n} of the passage\n\n")).collect();
        let text = text.replace("line 31", "the extension 4471 stands in line 31");
        let shown = lines(&text, &found(&text, &["4471"]), 80, Paint::none());
        assert_eq!(shown.len(), ROWS);
        assert!(shown[0].starts_with('…') && shown[ROWS - 1].ends_with('…'), "{shown:?}");
        assert!(shown.iter().any(|line| line.contains("4471")), "{shown:?}");

        let long = format!("{} extension 4471 {}", "before ".repeat(60), "after ".repeat(60));
        let shown = lines(&long, &found(&long, &["4471"]), 80, Paint::none());
        assert!(shown.iter().any(|line| line.contains("extension 4471")), "{shown:?}");
    }

    #[test]
    fn without_words_the_beginning_is_shown() {
        assert_eq!(lines("\n a\n\nb\n", &[], 80, Paint::none()), ["a", "b"]);
        assert_eq!(lines(" \n ", &[], 80, Paint::none()), Vec::<String>::new());
        assert_eq!(lines("a\tb", &[], 80, Paint::none()), ["a b"]);
    }

    proptest! {
        #[test]
        fn no_row_is_too_wide_and_a_word_is_there(
            text in "([a-zü漢 ]{0,200}\n?){0,20}",
            width in 30_usize..200,
        ) {
            let highlights = found(&text, &["ab", "ü"]);
            let shown = lines(&text, &highlights, width, Paint::always());
            prop_assert!(shown.len() <= ROWS);
            for line in &shown {
                let columns = textwrap::core::display_width(line);
                prop_assert!(columns <= width - INDENT, "{columns} {line}");
            }
            prop_assert_eq!(!highlights.is_empty(), shown.iter().any(|it| it.contains('\u{1b}')));
        }

        #[test]
        fn a_short_passage_is_whole(text in "[a-zü漢 \n]{0,80}", width in 30_usize..200) {
            let rows = rows_of(&text, width - INDENT - ELLIPSES);
            let letters = |text: &str| text.chars().filter(|it| !it.is_whitespace()).count();
            let shown = rows.iter().map(|row| letters(&text[row.clone()]));
            prop_assert_eq!(letters(&text), shown.sum::<usize>());
        }
    }
}
