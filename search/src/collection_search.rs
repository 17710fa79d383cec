//! Searches one collection: embeds the query, resolves its filter and queries the store. If the
//! generation was replaced during the search, the new one is searched.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join;
use pipeline::{BoxError, Fusion, IndexQuery, QueryVectors, SparseVector, StoreError};

use crate::blocking::BlockingPool;
use crate::caches::{CachedHits, QueryKey, SearchCaches};
use crate::fields::FieldReader;
use crate::query_batcher::QueryBatcher;
use crate::request::{Request, SearchMode};
use crate::results::CollectionResult;
use crate::target::{Target, TargetResolver};

/// Errors of one collection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CollectionError {
    #[error("cannot embed the query: {0}")]
    Embed(String),
    #[error("the collection has no sparse vectors, which the mode `sparse` needs")]
    NoSparseVectors,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Resolve(BoxError),
}

/// Hits of one collection.
pub(crate) struct CollectionHits {
    pub(crate) target: Arc<Target>,
    pub(crate) mode: SearchMode,
    pub(crate) hits: Arc<CachedHits>,
    /// Sparse vector of the query, for the highlights.
    pub(crate) sparse_query: Option<SparseVector>,
    /// `true` if the store may have further hits.
    pub(crate) has_more: bool,
    pub(crate) embed: Duration,
    pub(crate) store: Duration,
}

impl CollectionHits {
    /// The scale of the scores of a collection; equal scales are comparable. Sparse scores do not
    /// depend on the model.
    pub(crate) fn score_scale(&self) -> String {
        match self.mode {
            SearchMode::Sparse => "sparse".to_owned(),
            SearchMode::Dense | SearchMode::Hybrid => {
                format!("{} {}", self.mode, self.target.model.info.fingerprint)
            }
        }
    }

    /// The collection as part of the answer; `asked` is its name in the request.
    pub(crate) fn to_result(&self, asked: &str) -> CollectionResult {
        let Target { collection, name, generation, .. } = &*self.target;
        CollectionResult {
            requested: asked.to_owned(),
            name: name.clone(),
            collection: *collection,
            generation: *generation,
            mode: self.mode,
        }
    }
}

/// A request with the number of candidates and hits to read.
pub(crate) struct SearchWindow<'a> {
    pub(crate) request: &'a Request,
    pub(crate) candidates: usize,
    pub(crate) limit: usize,
}

impl SearchWindow<'_> {
    fn fusion(&self) -> Fusion {
        Fusion { candidates: self.candidates, ..self.request.fusion }
    }

    fn query_key(&self, mode: SearchMode) -> QueryKey {
        let Request { query, filter, threshold, search_params: effort, .. } = self.request;
        let Fusion { k, dense, sparse, candidates } = self.fusion();
        QueryKey {
            query: query.clone(),
            mode,
            filter: filter.clone(),
            threshold: threshold.map(f32::to_bits),
            fusion: [k, dense.to_bits(), sparse.to_bits()],
            candidates,
            limit: self.limit,
            search_params: *effort,
        }
    }
}

/// The search of one window in one collection, with the parts of the searcher.
pub(crate) struct CollectionSearch<'a> {
    pub(crate) window: SearchWindow<'a>,
    pub(crate) caches: &'a SearchCaches,
    pub(crate) query_batcher: &'a QueryBatcher,
    pub(crate) filter_pool: &'a BlockingPool,
}

impl CollectionSearch<'_> {
    /// Searches a collection; after an error once more if its live generation has changed.
    pub(crate) async fn search(
        &self,
        name: &str,
        resolver: &dyn TargetResolver,
    ) -> Result<CollectionHits, CollectionError> {
        let target = resolver.resolve(name).await.map_err(CollectionError::Resolve)?;
        let answer = self.search_generation(&target).await;
        let Err(error) = answer else {
            return answer;
        };
        resolver.invalidate(name);
        match resolver.resolve(name).await {
            Ok(now) if now.store != target.store => self.search_generation(&now).await,
            Ok(_) | Err(_) => Err(error),
        }
    }

    async fn search_generation(
        &self,
        target: &Arc<Target>,
    ) -> Result<CollectionHits, CollectionError> {
        let (request, window) = (self.window.request, &self.window);
        let mode = effective_mode(request, target)?;
        // Results are cached under the version read here, before the search, so that a concurrent
        // change is not missed.
        let version = self.caches.version(target);
        let fields = FieldReader { caches: self.caches, target, version: &version };
        let started = Instant::now();
        let by_words = mode != SearchMode::Dense;
        let by_meaning = mode != SearchMode::Sparse || request.threshold.is_some();
        let embedding = async {
            let started = Instant::now();
            if !by_meaning {
                return Ok((None, Duration::ZERO));
            }
            let vector =
                self.query_batcher.query_vector(&target.model, &request.query, self.caches).await;
            Ok::<_, CollectionError>((
                Some(vector.map_err(CollectionError::Embed)?),
                started.elapsed(),
            ))
        };
        let reading = async {
            let started = Instant::now();
            let languages = if by_words { fields.languages().await? } else { Vec::new() };
            Ok::<_, CollectionError>((languages, started.elapsed()))
        };
        let (embedded, read) = join(embedding, reading).await;
        let ((dense, embed), (languages, store)) = (embedded?, read?);
        let words =
            by_words.then(|| target.sparse_encoder.encode_query(&request.query, &languages));
        let asking = Instant::now();
        let asked = (version.clone(), window.query_key(mode));
        let hits = match self.caches.hits(&asked) {
            Some(hits) => hits,
            None => {
                let filter = match &request.filter {
                    Some(filter) => Some(fields.resolve(filter, self.filter_pool).await?),
                    None => None,
                };
                let dense = dense.map(|vector| vector.to_vec());
                let query = IndexQuery {
                    vectors: query_vectors(mode, dense, words.clone(), window),
                    filter,
                    min_similarity: request.threshold,
                    limit: window.limit,
                    accuracy: request.search_params,
                };
                let hits = Arc::new(CachedHits::new(target.index.query(&query).await?));
                self.caches.insert_hits(asked, &hits);
                hits
            }
        };
        let store = (store + asking.elapsed()).min(started.elapsed().saturating_sub(embed));
        let has_more = hits.len() >= window.limit;
        Ok(CollectionHits {
            target: Arc::clone(target),
            mode,
            hits,
            sparse_query: words,
            has_more,
            embed,
            store,
        })
    }
}

/// The mode in which a collection is searched.
fn effective_mode(request: &Request, target: &Target) -> Result<SearchMode, CollectionError> {
    match request.mode {
        Some(SearchMode::Sparse) if !target.sparse => Err(CollectionError::NoSparseVectors),
        None | Some(SearchMode::Hybrid) if !target.sparse => Ok(SearchMode::Dense),
        None => Ok(SearchMode::Hybrid),
        Some(mode) => Ok(mode),
    }
}

fn query_vectors(
    mode: SearchMode,
    dense: Option<Vec<f32>>,
    words: Option<SparseVector>,
    window: &SearchWindow<'_>,
) -> QueryVectors {
    let words = words.unwrap_or_default();
    match (mode, dense) {
        (SearchMode::Sparse, dense) => QueryVectors::Sparse { sparse: words, dense },
        (SearchMode::Dense, Some(dense)) => QueryVectors::Dense(dense),
        (SearchMode::Hybrid, Some(dense)) => {
            QueryVectors::Hybrid { dense, sparse: words, fusion: window.fusion() }
        }
        (SearchMode::Dense | SearchMode::Hybrid, None) => {
            unreachable!("these modes embed the query")
        }
    }
}
