//! The contract of vector stores, as functions: the same checks run against the memory store,
//! Qdrant Edge and a Qdrant server. A check panics at the first violation and expects a store
//! without points.

mod filters;
mod points;
mod search;

use futures::future::join_all;
use pipeline::{
    DocumentLocation, IndexQuery, Point, Remedy, SearchAccuracy, VectorStore as _, Vectors,
};
use uuid::Uuid;

pub use self::points::{
    ContractCheck, DIM, assert_matches_reference, chunks, document, point, scroll, vector,
};
use self::points::{count, keys, search, upsert};
pub use self::search::{DENSE_ONLY_CHECKS, SPARSE_VECTOR_CHECKS};
use crate::MemoryVectors;

/// The contract of every vector store, except for [`write_before_reopening`] and
/// [`check_after_reopening`], which need a restart between them.
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
    ("points are fetched by their ids", |s| Box::pin(points_are_fetched(s))),
    ("points that are fetched can be written again", |s| Box::pin(fetched_points_are_written(s))),
    ("filters return exactly the matching points", filters::filters_check),
    ("a vector of another dimension is refused", |s| Box::pin(invalid_points_are_rejected(s))),
    ("a document of thousands of chunks is accepted", |s| {
        Box::pin(large_documents_are_accepted(s))
    }),
    ("concurrent writes and searches are safe", |s| Box::pin(writing_while_searching(s))),
];

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

/// A relocation writes points with the dense vectors that the store returned.
async fn fetched_points_are_written(store: &dyn Vectors) {
    let exact = MemoryVectors::new(DIM);
    upsert(store, chunks(1, 5, 10)).await;
    upsert(&exact, chunks(1, 5, 10)).await;
    for _ in 0..2 {
        let ids: Vec<Uuid> = scroll(store, 100).await.iter().map(|point| point.id).collect();
        let points = store.fetch(&ids).await.expect("fetches");
        upsert(store, points).await;
        assert_matches_reference(store, &exact).await;
    }
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

async fn points_are_fetched(store: &dyn Vectors) {
    let written: Vec<Point> = (0..9).flat_map(|number| chunks(number, 3, 1)).collect();
    upsert(store, written.clone()).await;
    let ids: Vec<Uuid> = written.iter().rev().map(|point| point.id).collect();
    let mut wanted = ids.clone();
    wanted.insert(4, point(99, 0, 1).id);
    let found = store.fetch(&wanted).await.expect("fetches");
    assert_eq!(found.iter().map(|point| point.id).collect::<Vec<_>>(), ids, "in this order");
    for (found, written) in found.iter().zip(written.iter().rev()) {
        assert_eq!(found.payload, written.payload);
        let alike = pipeline::cosine(&found.vector, &written.vector);
        assert!(alike > 0.9999, "the vector has changed direction: {alike}");
    }
    assert!(store.fetch(&[]).await.expect("fetches nothing").is_empty());
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

/// Asserts that the points of [`write_before_reopening`] are present after the store was closed and
/// reopened.
pub async fn check_after_reopening(store: &dyn Vectors) {
    let exact = MemoryVectors::new(DIM);
    upsert(&exact, chunks(1, 5, 1)).await;
    upsert(&exact, chunks(3, 10, 200)).await;
    assert_matches_reference(store, &exact).await;
}
