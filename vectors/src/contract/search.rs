//! The contract of search: sparse rankings, term counts, thresholds and paging.

use std::collections::BTreeMap;

use pipeline::{
    Filter, Hit, IndexQuery, KeywordField, Point, QueryVectors, Remedy, SearchAccuracy,
    SparseVector, Vectors,
};

use crate::MemoryVectors;
use crate::contract::points::{
    ContractCheck, DIM, assert_matches_reference, chunks, document, hits, ids, point, upsert,
    vector,
};

/// The contract of stores with sparse vectors, in addition to that of all stores. Each check needs
/// a new store: Qdrant counts the terms of deleted points in its document frequencies until it
/// rebuilds their segment.
pub static SPARSE_VECTOR_CHECKS: &[(&str, ContractCheck)] = &[
    ("sparse vectors are returned as they were written", |s| {
        Box::pin(sparse_vectors_round_trip(s))
    }),
    ("a sparse search ranks by BM25", |s| Box::pin(sparse_scores_are_bm25(s, WriteOrder::Forward))),
    ("BM25 ignores the order of writes", |s| {
        Box::pin(sparse_scores_are_bm25(s, WriteOrder::Backward))
    }),
    ("BM25 ignores replaced points", |s| Box::pin(sparse_scores_are_bm25(s, WriteOrder::Twice))),
    ("the chunks with a term are counted", |s| Box::pin(terms_are_counted(s))),
    ("a threshold is a similarity in both rankings", |s| {
        Box::pin(thresholds_compare_similarity(s))
    }),
    ("the first hits do not depend on the limit", |s| Box::pin(pages_are_consistent(s))),
    ("a filter applies to every ranking", |s| Box::pin(filters_apply_to_every_ranking(s))),
    ("malformed sparse vectors are refused", |s| Box::pin(invalid_sparse_vectors_are_rejected(s))),
];

/// The contract of stores without sparse vectors.
pub static DENSE_ONLY_CHECKS: &[(&str, ContractCheck)] =
    &[("sparse vectors are refused without sparse index", |s| {
        Box::pin(sparse_vectors_are_rejected(s))
    })];

/// A chunk with a sparse vector: index and weight of each term.
fn sparse_point(number: u32, chunk_index: u32, seed: u64, words: &[(u32, f32)]) -> Point {
    Point { sparse: Some(sparse(words)), ..point(number, chunk_index, seed) }
}

fn sparse(words: &[(u32, f32)]) -> SparseVector {
    SparseVector {
        indices: words.iter().map(|(index, _)| *index).collect(),
        values: words.iter().map(|(_, value)| *value).collect(),
    }
}

/// A sparse query with weight 1 for each of these terms.
fn sparse_query(words: &[u32]) -> SparseVector {
    let mut words: Vec<(u32, f32)> = words.iter().map(|&index| (index, 1.0)).collect();
    words.sort_unstable_by_key(|(index, _)| *index);
    sparse(&words)
}

/// Chunks with pseudo-random terms; most chunks contain the first terms.
fn corpus() -> Vec<Point> {
    let mut points = Vec::new();
    for number in 0..12_u32 {
        for index in 0..8_u32 {
            let seed = u64::from(number * 100 + index);
            let drawn = vector(seed + 7);
            let words: Vec<(u32, f32)> = (0..DIM)
                .filter(|&at| {
                    drawn[at] > 0.9 - f32::from(u8::try_from(DIM - at).unwrap_or(0)) * 0.2
                })
                .map(|at| (u32::try_from(at).unwrap_or(0) * 1_000_003 + 5, 0.5 + drawn[at].abs()))
                .collect();
            // Some chunks have no terms.
            let words = if index == 7 { Vec::new() } else { words };
            points.push(sparse_point(number, index, seed, &words));
        }
    }
    points
}

fn term(at: u32) -> u32 {
    at * 1_000_003 + 5
}

fn index_query(legs: QueryVectors, limit: usize) -> IndexQuery {
    IndexQuery {
        vectors: legs,
        filter: None,
        min_similarity: None,
        limit,
        accuracy: SearchAccuracy::Approximate,
    }
}

async fn sparse_vectors_round_trip(store: &dyn Vectors) {
    let exact = MemoryVectors::with_sparse(DIM);
    let points = vec![
        sparse_point(1, 0, 1, &[(0, 1.0), (7, 0.25), (u32::MAX >> 1, 2.0)]),
        sparse_point(1, 1, 2, &[]),
        point(1, 2, 3),
    ];
    upsert(store, points.clone()).await;
    upsert(&exact, points).await;
    assert_matches_reference(store, &exact).await;
    let found = store.scroll(None, 10).await.expect("scrolls");
    let words: BTreeMap<u32, Option<SparseVector>> =
        found.into_iter().map(|it| (it.payload.chunk_index, it.sparse)).collect();
    let expected = sparse(&[(0, 1.0), (7, 0.25), (u32::MAX >> 1, 2.0)]);
    assert_eq!(words[&0].as_ref(), Some(&expected));
    assert!(
        words[&1].is_none() && words[&2].is_none(),
        "a chunk without terms has no sparse vector"
    );
}

