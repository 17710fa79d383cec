//! Search over HTTP: fields of hits, weights of rank fusion, and responses with failed collections.

use serde_json::{Value, json};

use super::server::Server;
use crate::support::{TestProject, text};

/// Two documents: one with a name that only sparse search finds, and one with an author.
fn two_documents() -> TestProject {
    let place = TestProject::with_stand_in();
    place.write("locks.md", "# Locks\n\nCall pthread_mutex_lock before you touch the counter.\n");
    place.write(
        "today.html",
        "<html lang=en><head><title>Today</title><meta name=author content='Ann Lee'></head><body>\
         <p>A counter was opened in the town hall.</p></body></html>",
    );
    place.run();
    place
}

#[test]
fn a_collection_that_gives_no_answer_is_named_and_the_others_answer() {
    let place = two_documents();
    place.run_another("other", "model: 'stand-in:16', sparse: none");
    place.run_another("third", "model: 'stand-in:16'");
    // The vectors are temporarily missing.
    let (vectors, aside) = (place.vectors_of("other"), place.path().join("aside"));
    std::fs::rename(&vectors, &aside).unwrap();
    let server = Server::start_with_files(&place, &["other.yaml"]);
    let root = server.set_up();
    let search = |mode: Option<&str>, collections: &[&str]| {
        let question =
            json!({ "query": "a counter", "mode": mode, "collections": collections, "k": 100 });
        server.post("/search", Some(&root), &question)
    };
    let failed = |found: &Value| -> Vec<(String, String)> {
        let failed = found["failed"].as_array().unwrap().iter();
        failed.map(|it| (text(&it["name"]), text(&it["reason"]))).collect()
    };
    let named = |list: &[(&str, &str)]| -> Vec<(String, String)> {
        list.iter().map(|(name, reason)| ((*name).to_owned(), (*reason).to_owned())).collect()
    };

    let found = search(None, &["other", "third", "test"]).ok_json();
    assert_eq!(failed(&found), named(&[("third", "not_served"), ("other", "failing")]), "{found}");
    let hits = found["hits"].as_array().unwrap();
    assert!(hits.len() == 2 && hits.iter().all(|it| it["collection_name"] == "test"), "{found}");
    assert_eq!(found["searched"].as_array().unwrap().len(), 1, "{found}");
    assert!(!found.to_string().contains("aside") && !found.to_string().contains(".semantik"));
    // Without named collections, the search covers the served ones.
    let found = server.get("/search?q=counter", Some(&root)).ok_json();
    assert_eq!(failed(&found), named(&[("other", "failing")]), "{found}");
    // If all collections fail, the response is an error.
    for collections in [&["other"][..], &["third", "other"]] {
        let refused = search(None, collections);
        assert_eq!((refused.status, refused.code().as_str()), (503, "unavailable"));
        assert_eq!(refused.header("retry-after"), "5");
    }
    let refused = search(None, &["third"]);
    assert_eq!((refused.status, refused.code().as_str()), (409, "not_served"));

    // The collection recovers by itself, and still has no sparse vectors.
    std::fs::rename(&aside, &vectors).unwrap();
    let found = search(None, &["other", "test"]).ok_json();
    assert_eq!((failed(&found), found["hits"].as_array().unwrap().len()), (Vec::new(), 4));
    let found = search(Some("sparse"), &["other", "test"]).ok_json();
    assert_eq!(failed(&found), named(&[("other", "no_sparse_vectors")]), "{found}");
    let refused = search(Some("sparse"), &["other"]);
    assert_eq!((refused.status, refused.code().as_str()), (422, "invalid_body"));
    let refused = server.get("/search?q=counter&mode=sparse&collections=other", Some(&root));
    assert_eq!((refused.status, refused.code().as_str()), (400, "invalid_query"));
    let (_, said) = server.stop();
    assert!(
        said.contains("the vectors of generation 1 are missing"),
        "the log must have the cause: {said}"
    );
}

