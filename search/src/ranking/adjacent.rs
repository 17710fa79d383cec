//! Merges hits of one page that are adjacent in their document into one passage.
//!
//! Chunks overlap or follow each other, so that a section that matches well fills several places of
//! a page with parts of one text. Two chunks are adjacent if their ranges overlap or touch, or if
//! one is the next chunk of the other and only white space is between them, which no chunk has.
//!
//! A chunk that begins inside a table has the header of the table before its own text. A passage
//! keeps the header of its first chunk only.
//!
//! Only pages are merged: the ranking, the number of hits to skip and cursors count chunks.

use std::collections::HashMap;
use std::ops::Range;

use pipeline::{Payload, repeated_header_len};

use crate::results::MergedHit;

/// Maximum length in bytes of the white space between two consecutive chunks.
const MAX_SPACE: u64 = 64;

/// Several chunks as one passage.
#[derive(Clone, Debug, PartialEq)]
struct JoinedPassage {
    /// The text of the document from `start` to `end`, after the repeated header of a table; line
    /// breaks and spaces stand for white space that is in no chunk.
    content: String,
    /// Length of the header in bytes; `None` if the content is not text of the document.
    header: Option<usize>,
    /// Start in the text of the document, in bytes.
    start: u64,
    /// End in bytes, exclusive.
    end: u64,
    /// Indices of its chunks, ascending.
    chunks: Vec<u32>,
    /// The highlights of its chunks, ascending, neither overlapping nor adjacent unless those of a
    /// chunk are.
    highlights: Vec<Range<usize>>,
}

/// The hits of a page with adjacent ones merged, in collections for which `is_wanted` is `true`.
/// A passage is at the place of its best hit and has its scores.
pub(crate) fn merge_adjacent(
    hits: &[MergedHit],
    is_wanted: impl Fn(usize) -> bool,
) -> Vec<MergedHit> {
    let (merged, single): (Vec<usize>, Vec<usize>) =
        (0..hits.len()).partition(|at| is_wanted(hits[*at].collection_index));
    let payloads: Vec<&Payload> = merged.iter().map(|at| &hits[*at].payload).collect();
    let groups = adjacent_groups(&payloads);
    let groups = groups.into_iter().map(|group| group.into_iter().map(|it| merged[it]).collect());
    let mut groups: Vec<Vec<usize>> = groups.chain(single.into_iter().map(|at| vec![at])).collect();
    groups.sort_unstable();
    let passage = |group: Vec<usize>| {
        let mut best = hits[group[0]].clone();
        let parts: Vec<_> =
            group.iter().map(|at| (&hits[*at].payload, &hits[*at].highlights[..])).collect();
        if let Some(joined) = join(&parts).filter(|it| it.chunks.len() > 1) {
            let JoinedPassage { content, start, end, chunks, highlights, .. } = joined;
            best.payload = Payload { content, start, end, ..best.payload };
            (best.chunks, best.highlights) = (chunks, highlights);
        }
        best
    };
    groups.into_iter().map(passage).collect()
}

/// The hits that form one passage each: groups of indices into `hits`, in the order of their best
/// hits, which are first in their groups. Hits are best first.
fn adjacent_groups(hits: &[&Payload]) -> Vec<Vec<usize>> {
    let mut documents: HashMap<_, Vec<usize>> = HashMap::new();
    for (at, hit) in hits.iter().enumerate() {
        documents.entry((hit.collection, hit.document)).or_default().push(at);
    }
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for mut places in documents.into_values() {
        places.sort_by_key(|at| (hits[*at].start, hits[*at].chunk_index));
        let mut group = vec![places[0]];
        let mut joined = JoinedPassage::of(hits[places[0]], &[]);
        for at in places.into_iter().skip(1) {
            if joined.append(hits[at], &[]) {
                group.push(at);
            } else {
                groups.push(std::mem::replace(&mut group, vec![at]));
                joined = JoinedPassage::of(hits[at], &[]);
            }
        }
        groups.push(group);
    }
    for group in &mut groups {
        group.sort_unstable();
    }
    groups.sort_unstable();
    groups
}

/// The passage of the hits of one group, each with its highlights. `None` without hits.
fn join(hits: &[(&Payload, &[Range<usize>])]) -> Option<JoinedPassage> {
    let mut hits: Vec<_> = hits.to_vec();
    hits.sort_by_key(|(payload, _)| (payload.start, payload.chunk_index));
    let mut all = hits.into_iter();
    let (first, highlights) = all.next()?;
    let mut joined = JoinedPassage::of(first, highlights);
    for (payload, highlights) in all {
        let is_adjacent = joined.append(payload, highlights);
        debug_assert!(is_adjacent, "hits of one group are adjacent");
    }
    joined.chunks.sort_unstable();
    Some(joined)
}

impl JoinedPassage {
    fn of(payload: &Payload, highlights: &[Range<usize>]) -> Self {
        Self {
            content: payload.content.clone(),
            header: header_len(payload),
            start: payload.start,
            end: payload.end,
            chunks: vec![payload.chunk_index],
            highlights: highlights.to_vec(),
        }
    }

