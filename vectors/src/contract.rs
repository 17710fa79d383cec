//! The contract of vector stores, as functions: the same checks run against the memory store,
//! Qdrant Edge and a Qdrant server. A check panics at the first violation and expects a store
//! without points.

use std::collections::BTreeSet;

use futures::future::{BoxFuture, join_all};
use pipeline::{
    DocumentLocation, Hit, IndexQuery, Payload, Point, Remedy, SearchAccuracy, VectorIndex,
    VectorStore, format_fact, point_id,
};
use uuid::Uuid;

pub use self::search::{DENSE_ONLY_CHECKS, SPARSE_VECTOR_CHECKS};
use crate::MemoryVectors;
use crate::memory::cosine;
use pipeline::{Inventory, PointKey, Vectors};

mod search;

/// Dimension of the vectors that the checks write.
pub const DIM: usize = 8;

/// Allowed difference between a score and the exact one: float16 is the coarsest precision that is
/// searched without an index.
const TOLERANCE: f32 = 2e-3;

/// One check of the contract.
pub type ContractCheck = fn(&dyn Vectors) -> BoxFuture<'_, ()>;

/// The contract of every vector store, except for [`written`] and [`check_after_reopening`], which
/// need a restart between them.
pub static VECTOR_STORE_CHECKS: &[(&str, ContractCheck)] = &[
    ("an empty store responds with empty results", |s| Box::pin(empty_store_returns_nothing(s))),
    ("an upsert of the same points is idempotent", |s| Box::pin(upsert_is_idempotent(s))),
    ("a point replaces the previous one", |s| Box::pin(upsert_replaces_a_point(s))),
    ("a search returns the most similar points, best first", |s| Box::pin(search_is_exact(s))),
    ("truncating a document keeps its first chunks", |s| Box::pin(truncate_keeps_the_first(s))),
    ("relocation updates the location in the payload", |s| Box::pin(locations_change(s))),
    ("removing documents keeps the others", |s| Box::pin(remove_leaves_the_others(s))),
    ("scrolling returns every point once, by id", |s| Box::pin(scroll_is_complete(s))),
    ("a payload is returned as it was written", |s| Box::pin(payloads_come_back(s))),
    ("filters return exactly the matching points", search::filters_check),
    ("a vector of another dimension is refused", |s| Box::pin(invalid_points_are_rejected(s))),
    ("a document of thousands of chunks is accepted", |s| {
        Box::pin(large_documents_are_accepted(s))
    }),
    ("concurrent writes and searches are safe", |s| Box::pin(writing_while_searching(s))),
];

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

