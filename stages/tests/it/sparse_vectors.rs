//! Sparse vectors: which queries match which passages, and the weights of terms.

use std::sync::Arc;

use pipeline::{Passage, SparseEncoder, SparseVector};
use proptest::prelude::*;
use serde_json::json;

fn encoder() -> Arc<dyn SparseEncoder> {
    stages::default_sparse_encoder()
}

fn languages(codes: &[&str]) -> Vec<String> {
    codes.iter().map(|code| (*code).to_owned()).collect()
}

/// `true` if a query and a passage have a term in common.
fn matches(question: &str, text: &str, language: Option<&str>, collection: &[&str]) -> bool {
    let question = encoder().encode_query(question, &languages(collection));
    question.dot(&encoder().encode_document(&Passage::of_text(text, language))) > 0.0
}

#[test]
fn forms_of_a_word_and_names_are_found() {
    for (question, text) in [
        ("connection", "The server closes idle connections."),
        ("CONNECTED", "it was connecting"),
        ("mutex", "pthread_mutex_lock() locks it"),
        ("pthread_mutex_lock", "see pthread_mutex_lock(3)"),
        ("--no-verify", "git commit --no-verify skips hooks"),
        ("v1.2.3", "fixed in v1.2.3."),
        ("1.2.3", "fixed in v1.2.3."),
        ("get user name", "call getUserName() first"),
        ("getusername", "call getUserName() first"),
        ("C++", "written in C++, not C"),
        ("utf 8", "encoded as UTF-8"),
        ("libfoo", "links libfoo.so.1"),
        ("e-mail", "send an e-mail"),
        ("USA", "in the U.S.A. only"),
    ] {
        assert!(matches(question, text, Some("en"), &["en"]), "{question} in {text}");
    }
    assert!(!matches("mutexes of dogs", "a barrier", Some("en"), &["en"]));
}

#[test]
fn a_collection_of_several_languages_is_searched_in_all_of_them() {
    for (question, text, language) in [
        ("Verbindung", "Die Verbindungen wurden getrennt", Some("de")),
        ("maison", "Les maisons sont fermées", Some("fr")),
        ("resume", "Les résumés", Some("fr")),
        ("Vogel", "Die Vögel", Some("de")),
        ("connections", "a connection", Some("en")),
        ("łódź", "Łódź jest miastem", Some("pl")),
        ("lodz", "Łódź jest miastem", Some("pl")),
        ("日本", "日本語の文書", Some("ja")),
        ("connections", "a connection of unknown language", None),
    ] {
        assert!(matches(question, text, language, &["en", "de", "fr", "pl", "ja"]), "{question}");
    }
}

#[test]
fn stop_words_do_not_count_unless_there_is_nothing_else() {
    let english = languages(&["en"]);
    let count = |question: &str| encoder().encode_query(question, &english).indices.len();
    assert_eq!(count("how to open the file"), count("open file"));
    assert!(count("to be or not to be") > 0);
    assert!(matches("to be or not to be", "To be, or not to be.", Some("en"), &["en"]));
    // An article in one language is a content word in the other.
    let both = languages(&["en", "de"]);
    let german = encoder().encode_query("die Vögel", &both);
    assert_eq!(german, encoder().encode_query("Vögel", &both));
    let die = encoder().encode_query("die", &english);
    assert!(
        die.indices
            .iter()
            .all(|it| encoder().encode_query("how do birds die", &both).indices.contains(it))
    );
}

#[test]
fn a_language_may_be_fixed_or_none() {
    let with = |language: &str| {
        let settings = json!({ "version": 2, "language": language });
        stages::sparse_encoder(&settings).unwrap()
    };
    let none = with("none");
    assert_eq!(
        none.encode_query("connections", &[])
            .dot(&none.encode_document(&Passage::of_text("connection", Some("en")))),
        0.0
    );
    let german = with("de");
    assert!(
        german
            .encode_query("Häuser", &[])
            .dot(&german.encode_document(&Passage::of_text("Haus", Some("fr"))))
            > 0.0
    );
    let later = json!({ "version": 3, "kind": "bm25", "k1": 1.2, "b": 0.75, "average_length": 180.0, "language": "auto" });
    insta::assert_snapshot!(
        stages::sparse_encoder(&later).err().unwrap(),
        @"sparse vectors have version 3, but this semantik uses version 2; run `semantik reindex FILE` to rebuild them"
    );
}

