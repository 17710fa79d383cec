//! Test points, and the comparison of a store with the memory store.

use std::collections::BTreeSet;

use futures::future::BoxFuture;
use pipeline::cosine;
use pipeline::{
    Hit, IndexQuery, Inventory, Payload, Point, PointKey, SearchAccuracy, SplitMix64, VectorIndex,
    VectorStore, Vectors, format_fact, point_id,
};
use uuid::Uuid;

use crate::MemoryVectors;

/// Dimension of the vectors that the checks write.
pub const DIM: usize = 8;

/// Allowed difference between a score and the exact one: float16 is the coarsest precision that is
/// searched without an index.
pub(crate) const TOLERANCE: f32 = 2e-3;

/// One check of the contract.
pub type ContractCheck = fn(&dyn Vectors) -> BoxFuture<'_, ()>;

/// Id of test document `number`.
pub fn document(number: u32) -> Uuid {
    Uuid::from_u128(0x5e3a_0000 + u128::from(number))
}

/// A chunk of a document. Its vector is derived from `seed`, which is also in its text.
pub fn point(number: u32, chunk_index: u32, seed: u64) -> Point {
    let document = document(number);
    Point {
        id: point_id(document, chunk_index),
        vector: vector(seed),
        sparse: None,
        payload: Payload {
            collection: Uuid::from_u128(7),
            document,
            chunk_index,
            content: format!("text {seed} of chunk {chunk_index}"),
            uri: format!("file:///corpus/{number}.txt"),
            source: "/corpus".to_owned(),
            mime_type: "text/plain".to_owned(),
            title: Some(format!("Document {number}")),
            language: Some("en".to_owned()),
            headings: Some("Part > Chapter".to_owned()),
            page: chunk_index.checked_add(1),
            start: u64::from(chunk_index) * 100,
            end: u64::from(chunk_index) * 100 + 100,
            modified_at: Some(1_700_000_000_000_000 + i64::from(number)),
            facts: vec![
                format_fact("author", &format!("author {}", number % 3)),
                format_fact("year", "2024"),
            ],
        },
    }
}

/// The first `count` chunks of a document, with consecutive seeds from `seed` on.
pub fn chunks(number: u32, count: u32, seed: u64) -> Vec<Point> {
    (0..count).map(|index| point(number, index, seed + u64::from(index))).collect()
}

/// A vector derived from `seed`, not normalised.
pub fn vector(seed: u64) -> Vec<f32> {
    let mut random = SplitMix64::new(seed);
    let mut next = || {
        let bits = u16::try_from(random.next_u64() >> 48).expect("sixteen bits are left");
        f32::from(bits) / 32_768.0 - 1.0
    };
    (0..DIM).map(|_| next()).collect()
}

/// Asserts that `store` has the content and the hits of `exact`, which received the same calls.
pub async fn assert_matches_reference(store: &dyn Vectors, exact: &MemoryVectors) {
    assert_eq!(count(store).await, count(exact).await, "count");
    let documents = store.documents().await.expect("lists documents");
    assert_eq!(documents, exact.documents().await.expect("lists documents"), "documents");
    let (found, wanted) = (scroll(store, 1000).await, scroll(exact, 1000).await);
    let ids = |points: &[Point]| points.iter().map(|point| point.id).collect::<Vec<_>>();
    assert_eq!(ids(&found), ids(&wanted), "ids");
    assert_eq!(keys(store, 1000).await, keys(exact, 1000).await, "keys");
    for (found, wanted) in found.iter().zip(&wanted) {
        assert_eq!(found.payload, wanted.payload, "payload of {}", found.id);
        let words = |point: &Point| point.sparse.clone().filter(|words| !words.is_empty());
        assert_eq!(words(found), words(wanted), "sparse vector of {}", found.id);
        let alike = cosine(&found.vector, &wanted.vector);
        assert!(alike > 0.9999, "the vector of {} has changed direction: {alike}", found.id);
    }
    for seed in [1, 77, 4242] {
        for k in [1, 10, 1000] {
            let found = search(store, seed, k).await;
            assert_same_hits(&found, &search(exact, seed, k).await, &wanted, &vector(seed));
        }
    }
}

/// Asserts the same scores in the same order. The order of points with equal scores is not checked.
fn assert_same_hits(found: &[Hit], wanted: &[Hit], points: &[Point], query: &[f32]) {
    assert_eq!(found.len(), wanted.len(), "number of hits");
    for (found, wanted) in found.iter().zip(wanted) {
        let off = (found.score - wanted.score).abs();
        assert!(off < TOLERANCE, "score {} instead of {}", found.score, wanted.score);
        let id = point_id(found.payload.document, found.payload.chunk_index);
        let point = points.iter().find(|point| point.id == id).expect("a hit is a point");
        let off = (found.score - cosine(&point.vector, query)).abs();
        assert!(off < TOLERANCE, "the score {} does not match its point", found.score);
    }
    let distinct: BTreeSet<_> =
        found.iter().map(|hit| (hit.payload.document, hit.payload.chunk_index)).collect();
    assert_eq!(distinct.len(), found.len(), "a point was found twice");
}

/// All points, in order of id, read in pages of `page`.
pub async fn scroll(store: &dyn VectorIndex, page: usize) -> Vec<Point> {
    let mut points: Vec<Point> = Vec::new();
    loop {
        let after = points.last().map(|point| point.id);
        let more = store.scroll(after, page).await.expect("scrolls");
        if more.is_empty() {
            return points;
        }
        assert!(more.len() <= page, "a page has at most its size");
        points.extend(more);
    }
}

/// The keys of all points, in order of id, read in pages of `page`.
pub(crate) async fn keys(store: &dyn Inventory, page: usize) -> Vec<PointKey> {
    let mut keys: Vec<PointKey> = Vec::new();
    loop {
        let after = keys.last().map(|key| key.id);
        let more = store.keys(after, page).await.expect("lists points");
        if more.is_empty() {
            return keys;
        }
        assert!(more.len() <= page, "a page has at most its size");
        keys.extend(more);
    }
}

pub(crate) async fn upsert(store: &dyn VectorStore, points: Vec<Point>) {
    store.upsert(points).await.expect("upserts");
}

pub(crate) async fn search(store: &dyn VectorIndex, seed: u64, k: usize) -> Vec<Hit> {
    store
        .query(&IndexQuery::nearest(&vector(seed), k, SearchAccuracy::Approximate))
        .await
        .expect("searches")
}

pub(crate) async fn count(store: &dyn VectorIndex) -> u64 {
    store.count().await.expect("counts")
}

pub(crate) async fn hits(store: &dyn Vectors, query: &IndexQuery) -> Vec<Hit> {
    store.query(query).await.expect("answers")
}

pub(crate) fn ids(hits: &[Hit]) -> Vec<Uuid> {
    hits.iter().map(Hit::id).collect()
}
