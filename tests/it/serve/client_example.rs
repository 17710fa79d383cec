//! The example of a client, `examples/api_client.rs`, against a real server.

use super::server::Server;
use crate::support::{TestProject, text};

#[expect(dead_code, reason = "`main` only runs in the example")]
#[path = "../../../examples/api_client.rs"]
mod api_client;

fn call(arguments: &[&str]) -> Result<String, String> {
    let mut out = Vec::new();
    api_client::run(arguments, &mut out).map_err(|error| error.to_string())?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn the_example_client_updates_a_collection_and_searches_it() {
    let place = TestProject::with_stand_in();
    place.write("lease.txt", "The lease of an operation expires without heartbeats.");
    let server = Server::start(&place);
    let root = server.set_up();
    let key = text(&server.key(&root, &["write"])["secret"]);
    let updated = call(&[&server.url, &key, "update", "test"]).unwrap();
    assert!(updated.starts_with("completed: ") && updated.contains("\"stored\":1"), "{updated}");
    let found = call(&[&server.url, &key, "search", "lease of an operation"]).unwrap();
    assert!(found.contains("/lease.txt\n    The lease of an operation"), "{found}");

    let hidden = call(&[&server.url, "-", "update", "test"]).unwrap_err();
    assert_eq!(hidden, "no collection `test`, or no right to see it");
    let search = text(&server.key(&root, &["search"])["secret"]);
    let refused = call(&[&server.url, &search, "update", "test"]).unwrap_err();
    assert!(refused.starts_with("Insufficient scope (insufficient_scope): "), "{refused}");
}
