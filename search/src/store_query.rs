//! The rankings of one collection for a query, read from its store.

use futures::future::join;
use pipeline::{Filter, IndexQuery, QueryVectors, RankedChunk, SparseVector, StoreError};

use crate::ranking::Legs;
use crate::request::{Request, SearchMode};
use crate::target::Target;

/// Queries to the store of one collection.
pub(crate) struct StoreQuery<'a> {
    pub(crate) target: &'a Target,
    pub(crate) request: &'a Request,
    pub(crate) filter: Option<Filter>,
    /// Maximum number of hits of a ranking.
    pub(crate) limit: usize,
}

impl StoreQuery<'_> {
    /// The rankings of a mode, read concurrently.
    pub(crate) async fn legs(
        &self,
        mode: SearchMode,
        dense: Option<&[f32]>,
        words: Option<&SparseVector>,
    ) -> Result<Legs, StoreError> {
        let by_meaning = async {
            match dense {
                Some(vector) if mode != SearchMode::Sparse => {
                    self.rank(mode, QueryVectors::Dense(vector.to_vec())).await
                }
                Some(_) | None => Ok(Vec::new()),
            }
        };
        let by_words = async {
            match words {
                Some(words) => {
                    let (sparse, dense) = (words.clone(), dense.map(<[f32]>::to_vec));
                    self.rank(mode, QueryVectors::Sparse { sparse, dense }).await
                }
                None => Ok(Vec::new()),
            }
        };
        let (dense, sparse) = join(by_meaning, by_words).await;
        Ok(Legs { dense: dense?, sparse: sparse?, ..Legs::default() })
    }

    async fn rank(
        &self,
        mode: SearchMode,
        vectors: QueryVectors,
    ) -> Result<Vec<RankedChunk>, StoreError> {
        // In a hybrid search, the threshold applies after the fusion, so that it does not change
        // the ranks.
        let min_similarity = self.request.threshold.filter(|_| mode != SearchMode::Hybrid);
        self.index_query(vectors, min_similarity, self.limit).await
    }

    /// The best chunks by these vectors, without a threshold.
    pub(crate) async fn rank_up_to(
        &self,
        vectors: QueryVectors,
        limit: usize,
    ) -> Result<Vec<RankedChunk>, StoreError> {
        self.index_query(vectors, None, limit).await
    }

    async fn index_query(
        &self,
        vectors: QueryVectors,
        min_similarity: Option<f32>,
        limit: usize,
    ) -> Result<Vec<RankedChunk>, StoreError> {
        let (filter, accuracy) = (self.filter.clone(), self.request.search_params);
        let query = IndexQuery { vectors, filter, min_similarity, limit, accuracy };
        self.target.index.rank(&query).await
    }
}
