//! The passes that rescore candidates by their documents, texts and vectors: what each of them
//! reads, and what it leaves in the explanation. The numbers are computed elsewhere, without
//! candidates.

use std::collections::HashMap;

use pipeline::{Payload, SparseEncoder, SparseVector, StoreError};
use uuid::Uuid;

use crate::points::Points;
use crate::ranking::candidate::{Candidate, sort_candidates};
use crate::ranking::diversity::{DIVERSITY_CANDIDATES, DiverseHit, diversified};
use crate::ranking::freshness::{Freshness, decayed};
use crate::ranking::passes::Passes;
use crate::ranking::proximity::{Proximity, ProximityQuery};
use crate::ranking::siblings::with_siblings;
use crate::settings::SearchSettings;

impl Passes<'_> {
    /// Applies the passes that are set, without diversity. `best` is about the largest score.
    pub(crate) async fn rescore(
        &self,
        candidates: &mut [Candidate],
        best: f32,
    ) -> Result<(), StoreError> {
        let settings = self.settings;
        let exact = rescore_by_documents(candidates, settings);
        if let Some(freshness) = settings.freshness {
            let points = self.read(candidates).await?;
            decay_by_age(candidates, &exact, &points, freshness, self.now);
        }
        if let Some(proximity) = settings.proximity {
            let head = candidates.len().min(proximity.candidates);
            let points = self.read(&candidates[..head]).await?;
            let mut reader = ProximityReader::new(self);
            add_bonus(candidates, &points, proximity, best, |payload| reader.bonus(payload));
        }
        Ok(())
    }

    /// Orders the candidates by marginal relevance if diversity is set. It is the last pass.
    pub(crate) async fn diversify(
        &self,
        candidates: &mut Vec<Candidate>,
        best: f32,
    ) -> Result<(), StoreError> {
        if self.settings.diversity > 0.0 {
            let head = candidates.len().min(DIVERSITY_CANDIDATES);
            let points = self.read(&candidates[..head]).await?;
            diversify(candidates, &points, self.settings.diversity, best);
        }
        Ok(())
    }

    async fn read(&self, candidates: &[Candidate]) -> Result<Points, StoreError> {
        self.points.fetch(candidates.iter().map(|it| it.id)).await
    }
}

/// Applies the passes that know candidates by their documents and read no text.
pub(crate) fn rescore_by_documents(
    candidates: &mut [Candidate],
    settings: &SearchSettings,
) -> ExactParts {
    let exact = ExactParts::of(candidates);
    if settings.siblings > 0.0 {
        count_siblings(candidates, &exact, settings.siblings);
    }
    if settings.lead > 0.0 {
        raise_first_chunks(candidates, &exact, settings.lead);
    }
    exact
}

/// The parts of scores beyond the fused ones, by which chunks with exact terms of the query precede
/// all others. They are no relevance: neither a sibling nor an age changes them.
pub(crate) struct ExactParts(HashMap<Uuid, f32>);

impl ExactParts {
    fn of(candidates: &[Candidate]) -> Self {
        let part = |it: &Candidate| Some((it.id, it.score - it.explanation.fused?));
        Self(candidates.iter().filter_map(part).filter(|(_, part)| *part != 0.0).collect())
    }

    fn get(&self, candidate: &Candidate) -> f32 {
        self.0.get(&candidate.id).copied().unwrap_or(0.0)
    }
}

fn count_siblings(candidates: &mut [Candidate], exact: &ExactParts, lambda: f32) {
    let relevance = candidates.iter().map(|it| (it.document, it.score - exact.get(it)));
    let relevance: Vec<(Uuid, f32)> = relevance.collect();
    for (candidate, lifted) in candidates.iter_mut().zip(with_siblings(&relevance, lambda)) {
        candidate.explanation.siblings = lifted.sibling;
        candidate.score = lifted.score + exact.get(candidate);
    }
    sort_candidates(candidates);
}

/// Raises the scores of the first chunks of documents by this share.
fn raise_first_chunks(candidates: &mut [Candidate], exact: &ExactParts, share: f32) {
    for candidate in candidates.iter_mut().filter(|it| it.chunk_index == 0) {
        candidate.explanation.lead = Some(1.0 + share);
        candidate.score += (candidate.score - exact.get(candidate)).abs() * share;
    }
    sort_candidates(candidates);
}

fn decay_by_age(
    candidates: &mut [Candidate],
    exact: &ExactParts,
    points: &Points,
    freshness: Freshness,
    now: i64,
) {
    let date = |it: &Candidate| points.get(&it.id).and_then(|point| point.payload.modified_at);
    let dates: Vec<Option<i64>> = candidates.iter().map(date).collect();
    for (candidate, factor) in candidates.iter_mut().zip(freshness.factors(&dates, now)) {
        candidate.explanation.freshness = Some(factor);
        let exact = exact.get(candidate);
        candidate.score = decayed(candidate.score - exact, factor) + exact;
    }
    sort_candidates(candidates);
}

/// Adds the bonus of the first candidates, in the unit of their scores.
fn add_bonus(
    candidates: &mut [Candidate],
    points: &Points,
    proximity: Proximity,
    best: f32,
    mut bonus: impl FnMut(&Payload) -> f32,
) {
    for candidate in candidates.iter_mut().take(proximity.candidates) {
        let bonus = points.get(&candidate.id).map_or(0.0, |point| bonus(&point.payload));
        candidate.explanation.proximity = Some(bonus);
        candidate.score += proximity.weight * bonus * best;
    }
    sort_candidates(candidates);
}