/// A vector derived from `seed` (splitmix64), not normalised.
pub fn vector(seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bits = u16::try_from((z ^ (z >> 31)) >> 48).expect("sixteen bits are left");
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

async fn empty_store_returns_nothing(store: &dyn Vectors) {
    upsert(store, Vec::new()).await;
    store.truncate(document(1), 0).await.expect("truncates a missing document");
    store.remove(&[document(1), document(2)]).await.expect("removes missing documents");
    store.remove(&[]).await.expect("removes nothing");
    store.flush().await.expect("flushes nothing");
    assert_matches_reference(store, &MemoryVectors::new(DIM)).await;
}

async fn upsert_is_idempotent(store: &dyn Vectors) {
    let exact = MemoryVectors::new(DIM);
    for points in [chunks(1, 5, 10), chunks(2, 3, 90), chunks(1, 5, 10)] {
        upsert(store, points.clone()).await;
        upsert(&exact, points).await;
    }
    assert_matches_reference(store, &exact).await;
}

async fn upsert_replaces_a_point(store: &dyn Vectors) {
    let exact = MemoryVectors::new(DIM);
    upsert(store, chunks(1, 5, 10)).await;
    let mut changed = chunks(1, 5, 5000);
    for point in &mut changed {
        point.payload.title = None;
        point.payload.page = None;
    }
    upsert(store, changed.clone()).await;
    upsert(&exact, changed).await;
    assert_matches_reference(store, &exact).await;
}

async fn search_is_exact(store: &dyn Vectors) {
    let exact = MemoryVectors::new(DIM);
    for number in 0..30 {
        let points = chunks(number, 10, u64::from(number) * 1000);
        upsert(store, points.clone()).await;
        upsert(&exact, points).await;
    }
    // The same vector three times: a tie.
    let tied: Vec<Point> = (100..103).map(|number| point(number, 0, 77)).collect();
    upsert(store, tied.clone()).await;
    upsert(&exact, tied).await;
    assert!(search(store, 1, 0).await.is_empty(), "the limit is 0");
    assert_matches_reference(store, &exact).await;
    let every = store
        .query(&IndexQuery::nearest(&vector(1), 20, SearchAccuracy::Exact))
        .await
        .expect("searches");
    let indexed = search(store, 1, 20).await;
    assert_eq!(every.len(), 20);
    for (one, other) in every.iter().zip(&indexed) {
        assert!((one.score - other.score).abs() < 0.02, "a small collection is searched exactly");
    }
}

async fn locations_change(store: &dyn Vectors) {
    upsert(store, chunks(1, 3, 1)).await;
    upsert(store, chunks(2, 2, 100)).await;
    let before = scroll(store, 100).await;
    let place = DocumentLocation {
        uri: "file:///elsewhere/b.txt".to_owned(),
        source: "file:///elsewhere".to_owned(),
        title: Some("b".to_owned()),
        modified_at: Some(1_700_000_000_000_001),
    };
    for _ in 0..2 {
        store.update_location(document(1), &place).await.expect("relocates");
    }
    let moved = |mut point: Point| {
        if point.payload.document == document(1) {
            point.payload.uri.clone_from(&place.uri);
            point.payload.source.clone_from(&place.source);
            point.payload.title.clone_from(&place.title);
            point.payload.modified_at = place.modified_at;
        }
        point
    };
    let expected: Vec<Point> = before.into_iter().map(moved).collect();
    assert_eq!(scroll(store, 100).await, expected, "no other field changes");
    let keeps_title = DocumentLocation { title: None, modified_at: None, ..place.clone() };
    store.update_location(document(1), &keeps_title).await.expect("relocates");
    assert_eq!(scroll(store, 100).await, expected, "fields without a new value stay");
}

async fn truncate_keeps_the_first(store: &dyn Vectors) {
    let exact = MemoryVectors::new(DIM);
    for points in [chunks(1, 10, 1), chunks(2, 10, 100), chunks(3, 4, 200)] {
        upsert(store, points.clone()).await;
        upsert(&exact, points).await;
    }
    for (number, from) in [(1, 4), (1, 4), (1, 9), (2, 0), (3, 4), (9, 0)] {
        store.truncate(document(number), from).await.expect("truncates");
        exact.truncate(document(number), from).await.expect("truncates");
    }
    assert_matches_reference(store, &exact).await;
}

async fn remove_leaves_the_others(store: &dyn Vectors) {
    let exact = MemoryVectors::new(DIM);
    for number in 0..12 {
        let points = chunks(number, number, u64::from(number) * 50);
        upsert(store, points.clone()).await;
        upsert(&exact, points).await;
    }
    let gone = [document(3), document(0), document(11), document(99), document(3)];
    store.remove(&gone).await.expect("removes");
    exact.remove(&gone).await.expect("removes");
    assert_matches_reference(store, &exact).await;
    let again = chunks(11, 2, 7);
    upsert(store, again.clone()).await;
    upsert(&exact, again).await;
    assert_matches_reference(store, &exact).await;
}

async fn scroll_is_complete(store: &dyn Vectors) {
    let exact = MemoryVectors::new(DIM);
    for number in 0..7 {
        let points = chunks(number, 9, u64::from(number));
        upsert(store, points.clone()).await;
        upsert(&exact, points).await;
    }
    let wanted: Vec<_> = scroll(&exact, 1000).await.iter().map(|point| point.id).collect();
    for page in [1, 7, 63, 64] {
        let found: Vec<_> = scroll(store, page).await.iter().map(|point| point.id).collect();
        assert_eq!(found, wanted, "pages of {page}");
        let found: Vec<_> = keys(store, page).await.iter().map(|key| key.id).collect();
        assert_eq!(found, wanted, "keys in pages of {page}");
    }
    let behind = store.scroll(Some(Uuid::max()), 10).await.expect("scrolls");
    assert!(behind.is_empty(), "no point follows the last id");
}

async fn payloads_come_back(store: &dyn Vectors) {
    let exact = MemoryVectors::new(DIM);
    let full = point(1, 0, 1);
    let mut bare = point(2, 0, 2);
    bare.payload.title = None;
    bare.payload.language = None;
    bare.payload.headings = None;
    bare.payload.page = None;
    bare.payload.modified_at = None;
    let mut odd = point(3, u32::MAX, 3);
    odd.payload.content =
        "naïve 日本語 \u{1F980} \u{0} \r\n\t \"quoted\" \\ \u{200F}עברית".to_owned();
    odd.payload.title = Some(String::new());
    odd.payload.uri = "file:///%FF/ä ö/\u{1F980}".to_owned();
    odd.payload.end = u64::from(u32::MAX) * 4;
    odd.payload.modified_at = Some(-1);
    let mut long = point(4, 0, 4);
    long.payload.content = "Ärger über 20.000 Zeichen. ".repeat(2000);
    let points = vec![full, bare, odd, long];
    upsert(store, points.clone()).await;
    upsert(&exact, points).await;
    assert_matches_reference(store, &exact).await;
}

async fn invalid_points_are_rejected(store: &dyn Vectors) {
    upsert(store, chunks(1, 2, 1)).await;
    for misfit in [vec![1.0; DIM - 1], vec![1.0; DIM + 1], vec![], vec![f32::NAN; DIM]] {
        let mut points = chunks(2, 2, 1);
        points[1].vector.clone_from(&misfit);
        let refused = store.upsert(points).await.expect_err("a vector of another shape");
        assert_eq!(refused.remedy, Remedy::GiveUp);
        let refused =
            store.query(&IndexQuery::nearest(&misfit, 3, SearchAccuracy::Approximate)).await;
        let refused = refused.expect_err("a query of another shape");
        assert_eq!(refused.remedy, Remedy::GiveUp);
    }
    assert_eq!(count(store).await, 2, "a refused write stores no point");
}

async fn large_documents_are_accepted(store: &dyn Vectors) {
    upsert(store, chunks(1, 3000, 1)).await;
    assert_eq!(count(store).await, 3000);
    store.truncate(document(1), 10).await.expect("truncates");
    assert_eq!(count(store).await, 10);
}

async fn writing_while_searching(store: &dyn Vectors) {
    let exact = MemoryVectors::new(DIM);
    upsert(&exact, (0..40).flat_map(|number| chunks(number, 10, u64::from(number))).collect())
        .await;
    let writes = join_all((0..40).map(|number| async move {
        upsert(store, chunks(number, 10, u64::from(number))).await;
        store.flush().await.expect("flushes");
    }));
    let searches = join_all((0..40).map(|seed| async move {
        for _ in 0..5 {
            let hits = search(store, seed, 20).await;
            assert!(hits.is_sorted_by(|a, b| a.score >= b.score), "best first");
            count(store).await;
        }
    }));
    futures::join!(writes, searches);
    assert_matches_reference(store, &exact).await;
}

/// Writes and flushes the points that [`check_after_reopening`] expects.
pub async fn write_before_reopening(store: &dyn Vectors) {
    for points in [chunks(1, 10, 1), chunks(2, 10, 100), chunks(3, 10, 200)] {
        upsert(store, points).await;
    }
    store.truncate(document(1), 5).await.expect("truncates");
    store.remove(&[document(2)]).await.expect("removes");
    store.flush().await.expect("flushes");
}

/// Asserts that the points of [`written`] are present after the store was closed and reopened.
pub async fn check_after_reopening(store: &dyn Vectors) {
    let exact = MemoryVectors::new(DIM);
    upsert(&exact, chunks(1, 5, 1)).await;
    upsert(&exact, chunks(3, 10, 200)).await;
    assert_matches_reference(store, &exact).await;
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
async fn keys(store: &dyn Inventory, page: usize) -> Vec<PointKey> {
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

async fn upsert(store: &dyn VectorStore, points: Vec<Point>) {
    store.upsert(points).await.expect("upserts");
}

async fn search(store: &dyn VectorIndex, seed: u64, k: usize) -> Vec<Hit> {
    store
        .query(&IndexQuery::nearest(&vector(seed), k, SearchAccuracy::Approximate))
        .await
        .expect("searches")
}

async fn count(store: &dyn VectorIndex) -> u64 {
    store.count().await.expect("counts")
}
