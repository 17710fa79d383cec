//! Merges hits of several collections, and groups hits by document.
//!
//! Scores of the same model are compared directly. Scores of different models are not comparable,
//! so their hits are ordered by rank, as reciprocal rank fusion does with lists without common
//! hits.

use std::collections::HashMap;

use uuid::Uuid;

use crate::ranking::Candidate;

/// The hits of one collection.
pub(crate) struct Ranking<'a> {
    /// Scores are comparable if their scales are equal.
    pub(crate) scale: &'a str,
    /// Best first.
    pub(crate) candidates: &'a [Candidate],
}

/// A hit: the index of its ranking, and its place in that.
pub(crate) type Place = (usize, usize);

/// All hits, best first.
pub(crate) fn merge(rankings: &[Ranking<'_>]) -> Vec<Place> {
    let of = |from: usize| (0..rankings[from].candidates.len()).map(move |place| (from, place));
    let mut all: Vec<Place> = (0..rankings.len()).flat_map(of).collect();
    let comparable = rankings.windows(2).all(|two| two[0].scale == two[1].scale);
    // The sort is stable: equal hits stay in the order of the request, then of their rank.
    if rankings.len() > 1 && comparable {
        let candidate = |(from, place): Place| &rankings[from].candidates[place];
        let similarity = |it: Place| candidate(it).similarity.unwrap_or(0.0);
        all.sort_by(|a, b| {
            let by_score = candidate(*b).score.total_cmp(&candidate(*a).score);
            by_score.then_with(|| similarity(*b).total_cmp(&similarity(*a)))
        });
    } else if rankings.len() > 1 {
        all.sort_by_key(|(_, place)| *place);
    }
    all
}

/// The hits grouped by document, at most `most` of each; documents in the order of their best hits.
pub(crate) fn by_document(
    rankings: &[Ranking<'_>],
    hits: &[Place],
    most: usize,
) -> Vec<Vec<Place>> {
    let mut groups: Vec<Vec<Place>> = Vec::new();
    let mut known: HashMap<(usize, Uuid), usize> = HashMap::new();
    for &(from, place) in hits {
        let document = rankings[from].candidates[place].document;
        let group = *known.entry((from, document)).or_insert(groups.len());
        if group == groups.len() {
            groups.push(Vec::new());
        }
        if groups[group].len() < most {
            groups[group].push((from, place));
        }
    }
    groups
}
