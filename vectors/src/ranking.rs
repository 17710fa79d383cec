//! The order of hits, which every store gives alike: best first, and hits of the same score by the ids of their
//! points.
//!
//! Stores leave the order of equals to chance, and equals are common: in fusion, a chunk at rank 3 of one ranking
//! alone has the score of one at rank 3 of the other. So a store is asked for a few more than are wanted; of those
//! at the end that have one score, nobody knows how many more there are, so they are let go, or more are asked for.

use pipeline::{Facet, Hit, IndexQuery, Legs, StoreError};

/// How many more hits are asked for than are wanted.
const MORE: usize = 8;

/// More hits than this are not asked for, whatever their scores are.
const MOST: usize = 20_000;

/// Asks `fetch` for so many hits that the best of them are certain, and puts those in order.
pub(crate) async fn settled<Fut>(
    query: &IndexQuery,
    fetch: impl Fn(usize) -> Fut,
) -> Result<Vec<Hit>, StoreError>
where
    Fut: Future<Output = Result<Vec<Hit>, StoreError>>,
{
    let is_wordless = matches!(&query.legs, Legs::Sparse { words, .. } if words.is_empty());
    if query.limit == 0 || is_wordless {
        return Ok(Vec::new());
    }
    let most = match &query.legs {
        // There are no more when every candidate of both rankings is there.
        Legs::Hybrid { fusion, .. } => fusion.candidates.saturating_mul(2),
        Legs::Dense(_) | Legs::Sparse { .. } => MOST.max(query.limit),
    };
    let mut ask = query.limit.saturating_add(MORE).min(most);
    loop {
        let mut hits = fetch(ask).await?;
        let is_all = hits.len() < ask || ask >= most;
        sort(&mut hits);
        if !is_all && let Some(last) = hits.last().map(|hit| hit.score) {
            let certain = hits.iter().take_while(|hit| hit.score > last).count();
            hits.truncate(certain);
        }
        hits.retain(|hit| passes(hit, query.threshold));
        if is_all || hits.len() >= query.limit {
            hits.truncate(query.limit);
            return Ok(hits);
        }
        ask = ask.saturating_mul(4).min(most);
    }
}

/// Best first; of equals, the one with the smaller id.
pub(crate) fn sort(hits: &mut [Hit]) {
    hits.sort_by_cached_key(|hit| (std::cmp::Reverse(Score(hit.score)), hit.id()));
}

/// Whether a hit is similar enough to the question.
pub(crate) fn passes(hit: &Hit, threshold: Option<f32>) -> bool {
    threshold.is_none_or(|least| hit.similarity.is_some_and(|similarity| similarity >= least))
}

/// The values that most chunks have; of those with as many, in order.
pub(crate) fn most_frequent(mut facets: Vec<Facet>, limit: usize) -> Vec<Facet> {
    facets.retain(|facet| facet.count > 0);
    facets.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.value.cmp(&b.value)));
    facets.truncate(limit);
    facets
}

/// A number in its total order.
#[derive(PartialEq)]
struct Score(f32);

impl Eq for Score {}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}