    /// Appends a chunk that starts at or after the start of the passage. `false`, without a change,
    /// if it is not adjacent, or if its text is not that of the document: then neither offsets nor
    /// the overlap are known.
    fn append(&mut self, payload: &Payload, highlights: &[Range<usize>]) -> bool {
        let begins = payload.start.checked_sub(self.start).and_then(to_usize);
        let (Some(begins), Some(header), Some(own_header)) =
            (begins, self.header, header_len(payload))
        else {
            return false;
        };
        // Where the text of the chunk begins in the passage.
        let at = header + begins;
        let text = &payload.content[own_header..];
        if at <= self.content.len() {
            let repeated = text.len().min(self.content.len() - at);
            let shared = self.content.get(at..at + repeated);
            if shared.is_none() || shared != text.get(..repeated) {
                return false;
            }
            self.content.push_str(&text[repeated..]);
        } else {
            let space = payload.start - self.end;
            let is_next =
                self.chunks.iter().any(|it| it.checked_add(1) == Some(payload.chunk_index));
            if !is_next || space > MAX_SPACE {
                return false;
            }
            self.content.push_str(&blank(space));
            self.content.push_str(text);
        }
        self.end = self.end.max(payload.end);
        self.chunks.push(payload.chunk_index);
        let own = highlights.iter().filter(|it| it.start >= own_header);
        let shifted = own.map(|it| it.start - own_header + at..it.end - own_header + at);
        self.highlights.extend(shifted);
        self.highlights.sort_by_key(|it| (it.start, it.end));
        // Both chunks have the words of their overlap.
        self.highlights.dedup_by(|next, last| {
            let overlaps = next.start < last.end || next == last;
            if overlaps {
                last.end = last.end.max(next.end);
            }
            overlaps
        });
        true
    }
}

fn header_len(payload: &Payload) -> Option<usize> {
    repeated_header_len(&payload.content, payload.start, payload.end)
}

/// White space of this length in bytes, which no chunk has: a space, or an empty line.
fn blank(length: u64) -> String {
    (0..length).map(|at| if length > 1 && at < 2 { '\n' } else { ' ' }).collect()
}

