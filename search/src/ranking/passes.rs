//! The steps from the rankings of the store to the final order of the candidates, in their order.

use std::time::Duration;

use pipeline::{SparseVector, StoreError};

use crate::blocking::BlockingPool;
use crate::points::PointReader;
use crate::ranking::candidate::Candidate;
use crate::ranking::exact::rank_exact_terms;
use crate::ranking::fusion::fuse;
use crate::ranking::legs::{BestScores, Legs};
use crate::request::{Request, SearchMode};
use crate::reranking::rerank;
use crate::settings::SearchSettings;

/// The final ranking of one collection.
pub(crate) struct Ranked {
    /// Best first.
    pub(crate) candidates: Vec<Candidate>,
    /// `false` if a time limit left candidates out of a pass: the same query may rank them
    /// differently next time.
    pub(crate) is_complete: bool,
    /// Time of the reranker.
    pub(crate) rerank: Duration,
}

/// What the passes over the candidates of one collection need.
pub(crate) struct Passes<'a> {
    pub(crate) request: &'a Request,
    /// Settings of the collection, with the overrides of the request.
    pub(crate) settings: &'a SearchSettings,
    pub(crate) mode: SearchMode,
    /// Maximum number of candidates that passes reorder; the same for all pages of an answer.
    pub(crate) limit: usize,
    /// The time from which ages are counted, in microseconds since 1970-01-01 UTC.
    pub(crate) now: i64,
    /// Sparse vector of the query; `None` if the mode did not need it.
    pub(crate) sparse_query: Option<&'a SparseVector>,
    /// Reads the texts and vectors of candidates.
    pub(crate) points: PointReader<'a>,
    /// Where rerankers run.
    pub(crate) rerank_pool: &'a BlockingPool,
}

impl Passes<'_> {
    /// Fuses the rankings and applies the passes: the final ranking, best first. A pass takes the
    /// candidates best first, and returns them in its own order with its own scores.
    ///
    /// # Errors
    /// If the points that a pass needs cannot be read.
    pub(crate) async fn rank(&self, legs: &Legs, best: BestScores) -> Result<Ranked, StoreError> {
        let mut candidates = match self.mode {
            SearchMode::Hybrid => {
                let mut candidates = fuse(self.settings.fusion, legs, best);
                rank_exact_terms(&mut candidates, &legs.exact);
                candidates
            }
            SearchMode::Dense | SearchMode::Sparse => legs.single(self.mode),
        };
        if let Some(threshold) = self.request.threshold {
            candidates.retain(|it| it.similarity.is_some_and(|similarity| similarity >= threshold));
        }
        if self.settings.has_passes() {
            // The order of further candidates would depend on the number that was read.
            candidates.truncate(self.limit);
            let best = self.best_score(best);
            self.rescore(&mut candidates, best).await?;
            self.diversify(&mut candidates, best).await?;
        }
        let (mut is_complete, mut took) = (true, Duration::ZERO);
        if let Some(settings) = &self.settings.rerank {
            let query = &self.request.query;
            let reranked =
                rerank(settings, query, candidates, &self.points, self.rerank_pool).await?;
            (candidates, is_complete, took) =
                (reranked.candidates, reranked.is_complete, reranked.took);
        }
        Ok(Ranked { candidates, is_complete, rerank: took })
    }

    /// About the largest score of a search, the same for all collections whose scores are compared.
    fn best_score(&self, best: BestScores) -> f32 {
        let score = match self.mode {
            SearchMode::Hybrid => self.settings.fusion.best_score(),
            SearchMode::Dense => best.similarity,
            SearchMode::Sparse => best.sparse,
        };
        if score > 0.0 { score } else { 1.0 }
    }
}
