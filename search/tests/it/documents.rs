//! Passes over the candidates, and pages with merged hits.

use pipeline::Point;
use search::{Freshness, Proximity, Request, SearchMode, SearchResults, SettingsOverrides};

use crate::support::{Document, MemoryCollection, ToyEmbedder, paths, query, search_one};

fn collection(documents: &[Document<'_>]) -> MemoryCollection {
    MemoryCollection::new("notes", &ToyEmbedder::new("toy")).with_documents(documents)
}

fn sparse(text: &str, overrides: SettingsOverrides) -> Request {
    Request { mode: Some(SearchMode::Sparse), overrides, ..query(text) }
}

fn scores(answer: &SearchResults) -> Vec<f32> {
    answer.hits.iter().map(|hit| hit.score).collect()
}

/// The point of a chunk.
fn chunk<'a>(shelf: &'a mut MemoryCollection, path: &str, index: u32) -> &'a mut Point {
    let uri = format!("file:///corpus/{path}");
    let is_it = |it: &&mut Point| it.payload.uri == uri && it.payload.chunk_index == index;
    shelf.points.iter_mut().find(is_it).unwrap()
}

#[tokio::test]
async fn terms_that_are_near_each_other_count_more() {
    let far = "a mutex is one thing of many that a program has and never can it do without a lock";
    let near = "of the many things that a program has one is that it can lock a mutex and go on so";
    let shelf = collection(&[("far", &[far]), ("near", &[near]), ("other", &["a lock"])]);
    let plain = search_one(&shelf, sparse("lock a mutex", SettingsOverrides::default())).await;
    assert_eq!(paths(&plain).last(), Some(&"other"));
    let proximity = Some(Proximity { weight: 0.5, candidates: 100 });
    let overrides = SettingsOverrides { proximity, ..SettingsOverrides::default() };
    let near = search_one(&shelf, sparse("lock a mutex", overrides.clone())).await;
    assert_eq!(paths(&near)[0], "near");
    assert!(scores(&near).is_sorted_by(|a, b| a >= b), "{:?}", scores(&near));
    assert!(near.hits[0].score > plain.hits[0].score * 1.3, "in the unit of the scores");

    // In a collection without sparse vectors as well.
    let request = Request { mode: Some(SearchMode::Dense), overrides, ..query("lock a mutex") };
    assert_eq!(search_one(&shelf, request).await.hits.len(), 3);
}

#[tokio::test]
async fn a_document_counts_with_its_siblings() {
    let shelf = collection(&[
        ("once", &["red wool"]),
        ("twice", &["red wool and sheep", "sheep and red wool", "nothing"]),
    ]);
    let mut request = sparse("red", SettingsOverrides::default());
    request.per_document = Some(1);
    assert_eq!(paths(&search_one(&shelf, request.clone()).await), ["once", "twice"]);
    request.overrides.siblings = Some(1.0);
    let answer = search_one(&shelf, request).await;
    assert_eq!(paths(&answer), ["twice", "once"]);
}

#[tokio::test]
async fn recent_documents_come_first_if_wanted() {
    let mut shelf = collection(&[("old", &["red red"]), ("new", &["red"]), ("undated", &["red"])]);
    let now = chrono::Utc::now().timestamp_micros();
    chunk(&mut shelf, "old", 0).payload.modified_at = Some(0);
    chunk(&mut shelf, "new", 0).payload.modified_at = Some(now);
    let plain = search_one(&shelf, sparse("red", SettingsOverrides::default())).await;
    assert_eq!(paths(&plain)[0], "old");
    let freshness = Some(Freshness { half_life: 86_400, weight: 1.0 });
    let overrides = SettingsOverrides { freshness, ..SettingsOverrides::default() };
    let fresh = search_one(&shelf, sparse("red", overrides)).await;
    assert_eq!(paths(&fresh), ["new", "undated", "old"]);
    assert!(scores(&fresh).is_sorted_by(|a, b| a > b), "{:?}", scores(&fresh));
}

#[tokio::test]
async fn copies_yield_to_other_hits_if_wanted() {
    let text = "red green blue yellow";
    let shelf = collection(&[("a", &[text]), ("b", &[text]), ("c", &["red wool and sheep"])]);
    let request = |diversity| Request {
        overrides: SettingsOverrides { diversity, ..SettingsOverrides::default() },
        ..query("red green blue")
    };
    let plain = search_one(&shelf, request(None)).await;
    assert_eq!(paths(&plain)[2], "c");
    let diverse = search_one(&shelf, request(Some(0.7))).await;
    assert_eq!(paths(&diverse)[1], "c");
    assert!(scores(&diverse).is_sorted_by(|a, b| a >= b), "{:?}", scores(&diverse));
    // Pages continue each other.
    let page = Request { k: 1, offset: 1, ..request(Some(0.7)) };
    assert_eq!(paths(&search_one(&shelf, page).await), ["c"]);
}

