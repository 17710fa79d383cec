//! Diversity: the order of maximal marginal relevance (MMR, Carbonell and Goldstein, SIGIR 1998).
//!
//! Each next hit is the candidate with the largest
//! `(1 - λ) · relevance + λ · (1 - largest similarity to a hit before it)`, which is its score
//! afterwards. Relevance is the score relative to the best one, so that `λ` means the same for
//! cosines and for fused scores.
//!
//! The scores descend: with each hit the similarities can only grow, so that the value of each
//! candidate and the maximum over the remaining ones can only fall.

/// The new order of the first `vectors.len()` candidates, with their new scores: indices into
/// `scores`, which are best first. A candidate without a vector resembles no other.
///
/// The candidates after those with vectors follow in their order, with a score of `(1 - λ) ·
/// relevance`, which is not larger than any before them. Takes time quadratic in the number of
/// vectors.
pub(crate) fn diversified(
    scores: &[f32],
    vectors: &[Option<&[f32]>],
    lambda: f32,
) -> Vec<(usize, f32)> {
    let relevance = relative_to_best(scores);
    let head = vectors.len().min(scores.len());
    let mut nearest = vec![0.0_f32; head];
    let mut left: Vec<usize> = (0..head).collect();
    let mut ordered = Vec::with_capacity(scores.len());
    let value = |at: usize, nearest: &[f32]| {
        (1.0 - lambda) * relevance[at] + lambda * (1.0 - nearest[at])
    };
    while !left.is_empty() {
        let mut best = 0;
        for place in 1..left.len() {
            // Of equal candidates the one that ranked higher is first.
            if value(left[place], &nearest) > value(left[best], &nearest) {
                best = place;
            }
        }
        let at = left.remove(best);
        ordered.push((at, value(at, &nearest)));
        if let Some(chosen) = vectors[at] {
            for &other in &left {
                let similarity = vectors[other].map_or(0.0, |vector| cosine(vector, chosen));
                nearest[other] = nearest[other].max(similarity);
            }
        }
    }
    ordered.extend((head..scores.len()).map(|at| (at, (1.0 - lambda) * relevance[at])));
    ordered
}

/// Scores from 0 to 1, of which the best is 1.
fn relative_to_best(scores: &[f32]) -> Vec<f32> {
    let best = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let relative = |score: f32| if best > 0.0 { score / best } else { 1.0 + score - best };
    scores.iter().map(|score| relative(*score).clamp(0.0, 1.0)).collect()
}

/// Cosine similarity, at least 0.
fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    let norm = (dot(a, a) * dot(b, b)).sqrt();
    if norm > 0.0 { (dot(a, b) / norm).clamp(0.0, 1.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(scores: &[f32], vectors: &[Option<&[f32]>], lambda: f32) -> Vec<usize> {
        diversified(scores, vectors, lambda).into_iter().map(|(at, _)| at).collect()
    }

    #[test]
    fn a_copy_of_the_first_hit_yields_to_another_one() {
        let vectors: [Option<&[f32]>; 3] = [Some(&[1.0, 0.0]), Some(&[1.0, 0.01]), Some(&[0.0, 1.0])];
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
        fn no_candidate_is_lost_and_scores_descend((scores, vectors) in cases(), lambda in 0.0_f32..=1.0) {
            let vectors: Vec<_> = vectors.iter().take(scores.len()).map(Option::as_deref).collect();
            let found = diversified(&scores, &vectors, lambda);
            prop_assert!(found.windows(2).all(|two| two[0].1 >= two[1].1), "{found:?}");
            let mut places: Vec<usize> = found.iter().map(|(at, _)| *at).collect();
            places.sort_unstable();
            prop_assert_eq!(places, (0..scores.len()).collect::<Vec<_>>());
            prop_assert!(found.iter().all(|(_, score)| (0.0..=1.0).contains(score)));
        }

        #[test]
        fn without_diversity_the_order_stays((scores, vectors) in cases()) {
            let vectors: Vec<_> = vectors.iter().map(Option::as_deref).collect();
            prop_assert_eq!(order(&scores, &vectors, 0.0), (0..scores.len()).collect::<Vec<_>>());
        }

        #[test]
        fn the_best_hit_stays_first((scores, vectors) in cases(), lambda in 0.0_f32..1.0) {
            let vectors: Vec<_> = vectors.iter().map(Option::as_deref).collect();
            prop_assert_eq!(order(&scores, &vectors, lambda).first(), scores.first().map(|_| &0));
        }
    }
}
