//! Scores of passages with their siblings: a passage counts more if another passage of its document
//! is among the candidates, too.
//!
//! The score of a passage is `(own + λ · best other passage of the document) / (1 + λ)`. The
//! division keeps the scale: the best possible score stays the best possible score, and a document
//! with a single passage among the candidates has an own share of `1 / (1 + λ)`.

use std::collections::HashMap;
use std::hash::Hash;

/// A score with the share of the siblings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SiblingScore {
    /// The new score.
    pub(crate) score: f32,
    /// The score of the best sibling; `None` if there is none, or none with a positive score.
    pub(crate) sibling: Option<f32>,
}

/// The scores with the share of the siblings, in the order of the candidates. Siblings with a
/// negative score count as 0, so that a further passage never harms a document.
///
/// The order of the passages of one document does not change.
pub(crate) fn with_siblings<D: Eq + Hash>(
    candidates: &[(D, f32)],
    lambda: f32,
) -> Vec<SiblingScore> {
    // The two best scores of each document: the best sibling of the best passage is the second one.
    let mut best: HashMap<&D, [f32; 2]> = HashMap::new();
    for (document, score) in candidates {
        let [first, second] = best.entry(document).or_default();
        if *score > *first {
            (*second, *first) = (*first, *score);
        } else if *score > *second {
            *second = *score;
        }
    }
    let score = |(document, own): &(D, f32)| {
        let [first, second] = best[document];
        let sibling = if *own >= first { second } else { first };
        let score = (own + lambda * sibling) / (1.0 + lambda);
        SiblingScore { score, sibling: Some(sibling).filter(|it| *it > 0.0) }
    };
    candidates.iter().map(score).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scores_of(candidates: &[(u8, f32)], lambda: f32) -> Vec<f32> {
        with_siblings(candidates, lambda).into_iter().map(|it| it.score).collect()
    }

    #[test]
    fn a_second_passage_lifts_a_document() {
        let candidates = [(1, 0.9), (2, 0.88), (2, 0.8), (3, -0.5)];
        let scores = scores_of(&candidates, 0.5);
        let expected = [0.6, (0.88 + 0.4) / 1.5, (0.8 + 0.44) / 1.5, -0.5 / 1.5];
        for (score, expected) in scores.iter().zip(expected) {
            assert!((score - expected).abs() < 1e-6, "{scores:?}");
        }
        let siblings: Vec<_> =
            with_siblings(&candidates, 0.5).iter().map(|it| it.sibling).collect();
        assert_eq!(siblings, [None, Some(0.8), Some(0.88), None]);
    }

    fn candidates() -> impl Strategy<Value = Vec<(u8, f32)>> {
        prop::collection::vec((0_u8..6, -1.0_f32..2.0), 0..40)
    }

    proptest! {
        #[test]
        fn without_weight_nothing_changes(candidates in candidates()) {
            let scores: Vec<f32> = candidates.iter().map(|(_, score)| *score).collect();
            prop_assert_eq!(scores_of(&candidates, 0.0), scores);
        }

        #[test]
        fn passages_of_a_document_keep_their_order(
            candidates in candidates(), lambda in 0.0_f32..=1.0,
        ) {
            let scores = scores_of(&candidates, lambda);
            for (a, (one, before_a)) in candidates.iter().enumerate() {
                for (b, (other, before_b)) in candidates.iter().enumerate() {
                    if one == other && before_a > before_b {
                        prop_assert!(scores[a] >= scores[b] - 1e-6, "{a} {b} {scores:?}");
                    }
                }
            }
        }

        #[test]
        fn a_further_passage_harms_no_passage_of_its_document(
            candidates in candidates(), further in (0_u8..6, -1.0_f32..2.0),
            lambda in 0.0_f32..=1.0,
        ) {
            let before = scores_of(&candidates, lambda);
            let mut more = candidates.clone();
            more.push(further);
            let after = scores_of(&more, lambda);
            for (at, (document, _)) in candidates.iter().enumerate() {
                if *document == further.0 {
                    prop_assert!(after[at] >= before[at] - 1e-6);
                } else {
                    prop_assert_eq!(after[at], before[at]);
                }
            }
        }

        #[test]
        fn scores_stay_within_the_range_of_their_candidates(
            candidates in prop::collection::vec((0_u8..6, 0.0_f32..1.0), 1..40),
            lambda in 0.0_f32..=1.0,
        ) {
            let best = candidates.iter().map(|(_, score)| *score).fold(0.0, f32::max);
            for score in scores_of(&candidates, lambda) {
                prop_assert!((0.0..=best + 1e-6).contains(&score));
            }
        }
    }
}
