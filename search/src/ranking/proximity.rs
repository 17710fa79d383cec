//! Proximity: a bonus for passages in which the terms of the query are near each other.
//!
//! The bonus is from 0 to 1, the mean of two parts:
//!
//! - **Window**: `(m - 1) / d`, where `m` is the number of distinct terms of the query in the
//!   passage and `d` the distance in words from the first to the last word of the shortest window
//!   with all of them (at least `m - 1`), times the share of these terms in the weight of the
//!   query.
//! - **Phrases**: the share, by weight, of the pairs of neighbouring terms of the query that the
//!   passage has in the same order and not farther apart than the query.
//!
//! A passage with one term of the query has no bonus: nothing is near to anything.

use std::ops::RangeInclusive;

use pipeline::{ProximitySpec, TermPosition};
use serde::Serialize;

use crate::request::InvalidRequest;

/// A bonus for passages in which the terms of the query are near each other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Proximity {
    /// Largest bonus, relative to the best possible score; 0 disables it.
    pub weight: f32,
    /// Number of best candidates that may have a bonus, at most 1000.
    pub candidates: usize,
}

impl Default for Proximity {
    fn default() -> Self {
        ProximitySpec::default().into()
    }
}

impl From<ProximitySpec> for Proximity {
    fn from(spec: ProximitySpec) -> Self {
        let ProximitySpec { weight, candidates } = spec;
        Self { weight, candidates }
    }
}

impl Proximity {
    pub(crate) fn check(&self) -> Result<(), InvalidRequest> {
        let message = if !(0.0..=MAX_WEIGHT).contains(&self.weight) {
            format!("expected a weight from 0 to {MAX_WEIGHT}, found {}", self.weight)
        } else if !(1..=MAX_CANDIDATES).contains(&self.candidates) {
            format!("expected 1 to {MAX_CANDIDATES} candidates, found {}", self.candidates)
        } else {
            return Ok(());
        };
        Err(InvalidRequest { field: "proximity", message })
    }
}

/// Maximum weight of the bonus.
const MAX_WEIGHT: f32 = 10.0;

/// Maximum number of candidates whose text is read.
const MAX_CANDIDATES: usize = 1000;

/// Maximum distance in words of a pair of neighbouring terms of a query; between them are stop
/// words.
const MAX_PAIR_DISTANCE: u32 = 3;

/// Words between the fields of a passage, so that no phrase continues from one to the next.
const FIELD_DISTANCE: u32 = 10;

/// The terms of a query in one language.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ProximityQuery {
    /// Indices of the distinct terms, ascending.
    indices: Vec<u32>,
    /// One weight per index.
    weights: Vec<f32>,
    pairs: Vec<Pair>,
}

/// Two neighbouring words of a query. A name and its first part are one word.
#[derive(Clone, Debug, PartialEq)]
struct Pair {
    first: Vec<usize>,
    second: Vec<usize>,
    distance: RangeInclusive<u32>,
    weight: f32,
}

impl ProximityQuery {
    /// The query with these occurrences of its own terms, by position. `rarity` is the weight of a
    /// term, not negative.
    pub(crate) fn new(terms: &[TermPosition], rarity: impl Fn(u32) -> f32) -> Self {
        let mut indices: Vec<u32> = terms.iter().map(|it| it.index).collect();
        indices.sort_unstable();
        indices.dedup();
        let weights: Vec<f32> = indices.iter().map(|index| rarity(*index)).collect();
        let words: Vec<(u32, Vec<usize>)> = terms
            .chunk_by(|a, b| a.position == b.position)
            .map(|word| {
                let term = |it: &TermPosition| indices.binary_search(&it.index).ok();
                (word[0].position, word.iter().filter_map(term).collect())
            })
            .collect();
        let heaviest = |word: &[usize]| word.iter().map(|it| weights[*it]).fold(0.0, f32::max);
        let pairs = words.windows(2).map(|two| {
            let ((start, first), (end, second)) = (&two[0], &two[1]);
            Pair {
                weight: heaviest(first) + heaviest(second),
                first: first.clone(),
                second: second.clone(),
                distance: 1..=(end - start).min(MAX_PAIR_DISTANCE),
            }
        });
        let pairs = pairs.collect();
        Self { indices, weights, pairs }
    }

