//! Searches in one collection: modes, thresholds, filters, highlights.

use search::{Request, SearchMode, parse_filter};
use serde_json::json;

use crate::support::{MemoryCollection, ToyEmbedder, paths, query, search_one};

const MODES: [Option<SearchMode>; 4] =
    [None, Some(SearchMode::Dense), Some(SearchMode::Sparse), Some(SearchMode::Hybrid)];

fn sample_collection() -> MemoryCollection {
    MemoryCollection::new("shelf", &ToyEmbedder::new("toy")).with_documents(&[
        ("a/locks.txt", &["a mutex is locked by pthread_mutex_lock", "and unlocked again"]),
        ("a/files.txt", &["a file is opened by its name", "and closed when it is dropped"]),
        ("b/birds.txt", &["birds of the north fly far", "they eat fish and seeds"]),
        ("b/ships.txt", &["ships of the line carry guns", "the crew eat fish"]),
    ])
}

#[tokio::test]
async fn every_mode_finds_the_obvious_passage() {
    for mode in MODES {
        let answer = search_one(
            &sample_collection(),
            Request { mode, k: 3, ..query("a file opened by name") },
        )
        .await;
        assert_eq!(paths(&answer)[0], "a/files.txt", "{mode:?}");
        assert_eq!(answer.searched[0].mode, mode.unwrap_or(SearchMode::Hybrid));
        assert!(answer.hits.is_sorted_by(|a, b| a.score >= b.score));
    }
}

#[tokio::test]
async fn first_chunks_of_two_documents_are_both_found() {
    let shelf = MemoryCollection::new("twins", &ToyEmbedder::new("toy")).with_documents(&[
        ("one.txt", &["the very same words"]),
        ("two.txt", &["the very same words"]),
    ]);
    for mode in MODES {
        let answer = search_one(&shelf, Request { mode, ..query("very same words") }).await;
        let mut found = paths(&answer);
        found.sort_unstable();
        assert_eq!(found, ["one.txt", "two.txt"], "{mode:?}");
    }
}

#[tokio::test]
async fn a_threshold_means_the_same_in_every_mode() {
    let words = "a file is opened by its name";
    for mode in MODES {
        let strict = Request { mode, threshold: Some(0.8), ..query(words) };
        let answer = search_one(&sample_collection(), strict).await;
        assert_eq!(paths(&answer), ["a/files.txt"], "the obvious hit and no other: {mode:?}");
        assert!(answer.hits[0].similarity.unwrap() >= 0.8);
        let lax = Request { mode, threshold: Some(-1.0), ..query(words) };
        let all = search_one(&sample_collection(), Request { mode, ..query(words) }).await;
        assert_eq!(
            search_one(&sample_collection(), lax).await.hits.len(),
            all.hits.len(),
            "{mode:?}"
        );
    }
}

#[tokio::test]
async fn a_chunk_of_twenty_thousand_characters_is_returned() {
    let long = "an endless sentence about ärger ".repeat(700);
    assert!(long.chars().count() > 20_000);
    let shelf = MemoryCollection::new("long", &ToyEmbedder::new("toy"))
        .with_documents(&[("long.txt", &[&long])]);
    for mode in MODES {
        let answer = search_one(&shelf, Request { mode, ..query("endless sentence") }).await;
        assert_eq!(answer.hits[0].payload.content, long, "{mode:?}");
    }
}

#[tokio::test]
async fn query_terms_are_highlighted() {
    let filter = parse_filter(&json!({ "path": "locks.txt", "chunk": 0 })).unwrap();
    for mode in MODES {
        let filter = Some(filter.clone());
        let answer = search_one(
            &sample_collection(),
            Request { mode, filter, ..query("who locks a mutex?") },
        )
        .await;
        let hit = &answer.hits[0];
        let marked: Vec<&str> =
            hit.highlights.iter().map(|range| &hit.payload.content[range.clone()]).collect();
        assert_eq!(marked, ["mutex", "locked", "mutex", "lock"], "{mode:?}");
        let plain = Request { mode, highlight: false, ..query("who locks a mutex?") };
        assert!(search_one(&sample_collection(), plain).await.hits[0].highlights.is_empty());
    }
}

