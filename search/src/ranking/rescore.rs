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

impl Passes<'_> {
    /// Applies the passes that are set. `best` is about the largest score.
    pub(crate) async fn rescore(
        &self,
        candidates: &mut Vec<Candidate>,
        best: f32,
    ) -> Result<(), StoreError> {
        let settings = self.settings;
        if settings.siblings > 0.0 {
            count_siblings(candidates, settings.siblings);
        }
        if let Some(freshness) = settings.freshness {
            let points = self.read(candidates).await?;
            decay_by_age(candidates, &points, freshness, self.now);
        }
        if let Some(proximity) = settings.proximity {
            let head = candidates.len().min(proximity.candidates);
            let points = self.read(&candidates[..head]).await?;
            let mut reader = ProximityReader::new(self);
            add_bonus(candidates, &points, proximity, best, |payload| reader.bonus(payload));
        }
        if settings.diversity > 0.0 {
            let head = candidates.len().min(DIVERSITY_CANDIDATES);
            let points = self.read(&candidates[..head]).await?;
            diversify(candidates, &points, settings.diversity, best);
        }
        Ok(())
    }

    async fn read(&self, candidates: &[Candidate]) -> Result<Points, StoreError> {
        self.points.fetch(candidates.iter().map(|it| it.id)).await
    }
}

fn count_siblings(candidates: &mut [Candidate], lambda: f32) {
    let scores: Vec<(Uuid, f32)> = candidates.iter().map(|it| (it.document, it.score)).collect();
    for (candidate, lifted) in candidates.iter_mut().zip(with_siblings(&scores, lambda)) {
        candidate.explanation.siblings = lifted.sibling;
        candidate.score = lifted.score;
    }
    sort_candidates(candidates);
}

fn decay_by_age(candidates: &mut [Candidate], points: &Points, freshness: Freshness, now: i64) {
    let date = |it: &Candidate| points.get(&it.id).and_then(|point| point.payload.modified_at);
    let dates: Vec<Option<i64>> = candidates.iter().map(date).collect();
    for (candidate, factor) in candidates.iter_mut().zip(freshness.factors(&dates, now)) {
        candidate.explanation.freshness = Some(factor);
        candidate.score = decayed(candidate.score, factor);
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
    let relevance: Vec<f32> = candidates.iter().map(|it| it.score / best).collect();
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
