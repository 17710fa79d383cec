//! Commands that read and repair embedded vectors while a server has them open.

use std::io::Write as _;

use serde_json::{Value, json};

use super::server::Server;
use crate::support::{CommandOutput, TestProject};

/// A server that has indexed and searched a collection, and the token of its administrator.
fn searched() -> (TestProject, Server, String) {
    let place = TestProject::with_stand_in();
    for n in 0..12 {
        let text = format!("document number {n} is about subject {n}. ").repeat(9);
        place.write(&format!("{n:02}.txt"), text);
    }
    let server = Server::start(&place);
    let root = server.set_up();
    server.run(&root, "append");
    assert_eq!(generation(&server, &root), 1);
    (place, server, root)
}

/// The generation that the server searches.
fn generation(server: &Server, root: &str) -> u64 {
    let query = json!({ "query": "subject", "k": 3, "collections": ["test"] });
    let found = server.post("/search", Some(root), &query).ok_json();
    assert_eq!(found["hits"].as_array().unwrap().len(), 3, "{found}");
    found["searched"][0]["generation"].as_u64().unwrap()
}

fn verify(place: &TestProject, flags: &[&str]) -> CommandOutput {
    place.semantik(&[&["verify", "pipeline.yaml", "--json"], flags].concat())
}

#[test]
fn verify_repairs_beside_a_server() {
    let (place, server, root) = searched();
    // One document with an extra point, one with a missing point.
    for (sign, order) in [('-', "ASC"), ('+', "DESC")] {
        place.execute(&format!(
            "UPDATE documents SET chunk_count = chunk_count {sign} 1
             WHERE id = (SELECT id FROM documents ORDER BY id {order} LIMIT 1)"
        ));
    }
    let found = verify(&place, &[]).json();
    for kind in ["surplus", "missing"] {
        assert_eq!(found["wrong_points"][kind]["documents"], 1, "{found:#}");
    }
    let repaired = verify(&place, &["--repair"]);
    assert_eq!(repaired.code, 0, "{}{}", repaired.stdout, repaired.stderr);
    assert_eq!(repaired.json()["repaired"], Value::Bool(true));
    assert_eq!(verify(&place, &[]).code, 0);
    assert_eq!(generation(&server, &root), 1);

    // A damaged file: the server rebuilds the vectors and searches them.
    let segments = std::fs::read_dir(place.vectors_of("test").join("segments")).unwrap();
    let state = segments.map(|it| it.unwrap().path().join("segment.json")).find(|it| it.exists());
    let mut state = std::fs::OpenOptions::new().append(true).open(state.unwrap()).unwrap();
    state.write_all(b" ").unwrap();
    assert_eq!(verify(&place, &[]).code, 1);
    let repaired = verify(&place, &["--repair"]);
    assert_eq!(repaired.code, 0, "{}{}", repaired.stdout, repaired.stderr);
    assert_eq!(verify(&place, &[]).code, 0);
    assert_eq!(generation(&server, &root), 2);
    let by = "SELECT count(*) FROM operations WHERE status <> 'completed' OR NOT handed_over";
    assert_eq!(place.value(by), "0", "the server must execute all operations");
    server.stop();
    place.index().assert_consistent();
}

/// A server has vectors open for writing only during an operation, including operations other than
/// runs.
#[test]
fn commands_read_the_vectors_after_a_server_has_deleted_from_them() {
    let (place, server, root) = searched();
    let args = ["documents", "delete", "pipeline.yaml", "corpus/03.txt", "--yes"];
    let deleted = place.semantik(&args);
    assert_eq!(deleted.code, 0, "{}", deleted.stderr);
    let found = place.semantik(&["search", "pipeline.yaml", "subject"]);
    assert_eq!(found.code, 0, "{}", found.stderr);
    assert_eq!(verify(&place, &[]).code, 0);
    assert_eq!(generation(&server, &root), 1);
    server.stop();
}
