//! Several collections and models, failed and replaced collections, and caching.

use std::sync::Arc;

use futures::future::join_all;
use search::{Caches, Mode, Request, Searcher};

use crate::support::{Broken, Library, Shelf, Toy, paths};

fn request(words: &str, collections: &[&str]) -> Request {
    Request::new(words, collections.iter().map(|name| (*name).to_owned()).collect())
}

#[tokio::test]
async fn one_embedding_serves_all_collections_of_a_model() {
    let (one, other) = (Toy::new("one"), Toy::new("another"));
    let shelf = |name, model| Shelf::new(name, model).with(&[(name, &["birds of the north"])]);
    let library = Library::of(vec![
        shelf("a", &one).target().await,
        shelf("b", &one).target().await,
        shelf("c", &other).target().await,
    ]);
    let searcher = Searcher::default();
    let asked = request("birds", &["a", "b", "c"]);
    let answer = searcher.answer(&asked, &library).await.unwrap();
    assert_eq!(answer.hits.len(), 3);
    let questions = |toy: &Toy| toy.asked().1;
    assert!(questions(&one) <= 2 && one.asked().0 == 1, "called once: {:?}", one.asked());
    assert_eq!(other.asked(), (1, 1));
    let before = (one.asked(), other.asked());
    searcher.answer(&asked, &library).await.unwrap();
    assert_eq!((one.asked(), other.asked()), before, "the second search calls no model");
}

#[tokio::test]
async fn questions_that_come_together_are_embedded_together() {
    let toy = Toy::new("toy");
    let shelf = Shelf::new("a", &toy).with(&[("a.txt", &["birds of the north"])]);
    let library = Library::of(vec![shelf.target().await]);
    let searcher = Searcher::default();
    let asked: Vec<Request> =
        (0..40).map(|n| request(&format!("question number {n}"), &["a"])).collect();
    let answers = join_all(asked.iter().map(|it| searcher.answer(it, &library))).await;
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap().failed.is_empty()));
    let (calls, questions) = toy.asked();
    assert_eq!(questions, 40);
    assert!(calls <= 4, "in {calls} calls");
    // Each request gets its own answer.
    for (asked, answer) in asked.iter().zip(answers) {
        let alone = Searcher::default().answer(asked, &library).await.unwrap();
        assert_eq!(alone.hits, answer.unwrap().hits);
    }
}

#[tokio::test]
async fn scores_of_one_model_are_compared_and_ranks_of_several() {
    let (one, other) = (Toy::new("one"), Toy::new("another"));
    let good: (&str, &[&str]) = ("good.txt", &["birds of the north fly far"]);
    let poor: (&str, &[&str]) = ("poor.txt", &["ships of iron", "rust", "nothing at all"]);
    let dense = |names: &[&str]| Request {
        mode: Some(Mode::Dense),
        ..request("birds of the north fly far", names)
    };
    // With one model, scores are compared: better hits of `b` come before those of `a`.
    let both = |a: &Arc<Toy>, b: &Arc<Toy>| {
        (
            Shelf::new("a", a).with(&[poor]),
            Shelf::new("b", b).with(&[good, ("better.txt", &["birds of the north"])]),
        )
    };
    let (a, b) = both(&one, &one);
    let library = Library::of(vec![a.target().await, b.target().await]);
    let answer = Searcher::default().answer(&dense(&["a", "b"]), &library).await.unwrap();
    assert_eq!(paths(&answer)[..2], ["good.txt", "better.txt"]);
    assert!(answer.hits.is_sorted_by(|a, b| a.score >= b.score));
    assert_eq!(answer.hits[0].from, 1);
    // With two models, scores are not comparable: the collections alternate by rank.
    let (a, b) = both(&one, &other);
    let library = Library::of(vec![a.target().await, b.target().await]);
    let answer = Searcher::default().answer(&dense(&["a", "b"]), &library).await.unwrap();
    let from: Vec<usize> = answer.hits.iter().map(|hit| hit.from).collect();
    assert_eq!(from, [0, 1, 0, 1, 0]);
    let again = Searcher::default().answer(&dense(&["b", "a"]), &library).await.unwrap();
    assert_eq!(again.hits[0].from, 0, "equal ranks keep the order of the request");
}

#[tokio::test]
async fn a_collection_that_fails_is_named_and_the_others_answer() {
    let toy = Toy::new("toy");
    let good = Shelf::new("good", &toy).with(&[("a.txt", &["birds"])]);
    let mut without = Shelf::new("without", &toy);
    without.sparse = false;
    let broken = Shelf::new("broken", &toy).target_with(Arc::new(Broken));
    let library = Library::of(vec![good.target().await, broken, without.target().await]);
    let asked = Request {
        mode: Some(Mode::Sparse),
        ..request("birds", &["broken", "good", "nobody", "without"])
    };
    let answer = Searcher::default().answer(&asked, &library).await.unwrap();
    assert_eq!(paths(&answer), ["a.txt"]);
    assert_eq!(answer.searched.len(), 1);
    let failed: Vec<String> =
        answer.failed.iter().map(|it| format!("{}: {}", it.asked, it.error)).collect();
    insta::assert_snapshot!(failed.join("\n"), @r"
    broken: could not search vectors: the disk is on fire
    nobody: unknown collection `nobody`
    without: the collection has no sparse vectors, which the mode `sparse` needs
    ");
}

#[tokio::test]
async fn a_generation_that_was_replaced_is_asked_again_as_it_is_now() {
    let toy = Toy::new("toy");
    let old = Shelf::new("a", &toy).target_with(Arc::new(Broken));
    let mut now = Shelf::new("a", &toy).with(&[("new.txt", &["birds"])]);
    now.generation = 2;
    let library = Library::of(vec![old, now.target().await]);
    let answer = Searcher::default().answer(&request("birds", &["a"]), &library).await.unwrap();
    assert_eq!((paths(&answer), answer.searched[0].generation), (vec!["new.txt"], 2));
}

#[tokio::test]
async fn what_is_remembered_goes_with_a_change() {
    let toy = Toy::new("toy");
    let before = Shelf::new("a", &toy).with(&[("before.txt", &["birds"])]);
    let after = Shelf::new("a", &toy).with(&[("after.txt", &["birds"])]);
    let searcher = Searcher::default();
    let asked = request("birds", &["a"]);
    let library = Library::of(vec![before.target().await]);
    let first = searcher.answer(&asked, &library).await.unwrap();
    // The same generation with other documents; the change is not reported.
    let library = Library::of(vec![after.target().await]);
    let remembered = searcher.answer(&asked, &library).await.unwrap();
    assert_eq!(remembered.hits, first.hits);
    searcher.caches().forget(before.id);
    assert_eq!(paths(&searcher.answer(&asked, &library).await.unwrap()), ["after.txt"]);
    // A new generation has a new store name, so no report is needed.
    let mut third = Shelf::new("a", &toy).with(&[("third.txt", &["birds"])]);
    third.generation = 3;
    let library = Library::of(vec![third.target().await]);
    assert_eq!(paths(&searcher.answer(&asked, &library).await.unwrap()), ["third.txt"]);
    // Caches of size 0 keep nothing.
    let forgetful = Searcher::new(Caches::new(0, 0));
    forgetful.answer(&asked, &library).await.unwrap();
    let library = Library::of(vec![after.target().await]);
    assert_eq!(paths(&forgetful.answer(&asked, &library).await.unwrap()), ["after.txt"]);
}
