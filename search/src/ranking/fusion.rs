//! Fusion of the dense and the sparse ranking of a hybrid search into one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use pipeline::RankedChunk;
use serde::Serialize;

use crate::ranking::candidate::{Candidate, Leg, sort_candidates};
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
        Self::rrf()
    }
}

impl Fusion {
    /// Reciprocal rank fusion with equal weights. `k` is that of the original paper (Cormack,
    /// Clarke and Büttcher, SIGIR 2009).
    pub fn rrf() -> Self {
        Self::Rrf { k: 60, dense: 1.0, sparse: 1.0 }
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

/// Fuses two rankings, each best first: every chunk of either once, best first. `best` are the best
/// scores of all rankings whose fused scores are to be comparable.
pub(crate) fn fuse(fusion: Fusion, legs: &Legs, best: BestScores) -> Vec<Candidate> {
    let mut fused: HashMap<_, Candidate> = HashMap::new();
    let rankings: [(&[RankedChunk], fn(&mut Candidate) -> &mut Option<Leg>); 2] = [
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
    let mut candidates: Vec<Candidate> = fused.into_values().collect();
    for candidate in &mut candidates {
        candidate.score = match fusion {
            Fusion::Convex { dense } => convex_score(candidate, dense, best),
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
fn convex_score(candidate: &Candidate, dense_weight: f32, best: BestScores) -> f32 {
    let scaled = |value: f32, least: f32, best: f32| {
        if best > least { ((value - least) / (best - least)).clamp(0.0, 1.0) } else { 0.0 }
    };
    let similarity = candidate.similarity.unwrap_or(-1.0);
    let sparse = candidate.explanation.sparse.map_or(0.0, |leg| leg.score);
    dense_weight * scaled(similarity, -1.0, best.similarity)
        + (1.0 - dense_weight) * scaled(sparse, 0.0, best.sparse)
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
