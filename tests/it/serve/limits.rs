//! Rate limits of clients and size limits of collections.

use serde_json::{Value, json};

use super::server::Server;
use crate::support::{TestProject, text};

#[test]
fn who_comes_too_often_is_told_when_to_come_again() {
    let place = TestProject::with_stand_in();
    let rates =
        ["--rate", "search=0.5:3", "--rate", "login=0.5:40", "--trusted-proxy", "127.0.0.0/8"];
    let server = Server::start_with_args(&place, &rates);
    let root = server.set_up();
    let search = |from: &str| {
        let headers = [("x-forwarded-for", from)];
        server.send_raw("GET", "/search?q=x", None, &headers, None)
    };
    let statuses: Vec<u16> = (0..4).map(|_| search("198.51.100.1").status).collect();
    assert_eq!(statuses, [200, 200, 200, 429]);
    let refused = search("198.51.100.1");
    assert_eq!(refused.code(), "rate_limited");
    assert!(
        (1..=3).contains(&refused.header("retry-after").parse::<u64>().unwrap()),
        "{refused:?}"
    );
    // Another address and logged-in clients have separate counters.
    assert_eq!(search("198.51.100.2").status, 200);
    assert_eq!(server.get("/search?q=x", Some(&root)).status, 200);

    // Password guessing is delayed for existing and unknown names.
    for name in ["root", "nobody-of-that-name"] {
        let guess = || {
            server.post("/sessions", None, &json!({ "username": name, "password": "a wrong one" }))
        };
        let statuses: Vec<u16> = (0..7).map(|_| guess().status).collect();
        assert_eq!(statuses[..5], [401; 5], "{name}");
        assert!(statuses[5..].contains(&429), "{name}: {statuses:?}");
        let refused = guess();
        assert!(refused.status == 401 || !refused.header("retry-after").is_empty(), "{refused:?}");
    }
    // Other accounts can still log in from this address.
    server.user(&root, "ada");
}

#[test]
fn a_long_list_counts_as_several_requests() {
    let place = TestProject::with_stand_in();
    let server = Server::start_with_args(
        &place,
        &["--rate", "look=0.001:12", "--trusted-proxy", "127.0.0.0/8"],
    );
    let list = |from: &str, query: &str| {
        let headers = [("x-forwarded-for", from)];
        server.send_raw("GET", &format!("/collections{query}"), None, &headers, None).status
    };
    let long: Vec<u16> = (0..2).map(|_| list("198.51.100.1", "?limit=1000")).collect();
    assert_eq!(long, [200, 429]);
    assert_eq!(list("198.51.100.1", "?limit=101"), 200);
    assert_eq!(list("198.51.100.1", ""), 429, "the two requests used all twelve places");
    let short: Vec<u16> = (0..13).map(|_| list("198.51.100.2", "?limit=100")).collect();
    assert_eq!(short, [[200; 12].as_slice(), &[429]].concat());
}

#[test]
fn files_of_the_page_and_the_description_have_a_rate() {
    let place = TestProject::with_stand_in();
    let server = Server::start_with_args(
        &place,
        &["--rate", "look=0.001:3", "--trusted-proxy", "127.0.0.0/8"],
    );
    let paths = ["/api/v1/openapi.json", "/api/v1/docs/", "/", "/collections", "/no-such-file"];
    for (n, path) in paths.iter().enumerate() {
        let from = format!("198.51.100.{n}");
        let headers = [("x-forwarded-for", &*from)];
        let get = || server.send_whole("GET", path, None, &headers, None);
        let first = get().status;
        assert!([200, 404].contains(&first), "{path}: {first}");
        assert_eq!([get().status, get().status], [first; 2], "{path}");
        let refused = get();
        assert_eq!((refused.status, &*refused.code()), (429, "rate_limited"), "{path}");
        assert!(refused.header("retry-after").parse::<u64>().unwrap() > 1, "{path}");
    }
}

/// A server with a filled collection that an account owns, with tokens of an administrator and of
/// the owner.
pub(super) fn owned(place: &TestProject) -> (Server, String, String) {
    let first = Server::start(place);
    let root = first.set_up();
    first.user(&root, "owner");
    first.stop();
    place.edit_pipeline("collection: test\n", "collection: test\nowner: owner\n");
    place.execute("DELETE FROM collections");
    let server = Server::start(place);
    let (root, owner) = (server.log_in("root"), server.log_in("owner"));
    server.run(&owner, "append");
    (server, root, owner)
}

