//! Explains the scores of hits: the words of the query in a hit, with their parts of its sparse
//! score.

use std::collections::HashMap;

use futures::future::try_join_all;
use pipeline::{Passage, Payload, StoreError, TermMatch, term_rarity};

use crate::collection_search::{CollectionLegs, CollectionSearch, RankedCollection};
use crate::ranking::{Candidate, Explanation};

/// The rarity of each term of the query in one collection.
pub(crate) type TermRarities = HashMap<u32, f32>;

/// The rarities in each collection; empty if the request asks for no explanation.
pub(crate) async fn rarities(
    search: &CollectionSearch<'_>,
    found: &[RankedCollection],
) -> Result<Vec<TermRarities>, (String, StoreError)> {
    if !search.window.request.explain {
        return Ok(Vec::new());
    }
    let rarities = found.iter().map(|RankedCollection { legs, .. }| async move {
        let rarities = collection_rarities(search, legs).await;
        rarities.map_err(|error| (legs.requested.clone(), error))
    });
    try_join_all(rarities).await
}

async fn collection_rarities(
    search: &CollectionSearch<'_>,
    legs: &CollectionLegs,
) -> Result<TermRarities, StoreError> {
    let Some(query) = &legs.sparse_query else { return Ok(TermRarities::new()) };
    let points = search.points(legs);
    let chunks = points.chunk_count().await?;
    let counts = points.term_counts(&query.indices).await?;
    #[expect(clippy::cast_possible_truncation, reason = "scores have single precision")]
    let rarity = |(term, with): (&u32, u64)| (*term, term_rarity(chunks, with) as f32);
    Ok(query.indices.iter().zip(counts).map(rarity).collect())
}

/// The explanation of a hit with the words of the query in it.
pub(crate) fn explain(
    candidate: &Candidate,
    legs: &CollectionLegs,
    rarities: &TermRarities,
    payload: &Payload,
) -> Explanation {
    let Some(query) = &legs.sparse_query else { return candidate.explanation.clone() };
    let passage = Passage::of_payload(payload);
    let weighed = |term: TermMatch| {
        let rarity = rarities.get(&term.index).copied().unwrap_or(0.0);
        TermMatch { weight: term.weight * rarity, ..term }
    };
    let terms = legs.target.sparse_encoder.explain(&passage, query).into_iter().map(weighed);
    let mut terms: Vec<TermMatch> = terms.collect();
    terms.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    Explanation { terms, ..candidate.explanation.clone() }
}
