//! Several collections and models, failed and replaced collections, and caching.

use std::sync::Arc;

use futures::future::join_all;
use search::{Request, SearchCaches, SearchMode, Searcher};

use crate::support::{FailingIndex, MemoryCollection, MemoryResolver, ToyEmbedder, paths};

fn request(words: &str, collections: &[&str]) -> Request {
    Request::new(words, collections.iter().map(|name| (*name).to_owned()).collect())
}

#[tokio::test]
async fn one_embedding_serves_all_collections_of_a_model() {
    let (one, other) = (ToyEmbedder::new("one"), ToyEmbedder::new("another"));
    let shelf = |name, model| {
        MemoryCollection::new(name, model).with_documents(&[(name, &["birds of the north"])])
    };
    let library = MemoryResolver::of(vec![
        shelf("a", &one).target().await,
        shelf("b", &one).target().await,
        shelf("c", &other).target().await,
    ]);
    let searcher = Searcher::default();
    let asked = request("birds", &["a", "b", "c"]);
    let answer = searcher.search(&asked, &library).await.unwrap();
    assert_eq!(answer.hits.len(), 3);
    let questions = |toy: &ToyEmbedder| toy.call_counts().1;
    assert!(
        questions(&one) <= 2 && one.call_counts().0 == 1,
        "called once: {:?}",
        one.call_counts()
    );
    assert_eq!(other.call_counts(), (1, 1));
    let before = (one.call_counts(), other.call_counts());
    searcher.search(&asked, &library).await.unwrap();
    assert_eq!(
        (one.call_counts(), other.call_counts()),
        before,
        "the second search calls no model"
    );
}

#[tokio::test]
async fn concurrent_queries_are_embedded_in_one_batch() {
    let toy = ToyEmbedder::new("toy");
    let shelf =
        MemoryCollection::new("a", &toy).with_documents(&[("a.txt", &["birds of the north"])]);
    let library = MemoryResolver::of(vec![shelf.target().await]);
    let searcher = Searcher::default();
    let asked: Vec<Request> =
        (0..40).map(|n| request(&format!("question number {n}"), &["a"])).collect();
    let answers = join_all(asked.iter().map(|it| searcher.search(it, &library))).await;
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap().failed.is_empty()));
    let (calls, questions) = toy.call_counts();
    assert_eq!(questions, 40);
    assert!(calls <= 4, "in {calls} calls");
    // Each request gets its own answer.
    for (asked, answer) in asked.iter().zip(answers) {
        let alone = Searcher::default().search(asked, &library).await.unwrap();
        assert_eq!(alone.hits, answer.unwrap().hits);
    }
}

#[tokio::test]
async fn scores_of_one_model_are_compared_and_ranks_of_several() {
    let (one, other) = (ToyEmbedder::new("one"), ToyEmbedder::new("another"));
    let good: (&str, &[&str]) = ("good.txt", &["birds of the north fly far"]);
    let poor: (&str, &[&str]) = ("poor.txt", &["ships of iron", "rust", "nothing at all"]);
    let dense = |names: &[&str]| Request {
        mode: Some(SearchMode::Dense),
        ..request("birds of the north fly far", names)
    };
    // With one model, scores are compared: better hits of `b` come before those of `a`.
    let both = |a: &Arc<ToyEmbedder>, b: &Arc<ToyEmbedder>| {
        (
            MemoryCollection::new("a", a).with_documents(&[poor]),
            MemoryCollection::new("b", b)
                .with_documents(&[good, ("better.txt", &["birds of the north"])]),
        )
    };
    let (a, b) = both(&one, &one);
    let library = MemoryResolver::of(vec![a.target().await, b.target().await]);
    let answer = Searcher::default().search(&dense(&["a", "b"]), &library).await.unwrap();
    assert_eq!(paths(&answer)[..2], ["good.txt", "better.txt"]);
    assert!(answer.hits.is_sorted_by(|a, b| a.score >= b.score));
    assert_eq!(answer.hits[0].collection_index, 1);
    // With two models, scores are not comparable: the collections alternate by rank.
    let (a, b) = both(&one, &other);
    let library = MemoryResolver::of(vec![a.target().await, b.target().await]);
    let answer = Searcher::default().search(&dense(&["a", "b"]), &library).await.unwrap();
    let from: Vec<usize> = answer.hits.iter().map(|hit| hit.collection_index).collect();
    assert_eq!(from, [0, 1, 0, 1, 0]);
    let again = Searcher::default().search(&dense(&["b", "a"]), &library).await.unwrap();
    assert_eq!(again.hits[0].collection_index, 0, "equal ranks keep the order of the request");
}