fn to_usize(number: u64) -> Option<usize> {
    usize::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use pipeline::test_util::payload;
    use proptest::prelude::*;

    use super::*;

    // A constant could have several addresses, and `edges` computes with its address.
    static TEXT: &str =
        "Oaks live for centuries.\n\nBirches die young – ünlike firs. 漢字 end the text.";

    /// The chunk of a document at a range of its text.
    fn chunk(document: &str, index: u32, range: Range<usize>) -> Payload {
        let (start, end) = (range.start as u64, range.end as u64);
        Payload { chunk_index: index, start, end, ..payload(document, &TEXT[range]) }
    }

    fn groups(hits: &[Payload]) -> Vec<Vec<usize>> {
        adjacent_groups(&hits.iter().collect::<Vec<_>>())
    }

    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "a highlight is a range")]
    fn neighbours_and_overlapping_chunks_are_one_passage() {
        // The second paragraph is the better hit.
        let hits = [chunk("a", 1, 26..43), chunk("b", 0, 0..24), chunk("a", 0, 0..24)];
        assert_eq!(groups(&hits), [vec![0, 2], vec![1]]);
        let joined = join(&[(&hits[0], &[0..7]), (&hits[2], &[0..4])]).unwrap();
        assert_eq!(joined.content, TEXT[..43]);
        assert_eq!((joined.start, joined.end, &*joined.chunks), (0, 43, &[0, 1][..]));
        let words: Vec<&str> =
            joined.highlights.iter().map(|it| &joined.content[it.clone()]).collect();
        assert_eq!(words, ["Oaks", "Birches"]);

        let hits = [chunk("a", 4, 0..20), chunk("a", 9, 10..43)];
        assert_eq!(groups(&hits), [[0, 1]]);
        // "for" is in both.
        let joined = join(&[(&hits[0], &[10..13]), (&hits[1], &[0..3, 16..23])]).unwrap();
        assert_eq!((&*joined.content, &*joined.highlights), (&TEXT[..43], &[10..13, 26..33][..]));
    }

    #[test]
    fn a_passage_keeps_the_header_of_its_first_chunk() {
        let header = "| Tree |\n|-|\n";
        let row = |index, range| {
            let chunk = chunk("a", index, range);
            Payload { content: format!("{header}{}", chunk.content), ..chunk }
        };
        let hits = [row(2, 38..55), row(1, 26..43)];
        assert_eq!(groups(&hits), [[0, 1]]);
        let [tree, birches, unlike] = [2..6, 0..7, 10..17];
        let at = |range: Range<usize>| range.start + header.len()..range.end + header.len();
        let first = [tree.clone(), at(birches)];
        let joined = join(&[(&hits[0], &[tree, at(unlike)]), (&hits[1], &first)]).unwrap();
        assert_eq!(joined.content, format!("{header}{}", &TEXT[26..55]));
        assert_eq!((joined.start, joined.end), (26, 55));
        let words: Vec<&str> =
            joined.highlights.iter().map(|it| &joined.content[it.clone()]).collect();
        assert_eq!(words, ["Tree", "Birches", "\u{fc}nlike"]);
        // A chunk before the table has no header, and neither has its passage.
        let hits = [row(2, 38..55), chunk("a", 1, 26..43)];
        let joined = join(&[(&hits[0], &[]), (&hits[1], &[])]).unwrap();
        assert_eq!(joined.content, TEXT[26..55]);
    }

    #[test]
    fn other_hits_stay_apart() {
        let apart = [chunk("a", 0, 0..4), chunk("a", 2, 10..20)];
        assert_eq!(groups(&apart), [[0], [1]], "a chunk is missing between them");
        let documents = [chunk("a", 0, 0..24), chunk("b", 1, 24..43)];
        assert_eq!(groups(&documents), [[0], [1]]);
        let mut normalized = [chunk("a", 0, 0..20), chunk("a", 1, 10..43)];
        normalized[0].content = "another text".to_owned();
        assert_eq!(groups(&normalized), [[0], [1]], "its offsets are those of another text");
        let mut changed = [chunk("a", 0, 0..20), chunk("a", 1, 10..43)];
        changed[0].content = changed[0].content.to_uppercase();
        assert_eq!(groups(&changed), [[0], [1]], "the overlap differs");
    }

    /// Places between words of the text.
    fn edges() -> Vec<usize> {
        let words = TEXT.split(|letter: char| letter.is_whitespace()).filter(|it| !it.is_empty());
        words
            .flat_map(|word| {
                let start = word.as_ptr().addr() - TEXT.as_ptr().addr();
                [start, start + word.len()]
            })
            .collect()
    }

    /// Chunks as the chunk node makes them: from word to word, none without the one before it.
    fn chunks() -> impl Strategy<Value = Vec<Payload>> {
        let words = edges().len() / 2;
        prop::collection::vec((1_usize..4, 0_usize..3), 1..8).prop_map(move |sizes| {
            let (mut from, mut chunks) = (0, Vec::new());
            for (index, (size, overlap)) in (0..).zip(sizes) {
                let to = (from + size).min(words);
                if from >= words {
                    break;
                }
                chunks.push(chunk("a", index, edges()[2 * from]..edges()[2 * to - 1]));
                from = if to == words { words } else { to - overlap.min(to - from - 1) };
            }
            chunks
        })
    }

    /// Ranges of the words with an `e`.
    fn highlights(content: &str) -> Vec<Range<usize>> {
        let starts = content.split(char::is_whitespace).scan(0, |at, word| {
            let start = *at;
            *at +=
                word.len() + content[start + word.len()..].chars().next().map_or(0, char::len_utf8);
            Some(start..start + word.len())
        });
        starts.filter(|range| content[range.clone()].contains('e')).collect()
    }

    proptest! {
        #[test]
        fn a_passage_is_the_text_of_its_range(
            chunks in chunks(), chosen in prop::collection::vec(any::<bool>(), 8),
            order in Just((0..8).collect::<Vec<usize>>()).prop_shuffle(),
        ) {
            let hits = order.into_iter().filter(|at| chosen[*at]).filter_map(|at| chunks.get(at));
            let hits: Vec<&Payload> = hits.collect();
            let groups = adjacent_groups(&hits);
            let mut all: Vec<usize> = groups.concat();
            prop_assert!(groups.windows(2).all(|two| two[0][0] < two[1][0]), "best hits in order");
            all.sort_unstable();
            prop_assert_eq!(all, (0..hits.len()).collect::<Vec<_>>(), "each hit once");
            let mut ends = Vec::new();
            for group in &groups {
                let found: Vec<_> =
                    group.iter().map(|at| (hits[*at], highlights(&hits[*at].content))).collect();
                let parts: Vec<_> = found.iter().map(|(it, marks)| (*it, &**marks)).collect();
                let joined = join(&parts).unwrap();
                let [start, end] = [joined.start, joined.end].map(|it| usize::try_from(it).unwrap());
                let expected = &TEXT[start..end];
                prop_assert_eq!(joined.content.len(), expected.len());
                let tidy = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
                prop_assert_eq!(tidy(&joined.content), tidy(expected));
                prop_assert_eq!(&joined.highlights, &highlights(expected));
                prop_assert!(joined.chunks.is_sorted_by(|a, b| a < b));
                prop_assert_eq!(joined.chunks.len(), group.len());
                ends.push((joined.start, joined.end));
            }
            // What is left apart neither overlaps nor touches.
            ends.sort_unstable();
            prop_assert!(ends.windows(2).all(|two| two[0].1 < two[1].0), "{ends:?}");
        }
    }
}
