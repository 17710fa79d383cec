//! Fifty clients search during the swap of a generation.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;

use super::server::Server;
use crate::support::{TestProject, text};

const CLIENTS: usize = 50;

/// Stops the clients when dropped.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn fifty_clients_search_through_a_reindex() {
    let place = TestProject::with_stand_in();
    for n in 0..60 {
        place.write(
            &format!("{n:03}.txt"),
            format!("document number {n} is about subject {n}. ").repeat(9),
        );
    }
    place.edit_pipeline("model: 'stand-in:16'", "model: 'stand-in:16', sparse: none");
    let server = Server::start(&place);
    let root = server.set_up();
    server.run(&root, "append");
    // Other vectors: another dimension, and sparse vectors.
    place.edit_pipeline("model: 'stand-in:16', sparse: none", "model: 'stand-in:24', sparse: bm25");
    let (is_over, searches) = (AtomicBool::new(false), AtomicUsize::new(0));
    let seen: Vec<Vec<i64>> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (server, is_over, searches, root) = (&server, &is_over, &searches, &root);
                scope.spawn(move || {
                    let mut generations = Vec::new();
                    let mut round = client;
                    while !is_over.load(Ordering::Relaxed) {
                        let n = round % 60;
                        round += 7;
                        let query = json!({ "query": format!("document number {n} is about subject {n}"), "k": 5 });
                        let found = server.post("/search", Some(root), &query).ok_json();
                        searches.fetch_add(1, Ordering::Relaxed);
                        assert_eq!(found["failed"], json!([]), "{found}");
                        assert_eq!(found["hits"].as_array().unwrap().len(), 5, "{found}");
                        assert_eq!(found["searched"].as_array().unwrap().len(), 1, "{found}");
                        let mode = text(&found["searched"][0]["mode"]);
                        let generation = found["searched"][0]["generation"].as_i64().unwrap();
                        // Only one of the generations has sparse vectors; all hits of a response
                        // come from one generation.
                        assert_eq!(mode, if generation == 1 { "dense" } else { "hybrid" }, "{found}");
                        let fused = |it: &serde_json::Value| it["score"] != it["similarity"];
                        let hits = found["hits"].as_array().unwrap();
                        assert!(hits.iter().all(|it| fused(it) == (generation == 2)), "{found}");
                        generations.push(generation);
                    }
                    generations
                })
            })
            .collect();
        // Stops the clients also if the test panics.
        let over = Over(&is_over);
        let more = |count: usize| {
            let until = searches.load(Ordering::Relaxed) + count;
            while searches.load(Ordering::Relaxed) < until {
                assert!(clients.iter().all(|client| !client.is_finished()), "a client has stopped");
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        };
        // Each client searches before and after the swap.
        more(2 * CLIENTS);
        server.run(&root, "reindex");
        more(3 * CLIENTS);
        drop(over);
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert!(
        seen.iter().all(|generations| generations.is_sorted()),
        "no client may see an older generation again"
    );
    let all: Vec<i64> = seen.concat();
    assert!(all.contains(&1) && all.contains(&2), "the swap must happen during the searches");
    let (_, said) = server.stop();
    assert!(!said.contains("cannot search a collection"), "{said}");
}