#[tokio::test]
async fn a_collection_that_fails_is_named_and_the_others_answer() {
    let toy = ToyEmbedder::new("toy");
    let good = MemoryCollection::new("good", &toy).with_documents(&[("a.txt", &["birds"])]);
    let mut without = MemoryCollection::new("without", &toy);
    without.sparse = false;
    let broken = MemoryCollection::new("broken", &toy).target_with(Arc::new(FailingIndex));
    let library = MemoryResolver::of(vec![good.target().await, broken, without.target().await]);
    let asked = Request {
        mode: Some(SearchMode::Sparse),
        ..request("birds", &["broken", "good", "nobody", "without"])
    };
    let answer = Searcher::default().search(&asked, &library).await.unwrap();
    assert_eq!(paths(&answer), ["a.txt"]);
    assert_eq!(answer.searched.len(), 1);
    let failed: Vec<String> =
        answer.failed.iter().map(|it| format!("{}: {}", it.requested, it.error)).collect();
    insta::assert_snapshot!(failed.join("\n"), @r"
    broken: could not search vectors: the disk is on fire
    nobody: unknown collection `nobody`
    without: the collection has no sparse vectors, which the mode `sparse` needs
    ");
}

#[tokio::test]
async fn a_swapped_generation_is_resolved_again() {
    let toy = ToyEmbedder::new("toy");
    let old = MemoryCollection::new("a", &toy).target_with(Arc::new(FailingIndex));
    let mut now = MemoryCollection::new("a", &toy).with_documents(&[("new.txt", &["birds"])]);
    now.generation = 2;
    let library = MemoryResolver::of(vec![old, now.target().await]);
    let answer = Searcher::default().search(&request("birds", &["a"]), &library).await.unwrap();
    assert_eq!((paths(&answer), answer.searched[0].generation), (vec!["new.txt"], 2));
}

#[tokio::test]
async fn caches_are_invalidated_by_a_change() {
    let toy = ToyEmbedder::new("toy");
    let before = MemoryCollection::new("a", &toy).with_documents(&[("before.txt", &["birds"])]);
    let after = MemoryCollection::new("a", &toy).with_documents(&[("after.txt", &["birds"])]);
    let searcher = Searcher::default();
    let asked = request("birds", &["a"]);
    let library = MemoryResolver::of(vec![before.target().await]);
    let first = searcher.search(&asked, &library).await.unwrap();
    // The same generation with other documents; the change is not reported.
    let library = MemoryResolver::of(vec![after.target().await]);
    let remembered = searcher.search(&asked, &library).await.unwrap();
    assert_eq!(remembered.hits, first.hits);
    searcher.caches().invalidate(before.id);
    assert_eq!(paths(&searcher.search(&asked, &library).await.unwrap()), ["after.txt"]);
    // A new generation has a new store name, so no report is needed.
    let mut third = MemoryCollection::new("a", &toy).with_documents(&[("third.txt", &["birds"])]);
    third.generation = 3;
    let library = MemoryResolver::of(vec![third.target().await]);
    assert_eq!(paths(&searcher.search(&asked, &library).await.unwrap()), ["third.txt"]);
    // Caches of size 0 keep nothing.
    let forgetful = Searcher::new(SearchCaches::new(0, 0));
    forgetful.search(&asked, &library).await.unwrap();
    let library = MemoryResolver::of(vec![after.target().await]);
    assert_eq!(paths(&forgetful.search(&asked, &library).await.unwrap()), ["after.txt"]);
}