/// A document of overlapping chunks of the words of a text.
fn overlapping(shelf: &mut MemoryCollection, path: &str, text: &str) {
    for index in 0.. {
        let uri = format!("file:///corpus/{path}");
        let is_it = |it: &&mut Point| it.payload.uri == uri && it.payload.chunk_index == index;
        let Some(point) = shelf.points.iter_mut().find(is_it) else { return };
        let start = text.find(&point.payload.content).unwrap() as u64;
        (point.payload.start, point.payload.end) =
            (start, start + point.payload.content.len() as u64);
    }
}

#[tokio::test]
async fn adjacent_hits_of_a_page_are_one_passage() {
    let text = "Wool is red. Red wool is warm. Sheep give wool. Goats are goats. Wool again.";
    let chunks = [
        "Wool is red. Red wool is warm.",
        "Red wool is warm. Sheep give wool.",
        "Goats are goats.",
        "Wool again.",
    ];
    let mut shelf = collection(&[("sheep", &chunks), ("other", &["wool of another kind"])]);
    overlapping(&mut shelf, "sheep", text);
    let request = |merge_adjacent| Request {
        merge_adjacent,
        ..sparse("red wool", SettingsOverrides::default())
    };
    let apart = search_one(&shelf, request(false)).await;
    assert_eq!(apart.hits.len(), 4);
    assert!(apart.hits.iter().all(|hit| hit.chunks == [hit.payload.chunk_index]));

    let merged = search_one(&shelf, request(true)).await;
    assert_eq!(merged.hits.len(), 3);
    let hit = &merged.hits[0];
    assert_eq!(
        (hit.score, hit.payload.chunk_index),
        (apart.hits[0].score, apart.hits[0].chunks[0])
    );
    assert_eq!(hit.chunks, [0, 1]);
    let passage = "Wool is red. Red wool is warm. Sheep give wool.";
    assert_eq!((&*hit.payload.content, hit.payload.start, hit.payload.end), (passage, 0, 47));
    let words: Vec<&str> = hit.highlights.iter().map(|it| &passage[it.clone()]).collect();
    assert_eq!(words, ["Wool", "red", "Red", "wool", "wool"]);

    // A page counts hits before the merge, so that the next one continues it.
    let first = search_one(&shelf, Request { k: 2, ..request(true) }).await;
    assert_eq!((first.hits.len(), first.cursor.is_some()), (1, true));
}

#[test]
fn a_pass_costs_the_texts_that_it_reads() {
    let cost = |overrides| {
        let collections = vec!["a".to_owned(), "b".to_owned()];
        Request { overrides, ..Request::new("lease", collections) }.cost().unwrap()
    };
    let none = SettingsOverrides::default;
    let plain = cost(none());
    let proximity = |candidates| SettingsOverrides {
        proximity: Some(Proximity { weight: 0.1, candidates }),
        ..none()
    };
    assert_eq!(cost(proximity(30)), plain + 2 * 30);
    assert_eq!(cost(proximity(1000)), plain + 2 * 100, "there are no more candidates");
    let freshness = Some(Freshness { half_life: 60, weight: 0.5 });
    assert_eq!(
        cost(SettingsOverrides { freshness, ..proximity(30) }),
        plain + 2 * 100,
        "read once"
    );
    assert_eq!(cost(SettingsOverrides { diversity: Some(0.5), ..none() }), plain + 2 * 100);
    assert_eq!(cost(SettingsOverrides { siblings: Some(1.0), ..none() }), plain);
    let off = Some(Freshness { half_life: 60, weight: 0.0 });
    assert_eq!(cost(SettingsOverrides { freshness: off, ..none() }), plain);
}

#[test]
fn invalid_weights_are_refused() {
    let error = |overrides| {
        let request = Request { overrides, ..Request::new("lease", vec!["a".to_owned()]) };
        request.cost().unwrap_err().to_string()
    };
    let none = SettingsOverrides::default;
    assert_eq!(
        error(SettingsOverrides { diversity: Some(1.5), ..none() }),
        "invalid `diversity`: expected 0 to 1, found 1.5"
    );
    assert_eq!(
        error(SettingsOverrides { siblings: Some(-1.0), ..none() }),
        "invalid `siblings`: expected 0 to 1, found -1"
    );
    let proximity = Some(Proximity { weight: 0.1, candidates: 1001 });
    assert_eq!(
        error(SettingsOverrides { proximity, ..none() }),
        "invalid `proximity`: expected 1 to 1000 candidates, found 1001"
    );
    let freshness = Some(Freshness { half_life: 60, weight: f32::NAN });
    assert_eq!(
        error(SettingsOverrides { freshness, ..none() }),
        "invalid `freshness`: expected a weight from 0 to 1, found NaN"
    );
}