    /// `true` if no passage can have a bonus.
    pub(crate) fn is_single(&self) -> bool {
        self.indices.len() < 2
    }

    /// The bonus of a passage. `fields` are the occurrences of the terms of the query in its
    /// fields, such as headings and text, each by position.
    pub(crate) fn bonus(&self, fields: &[Vec<TermPosition>]) -> f32 {
        let places = self.places(fields);
        let mut has = vec![false; self.indices.len()];
        for (_, term) in &places {
            has[*term] = true;
        }
        let matched = has.iter().filter(|it| **it).count();
        if matched < 2 {
            return 0.0;
        }
        let found = self.weights.iter().zip(&has).filter(|(_, has)| **has);
        let share = share(found.map(|(weight, _)| *weight).sum(), self.weights.iter().sum());
        let distance = shortest_window(&places, matched).max(matched - 1);
        #[expect(clippy::cast_precision_loss, reason = "numbers of words are small")]
        let closeness = (matched - 1) as f32 / distance as f32;
        f32::midpoint(share * closeness, self.phrases(&places)).clamp(0.0, 1.0)
    }

    /// Position and term of each occurrence, by position.
    fn places(&self, fields: &[Vec<TermPosition>]) -> Vec<(u32, usize)> {
        let mut places = Vec::new();
        let mut offset = 0_u32;
        for field in fields {
            let mut end = offset;
            for it in field {
                if let Ok(term) = self.indices.binary_search(&it.index) {
                    let position = offset.saturating_add(it.position);
                    places.push((position, term));
                    end = end.max(position);
                }
            }
            offset = end.saturating_add(FIELD_DISTANCE);
        }
        places.sort_unstable();
        places
    }

    /// The share of the pairs of the query that the passage has.
    fn phrases(&self, places: &[(u32, usize)]) -> f32 {
        let has = |pair: &&Pair| {
            let mut first = places.iter().filter(|(_, term)| pair.first.contains(term));
            first.any(|(position, _)| {
                let from = places.partition_point(|(it, _)| it <= position);
                let near = places[from..].iter();
                near.take_while(|(it, _)| it - position <= *pair.distance.end())
                    .any(|(_, term)| pair.second.contains(term))
            })
        };
        let found = self.pairs.iter().filter(has).map(|pair| pair.weight).sum();
        share(found, self.pairs.iter().map(|pair| pair.weight).sum())
    }
}

fn share(part: f32, total: f32) -> f32 {
    if total > 0.0 { part / total } else { 0.0 }
}

