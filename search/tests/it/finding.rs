//! Searches in one collection: modes, thresholds, filters, highlights.

use search::{Condition, Mode, Request};
use serde_json::json;

use crate::support::{Shelf, Toy, ask, paths, question};

const MODES: [Option<Mode>; 4] = [None, Some(Mode::Dense), Some(Mode::Sparse), Some(Mode::Hybrid)];

fn shelf() -> Shelf {
    Shelf::new("shelf", &Toy::new("toy")).with(&[
        ("a/locks.txt", &["a mutex is locked by pthread_mutex_lock", "and unlocked again"]),
        ("a/files.txt", &["a file is opened by its name", "and closed when it is dropped"]),
        ("b/birds.txt", &["birds of the north fly far", "they eat fish and seeds"]),
        ("b/ships.txt", &["ships of the line carry guns", "the crew eat fish"]),
    ])
}

#[tokio::test]
async fn every_mode_finds_the_obvious_passage() {
    for mode in MODES {
        let answer =
            ask(&shelf(), Request { mode, k: 3, ..question("a file opened by name") }).await;
        assert_eq!(paths(&answer)[0], "a/files.txt", "{mode:?}");
        assert_eq!(answer.searched[0].mode, mode.unwrap_or(Mode::Hybrid));
        assert!(answer.hits.is_sorted_by(|a, b| a.score >= b.score));
    }
}

#[tokio::test]
async fn first_chunks_of_two_documents_are_both_found() {
    let shelf = Shelf::new("twins", &Toy::new("toy"))
        .with(&[("one.txt", &["the very same words"]), ("two.txt", &["the very same words"])]);
    for mode in MODES {
        let answer = ask(&shelf, Request { mode, ..question("very same words") }).await;
        let mut found = paths(&answer);
        found.sort_unstable();
        assert_eq!(found, ["one.txt", "two.txt"], "{mode:?}");
    }
}

#[tokio::test]
async fn a_threshold_means_the_same_in_every_mode() {
    let words = "a file is opened by its name";
    for mode in MODES {
        let strict = Request { mode, threshold: Some(0.8), ..question(words) };
        let answer = ask(&shelf(), strict).await;
        assert_eq!(paths(&answer), ["a/files.txt"], "the obvious hit and no other: {mode:?}");
        assert!(answer.hits[0].similarity.unwrap() >= 0.8);
        let lax = Request { mode, threshold: Some(-1.0), ..question(words) };
        let all = ask(&shelf(), Request { mode, ..question(words) }).await;
        assert_eq!(ask(&shelf(), lax).await.hits.len(), all.hits.len(), "{mode:?}");
    }
}

#[tokio::test]
async fn a_chunk_of_twenty_thousand_characters_is_returned() {
    let long = "an endless sentence about ärger ".repeat(700);
    assert!(long.chars().count() > 20_000);
    let shelf = Shelf::new("long", &Toy::new("toy")).with(&[("long.txt", &[&long])]);
    for mode in MODES {
        let answer = ask(&shelf, Request { mode, ..question("endless sentence") }).await;
        assert_eq!(answer.hits[0].payload.content, long, "{mode:?}");
    }
}

#[tokio::test]
async fn words_of_the_question_are_marked() {
    let filter = Condition::parse(&json!({ "path": "locks.txt", "chunk": 0 })).unwrap();
    for mode in MODES {
        let filter = Some(filter.clone());
        let answer =
            ask(&shelf(), Request { mode, filter, ..question("who locks a mutex?") }).await;
        let hit = &answer.hits[0];
        let marked: Vec<&str> =
            hit.highlights.iter().map(|range| &hit.payload.content[range.clone()]).collect();
        assert_eq!(marked, ["mutex", "locked", "mutex", "lock"], "{mode:?}");
        let plain = Request { mode, highlight: false, ..question("who locks a mutex?") };
        assert!(ask(&shelf(), plain).await.hits[0].highlights.is_empty());
    }
}

#[tokio::test]
async fn filters_hold_in_every_mode() {
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
        let condition = Condition::parse(&filter).unwrap();
        for mode in MODES {
            // Every chunk contains a word of this query.
            let words = "a and the birds ships they file mutex is eat fish by";
            let request = Request { mode, filter: Some(condition.clone()), ..question(words) };
            let answer = ask(&shelf(), request).await;
            let mut found = paths(&answer);
            found.sort_unstable();
            found.dedup();
            assert_eq!(found, expected, "{filter} {mode:?}");
        }
    }
}

#[tokio::test]
async fn a_collection_without_words_is_searched_by_meaning() {
    let mut without = Shelf::new("old", &Toy::new("toy"));
    without.sparse = false;
    let without = without.with(&[("old.txt", &["words of old"])]);
    for mode in [None, Some(Mode::Hybrid), Some(Mode::Dense)] {
        let answer = ask(&without, Request { mode, ..question("old words") }).await;
        assert_eq!(answer.searched[0].mode, Mode::Dense, "the answer names the mode");
        assert_eq!(paths(&answer), ["old.txt"]);
    }
}

#[tokio::test]
async fn words_alone_need_no_model() {
    let toy = Toy::new("toy");
    let shelf = Shelf::new("shelf", &toy).with(&[("a.txt", &["some words"])]);
    let sparse = Request { mode: Some(Mode::Sparse), ..question("words") };
    let answer = ask(&shelf, sparse.clone()).await;
    assert_eq!((paths(&answer), answer.hits[0].similarity), (vec!["a.txt"], None));
    assert_eq!(toy.asked(), (0, 0));
    let answer = ask(&shelf, Request { threshold: Some(-1.0), ..sparse }).await;
    assert!(answer.hits[0].similarity.is_some(), "a threshold compares vectors");
    assert_eq!(toy.asked(), (1, 1));
}

#[tokio::test]
async fn values_are_counted_under_a_filter() {
    let target = shelf().target().await;
    let searcher = search::Searcher::default();
    let condition = Condition::parse(&json!({ "path": { "glob": "a/*" } })).unwrap();
    for (name, field) in search::FACETS {
        let all = searcher.facets(&target, *field, None, 10).await.unwrap();
        let some = searcher.facets(&target, *field, Some(&condition), 10).await.unwrap();
        assert_eq!(all.iter().map(|it| it.count).sum::<u64>(), 8, "{name}");
        assert_eq!(some.iter().map(|it| it.count).sum::<u64>(), 4, "{name}");
    }
}
