//! The vocabulary of a generation: the contract of the port, in memory and in Postgres, and its
//! life with the generation.

use metadata::{GenerationVocabulary, OperationOutcome};
use pipeline::{MAX_WORD_BYTES, MemoryVocabulary, Vocabulary};
use proptest::prelude::*;

use crate::support::{Database, generation};

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Every word, read in pages of two.
async fn all(vocabulary: &dyn Vocabulary) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    loop {
        let after = words.last().cloned().unwrap_or_default();
        let page = vocabulary.words("", &after, 2).await.unwrap();
        assert!(page.len() <= 2);
        if page.is_empty() {
            return words;
        }
        words.extend(page);
    }
}

/// What every implementation does; the vocabulary is empty.
async fn contract(vocabulary: &dyn Vocabulary) {
    assert_eq!(all(vocabulary).await, Vec::<String>::new());
    vocabulary.add(&[]).await.unwrap();
    let long = "x".repeat(MAX_WORD_BYTES);
    let words = owned(&["größe", "pthread_mutex_lock", "pthread", "zebra", "größe", "über", &long]);
    vocabulary.add(&words).await.unwrap();
    vocabulary.add(&owned(&["pthread", "pthread-mutex", "pthreads"])).await.unwrap();
    let invalid = owned(&["", "with\0nul", &"y".repeat(MAX_WORD_BYTES + 1)]);
    vocabulary.add(&invalid).await.unwrap();

    // The order is that of the bytes, whatever the locale of the database.
    let expected =
        ["größe", "pthread", "pthread-mutex", "pthread_mutex_lock", "pthreads", &long, "zebra"];
    let expected = [&expected[..], &["über"]].concat();
    assert_eq!(all(vocabulary).await, expected);
    let read = async |prefix: &str, after: &str, limit: usize| {
        vocabulary.words(prefix, after, limit).await.unwrap()
    };
    assert_eq!(read("pthread_", "", 10).await, ["pthread_mutex_lock"]);
    assert_eq!(read("pthread", "", 2).await, ["pthread", "pthread-mutex"]);
    assert_eq!(read("pthread", "pthread-mutex", 2).await, ["pthread_mutex_lock", "pthreads"]);
    assert_eq!(read("grö", "", 10).await, ["größe"], "a prefix is compared by characters");
    for prefix in ["none", "%", "_", "pthread%", "nul\0", "zebras"] {
        assert_eq!(read(prefix, "", 10).await, Vec::<String>::new(), "{prefix}");
    }
    assert_eq!(read("", "über", 10).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_vocabulary_in_memory_fulfils_the_contract() {
    contract(&MemoryVocabulary::default()).await;
}

async fn live(database: &Database) -> GenerationVocabulary {
    let collection = database.collection("docs").await;
    let live = database.postgres.generations().live(collection.id).await.unwrap();
    database.postgres.vocabulary(live.id)
}

#[tokio::test]
async fn a_vocabulary_in_postgres_fulfils_the_contract() {
    let database = Database::new().await;
    contract(&live(&database).await).await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// A prefix gives the same words as a filter of all words.
    #[test]
    fn a_prefix_is_a_filter(
        words in prop::collection::vec("[a-cäß_.-]{1,6}", 0..30),
        prefix in "[a-cäß_.-]{0,3}",
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let vocabulary = MemoryVocabulary::default();
            vocabulary.add(&words).await.unwrap();
            let mut expected: Vec<&String> =
                words.iter().filter(|word| word.starts_with(&prefix)).collect();
            expected.sort();
            expected.dedup();
            let found = vocabulary.words(&prefix, "", 100).await.unwrap();
            prop_assert_eq!(found.iter().collect::<Vec<_>>(), expected);
            Ok(())
        })?;
    }
}

/// More words than one statement inserts, and several writers at once.
#[tokio::test]
async fn concurrent_writers_add_every_word_once() {
    let database = Database::new().await;
    let vocabulary = live(&database).await;
    let words: Vec<String> = (0..6_000).map(|n| format!("word{n:05}")).collect();
    let reversed: Vec<String> = words.iter().rev().cloned().collect();
    let (one, two) = tokio::join!(vocabulary.add(&words), vocabulary.add(&reversed));
    one.unwrap();
    two.unwrap();
    assert_eq!(vocabulary.words("", "", 10_000).await.unwrap(), words);
}

/// A swap and a rollback leave each generation its words; they are deleted with it.
#[tokio::test]
async fn words_live_and_die_with_their_generation() {
    let database = Database::new().await;
    let collection = database.collection("docs").await;
    let first = database.postgres.generations().live(collection.id).await.unwrap();
    database.postgres.vocabulary(first.id).add(&owned(&["old"])).await.unwrap();
    let operation = database.operation(&collection).await;
    let built = operation.building_generation(&generation(2)).await.unwrap();
    database.postgres.vocabulary(built.id).add(&owned(&["new"])).await.unwrap();
    operation.swap(&built, &[]).await.unwrap();
    operation.release().await;
    assert_eq!(all(&database.postgres.vocabulary(first.id)).await, ["old"]);
    assert_eq!(all(&database.postgres.vocabulary(built.id)).await, ["new"]);

    let operation = database.operation(&collection).await;
    let retired = database.postgres.generations().list(collection.id).await.unwrap();
    let retired = retired.into_iter().find(|it| it.id == first.id).unwrap();
    operation.roll_back(&retired, &[]).await.unwrap();
    operation.release().await;
    assert_eq!(all(&live(&database).await).await, ["old"]);

    let operation = database.operation(&collection).await;
    let retired = database.postgres.generations().list(collection.id).await.unwrap();
    let retired = retired.into_iter().find(|it| it.id == built.id).unwrap();
    operation.delete_generation(&retired).await.unwrap();
    operation.finish(&OperationOutcome::Completed, &[]).await.unwrap();
    assert_eq!(all(&database.postgres.vocabulary(built.id)).await, Vec::<String>::new());
    let refused = database.postgres.vocabulary(built.id).add(&owned(&["late"])).await;
    assert!(refused.is_err(), "the generation was deleted");
}