/// The order in which points are written.
#[derive(Clone, Copy)]
enum WriteOrder {
    Forward,
    Backward,
    Twice,
}

/// The expected scores are computed here, independently of the store.
async fn sparse_scores_are_bm25(store: &dyn Vectors, writing: WriteOrder) {
    let points = corpus();
    let asked = sparse_query(&[term(0), term(3), term(6), 99]);
    let expected = bm25(&points, &asked);
    assert!(expected.len() > 40, "most chunks have one of the terms");
    let mut written = points.clone();
    match writing {
        WriteOrder::Forward => {}
        WriteOrder::Backward => written.reverse(),
        WriteOrder::Twice => {
            // First written with other terms, which the second write replaces.
            let other =
                |it: &Point| Point { sparse: Some(sparse(&[(term(0), 3.0)])), ..it.clone() };
            written = points.iter().map(other).chain(points.iter().rev().cloned()).collect();
        }
    }
    for some in written.chunks(7) {
        upsert(store, some.to_vec()).await;
    }
    let legs = QueryVectors::Sparse { sparse: asked, dense: None };
    let found = hits(store, &index_query(legs, 1000)).await;
    assert_eq!(found.len(), expected.len(), "every chunk with one of the terms is found");
    for hit in &found {
        let wanted = expected[&hit.id()];
        let off = (hit.score - wanted).abs();
        assert!(off < 1e-3, "the score is {} instead of {wanted}", hit.score);
        assert_eq!(hit.similarity, None, "the query has no dense vector");
    }
    assert!(found.is_sorted_by(|a, b| a.score >= b.score), "best first");
}

/// BM25 of each point that has one of the terms, with Qdrant's inverse document frequency.
fn bm25(points: &[Point], asked: &SparseVector) -> BTreeMap<uuid::Uuid, f32> {
    let with_words: Vec<(&Point, &SparseVector)> = points
        .iter()
        .filter_map(|it| Some((it, it.sparse.as_ref().filter(|words| !words.is_empty())?)))
        .collect();
    #[expect(clippy::cast_precision_loss, reason = "there are a hundred points")]
    let idf = |index: u32| {
        let n = with_words.len() as f32;
        let df = with_words.iter().filter(|(_, it)| it.indices.contains(&index)).count() as f32;
        ((n - df + 0.5) / (df + 0.5) + 1.0).ln()
    };
    let mut scores = BTreeMap::new();
    for (point, words) in &with_words {
        for (index, value) in words.indices.iter().zip(&words.values) {
            if asked.indices.contains(index) {
                *scores.entry(point.id).or_default() += value * idf(*index);
            }
        }
    }
    scores
}

async fn terms_are_counted(store: &dyn Vectors) {
    let terms: Vec<u32> = (0..8).map(term).chain([99, 12_345]).collect();
    assert_eq!(count_terms(store, &terms).await, [0; 10], "an empty store");
    let points = corpus();
    upsert(store, points.clone()).await;
    // One term is in a single chunk.
    let rare = sparse_point(50, 0, 1, &[(12_345, 0.125)]);
    upsert(store, vec![rare.clone()]).await;
    let expected = |index: &u32| {
        let stored = points.iter().chain([&rare]).filter_map(|it| it.sparse.as_ref());
        stored.filter(|it| it.indices.contains(index)).count() as u64
    };
    let expected: Vec<u64> = terms.iter().map(expected).collect();
    assert_eq!(count_terms(store, &terms).await, expected);
    assert_eq!(expected[8..], [0, 1]);
    assert!(count_terms(store, &[]).await.is_empty());
}

async fn count_terms(store: &dyn Vectors, terms: &[u32]) -> Vec<u64> {
    store.term_counts(terms).await.expect("counts terms")
}

