//! The steps of an answer over all its collections: their rankings, final rankings, and the points
//! of a page.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::future::{join_all, try_join_all};
use pipeline::StoreError;

use crate::collection_search::{
    CollectionError, CollectionLegs, CollectionSearch, RankedCollection,
};
use crate::highlight::PageHit;
use crate::merge::Place;
use crate::ranking::BestScores;
use crate::results::CollectionFailure;
use crate::target::TargetResolver;

/// Collections whose points could not be read after their rankings.
#[derive(Default)]
pub(crate) struct LateFailures {
    /// Names of the collections that failed once and are searched again: their generation may have
    /// been replaced in between.
    retried: HashSet<String>,
    pub(crate) failed: Vec<CollectionFailure>,
}

impl LateFailures {
    pub(crate) fn add(&mut self, name: String, error: &StoreError, resolver: &dyn TargetResolver) {
        resolver.invalidate(&name);
        if !self.retried.insert(name.clone()) {
            let error = pipeline::error_chain(error);
            self.failed.push(CollectionFailure {
                requested: name,
                lacks_sparse_vectors: false,
                lacks_reranker: false,
                error,
            });
        }
    }
}

/// The rankings of all collections but the excluded ones, and the collections that failed.
pub(crate) async fn read_legs(
    search: &CollectionSearch<'_>,
    resolver: &dyn TargetResolver,
    excluded: &[CollectionFailure],
) -> (Vec<CollectionLegs>, Vec<CollectionFailure>) {
    let names = search.window.request.collections.iter();
    let names: Vec<&String> =
        names.filter(|name| excluded.iter().all(|it| it.requested != **name)).collect();
    let answers = join_all(names.iter().map(|name| search.read_legs(name, resolver))).await;
    let (mut legs, mut failed) = (Vec::new(), Vec::new());
    for (name, answer) in names.into_iter().zip(answers) {
        match answer {
            Ok(it) => legs.push(it),
            Err(error) => failed.push(CollectionFailure {
                requested: name.clone(),
                lacks_sparse_vectors: matches!(error, CollectionError::NoSparseVectors),
                lacks_reranker: matches!(error, CollectionError::NoReranker(_)),
                error: pipeline::error_chain(&error),
            }),
        }
    }
    (legs, failed)
}

/// The final rankings, each with the scale of its scores. Scores of one scale are scaled by the
/// same best scores.
pub(crate) async fn rank(
    search: &CollectionSearch<'_>,
    legs: Vec<CollectionLegs>,
) -> Result<(Vec<RankedCollection>, Vec<String>), (String, StoreError)> {
    let scales: Vec<String> = legs.iter().map(CollectionLegs::score_scale).collect();
    let mut best: HashMap<&str, BestScores> = HashMap::new();
    for (it, scale) in legs.iter().zip(&scales) {
        let own = it.legs.best_scores();
        best.entry(scale).and_modify(|known| *known = known.max(own)).or_insert(own);
    }
    let ranking =
        legs.into_iter().zip(&scales).map(|(it, scale)| search.rank(it, best[scale.as_str()]));
    let found = try_join_all(ranking).await?;
    Ok((found, scales))
}

/// The points of a page. A point that was deleted in between is left out.
pub(crate) async fn fetch_page(
    search: &CollectionSearch<'_>,
    found: &[RankedCollection],
    page: Vec<Place>,
) -> Result<Vec<PageHit>, (String, StoreError)> {
    let fetching = found.iter().enumerate().map(|(index, it)| {
        let own = page.iter().filter(move |(from, _)| *from == index);
        let places: Vec<usize> = own.map(|(_, place)| *place).collect();
        async move { search.fetch(it, &places).await }
    });
    let points = try_join_all(fetching).await?;
    let hits = page.into_iter().filter_map(|(from, place)| {
        let id = found[from].hits.candidates[place].id;
        Some((from, place, Arc::clone(points[from].get(&id)?)))
    });
    Ok(hits.collect())
}
