//! A chunk on its way through the ranking, and how it came to its score.

use pipeline::{RankedChunk, TermMatch};
use uuid::Uuid;

/// A ranked chunk. Its payload is read only if it is shown or a pass needs it.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Id of its point.
    pub id: Uuid,
    /// Id of its document.
    pub document: Uuid,
    /// Index among the chunks of the document, from 0.
    pub chunk_index: u32,
    /// The number that ranks it: candidates are in descending order of their scores.
    pub score: f32,
    /// Cosine similarity to the query; `None` if no dense vector of the query was computed.
    pub similarity: Option<f32>,
    /// How it came to its score.
    pub explanation: Explanation,
}

impl Candidate {
    /// A chunk with the score of its ranking, and an empty explanation.
    pub(crate) fn new(chunk: &RankedChunk) -> Self {
        let RankedChunk { id, document, chunk_index, score, similarity } = *chunk;
        let explanation = Explanation::default();
        Self { id, document, chunk_index, score, similarity, explanation }
    }
}

/// How a hit came to its score: one value for each step of the ranking, in their order. `None` if
/// the step did not take place or did not concern the hit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Explanation {
    /// Its place in the dense ranking, if that has it.
    pub dense: Option<Leg>,
    /// Its place in the sparse ranking, if that has it.
    pub sparse: Option<Leg>,
    /// The fused score of a hybrid search.
    pub fused: Option<f32>,
    /// The score of the reranker.
    pub rerank: Option<f32>,
    /// The exact terms of the query that it has.
    pub exact: Vec<String>,
    /// The words of the query in it, with their parts of the sparse score, the largest first.
    /// Only in an answer to [`crate::Request::explain`].
    pub terms: Vec<TermMatch>,
    /// The score of the best other passage of its document among the candidates, if it counts.
    pub siblings: Option<f32>,
    /// The factor of its score if it is the first chunk of its document, and these are raised.
    pub lead: Option<f32>,
    /// The factor of its score for the age of its document, from 0 to 1.
    pub freshness: Option<f32>,
    /// Its bonus for terms that are near each other, from 0 to 1, before its weight.
    pub proximity: Option<f32>,
    /// The largest cosine similarity to a hit before it, at least 0; it replaced the score of the
    /// hit by its marginal relevance.
    pub diversity: Option<f32>,
}

/// The place of a chunk in a ranking.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Leg {
    /// Rank, from 1.
    pub rank: usize,
    /// Score: cosine similarity in the dense ranking, BM25 in the sparse one.
    pub score: f32,
}

/// Sorts best first; equal scores by similarity, then by id, so that the order does not depend on
/// the order of the input.
pub(crate) fn sort_candidates(candidates: &mut [Candidate]) {
    let similarity = |candidate: &Candidate| candidate.similarity.unwrap_or(-1.0);
    candidates.sort_by(|a, b| {
        let by_score = b.score.total_cmp(&a.score);
        let by_similarity = || similarity(b).total_cmp(&similarity(a));
        by_score.then_with(by_similarity).then_with(|| a.id.cmp(&b.id))
    });
}
