//! Fusion of the dense and the sparse ranking of a hybrid search into one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use pipeline::{FusionSpec, RankedChunk};
use serde::Serialize;

use crate::ranking::candidate::{Candidate, Leg, sort_candidates};
use crate::ranking::exact::ExactChunk;
use crate::ranking::legs::{BestScores, Legs};
use crate::request::InvalidRequest;

/// Maximum constant of reciprocal rank fusion; far smaller ones already give all ranks the same
/// weight.
const MAX_K: u32 = 1_000_000;

/// Maximum weight of a ranking.
const MAX_WEIGHT: f32 = 1_000_000.0;

/// How a hybrid search combines its two rankings. Fused scores of one answer are comparable with
/// each other only.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "method", rename_all = "lowercase")]
pub enum Fusion {
    /// A weighted sum of the scores, each scaled by the best one of the answer: similarities from
    /// −1 to the best become 0 to 1, and so do sparse scores from 0 to the best.
    Convex {
        /// Weight of the dense score, from 0 to 1; the sparse score has the rest.
        dense: f32,
    },
    /// Reciprocal rank fusion: rank `r` (from 1) in a ranking of weight `w` scores
    /// `1 / (r / w + k - 1)`, and the score of a chunk is the sum over the rankings.
    Rrf {
        /// A larger value reduces the advantage of the first ranks.
        k: u32,
        /// Weight of the dense ranking; 0 disables it.
        dense: f32,
        /// Weight of the sparse ranking; 0 disables it.
        sparse: f32,
    },
}

impl Default for Fusion {
    fn default() -> Self {
        Self::convex()
    }
}

impl From<FusionSpec> for Fusion {
    fn from(spec: FusionSpec) -> Self {
        match spec {
            FusionSpec::Convex { dense } => Self::Convex { dense },
            FusionSpec::Rrf { k, dense, sparse } => Self::Rrf { k, dense, sparse },
        }
    }
}

impl Fusion {
    /// A weighted sum with the weight of pipeline files without one, which was best on judged
    /// queries (`docs/search.md`).
    pub fn convex() -> Self {
        FusionSpec::default().into()
    }

    /// Reciprocal rank fusion with equal weights. `k` is that of the original paper (Cormack,
    /// Clarke and Büttcher, SIGIR 2009).
    pub fn rrf() -> Self {
        Self::Rrf { k: 60, dense: 1.0, sparse: 1.0 }
    }

    /// The largest score that a chunk can have.
    pub(crate) fn best_score(self) -> f32 {
        match self {
            Self::Convex { .. } => 1.0,
            Self::Rrf { k, dense, sparse } => {
                let first = Leg { rank: 1, score: 1.0 };
                rank_score(k, first, dense) + rank_score(k, first, sparse)
            }
        }
    }

    /// Checks the parameters.
    pub(crate) fn check(self) -> Result<(), InvalidRequest> {
        let message = match self {
            Self::Convex { dense } if (0.0..=1.0).contains(&dense) => return Ok(()),
            Self::Convex { dense } => format!("expected a dense weight from 0 to 1, found {dense}"),
            Self::Rrf { k, dense, sparse } => {
                let is_sound = |weight: f32| (0.0..=MAX_WEIGHT).contains(&weight);
                let weights = is_sound(dense) && is_sound(sparse) && dense + sparse > 0.0;
                if (1..=MAX_K).contains(&k) && weights {
                    return Ok(());
                }
                format!(
                    "expected k from 1 to {MAX_K}, and weights from 0 to {MAX_WEIGHT} that are \
                     not both 0"
                )
            }
        };
        Err(InvalidRequest { field: "fusion", message })
    }
}

/// The place of a candidate in one of the rankings.
type LegField = fn(&mut Candidate) -> &mut Option<Leg>;

/// Fuses two rankings, each best first: every chunk of either, or with an exact term, once, best
/// first. `best` are the best
/// scores of all rankings whose fused scores are to be comparable.
pub(crate) fn fuse(fusion: Fusion, legs: &Legs, best: BestScores) -> Vec<Candidate> {
    let mut fused: HashMap<_, Candidate> = HashMap::new();
    let rankings: [(&[RankedChunk], LegField); 2] = [
        (&legs.dense, |candidate| &mut candidate.explanation.dense),
        (&legs.sparse, |candidate| &mut candidate.explanation.sparse),
    ];
    for (ranking, leg) in rankings {
        for (rank, chunk) in (1..).zip(ranking) {
            let candidate = match fused.entry(chunk.id) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(Candidate::new(chunk)),
            };
            *leg(candidate) = Some(Leg { rank, score: chunk.score });
        }
    }
    // Part of the sparse scores of chunks that are too low in the sparse ranking to be in it.
    let mut partial = HashMap::new();
    for ExactChunk { chunk, .. } in &legs.exact {
        fused.entry(chunk.id).or_insert_with(|| Candidate::new(chunk));
        partial.insert(chunk.id, chunk.score);
    }
    let mut candidates: Vec<Candidate> = fused.into_values().collect();
    for candidate in &mut candidates {
        candidate.score = match fusion {
            Fusion::Convex { dense } => {
                let sparse = candidate.explanation.sparse.map(|leg| leg.score);
                let sparse = sparse.or(partial.get(&candidate.id).copied()).unwrap_or(0.0);
                convex_score(candidate.similarity, sparse, dense, best)
            }
            Fusion::Rrf { k, dense, sparse } => {
                let score =
                    |leg: Option<Leg>, weight| leg.map_or(0.0, |it| rank_score(k, it, weight));
                let explanation = &candidate.explanation;
                score(explanation.dense, dense) + score(explanation.sparse, sparse)
            }
        };
        candidate.explanation.fused = Some(candidate.score);
    }
    sort_candidates(&mut candidates);
    candidates
}

