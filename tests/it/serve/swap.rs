//! Fifty clients search while a generation takes the place of another.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;

use super::server::Server;
use crate::support::{Place, text};

const CLIENTS: usize = 50;

/// Ends the clients when it goes.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn fifty_clients_search_through_a_reindex() {
    let place = Place::with_stand_in();
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
    // Other vectors: another length, and words beside them.
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
                        let found = server.post("/search", Some(root), &query).good();
                        searches.fetch_add(1, Ordering::Relaxed);
                        assert_eq!(found["failed"], json!([]), "{found}");
                        assert_eq!(found["hits"].as_array().unwrap().len(), 5, "{found}");
                        assert_eq!(found["searched"].as_array().unwrap().len(), 1, "{found}");
                        let mode = text(&found["searched"][0]["mode"]);
                        let generation = found["searched"][0]["generation"].as_i64().unwrap();
                        // One generation has words and the other has none, and so have all hits of an answer.
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
        // Whatever happens here, the clients end.
        let over = Over(&is_over);
        let more = |count: usize| {
            let until = searches.load(Ordering::Relaxed) + count;
            while searches.load(Ordering::Relaxed) < until {
                assert!(
                    clients.iter().all(|client| !client.is_finished()),
                    "a client has given up"
                );
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        };
        // Each of them has its turn before and after.
        more(2 * CLIENTS);
        server.run(&root, "reindex");
        more(3 * CLIENTS);
        drop(over);
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert!(seen.iter().all(|generations| generations.is_sorted()), "nobody goes back");
    let all: Vec<i64> = seen.concat();
    assert!(all.contains(&1) && all.contains(&2), "the swap happened meanwhile");
    let (_, said) = server.stop();
    assert!(!said.contains("it was not searched"), "{said}");
}
