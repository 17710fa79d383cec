//! A server with a read-only database: search works.

use serde_json::json;

use super::server::{PASSWORD, Server};
use crate::support::{TestProject, text};

#[test]
fn a_server_searches_a_database_that_cannot_be_written_to() {
    let place = TestProject::with_stand_in();
    place.write("a.txt", "the first document");
    place.write("b.txt", "the second document");
    place.run();
    let server = Server::start(&place);
    server.set_up();
    let session = server.log_in("root");
    let key = text(&server.key(&session, &["search", "read"])["secret"]);
    drop(server);

    let name = place.value("SELECT current_database()");
    place.execute(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on"));
    let server = Server::start(&place);
    let collection = server.collection(&key);
    let question = json!({ "query": "first document", "collections": [collection] });
    let found = server.post("/search", Some(&key), &question).ok_json();
    assert_eq!(found["hits"].as_array().map(Vec::len), Some(2), "{found:#}");
    // An existing session works as long as its access token is valid.
    assert_eq!(server.get("/users/me", Some(&session)).status, 200);
    let login = json!({ "username": "root", "password": PASSWORD });
    let refused = server.post("/sessions", None, &login);
    assert_eq!((refused.status, refused.code().as_str()), (503, "unavailable"), "{refused:?}");
    let said = text(&refused.json()["detail"]);
    assert!(said.contains("read-only"), "{said}");
    let asked = server.post(
        &format!("/collections/{collection}/operations"),
        Some(&session),
        &json!({ "type": "append" }),
    );
    assert_eq!((asked.status, asked.code().as_str()), (503, "unavailable"), "{asked:?}");
}
