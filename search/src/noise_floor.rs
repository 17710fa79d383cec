//! Tells whether anything in a collection is near a query.
//!
//! A ranking always has a best hit, even for a query about something else. Its similarity alone
//! says little, because every model has a scale of its own. So it is compared with the similarity
//! of unrelated passages: that of a sample of the collection, each passage compared with those of
//! other documents. A query is near nothing if its best hit is no more similar to it than unrelated
//! passages are to each other, and no best hit has half of its words.

use futures::future::try_join_all;
use pipeline::{Point, QueryTerm, RankedChunk, SparseEncoder, SparseVector, StoreError, cosine};
use uuid::Uuid;

use crate::points::PointReader;
use crate::ranking::Legs;

/// Number of sampled passages. The sample is the same for every query.
const SAMPLE: u32 = 48;

/// Minimum number of compared pairs; in a smaller collection, nothing is said.
const MIN_PAIRS: usize = 100;

/// Standard deviations above the mean similarity of unrelated passages that a hit has to exceed.
const DEVIATIONS: f32 = 2.0;

impl PointReader<'_> {
    /// The similarity that a hit has to exceed to be near a query; `None` if the collection is too
    /// small to tell.
    async fn noise_floor(&self) -> Result<Option<f32>, StoreError> {
        if let Some(floor) = self.caches.noise_floor(self.version) {
            return Ok(floor);
        }
        // Ids are hashes, so the points after evenly spaced ids are a random sample.
        let sampled = (0..SAMPLE).map(|n| {
            let from = Uuid::from_u128(u128::MAX / u128::from(SAMPLE) * u128::from(n));
            self.target.index.scroll(Some(from), 1)
        });
        let sampled = try_join_all(sampled).await?;
        let mut points: Vec<Point> = sampled.into_iter().flatten().collect();
        points.dedup_by_key(|point| point.id);
        let floor = noise_floor(&points);
        self.caches.insert_noise_floor(self.version.clone(), floor);
        Ok(floor)
    }

    /// `true` if the rankings have hits, and none of them is near the query with these terms.
    pub(crate) async fn is_nothing_near(
        &self,
        legs: &Legs,
        terms: &[QueryTerm],
    ) -> Result<bool, StoreError> {
        if legs.dense.is_empty() || !legs.exact.is_empty() {
            return Ok(false);
        }
        let Some(floor) = self.noise_floor().await? else { return Ok(false) };
        if legs.best_scores().similarity > floor {
            return Ok(false);
        }
        let best = |ranking: &[RankedChunk]| ranking[..ranking.len().min(CHECKED_HITS)].to_vec();
        let best = [best(&legs.dense), best(&legs.sparse)].concat();
        let points = self.fetch(best.iter().map(|chunk| chunk.id)).await?;
        let encoder = self.target.sparse_encoder.as_ref();
        Ok(!points.values().any(|point| has_half_of_terms(point, terms, encoder)))
    }
}

/// Number of best hits of a ranking in which the terms of a query are looked for.
const CHECKED_HITS: usize = 3;

/// The noise floor of sampled points.
fn noise_floor(points: &[Point]) -> Option<f32> {
    let mut similarities = Vec::new();
    for (at, one) in points.iter().enumerate() {
        let others = points[at + 1..].iter();
        let others = others.filter(|other| other.payload.document != one.payload.document);
        similarities.extend(others.map(|other| cosine(&one.vector, &other.vector)));
    }
    if similarities.len() < MIN_PAIRS {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "there are about a thousand pairs")]
    let count = similarities.len() as f32;
    let mean = similarities.iter().sum::<f32>() / count;
    let variance = similarities.iter().map(|it| (it - mean).powi(2)).sum::<f32>() / count;
    Some(mean + DEVIATIONS * variance.sqrt())
}

/// `true` if a chunk has at least half of the terms of a query.
fn has_half_of_terms(point: &Point, terms: &[QueryTerm], encoder: &dyn SparseEncoder) -> bool {
    let payload = &point.payload;
    let language = payload.language.as_deref();
    let texts = [Some(&payload.content), payload.title.as_ref(), payload.headings.as_ref()];
    let has = |term: &&QueryTerm| {
        let vector = SparseVector::of_terms(term.indices.clone());
        let mut texts = texts.into_iter().flatten();
        texts.any(|text| !encoder.match_ranges(text, language, &vector).is_empty())
    };
    !terms.is_empty() && terms.iter().filter(has).count() * 2 >= terms.len()
}

#[cfg(test)]
mod tests {
    use pipeline::test_util::payload;
    use pipeline::{SplitMix64, point_id};

    use super::*;

    fn points(count: u32, of_document: u32) -> Vec<Point> {
        let mut random = SplitMix64::new(5);
        let mut number = || {
            let bits = u16::try_from(random.next_u64() >> 48).unwrap();
            f32::from(bits) / 32_768.0 - 1.0
        };
        let points = (0..count).map(|n| {
            let payload = payload(&(n / of_document).to_string(), "text");
            // All passages have something in common.
            let vector = (0..32).map(|_| number() + 0.3).collect();
            Point { id: point_id(payload.document, n), vector, sparse: None, payload }
        });
        points.collect()
    }

    #[test]
    fn the_floor_is_above_most_unrelated_passages() {
        let points = points(48, 1);
        let floor = noise_floor(&points).unwrap();
        assert!((0.2..0.8).contains(&floor), "{floor}");
        let mut above = 0;
        for (at, one) in points.iter().enumerate() {
            let others = &points[at + 1..];
            above += others.iter().filter(|it| cosine(&one.vector, &it.vector) > floor).count();
        }
        assert!((1..80).contains(&above), "{above} of 1128 pairs");
    }

    #[test]
    fn a_small_collection_or_one_document_tells_nothing() {
        assert_eq!(noise_floor(&points(10, 1)), None);
        assert_eq!(noise_floor(&points(48, 48)), None);
    }
}