#[test]
fn rankings_are_weighed_as_the_request_says() {
    let place = two_documents();
    let server = Server::start(&place);
    let root = server.set_up();
    let asked = |fusion: Value| {
        let question = json!({
            "query": "pthread_mutex_lock",
            "mode": "hybrid",
            "fusion": fusion,
            "exact_terms": false,
        });
        server.post("/search", Some(&root), &question)
    };
    let scores = |fusion: Value| -> Vec<f64> {
        let found = asked(fusion).ok_json();
        found["hits"].as_array().unwrap().iter().map(|it| it["score"].as_f64().unwrap()).collect()
    };
    // Sparse search finds only one of them. The first hit of a ranking scores 1 / (1 + k - 1).
    assert_eq!(scores(json!({ "k": 2, "dense": 0 })), [0.5, 0.0]);
    assert_eq!(scores(json!({ "k": 4, "dense": 0 })), [0.25, 0.0]);
    let by_meaning = scores(json!({ "k": 1, "sparse": 0 }));
    assert!(by_meaning[0] == 1.0 && (by_meaning[1] - 0.5).abs() < 1e-6, "{by_meaning:?}");
    // Convex: all weight on the words, of which the other document has none.
    assert_eq!(scores(json!({ "method": "convex", "dense": 0 })), [1.0, 0.0]);
    for wrong in [
        json!({ "dense": 0, "sparse": 0 }),
        json!({ "dense": -1 }),
        json!({ "k": 0 }),
        json!({ "method": "convex", "dense": 1.5 }),
        json!({ "method": "convex", "k": 60 }),
    ] {
        assert_eq!(asked(wrong.clone()).code(), "invalid_body", "{wrong}");
    }
}

#[test]
fn a_hit_explains_its_score() {
    let place = two_documents();
    let server = Server::start(&place);
    let root = server.set_up();
    let question = json!({ "query": "pthread_mutex_lock", "mode": "hybrid", "explain": true });
    let found = server.post("/search", Some(&root), &question).ok_json();
    assert_eq!(found["nothing_near"], false);
    let [first, last] = &found["hits"].as_array().unwrap()[..] else { panic!("{found}") };
    let explanation = &first["explanation"];
    assert_eq!(explanation["exact_terms"], json!(["pthread_mutex_lock"]), "{explanation}");
    assert_eq!(explanation["sparse"]["rank"], 1);
    let fused = explanation["fused"].as_f64().unwrap();
    assert!((first["score"].as_f64().unwrap() - fused - 2.0).abs() < 1e-6, "{explanation}");
    assert_eq!(explanation["terms"][0]["field"], "text");
    let explanation = &last["explanation"];
    assert!(explanation.get("exact_terms").is_none() && explanation.get("sparse").is_none());
    assert_eq!(explanation["terms"], json!([]));
}

#[test]
fn hits_say_what_they_can_be_filtered_by() {
    let place = two_documents();
    let server = Server::start(&place);
    let root = server.set_up();
    let search = |filter: Value| {
        let question = json!({ "query": "a counter in the town hall", "filter": filter });
        let found = server.post("/search", Some(&root), &question).ok_json();
        found["hits"].as_array().unwrap().clone()
    };
    let hits = search(Value::Null);
    let of = |name: &str| hits.iter().find(|it| text(&it["uri"]).ends_with(name)).unwrap();
    let today = of("today.html");
    assert_eq!(today["metadata"]["author"], json!(["Ann Lee"]), "{today}");
    assert_eq!(of("locks.md")["metadata"], json!({}));
    // Both values are valid filters unchanged.
    let alike = search(json!({ "source": today["source"], "metadata": today["metadata"] }));
    assert_eq!(alike.iter().map(|it| &it["uri"]).collect::<Vec<_>>(), [&today["uri"]]);
    assert_eq!(search(json!({ "source": today["source"] })).len(), 2);
    assert_eq!(search(json!({ "not": { "source": today["source"] } })).len(), 0);
}

#[test]
fn corrected_words_are_named() {
    let place = two_documents();
    let server = Server::start(&place);
    let root = server.set_up();
    let search = |typos: Option<bool>| {
        let question = json!({ "query": "countre", "mode": "sparse", "typos": typos });
        server.post("/search", Some(&root), &question).ok_json()
    };
    for typos in [None, Some(true)] {
        let found = search(typos);
        let correction = json!({ "typed": "countre", "used": "counter", "alternatives": [] });
        assert_eq!(found["corrections"], json!([correction]), "{found}");
        assert_eq!(found["hits"].as_array().unwrap().len(), 2, "{found}");
    }
    let found = search(Some(false));
    assert_eq!((&found["corrections"], &found["hits"]), (&json!([]), &json!([])), "{found}");
    let facets = json!({ "query": "count*", "mode": "sparse" });
    let counted = server.post("/search/facets", Some(&root), &facets).ok_json();
    assert_eq!(counted["counted"], 2, "{counted}");
}
