//! The pass that ranks chunks with the exact terms of a query before those without.

use std::collections::HashMap;

use pipeline::RankedChunk;
use uuid::Uuid;

use crate::ranking::candidate::{Candidate, sort_candidates};

/// Steps added to the score of a chunk for an exact term in its text. A step is 1, or the best
/// fused score if that is more.
const IN_TEXT: f32 = 2.0;

/// Steps added for an exact term that is only in the title, the headings or the file name.
const AROUND_TEXT: f32 = 1.0;

/// A chunk with exact terms of the query.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ExactChunk {
    /// The chunk; its score is the part of its sparse score that is due to these terms.
    pub(crate) chunk: RankedChunk,
    pub(crate) terms: Vec<ExactTerm>,
}

/// An exact term that a chunk has.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ExactTerm {
    pub(crate) text: String,
    /// `false` if it is only in the title, the headings or the file name.
    pub(crate) in_text: bool,
}

/// Adds whole steps to the score of each chunk that has exact terms, so that it precedes all chunks
/// with fewer of them. The candidates are best first.
pub(crate) fn rank_exact_terms(candidates: &mut [Candidate], exact: &[ExactChunk]) {
    if exact.is_empty() {
        return;
    }
    let step = candidates.first().map_or(1.0, |best| best.score.max(1.0));
    let by_id: HashMap<Uuid, &ExactChunk> = exact.iter().map(|it| (it.chunk.id, it)).collect();
    for candidate in &mut *candidates {
        let Some(exact) = by_id.get(&candidate.id) else { continue };
        for term in &exact.terms {
            candidate.score += step * if term.in_text { IN_TEXT } else { AROUND_TEXT };
            candidate.explanation.exact.push(term.text.clone());
        }
    }
    sort_candidates(candidates);
}
