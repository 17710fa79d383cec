//! Diversity: the order of maximal marginal relevance (MMR, Carbonell and Goldstein, SIGIR 1998).
//!
//! Each next hit is the candidate with the largest
//! `(1 - λ) · relevance + λ · (1 - largest similarity to a hit before it)`, which is its score
//! afterwards. Relevance is the score relative to the best possible one, so that `λ` means the same
//! for cosines and for fused scores.
//!
//! The scores descend: with each hit the similarities can only grow, so that the value of each
//! candidate and the maximum over the remaining ones can only fall.

use pipeline::cosine;

/// Number of best candidates that are compared with each other; it does not depend on the page, so
/// that pages continue each other.
pub(crate) const DIVERSITY_CANDIDATES: usize = 100;

/// A candidate in the new order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct DiverseHit {
    /// Its place before.
    pub(crate) place: usize,
    /// Its new score.
    pub(crate) score: f32,
    /// Its largest similarity to a hit before it, at least 0; `None` if it was not compared.
    pub(crate) nearest: Option<f32>,
}

/// The new order of candidates with these relevances, which are best first; the vectors are those
/// of the first ones, which are compared. A candidate without a vector resembles no other.
///
/// The candidates after those with vectors follow in their order, with a score of `(1 - λ) ·
/// relevance`, which is not larger than any before them. Takes time quadratic in the number of
/// vectors.
pub(crate) fn diversified(
    relevance: &[f32],
    vectors: &[Option<&[f32]>],
    lambda: f32,
) -> Vec<DiverseHit> {
    let head = vectors.len().min(relevance.len());
    let mut nearest = vec![0.0_f32; head];
    let mut left: Vec<usize> = (0..head).collect();
    let mut ordered = Vec::with_capacity(relevance.len());
    let score = |place: usize, nearest: &[f32]| {
        (1.0 - lambda) * relevance[place] + lambda * (1.0 - nearest[place])
    };
    while !left.is_empty() {
        let is_better =
            |one: usize, other: usize| score(left[one], &nearest) > score(left[other], &nearest);
        // Of equal candidates the one that ranked higher is first.
        let best = (1..left.len()).fold(0, |best, at| if is_better(at, best) { at } else { best });
        let place = left.remove(best);
        let hit =
            DiverseHit { place, score: score(place, &nearest), nearest: Some(nearest[place]) };
        ordered.push(hit);
        if let Some(chosen) = vectors[place] {
            for &other in &left {
                let similarity =
                    vectors[other].map_or(0.0, |vector| cosine(vector, chosen).clamp(0.0, 1.0));
                nearest[other] = nearest[other].max(similarity);
            }
        }
    }
    ordered.extend((head..relevance.len()).map(|place| {
        let score = (1.0 - lambda) * relevance[place];
        DiverseHit { place, score, nearest: None }
    }));
    ordered
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(relevance: &[f32], vectors: &[Option<&[f32]>], lambda: f32) -> Vec<usize> {
        diversified(relevance, vectors, lambda).into_iter().map(|it| it.place).collect()
    }

    #[test]
    fn a_copy_of_the_first_hit_yields_to_another_one() {
        let vectors: [Option<&[f32]>; 3] =
            [Some(&[1.0, 0.0]), Some(&[1.0, 0.01]), Some(&[0.0, 1.0])];
        let scores = [0.9, 0.89, 0.7];
        assert_eq!(order(&scores, &vectors, 0.0), [0, 1, 2]);
        assert_eq!(order(&scores, &vectors, 0.5), [0, 2, 1]);
        // The last ones have no vectors here: they are not compared, and stay behind.
        assert_eq!(order(&scores, &vectors[..1], 0.5), [0, 1, 2]);
    }

    fn cases() -> impl Strategy<Value = (Vec<f32>, Vec<Option<Vec<f32>>>)> {
        let vector = prop::option::weighted(0.9, prop::collection::vec(-1.0_f32..1.0, 3));
        let scores = prop::collection::vec(-1.0_f32..2.0, 0..25);
        (scores, prop::collection::vec(vector, 0..25)).prop_map(|(mut scores, vectors)| {
            scores.sort_by(|a, b| b.total_cmp(a));
            (scores, vectors)
        })
    }

    proptest! {
        #[test]
        fn no_candidate_is_lost_and_scores_descend(
            (scores, vectors) in cases(), lambda in 0.0_f32..=1.0,
        ) {
            let vectors: Vec<_> = vectors.iter().take(scores.len()).map(Option::as_deref).collect();
            let found = diversified(&scores, &vectors, lambda);
            prop_assert!(found.windows(2).all(|two| two[0].score >= two[1].score), "{found:?}");
            let mut places: Vec<usize> = found.iter().map(|it| it.place).collect();
            places.sort_unstable();
            prop_assert_eq!(places, (0..scores.len()).collect::<Vec<_>>());
        }

        #[test]
        fn without_diversity_the_order_stays((scores, vectors) in cases()) {
            let vectors: Vec<_> = vectors.iter().map(Option::as_deref).collect();
            prop_assert_eq!(order(&scores, &vectors, 0.0), (0..scores.len()).collect::<Vec<_>>());
        }

        #[test]
        fn the_best_hit_stays_first((scores, vectors) in cases(), lambda in 0.0_f32..1.0) {
            let vectors: Vec<_> = vectors.iter().map(Option::as_deref).collect();
            let first = order(&scores, &vectors, lambda).first().copied();
            prop_assert_eq!(first, scores.first().map(|_| 0));
        }
    }
}
