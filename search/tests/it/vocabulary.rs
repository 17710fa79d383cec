//! Prefixes and spelling corrections: what is searched, and what the answer says about it.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use pipeline::{Remedy, StoreError, Vocabulary};
use proptest::prelude::*;
use search::{Correction, Request, SearchMode, SearchResults, SettingsOverrides};

use crate::support::{MemoryCollection, ToyEmbedder, paths, query, search_one};

fn manuals() -> MemoryCollection {
    MemoryCollection::new("manuals", &ToyEmbedder::new("toy")).with_documents(&[
        ("lock.txt", &["call pthread_mutex_lock before you write"]),
        ("init.txt", &["pthread_mutex_init prepares a lock"]),
        ("sockets.txt", &["a connection is accepted", "each connection has a queue"]),
        ("plugs.txt", &["a connector has pins", "version v1.2.3 of the plug"]),
    ])
}

fn sparse(text: &str) -> Request {
    Request { mode: Some(SearchMode::Sparse), ..query(text) }
}

/// The corrections as `typed > used | alternatives`.
fn told(answer: &SearchResults) -> String {
    let told = answer.corrections.iter().map(|Correction { typed, used, alternatives }| {
        let others = if alternatives.is_empty() { "" } else { " | " };
        format!("{typed} > {used}{others}{}", alternatives.join(" "))
    });
    told.collect::<Vec<_>>().join(", ")
}

fn sorted<'a>(answer: &'a SearchResults) -> Vec<&'a str> {
    let found: BTreeSet<&'a str> = paths(answer).into_iter().collect();
    found.into_iter().collect()
}

#[tokio::test]
async fn a_misspelt_word_is_searched_as_its_most_similar_word() {
    for (typed, expected, corrections) in [
        ("conection", vec!["sockets.txt"], "conection > connection"),
        ("Connetcion queue", vec!["sockets.txt"], "Connetcion > connection"),
        ("connector", vec!["plugs.txt"], ""),
        // A stem of the collection, in a form that no document has.
        ("connecting", vec!["sockets.txt"], ""),
        (
            "pthread_mutx_lock",
            vec!["init.txt", "lock.txt"],
            "pthread_mutx_lock > pthread_mutex_lock",
        ),
        // The collection has the parts of this name, and no similar name.
        ("mutex-queue", vec!["init.txt", "lock.txt", "sockets.txt"], ""),
        ("mutex-quue", vec!["init.txt", "lock.txt", "sockets.txt"], "quue > queue"),
        ("\"conection\"", vec![], ""),
        ("v1.2.4 v1.2.33", vec![], ""),
        ("the zebra", vec![], ""),
    ] {
        let answer = search_one(&manuals(), sparse(typed)).await;
        assert_eq!(told(&answer), corrections, "{typed}");
        assert_eq!(sorted(&answer), expected, "{typed}");
    }
}

#[tokio::test]
async fn the_corrected_words_are_highlighted() {
    let answer = search_one(&manuals(), sparse("conection")).await;
    for hit in &answer.hits {
        let words: Vec<&str> =
            hit.highlights.iter().map(|range| &hit.payload.content[range.clone()]).collect();
        assert_eq!(words, ["connection"]);
    }
}

#[tokio::test]
async fn a_prefix_stands_for_the_words_that_start_with_it() {
    for (typed, expected) in [
        ("pthread_mutex*", vec!["init.txt", "lock.txt"]),
        ("PTHREAD_mutex_l*", vec!["lock.txt"]),
        ("conn* queue", vec!["plugs.txt", "sockets.txt"]),
        ("\"conn*\"", vec![]),
        ("zeb*", vec![]),
    ] {
        let answer = search_one(&manuals(), sparse(typed)).await;
        assert_eq!((sorted(&answer), told(&answer)), (expected, String::new()), "{typed}");
    }
}

