//! The order of ranked chunks, which is the same for every store: best first, equal scores by the
//! ids of their points. Also the number of chunks with a term, from its score.
//!
//! Stores do not define the order of equal scores, and these are common: copies of a passage have
//! the same vectors. So a few more hits than needed are read. For the score of the last hit, the
//! number of further hits is unknown, so hits with that score are dropped, or more are read.

use pipeline::{Facet, IndexQuery, QueryVectors, RankedChunk, StoreError};

/// Number of hits read in addition to those requested.
const EXTRA_HITS: usize = 8;

/// Upper bound of read hits, whatever their scores.
const MAX_FETCHED_HITS: usize = 20_000;

/// Reads enough hits that the order of the first `query.limit` is certain, and sorts them.
pub(crate) async fn rank_with_ties<Fut>(
    query: &IndexQuery,
    read: impl Fn(usize) -> Fut,
) -> Result<Vec<RankedChunk>, StoreError>
where
    Fut: Future<Output = Result<Vec<RankedChunk>, StoreError>>,
{
    let is_wordless =
        matches!(&query.vectors, QueryVectors::Sparse { sparse: words, .. } if words.is_empty());
    if query.limit == 0 || is_wordless {
        return Ok(Vec::new());
    }
    let most = MAX_FETCHED_HITS.max(query.limit);
    let mut ask = query.limit.saturating_add(EXTRA_HITS).min(most);
    loop {
        let mut hits = read(ask).await?;
        let is_all = hits.len() < ask || ask >= most;
        sort_hits(&mut hits);
        if !is_all && let Some(last) = hits.last().map(|hit| hit.score) {
            let certain = hits.iter().take_while(|hit| hit.score > last).count();
            hits.truncate(certain);
        }
        hits.retain(|hit| passes_threshold(hit, query.min_similarity));
        if is_all || hits.len() >= query.limit {
            hits.truncate(query.limit);
            return Ok(hits);
        }
        ask = ask.saturating_mul(4).min(most);
    }
}

/// Sorts best first, hits with equal scores by id.
pub(crate) fn sort_hits(hits: &mut [RankedChunk]) {
    hits.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.id.cmp(&b.id)));
}

/// Returns true if a hit reaches the similarity threshold.
pub(crate) fn passes_threshold(hit: &RankedChunk, threshold: Option<f32>) -> bool {
    threshold.is_none_or(|least| hit.similarity.is_some_and(|similarity| similarity >= least))
}

/// The `limit` most frequent values; those with equal counts in order of value.
pub(crate) fn most_frequent(mut facets: Vec<Facet>, limit: usize) -> Vec<Facet> {
    facets.retain(|facet| facet.count > 0);
    facets.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.value.cmp(&b.value)));
    facets.truncate(limit);
    facets
}

/// The number of sparse vectors with a term, from its rarity: [`pipeline::term_rarity`] solved for
/// `with`.
pub(crate) fn count_of_rarity(all: u64, rarity: f64) -> u64 {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let with = (all as f64 + 1.0) / rarity.exp() - 0.5;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and the number of points"
    )]
    // Only a term that occurs has a score.
    let with = with.round().max(1.0) as u64;
    with.min(all.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scores are in single precision.
    #[test]
    fn the_count_of_a_term_follows_from_its_rarity() {
        for all in [1_u64, 2, 10, 999, 40_000, 1_000_000] {
            for with in [1, 2, 3, 10, 100, 1000, 9_999, 100_000, all / 2, all] {
                if !(1..=all).contains(&with) {
                    continue;
                }
                #[expect(clippy::cast_possible_truncation, reason = "scores have single precision")]
                let rarity = pipeline::term_rarity(all, with) as f32;
                let found = count_of_rarity(all, f64::from(rarity));
                assert!(found.abs_diff(with) <= with / 10_000, "{found} of {with} in {all}");
            }
        }
    }
}