/// The scaled scores, weighted. The similarity of a chunk is known even if only the sparse ranking
/// has it; the sparse score of a chunk that only the dense ranking has counts as 0.
fn convex_score(similarity: Option<f32>, sparse: f32, weight: f32, best: BestScores) -> f32 {
    let scaled = |value: f32, least: f32, best: f32| {
        if best > least { ((value - least) / (best - least)).clamp(0.0, 1.0) } else { 0.0 }
    };
    weight * scaled(similarity.unwrap_or(-1.0), -1.0, best.similarity)
        + (1.0 - weight) * scaled(sparse, 0.0, best.sparse)
}

/// The score of a rank in a ranking of this weight.
fn rank_score(k: u32, leg: Leg, weight: f32) -> f32 {
    if weight <= 0.0 {
        return 0.0;
    }
    #[expect(clippy::cast_precision_loss, reason = "ranks are small numbers")]
    let (rank, k) = (leg.rank as f32, k as f32);
    1.0 / (rank / weight + k - 1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    /// A chunk in the rankings: cosine and sparse score, either of which may be missing.
    type Drawn = (u8, Option<u8>, Option<u8>);

    /// Rankings of the drawn chunks, as a store returns them. Every chunk has a similarity.
    fn legs(drawn: &[Drawn]) -> Legs {
        let mut legs = Legs::default();
        for (number, (cosine, dense, sparse)) in (0..).zip(drawn) {
            let similarity = f32::from(*cosine) / 127.5 - 1.0;
            let id = Uuid::from_u128(number);
            let chunk = |score| RankedChunk {
                id,
                document: id,
                chunk_index: 0,
                score,
                similarity: Some(similarity),
            };
            legs.dense.extend(dense.map(|_| chunk(similarity)));
            legs.sparse.extend(sparse.map(|score| chunk(f32::from(score) / 8.0 + 0.1)));
        }
        for ranking in [&mut legs.dense, &mut legs.sparse] {
            ranking.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
        }
        legs
    }

    fn drawn() -> impl Strategy<Value = Vec<Drawn>> {
        prop::collection::vec((any::<u8>(), any::<Option<u8>>(), any::<Option<u8>>()), 1..40)
    }

    fn fusions() -> impl Strategy<Value = Fusion> {
        prop_oneof![
            (0.0_f32..=1.0).prop_map(|dense| Fusion::Convex { dense }),
            (1_u32..200, 0.0_f32..4.0, 0.1_f32..4.0).prop_map(|(k, dense, sparse)| Fusion::Rrf {
                k,
                dense,
                sparse
            }),
        ]
    }

    fn fused(fusion: Fusion, legs: &Legs) -> Vec<Candidate> {
        fuse(fusion, legs, legs.best_scores())
    }

    proptest! {
        /// Every chunk is ranked once, and the printed score is what ranks it.
        #[test]
        fn the_score_ranks(drawn in drawn(), fusion in fusions()) {
            let legs = legs(&drawn);
            let candidates = fused(fusion, &legs);
            prop_assert!(candidates.is_sorted_by(|a, b| a.score >= b.score));
            let mut ids: Vec<_> = candidates.iter().map(|it| it.id).collect();
            let mut expected: Vec<_> = legs.dense.iter().chain(&legs.sparse).map(|it| it.id).collect();
            for ids in [&mut ids, &mut expected] {
                ids.sort_unstable();
            }
            expected.dedup();
            prop_assert_eq!(ids, expected);
        }

        /// A chunk that is at least as good in both rankings is not behind.
        #[test]
        fn a_better_chunk_is_not_behind(drawn in drawn(), fusion in fusions()) {
            let candidates = fused(fusion, &legs(&drawn));
            let better = |a: Option<Leg>, b: Option<Leg>| match (a, b) {
                (Some(a), Some(b)) => a.rank < b.rank,
                (a, None) => a.is_some(),
                (None, Some(_)) => false,
            };
            for (place, behind) in candidates.iter().enumerate() {
                for before in &candidates[..place] {
                    let dense = better(behind.explanation.dense, before.explanation.dense);
                    let sparse = better(behind.explanation.sparse, before.explanation.sparse);
                    let closer = behind.similarity > before.similarity;
                    let is_better = dense && sparse && closer;
                    prop_assert!(!is_better || behind.score == before.score);
                }
            }
        }

        /// The order of equal chunks does not depend on the order in which a ranking has them.
        #[test]
        fn the_order_of_the_rankings_does_not_matter(drawn in drawn(), dense in 0.0_f32..=1.0) {
            let legs = legs(&drawn);
            let mut reversed = legs.clone();
            reversed.dense.reverse();
            reversed.sparse.reverse();
            let ids = |legs: &Legs| -> Vec<Uuid> {
                let best = legs_best(&drawn);
                fuse(Fusion::Convex { dense }, legs, best).iter().map(|it| it.id).collect()
            };
            prop_assert_eq!(ids(&legs), ids(&reversed));
        }

        /// With all weight on one ranking, its best chunk is first.
        #[test]
        fn a_ranking_with_all_weight_decides(drawn in drawn()) {
            let legs = legs(&drawn);
            let rrf = |dense, sparse| Fusion::Rrf { k: 60, dense, sparse };
            for (only, ranking) in [
                ([Fusion::Convex { dense: 1.0 }, rrf(1.0, 0.0)], &legs.dense),
                ([Fusion::Convex { dense: 0.0 }, rrf(0.0, 1.0)], &legs.sparse),
            ] {
                for fusion in only {
                    let candidates = fused(fusion, &legs);
                    let Some(best) = ranking.first() else { continue };
                    // A chunk that only the sparse ranking has may be as similar.
                    let first = &candidates[0];
                    let is_best = first.id == best.id
                        || first.similarity >= best.similarity
                            && matches!(fusion, Fusion::Convex { dense: 1.0 })
                        || ranking.iter().any(|it| it.id == first.id && it.score >= best.score);
                    prop_assert!(is_best, "{fusion:?}: {first:?} instead of {best:?}");
                }
            }
        }

        /// The first candidates do not change when the rankings are read further, as long as the
        /// further chunks are worse in both.
        #[test]
        fn convex_scores_do_not_depend_on_the_depth(drawn in drawn(), dense in 0.0_f32..=1.0) {
            let whole = legs(&drawn);
            let half = Legs {
                dense: whole.dense[..whole.dense.len().div_ceil(2)].to_vec(),
                sparse: whole.sparse[..whole.sparse.len().div_ceil(2)].to_vec(),
                ..Legs::default()
            };
            let fusion = Fusion::Convex { dense };
            let best = whole.best_scores();
            let all = fuse(fusion, &whole, best);
            for candidate in fuse(fusion, &half, best) {
                let same = all.iter().find(|it| it.id == candidate.id).unwrap();
                prop_assert!(same.score >= candidate.score, "a further ranking adds to the score");
            }
        }
    }

    fn legs_best(drawn: &[Drawn]) -> BestScores {
        legs(drawn).best_scores()
    }

    #[test]
    fn reciprocal_ranks_are_summed() {
        let drawn = [(200, Some(0), Some(9)), (100, Some(0), Some(90)), (50, None, Some(200))];
        let fusion = Fusion::Rrf { k: 60, dense: 1.0, sparse: 2.0 };
        let candidates = fused(fusion, &legs(&drawn));
        // First of the dense ranking, and third of the sparse one, which counts twice.
        let first = candidates.iter().find(|it| it.id == Uuid::from_u128(0)).unwrap();
        assert!((first.score - (1.0 / 60.0 + 1.0 / 60.5)).abs() < 1e-6);
        let dense = Fusion::Rrf { k: 60, dense: 1.0, sparse: 0.0 };
        let last = fused(dense, &legs(&drawn)).pop().unwrap();
        assert_eq!((last.id, last.score), (Uuid::from_u128(2), 0.0), "in no ranking with weight");
    }

    #[test]
    fn scores_are_scaled_by_the_best() {
        // The best of both has the score 1; one without the terms has the weight of its similarity.
        let drawn = [(255, Some(0), Some(160)), (255, Some(0), None), (0, None, Some(160))];
        let candidates = fused(Fusion::Convex { dense: 0.7 }, &legs(&drawn));
        let scores: Vec<f32> = candidates.iter().map(|it| it.score).collect();
        for (score, expected) in scores.iter().zip([1.0, 0.7, 0.3]) {
            assert!((score - expected).abs() < 1e-6, "{scores:?}");
        }
    }
}
