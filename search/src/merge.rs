//! Merges hits of several collections, and groups hits by document.
//!
//! Scores of the same model are compared directly. Scores of different models are not comparable,
//! so their hits are ordered by rank, as reciprocal rank fusion does with lists without common
//! hits.

use std::collections::HashMap;

use pipeline::Hit;
use uuid::Uuid;

/// The hits of one collection.
pub(crate) struct Ranking<'a> {
    /// Scores are comparable if their scales are equal.
    pub(crate) scale: &'a str,
    /// Best first.
    pub(crate) hits: &'a [Hit],
}

/// A hit with the index of its ranking.
pub(crate) type RankedHit<'a> = (usize, &'a Hit);

/// One list of all hits, best first.
pub(crate) fn merge<'a>(rankings: &[Ranking<'a>]) -> Vec<RankedHit<'a>> {
    let of = |from: usize| rankings[from].hits.iter().enumerate().map(move |it| (from, it));
    let mut all: Vec<(usize, (usize, &Hit))> = (0..rankings.len()).flat_map(of).collect();
    let comparable = rankings.windows(2).all(|two| two[0].scale == two[1].scale);
    // The sort is stable: equal hits stay in the order of the request, then of their rank.
    if rankings.len() > 1 && comparable {
        let similarity = |hit: &Hit| hit.similarity.unwrap_or(0.0);
        all.sort_by(|(_, (_, a)), (_, (_, b))| {
            let by_score = b.score.total_cmp(&a.score);
            by_score.then_with(|| similarity(b).total_cmp(&similarity(a)))
        });
    } else if rankings.len() > 1 {
        all.sort_by_key(|(_, (rank, _))| *rank);
    }
    all.into_iter().map(|(from, (_, hit))| (from, hit)).collect()
}

/// The hits grouped by document, at most `most` of each; documents in the order of their best hits.
pub(crate) fn by_document<'a>(hits: &[RankedHit<'a>], most: usize) -> Vec<Vec<RankedHit<'a>>> {
    let mut groups: Vec<Vec<RankedHit<'a>>> = Vec::new();
    let mut places: HashMap<(usize, Uuid), usize> = HashMap::new();
    for &(from, hit) in hits {
        let place = *places.entry((from, hit.payload.document)).or_insert(groups.len());
        if place == groups.len() {
            groups.push(Vec::new());
        }
        if groups[place].len() < most {
            groups[place].push((from, hit));
        }
    }
    groups
}