#[test]
fn a_full_collection_takes_nothing_more_in() {
    let place = TestProject::with_stand_in();
    place.write("a.txt", "one");
    place.write("b.txt", "two");
    let (server, root, owner) = owned(&place);
    let base = format!("/collections/{}", server.collection(&owner));
    let limits = |documents: i64, operations: i64| {
        let limits = json!({
            "max_documents": documents, "max_storage_gb": 1.0, "max_operations_per_hour": operations, "max_sources": 5,
        });
        server.send("PUT", &format!("{base}/limits"), Some(&root), Some(&limits))
    };
    let own = json!({ "max_documents": 9, "max_storage_gb": 1.0, "max_operations_per_hour": 9, "max_sources": 5 });
    assert_eq!(
        server.send("PUT", &format!("{base}/limits"), Some(&owner), Some(&own)).code(),
        "forbidden"
    );
    assert_eq!(limits(0, 1).code(), "invalid_body");
    limits(2, 10).ok_json();
    let usage = server.get(&format!("{base}/limits"), Some(&owner)).ok_json();
    assert_eq!((&usage["documents"], &usage["are_enforced"]), (&json!(2), &json!(true)));

    let run =
        || server.post(&format!("{base}/operations"), Some(&owner), &json!({ "type": "append" }));
    let refused = run();
    assert_eq!(refused.code(), "limit_reached");
    assert_eq!(refused.json()["detail"], "the collection has reached its limit of 2 documents");
    // Deletion makes room again.
    let documents = server.get(&format!("{base}/documents"), Some(&owner)).ok_json();
    let path = format!("{base}/documents/{}?confirm=test", text(&documents["items"][0]["id"]));
    server.wait_for_operation(
        &owner,
        &server.send("DELETE", &path, Some(&owner), None).ok_json()["operation"],
    );
    server.wait_for_operation(&owner, &run().ok_json()["operation"]);

    limits(10, 3).ok_json();
    let refused = run();
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limited"));
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((3000..=3600).contains(&wait), "{wait}");
    let log = server.get(&format!("{base}/audit"), Some(&owner)).ok_json();
    let entry = &log["items"][0];
    assert_eq!((&entry["action"], &entry["by"]), (&json!("limits_changed"), &json!("root")));
    assert_eq!(entry["ip_address"], "127.0.0.1");
}

/// The API and the command enforce the same limits.
#[test]
fn documents_storage_and_sources_are_limited() {
    let place = TestProject::with_stand_in();
    place.write("a.txt", "one");
    std::fs::create_dir(place.path().join("more")).unwrap();
    std::fs::write(place.path().join("more/b.txt"), "two").unwrap();
    place.edit_pipeline("paths: [corpus]", "paths: [corpus, more]");
    let (server, root, owner) = owned(&place);
    let base = format!("/collections/{}", server.collection(&owner));
    let limit = |name: &str, most: Value| {
        let mut limits = json!({
            "max_documents": 100, "max_storage_gb": 1.0, "max_operations_per_hour": 100, "max_sources": 5,
        });
        limits[name] = most;
        server.send("PUT", &format!("{base}/limits"), Some(&root), Some(&limits)).ok_json();
    };
    for (name, most, words) in [
        ("max_documents", json!(1), "has reached its limit of 1 documents"),
        ("max_storage_gb", json!(1e-9), "has reached its limit of 0.000000001 gigabytes"),
        ("max_sources", json!(1), "has reached its limit of 1 sources"),
    ] {
        limit(name, most);
        let wish = json!({ "type": "append" });
        let refused = server.post(&format!("{base}/operations"), Some(&owner), &wish);
        assert_eq!((refused.status, refused.code().as_str()), (409, "limit_reached"), "{name}");
        assert!(text(&refused.json()["detail"]).contains(words), "{refused:?}");
        let ran = place.semantik(&["run", "pipeline.yaml"]);
        assert_eq!(ran.code, 1, "{name}: {}", ran.stdout);
        assert!(ran.stderr.contains(words), "{name}: {}", ran.stderr);
    }
    limit("max_sources", json!(2));
    assert_eq!(place.semantik(&["run", "pipeline.yaml"]).code, 0);
}

#[test]
fn what_was_deleted_comes_back_by_one_operation_or_not_at_all() {
    let place = TestProject::with_stand_in();
    place.write("a.txt", "one");
    place.write("b.txt", "two");
    let (server, root, owner) = owned(&place);
    let base = format!("/collections/{}", server.collection(&owner));
    let stored = || {
        let found =
            server.get(&format!("{base}/documents?status=completed"), Some(&owner)).ok_json();
        found["items"].as_array().unwrap().clone()
    };
    let document = text(&stored()[0]["id"]);
    let path = format!("{base}/documents/{document}");
    let deleted = server.send("DELETE", &format!("{path}?confirm=test"), Some(&owner), None);
    server.wait_for_operation(&owner, &deleted.ok_json()["operation"]);
    let undelete = |operations: i64| {
        let limits = json!({
            "max_documents": 9, "max_storage_gb": 1.0, "max_operations_per_hour": operations, "max_sources": 5,
        });
        server.send("PUT", &format!("{base}/limits"), Some(&root), Some(&limits)).ok_json();
        server.post(&format!("{path}/undelete"), Some(&owner), &json!({}))
    };
    // Two operations were requested before.
    assert_eq!(undelete(2).code(), "rate_limited");
    assert_eq!(place.value("SELECT count(*) FROM operations"), "2");
    assert_eq!(stored().len(), 1);
    let ended = server.wait_for_operation(&owner, &undelete(3).ok_json()["operation"]);
    assert_eq!(ended["status"], "completed", "{ended}");
    assert_eq!(place.value("SELECT count(*) FROM operations"), "3");
    assert_eq!(stored().len(), 2);
}
