//! The rankings that the store of one collection returns for a query.

use pipeline::RankedChunk;

use crate::ranking::candidate::{Candidate, Leg};
use crate::ranking::exact::ExactChunk;
use crate::request::SearchMode;

/// The rankings of a query in one collection, each best first. The one that the mode does not use
/// is empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Legs {
    pub(crate) dense: Vec<RankedChunk>,
    pub(crate) sparse: Vec<RankedChunk>,
    /// The chunks with exact terms of the query, in no order.
    pub(crate) exact: Vec<ExactChunk>,
    /// `true` if nothing in the collection is near the query.
    pub(crate) nothing_near: bool,
}

impl Legs {
    /// The best scores of the rankings.
    pub(crate) fn best_scores(&self) -> BestScores {
        let exact = self.exact.iter().map(|it| &it.chunk);
        let all = self.dense.iter().chain(&self.sparse).chain(exact);
        BestScores {
            similarity: all.filter_map(|it| it.similarity).fold(-1.0, f32::max),
            sparse: self.sparse.first().map_or(0.0, |it| it.score),
        }
    }

    /// The ranking of a mode with one ranking.
    pub(crate) fn single(&self, mode: SearchMode) -> Vec<Candidate> {
        let is_sparse = mode == SearchMode::Sparse;
        let ranking = if is_sparse { &self.sparse } else { &self.dense };
        let candidates = (1..).zip(ranking).map(|(rank, chunk)| {
            let mut candidate = Candidate::new(chunk);
            let leg = Some(Leg { rank, score: chunk.score });
            if is_sparse {
                candidate.explanation.sparse = leg;
            } else {
                candidate.explanation.dense = leg;
            }
            candidate
        });
        candidates.collect()
    }
}

/// The best scores of rankings that are compared with each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct BestScores {
    pub(crate) similarity: f32,
    pub(crate) sparse: f32,
}

impl BestScores {
    /// The best of both.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            similarity: self.similarity.max(other.similarity),
            sparse: self.sparse.max(other.sparse),
        }
    }

    /// The bits of the scores, for cache keys.
    pub(crate) fn to_bits(self) -> [u32; 2] {
        [self.similarity, self.sparse].map(f32::to_bits)
    }
}