/// The distance from the first to the last word of the shortest window that has all `matched`
/// terms of these places, which are sorted.
fn shortest_window(places: &[(u32, usize)], matched: usize) -> usize {
    let mut counts = vec![0_usize; places.iter().map(|(_, term)| term + 1).max().unwrap_or(0)];
    let (mut within, mut from, mut best) = (0, 0, u32::MAX);
    for (end, term) in places {
        counts[*term] += 1;
        within += usize::from(counts[*term] == 1);
        while within == matched {
            let (start, first) = places[from];
            best = best.min(end - start);
            counts[first] -= 1;
            within -= usize::from(counts[first] == 0);
            from += 1;
        }
    }
    usize::try_from(best).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Words as terms of their first letter; `.` is a word of no query.
    fn words(text: &str) -> Vec<TermPosition> {
        let numbered = (0_u32..).zip(text.split_whitespace());
        let words = numbered.filter(|(_, word)| *word != ".");
        words
            .map(|(position, word)| TermPosition { index: u32::from(word.as_bytes()[0]), position })
            .collect()
    }

    fn bonus(query: &str, passage: &str) -> f32 {
        ProximityQuery::new(&words(query), |_| 1.0).bonus(&[words(passage)])
    }

    #[test]
    fn the_phrase_itself_has_the_full_bonus() {
        assert_eq!(bonus("a b c", ". . a b c . a"), 1.0);
        assert_eq!(bonus("a . b", "a . b"), 0.75, "a stop word between them widens the window");
        assert_eq!(bonus("a b a", "a b a"), 1.0, "a repeated word");
        assert_eq!(bonus("a b", "b a"), 0.5, "near, in another order");
        assert_eq!(bonus("a b", "a . . . . b"), 0.1);
        assert_eq!(bonus("a b c", "a b"), (2.0 / 3.0 + 0.5) / 2.0, "without one term");
        assert_eq!((bonus("a b", "a a"), bonus("a", "a"), bonus("", "a")), (0.0, 0.0, 0.0));
    }

    #[test]
    fn a_rare_term_counts_more() {
        let rare = u32::from(b'r');
        let query = ProximityQuery::new(&words("a b r"), |it| if it == rare { 8.0 } else { 1.0 });
        assert!(query.bonus(&[words("b r")]) > query.bonus(&[words("a b")]));
    }

    #[test]
    fn a_phrase_ends_with_its_field() {
        let query = ProximityQuery::new(&words("a b"), |_| 1.0);
        let (apart, one) = (query.bonus(&[words("a"), words("b")]), query.bonus(&[words("a b")]));
        assert!(apart > 0.0 && apart < 0.1 && one == 1.0, "{apart} {one}");
        assert_eq!(query.bonus(&[Vec::new(), words("a b")]), 1.0);
    }

    /// The shortest window by trying all of them.
    fn shortest_by_trial(places: &[(u32, usize)], matched: usize) -> usize {
        let mut best = usize::MAX;
        for (from, (start, _)) in places.iter().enumerate() {
            for (to, (end, _)) in places.iter().enumerate().skip(from) {
                let mut terms: Vec<usize> = places[from..=to].iter().map(|(_, it)| *it).collect();
                terms.sort_unstable();
                terms.dedup();
                if terms.len() == matched {
                    best = best.min((end - start) as usize);
                }
            }
        }
        best
    }

    proptest! {
        #[test]
        fn the_window_is_the_shortest(passage in "[abc. ]{2,30}") {
            let passage: String = passage.chars().flat_map(|it| [it, ' ']).collect();
            let query = ProximityQuery::new(&words("a b c"), |_| 1.0);
            let places = query.places(&[words(&passage)]);
            let mut terms: Vec<usize> = places.iter().map(|(_, term)| *term).collect();
            terms.sort_unstable();
            terms.dedup();
            if !terms.is_empty() {
                let expected = shortest_by_trial(&places, terms.len());
                prop_assert_eq!(shortest_window(&places, terms.len()), expected);
            }
        }

        #[test]
        fn the_bonus_is_a_share(
            query in "([abcd.] ){0,6}", passage in "([abcd.] ){0,30}",
            weights in prop::array::uniform4(0.0_f32..10.0),
        ) {
            let rarity = |index: u32| weights[(index - u32::from(b'a')) as usize];
            let query = ProximityQuery::new(&words(&query), rarity);
            let bonus = query.bonus(&[words(&passage)]);
            prop_assert!((0.0..=1.0).contains(&bonus), "{bonus}");
            prop_assert!(!query.is_single() || bonus == 0.0);
        }

        #[test]
        fn words_around_a_passage_change_nothing(
            passage in "([abc.] ){0,20}", before in "(\\. ){0,9}", after in "(\\. ){0,9}",
        ) {
            let longer = format!("{before}{passage}{after}");
            prop_assert_eq!(bonus("a b c", &passage), bonus("a b c", &longer));
        }

        #[test]
        fn words_between_the_terms_never_help(passage in "([abc.] ){1,20}", at in 0_usize..20) {
            let mut words: Vec<&str> = passage.split_whitespace().collect();
            words.insert(at.min(words.len()), ".");
            prop_assert!(bonus("a b c", &words.join(" ")) <= bonus("a b c", &passage));
        }
    }
}