#[test]
fn weights_are_those_of_the_formula() {
    // Five terms, two of them equal.
    let passage =
        encoder().encode_document(&Passage::of_text("red red green blue yellow", Some("en")));
    let weight = |count: f64| {
        let normal = 1.2 * (1.0 - 0.75 + 0.75 * 5.0 / 180.0);
        count * 2.2 / (count + normal)
    };
    let of = |word: &str| {
        let question = encoder().encode_query(word, &languages(&["en"]));
        f64::from(question.dot(&passage))
    };
    assert!((of("red") - weight(2.0)).abs() < 1e-5);
    assert!((of("green") - weight(1.0)).abs() < 1e-5);
}

#[test]
fn what_was_found_is_marked() {
    let marked = |question: &str, text: &str| {
        let question = encoder().encode_query(question, &languages(&["en"]));
        let found = encoder().match_ranges(text, Some("en"), &question);
        found.into_iter().map(|range| text[range].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        marked("mutex locks", "Lock it: pthread_mutex_lock locks a Mutex."),
        ["Lock", "mutex", "lock", "locks", "Mutex"]
    );
    assert_eq!(marked("pthread_mutex_lock", "a pthread_mutex_lock!"), ["pthread_mutex_lock"]);
    assert_eq!(marked("日本語", "これは日本語です"), ["日本語"]);
    assert!(marked("nothing", "of the kind").is_empty());
}

#[test]
fn terms_have_positions() {
    let positions = |question: &str, text: &str| {
        let question = encoder().encode_query(question, &languages(&["en"]));
        let found = encoder().term_positions(text, Some("en"), &question);
        found.into_iter().map(|it| it.position).collect::<Vec<_>>()
    };
    // Stop words of the query are words of the passage, too.
    assert_eq!(positions("lock a mutex", "How to lock the mutexes"), [2, 4]);
    // A name has the position of its first part.
    assert_eq!(positions("pthread_mutex_lock", "a pthread_mutex_lock"), [1, 1, 2, 3]);
    assert_eq!(positions("mutex lock", "call pthread_mutex_lock now"), [2, 3]);
    assert_eq!(positions("nothing", "of the kind"), [0_u32; 0]);
}

proptest! {
    /// Each occurrence of a term is a highlighted word, and positions ascend.
    #[test]
    fn positions_are_those_of_the_matches(text in any::<String>(), query in "\\PC{0,20}") {
        let question = encoder().encode_query(&query, &[]);
        let found = encoder().term_positions(&text, Some("en"), &question);
        prop_assert!(found.is_sorted_by(|a, b| a < b), "{found:?}");
        prop_assert!(found.iter().all(|it| question.indices.contains(&it.index)));
        let marks = encoder().match_ranges(&text, Some("en"), &question);
        prop_assert_eq!(found.is_empty(), marks.is_empty());
    }

    /// For any text, its vector is valid, the text as a query matches it, and highlighted ranges
    /// are in it.
    #[test]
    fn any_text_is_taken(text in any::<String>(), language in prop::option::of("en|de|ja|xx")) {
        let passage = encoder().encode_document(&Passage::of_text(&text, language.as_deref()));
        prop_assert!(passage.is_valid());
        let collection: Vec<String> = language.iter().cloned().collect();
        let question = encoder().encode_query(&text, &collection);
        prop_assert!(question.is_valid());
        prop_assert_eq!(question.is_empty(), passage.is_empty());
        let common = |a: &SparseVector| a.indices.iter().any(|it| passage.indices.contains(it));
        prop_assert!(question.is_empty() || common(&question));
        let mut end = 0;
        for range in encoder().match_ranges(&text, language.as_deref(), &question) {
            prop_assert!(range.start >= end && !range.is_empty());
            prop_assert!(text.get(range.clone()).is_some());
            end = range.end;
        }
    }

    /// A query of one word matches every passage that contains the word.
    #[test]
    fn a_word_is_found_by_itself(word in "\\p{L}{1,12}") {
        prop_assume!(!encoder().encode_query(&word, &[]).is_empty());
        let passage = ["x", &word, "y"].join(" ");
        prop_assert!(matches(&word, &passage, None, &[]));
    }
}