fn diversify(candidates: &mut Vec<Candidate>, points: &Points, lambda: f32, best: f32) {
    // Scores of a reranker have a scale of their own, without a largest one.
    let is_reranked = candidates.iter().any(|it| it.explanation.rerank.is_some());
    let relevance = |score: f32| {
        if is_reranked { 1.0 / (1.0 + (-score).exp()) } else { score / best }
    };
    let relevance: Vec<f32> = candidates.iter().map(|it| relevance(it.score)).collect();
    let head = candidates.iter().take(DIVERSITY_CANDIDATES);
    let vectors: Vec<Option<&[f32]>> =
        head.map(|it| points.get(&it.id).map(|point| &point.vector[..])).collect();
    let ordered = diversified(&relevance, &vectors, lambda);
    let ordered = ordered.into_iter().map(|DiverseHit { place, score, nearest }| {
        let mut candidate = candidates[place].clone();
        candidate.explanation.diversity = nearest;
        candidate.score = score;
        candidate
    });
    *candidates = ordered.collect();
}

/// Finds the terms of the query in passages, each in the language of its document.
struct ProximityReader<'a> {
    encoder: &'a dyn SparseEncoder,
    query: &'a str,
    sparse_query: Option<&'a SparseVector>,
    /// The sparse vector of the query, and its terms, by language.
    queries: HashMap<Option<String>, (SparseVector, ProximityQuery)>,
}

impl<'a> ProximityReader<'a> {
    fn new(passes: &'a Passes<'_>) -> Self {
        Self {
            encoder: &*passes.points.target.sparse_encoder,
            query: &passes.request.query,
            sparse_query: passes.sparse_query,
            queries: HashMap::new(),
        }
    }

    fn bonus(&mut self, payload: &Payload) -> f32 {
        let (encoder, text, sparse_query) = (self.encoder, self.query, self.sparse_query);
        let language = payload.language.as_deref();
        let entry = self.queries.entry(payload.language.clone());
        let (vector, query) = entry.or_insert_with(|| {
            let languages: Vec<String> = payload.language.iter().cloned().collect();
            let vector = match sparse_query {
                Some(vector) => vector.clone(),
                None => encoder.encode_query(text, &languages),
            };
            let terms = encoder.term_positions(text, language, &vector);
            let query = ProximityQuery::new(&terms, |_| 1.0);
            (vector, query)
        });
        if query.is_single() {
            return 0.0;
        }
        let fields =
            [payload.title.as_deref(), payload.headings.as_deref(), Some(&*payload.content)];
        let positions = |text: &str| encoder.term_positions(text, language, vector);
        let fields: Vec<_> = fields.into_iter().flatten().map(positions).collect();
        query.bonus(&fields)
    }
}

#[cfg(test)]
mod tests {
    use pipeline::RankedChunk;

    use super::*;

    /// A candidate of a document with a fused score, and a part for exact terms.
    fn candidate(document: u128, chunk_index: u32, fused: f32, exact: f32) -> Candidate {
        let document = Uuid::from_u128(document);
        let id = pipeline::point_id(document, chunk_index);
        let similarity = None;
        let mut candidate =
            Candidate::new(&RankedChunk { id, document, chunk_index, score: fused, similarity });
        candidate.explanation.fused = Some(fused);
        candidate.score += exact;
        candidate
    }

    fn places(candidates: &[Candidate]) -> Vec<(u128, u32)> {
        candidates.iter().map(|it| (it.document.as_u128(), it.chunk_index)).collect()
    }

    #[test]
    fn reranked_hits_are_diversified_in_their_order() {
        let mut candidates: Vec<Candidate> =
            (0..4).map(|nth| candidate(nth, 0, 0.5, 0.0)).collect();
        for (candidate, score) in candidates.iter_mut().zip([3.0, -1.0, -4.0, -90.0]) {
            candidate.score = score;
            candidate.explanation.rerank = Some(score);
        }
        let order = places(&candidates);
        diversify(&mut candidates, &Points::new(), 0.3, 1.0);
        assert_eq!(places(&candidates), order, "without vectors, nothing is similar");
        let scores: Vec<f32> = candidates.iter().map(|it| it.score).collect();
        assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
        assert!(scores.iter().all(|it| (0.0..=1.0).contains(it)), "{scores:?}");
    }

    #[test]
    fn exact_terms_stay_first() {
        // Without the exact part, the last one would come first in each pass.
        let mut candidates = vec![
            candidate(1, 3, 0.1, 1.0),
            candidate(2, 1, 0.9, 0.0),
            candidate(2, 0, 0.8, 0.0),
            candidate(1, 4, 0.1, 0.0),
        ];
        let exact = ExactParts::of(&candidates);
        count_siblings(&mut candidates, &exact, 1.0);
        assert_eq!(places(&candidates)[0], (1, 3));
        let sibling = candidates[3].explanation.siblings.unwrap();
        assert!((sibling - 0.1).abs() < 1e-5, "the exact term is not that of the sibling");
        raise_first_chunks(&mut candidates, &exact, 0.2);
        assert_eq!(places(&candidates), [(1, 3), (2, 0), (2, 1), (1, 4)]);
        let freshness = Freshness { half_life: 1, weight: 1.0 };
        decay_by_age(&mut candidates, &exact, &Points::new(), freshness, 0);
        assert_eq!(places(&candidates)[0], (1, 3));
    }
}