#[tokio::test]
async fn words_are_searched_as_typed_on_request() {
    for typed in ["conection", "conn*"] {
        let overrides = SettingsOverrides { typos: Some(false), ..SettingsOverrides::default() };
        let answer = search_one(&manuals(), Request { overrides, ..sparse(typed) }).await;
        assert_eq!((answer.hits.len(), answer.corrections.len()), (0, 0), "{typed}");
    }
    let dense = Request { mode: Some(SearchMode::Dense), ..query("conection") };
    let answer = search_one(&manuals(), dense).await;
    assert_eq!((answer.hits.is_empty(), told(&answer)), (false, String::new()));
    let hybrid = search_one(&manuals(), query("conection")).await;
    assert_eq!(told(&hybrid), "conection > connection");
}

/// The vocabulary keeps words of deleted documents.
#[tokio::test]
async fn a_word_that_no_longer_occurs_is_no_correction() {
    let manuals = manuals();
    let stale = ["conections", "connnection", "connzz"].map(str::to_owned);
    manuals.vocabulary.add(&stale).await.unwrap();
    let answer = search_one(&manuals, sparse("connnectio")).await;
    assert_eq!(told(&answer), "connnectio > connection");
    let answer = search_one(&manuals, sparse("connz*")).await;
    assert_eq!(answer.hits, []);
}

struct UnreadableVocabulary;

#[async_trait]
impl Vocabulary for UnreadableVocabulary {
    async fn add(&self, _: &[String]) -> Result<(), StoreError> {
        unreachable!("a search adds no words")
    }

    async fn words(&self, _: &str, _: &str, _: usize) -> Result<Vec<String>, StoreError> {
        let source = "the server is starting".into();
        Err(StoreError { doing: "read words", remedy: Remedy::Retry, source })
    }
}

#[tokio::test]
async fn a_vocabulary_that_cannot_be_read_does_not_fail_the_search() {
    let mut manuals = manuals();
    manuals.vocabulary = Arc::new(UnreadableVocabulary);
    let answer = search_one(&manuals, sparse("conection lock pthread_mutex*")).await;
    assert_eq!(told(&answer), "");
    assert_eq!(sorted(&answer), ["init.txt", "lock.txt"]);
}

/// Edit distance by its definition: insertions, deletions, substitutions and transpositions.
fn distance(a: &[char], b: &[char]) -> usize {
    match (a, b) {
        ([], rest) | (rest, []) => rest.len(),
        ([a1, rest_a @ ..], [b1, rest_b @ ..]) => {
            let mut least = distance(rest_a, rest_b) + usize::from(a1 != b1);
            least = least.min(distance(rest_a, b) + 1).min(distance(a, rest_b) + 1);
            if let ([_, a2, rest_a @ ..], [_, b2, rest_b @ ..]) = (a, b)
                && (a1, a2) == (b2, b1)
            {
                least = least.min(distance(rest_a, rest_b) + 1);
            }
            least
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A word of the collection is never corrected; any other word is if and only if a word of the
    /// collection is similar enough, by a word at the least distance.
    #[test]
    fn exactly_the_missing_words_with_a_similar_word_are_corrected(
        known in prop::collection::btree_set("[qxz]{4,6}", 1..8),
        typed in prop::collection::btree_set("[qxz]{4,6}", 1..5),
    ) {
        let text = known.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
        let typed: Vec<&str> = typed.iter().map(String::as_str).collect();
        let collection = MemoryCollection::new("words", &ToyEmbedder::new("toy"))
            .with_documents(&[("a.txt", &[&text])]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let answer = runtime.block_on(search_one(&collection, sparse(&typed.join(" "))));
        for word in typed {
            let letters: Vec<char> = word.chars().collect();
            let least = known.iter().map(|it| distance(&letters, &it.chars().collect::<Vec<_>>()));
            let least = least.min().unwrap();
            let correction = answer.corrections.iter().find(|it| it.typed == word);
            prop_assert_eq!(correction.is_some(), least == 1, "{} in {:?}", word, &known);
            if let Some(Correction { used, alternatives, .. }) = correction {
                let all = alternatives.iter().chain([used]);
                prop_assert!(all.clone().all(|word| known.contains(word)));
                let used: Vec<char> = used.chars().collect();
                prop_assert_eq!(distance(&letters, &used), 1);
            }
        }
    }
}