#[tokio::test]
async fn filters_apply_in_every_mode() {
    for (filter, expected) in [
        (json!({ "path": { "glob": "b/**" } }), vec!["b/birds.txt", "b/ships.txt"]),
        (json!({ "path": "b" }), vec!["b/birds.txt", "b/ships.txt"]),
        (json!({ "path": "file:///corpus/a/files.txt" }), vec!["a/files.txt"]),
        (json!({ "path": { "glob": ["*ir*", "s*"] } }), vec!["b/birds.txt", "b/ships.txt"]),
        (json!({ "not": { "path": { "glob": "b/**" } } }), vec!["a/files.txt", "a/locks.txt"]),
        (json!({ "metadata": { "folder": "a" } }), vec!["a/files.txt", "a/locks.txt"]),
        (
            json!({ "metadata": { "folder": { "glob": "[b-z]" } } }),
            vec!["b/birds.txt", "b/ships.txt"],
        ),
        (json!({ "mime_type": { "glob": "image/*" } }), vec![]),
        (
            json!({ "or": [{ "path": "birds.txt" }, { "path": "files.txt" }], "chunk": 0 }),
            vec!["a/files.txt", "b/birds.txt"],
        ),
    ] {
        let condition = parse_filter(&filter).unwrap();
        for mode in MODES {
            // Every chunk contains a word of this query.
            let words = "a and the birds ships they file mutex is eat fish by";
            let request = Request { mode, filter: Some(condition.clone()), ..query(words) };
            let answer = search_one(&sample_collection(), request).await;
            let mut found = paths(&answer);
            found.sort_unstable();
            found.dedup();
            assert_eq!(found, expected, "{filter} {mode:?}");
        }
    }
}

#[tokio::test]
async fn a_collection_without_sparse_vectors_is_searched_by_dense_ones() {
    let mut without = MemoryCollection::new("old", &ToyEmbedder::new("toy"));
    without.sparse = false;
    let without = without.with_documents(&[("old.txt", &["words of old"])]);
    for mode in [None, Some(SearchMode::Hybrid), Some(SearchMode::Dense)] {
        let answer = search_one(&without, Request { mode, ..query("old words") }).await;
        assert_eq!(answer.searched[0].mode, SearchMode::Dense, "the answer names the mode");
        assert_eq!(paths(&answer), ["old.txt"]);
    }
}

#[tokio::test]
async fn sparse_search_needs_no_model() {
    let toy = ToyEmbedder::new("toy");
    let shelf = MemoryCollection::new("shelf", &toy).with_documents(&[("a.txt", &["some words"])]);
    let sparse = Request { mode: Some(SearchMode::Sparse), ..query("words") };
    let answer = search_one(&shelf, sparse.clone()).await;
    assert_eq!((paths(&answer), answer.hits[0].similarity), (vec!["a.txt"], None));
    assert_eq!(toy.call_counts(), (0, 0));
    let answer = search_one(&shelf, Request { threshold: Some(-1.0), ..sparse }).await;
    assert!(answer.hits[0].similarity.is_some(), "a threshold compares vectors");
    assert_eq!(toy.call_counts(), (1, 1));
}

#[tokio::test]
async fn values_are_counted_under_a_filter() {
    let target = sample_collection().target().await;
    let searcher = search::Searcher::default();
    let condition = parse_filter(&json!({ "path": { "glob": "a/*" } })).unwrap();
    for (name, field) in search::FACET_FIELDS {
        let all = searcher.facets(&target, *field, None, 10).await.unwrap();
        let some = searcher.facets(&target, *field, Some(&condition), 10).await.unwrap();
        assert_eq!(all.iter().map(|it| it.count).sum::<u64>(), 8, "{name}");
        assert_eq!(some.iter().map(|it| it.count).sum::<u64>(), 4, "{name}");
    }
}

#[tokio::test]
async fn an_answer_tells_if_nothing_is_near() {
    let topics = ["birds of the north", "ships of iron", "trees in a garden", "rust and locks"];
    let texts: Vec<String> =
        (0..60).map(|n| format!("{} number {n} word{}", topics[n % 4], n * 7)).collect();
    let mut shelf = MemoryCollection::new("shelf", &ToyEmbedder::new("toy"));
    for (n, text) in texts.iter().enumerate() {
        shelf = shelf.with_documents(&[(&format!("{n}.txt"), &[text])]);
    }
    for (question, expected) in [
        ("birds of the north", false),
        ("quantum chromodynamics lattice simulations", true),
        // Half of the words are there.
        ("garden quantum trees chromodynamics", false),
    ] {
        for mode in [None, Some(SearchMode::Dense)] {
            let answer = search_one(&shelf, Request { mode, ..query(question) }).await;
            assert_eq!(answer.nothing_near, expected, "{question} {mode:?}");
        }
        let sparse = Request { mode: Some(SearchMode::Sparse), ..query(question) };
        assert!(!search_one(&shelf, sparse).await.nothing_near);
    }
}