async fn thresholds_compare_similarity(store: &dyn Vectors) {
    let points = corpus();
    upsert(store, points.clone()).await;
    // The expected best hit has the query's own vector and a term that no other chunk has.
    let mut obvious = sparse_point(50, 0, 31_337, &[(12_345, 1.5), (term(1), 1.0)]);
    obvious.payload.content = "the obvious hit".to_owned();
    upsert(store, vec![obvious.clone()]).await;
    let (dense, words) = (vector(31_337), sparse_query(&[term(1), 12_345]));
    for threshold in [0.999, 0.5, 0.1, -1.0] {
        for legs in [
            QueryVectors::Dense(dense.clone()),
            QueryVectors::Sparse { sparse: words.clone(), dense: Some(dense.clone()) },
        ] {
            let all = hits(store, &index_query(legs.clone(), 1000)).await;
            let query =
                IndexQuery { min_similarity: Some(threshold), ..index_query(legs.clone(), 1000) };
            let found = hits(store, &query).await;
            assert_eq!(found[0].id(), obvious.id, "the obvious hit comes first: {legs:?}");
            let similar = all.iter().filter(|it| it.similarity.expect("has one") >= threshold);
            let expected: Vec<_> = similar.map(Hit::id).collect();
            // Rounding may move a hit at the threshold to either side.
            let off = expected.len().abs_diff(found.len());
            assert!(off <= 1, "{} instead of {} at {threshold}", found.len(), expected.len());
        }
    }
    let query = IndexQuery {
        min_similarity: Some(0.5),
        ..index_query(QueryVectors::Sparse { sparse: words, dense: None }, 5)
    };
    let refused = store.query(&query).await.expect_err("a threshold needs a dense vector");
    assert_eq!(refused.remedy, Remedy::GiveUp);
}

async fn pages_are_consistent(store: &dyn Vectors) {
    // All points tie: the same terms, the same vectors.
    let tied = |number: u32| sparse_point(number, 0, 77, &[(term(2), 1.0)]);
    upsert(store, (0..60).map(tied).collect()).await;
    upsert(
        store,
        (100..160).map(|number| sparse_point(number, 0, 78, &[(term(2), 1.0)])).collect(),
    )
    .await;
    let (dense, words) = (vector(77), sparse_query(&[term(2)]));
    for legs in [QueryVectors::Dense(dense), QueryVectors::Sparse { sparse: words, dense: None }] {
        let all = ids(&hits(store, &index_query(legs.clone(), 120)).await);
        assert_eq!(all.len(), 120);
        for limit in [1, 7, 50, 119] {
            assert_eq!(ids(&hits(store, &index_query(legs.clone(), limit)).await), all[..limit]);
        }
    }
}

async fn filters_apply_to_every_ranking(store: &dyn Vectors) {
    let exact = MemoryVectors::with_sparse(DIM);
    upsert(store, corpus()).await;
    upsert(&exact, corpus()).await;
    let (dense, words) = (vector(5), sparse_query(&[term(0), term(1), term(2)]));
    let some =
        Filter::In(KeywordField::Document, (2..5).map(|it| document(it).to_string()).collect());
    for filter in [some.clone(), Filter::Not(Box::new(some))] {
        for legs in [
            QueryVectors::Sparse { sparse: words.clone(), dense: None },
            QueryVectors::Dense(dense.clone()),
        ] {
            let query = IndexQuery { filter: Some(filter.clone()), ..index_query(legs, 1000) };
            let (found, wanted) = (hits(store, &query).await, hits(&exact, &query).await);
            assert!(!found.is_empty() && found.iter().all(|hit| filter.matches(&hit.payload)));
            let sorted = |hits: &[Hit]| {
                let mut ids = ids(hits);
                ids.sort_unstable();
                ids
            };
            assert_eq!(sorted(&found), sorted(&wanted));
        }
    }
}

async fn invalid_sparse_vectors_are_rejected(store: &dyn Vectors) {
    let unfit = [
        SparseVector { indices: vec![3, 3], values: vec![1.0, 1.0] },
        SparseVector { indices: vec![4, 3], values: vec![1.0, 1.0] },
        SparseVector { indices: vec![3, 4], values: vec![1.0] },
        SparseVector { indices: vec![3], values: vec![f32::NAN] },
    ];
    for words in unfit {
        let points = vec![Point { sparse: Some(words.clone()), ..point(1, 0, 1) }];
        let refused = store.upsert(points).await.expect_err("a malformed sparse vector");
        assert_eq!(refused.remedy, Remedy::GiveUp);
        let query = index_query(QueryVectors::Sparse { sparse: words, dense: None }, 3);
        let refused = store.query(&query).await.expect_err("a malformed sparse query");
        assert_eq!(refused.remedy, Remedy::GiveUp);
    }
}

async fn sparse_vectors_are_rejected(store: &dyn Vectors) {
    assert_eq!(store.term_counts(&[1]).await.expect_err("has no terms").remedy, Remedy::GiveUp);
    upsert(store, chunks(1, 2, 1)).await;
    let refused = store.upsert(vec![sparse_point(2, 0, 1, &[(1, 1.0)])]).await;
    assert_eq!(refused.expect_err("has a sparse vector").remedy, Remedy::GiveUp);
    let query = index_query(QueryVectors::Sparse { sparse: sparse_query(&[1]), dense: None }, 3);
    assert_eq!(store.query(&query).await.expect_err("has a sparse vector").remedy, Remedy::GiveUp);
}
