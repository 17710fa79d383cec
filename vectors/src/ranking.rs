//! The order of hits, which is the same for every store: best first, hits with equal scores by the
//! ids of their points.
//!
//! Stores do not define the order of equal scores, and these are common: in a fusion, a chunk at
//! rank 3 of one ranking alone has the score of a chunk at rank 3 of the other. So a few more hits
//! than needed are fetched. For the score of the last hit, the number of further hits is unknown,
//! so hits with that score are dropped, or more are fetched.

use pipeline::{Facet, Hit, IndexQuery, QueryVectors, StoreError};

/// Number of hits fetched in addition to those requested.
const EXTRA_HITS: usize = 8;

/// Upper bound of fetched hits, whatever their scores.
const MAX_FETCHED_HITS: usize = 20_000;

/// Fetches enough hits that the order of the first `query.limit` is certain, and sorts them.
pub(crate) async fn fetch_with_ties<Fut>(
    query: &IndexQuery,
    fetch: impl Fn(usize) -> Fut,
) -> Result<Vec<Hit>, StoreError>
where
    Fut: Future<Output = Result<Vec<Hit>, StoreError>>,
{
    let is_wordless =
        matches!(&query.vectors, QueryVectors::Sparse { sparse: words, .. } if words.is_empty());
    if query.limit == 0 || is_wordless {
        return Ok(Vec::new());
    }
    let most = match &query.vectors {
        // All hits are known once every candidate of both rankings was fetched.
        QueryVectors::Hybrid { fusion, .. } => fusion.candidates.saturating_mul(2),
        QueryVectors::Dense(_) | QueryVectors::Sparse { .. } => MAX_FETCHED_HITS.max(query.limit),
    };
    let mut ask = query.limit.saturating_add(EXTRA_HITS).min(most);
    loop {
        let mut hits = fetch(ask).await?;
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
pub(crate) fn sort_hits(hits: &mut [Hit]) {
    hits.sort_by_cached_key(|hit| (std::cmp::Reverse(OrderedScore(hit.score)), hit.id()));
}

/// Returns true if a hit reaches the similarity threshold.
pub(crate) fn passes_threshold(hit: &Hit, threshold: Option<f32>) -> bool {
    threshold.is_none_or(|least| hit.similarity.is_some_and(|similarity| similarity >= least))
}

/// The `limit` most frequent values; those with equal counts in order of value.
pub(crate) fn most_frequent(mut facets: Vec<Facet>, limit: usize) -> Vec<Facet> {
    facets.retain(|facet| facet.count > 0);
    facets.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.value.cmp(&b.value)));
    facets.truncate(limit);
    facets
}

/// A score with a total order.
#[derive(PartialEq)]
struct OrderedScore(f32);

impl Eq for OrderedScore {}

impl PartialOrd for OrderedScore {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for OrderedScore {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}
