//! A server with all functions: indexing, search, lists and deletion.

use std::io::{BufRead as _, BufReader};

use serde_json::{Value, json};

use super::server::Server;
use crate::support::{TestProject, text};

fn filled() -> (TestProject, Server, String) {
    let place = TestProject::with_stand_in();
    for n in 0..12 {
        place.write(
            &format!("{n:02}.txt"),
            format!("document number {n} is about subject {n}. ").repeat(9),
        );
    }
    place.write("broken.pdf", "%PDF-1.4 nothing more");
    let server = Server::start(&place);
    let root = server.set_up();
    (place, server, root)
}

#[test]
fn one_process_is_a_whole_system() {
    let (place, server, root) = filled();
    let by = Some(root.as_str());
    let id = server.collection(&root);
    let base = format!("/collections/{id}");
    assert_eq!(server.get(&base, by).ok_json()["status"], "pending");
    assert_eq!(server.get("/search?q=subject", by).ok_json()["hits"], json!([]));

    let ended = server.run(&root, "append");
    assert_eq!((&ended["type"], &ended["by"]), (&json!("index"), &json!("root")));
    assert_eq!(ended["report"]["documents"]["stored"], 12, "{ended}");
    assert_eq!(ended["progress"]["seen"], 13, "{ended}");
    let collection = server.get(&base, by).ok_json();
    assert_eq!(
        (&collection["status"], &collection["document_count"]),
        (&json!("ready"), &json!(12))
    );

    // The end of the run invalidates cached search results.
    let query =
        json!({ "query": "document number 7 is about subject 7", "k": 3, "collections": ["test"] });
    let found = server.post("/search", by, &query).ok_json();
    assert!(text(&found["hits"][0]["uri"]).ends_with("/07.txt"), "{found}");
    assert_eq!(found["searched"][0]["generation"], 1);
    let next = json!({ "query": query["query"], "k": 3, "collections": ["test"], "cursor": found["next"] });
    let behind = server.post("/search", by, &next).ok_json();
    assert_ne!(found["hits"][0], behind["hits"][0]);
    let filter = json!({ "query": "subject", "filter": { "path": "**/03.txt" } });
    let filtered = server.post("/search", by, &filter);
    assert!(filtered.status == 200, "{filtered:?}");

    // Documents, with text and chunks.
    let failed = server.get(&format!("{base}/documents?status=failed"), by).ok_json();
    assert_eq!(failed["items"].as_array().unwrap().len(), 1, "{failed}");
    let reason = text(&failed["items"][0]["reason"]);
    let of_reason = |query: &str| server.get(&format!("{base}/documents?{query}"), by);
    assert_eq!(of_reason(&format!("reason={reason}")).ok_json()["items"], failed["items"]);
    for none in ["reason=withheld".to_owned(), format!("reason={reason}&status=completed")] {
        assert_eq!(of_reason(&none).ok_json()["items"], json!([]), "{none}");
    }
    let mut documents = Vec::new();
    let mut path = format!("{base}/documents?limit=5");
    loop {
        let page = server.get(&path, by).ok_json();
        documents.extend(page["items"].as_array().unwrap().iter().map(|it| text(&it["id"])));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("{base}/documents?limit=5&cursor={next}");
    }
    assert_eq!(documents.len(), 13);
    let document = text(&found["hits"][0]["document"]);
    let shown = server.get(&format!("{base}/documents/{document}"), by).ok_json();
    let whole = server.get(&format!("{base}/documents/{document}/text"), by);
    let expected = "document number 7 is about subject 7. ".repeat(9);
    assert_eq!(whole.text.trim(), expected.trim(), "{shown}");
    let chunks =
        server.get(&format!("{base}/documents/{document}/chunks?from=1&limit=1"), by).ok_json();
    assert_eq!(chunks["items"][0]["index"], 1, "{chunks}");
    assert_eq!(chunks["total"], shown["chunk_count"]);
    let why = server.get(&format!("{base}/why?document={document}"), by).ok_json();
    assert_eq!(why["state"], "stored", "{why}");
    assert!(
        !why.to_string().contains("documents delete /"),
        "the response must not contain paths of the server: {why}"
    );

    // Deletion and restoration.
    let refused = server.send("DELETE", &format!("{base}/documents/{document}"), by, None);
    assert_eq!(refused.code(), "confirmation_required");
    let asked =
        server.send("DELETE", &format!("{base}/documents/{document}?confirm=test"), by, None);
    assert_eq!(asked.status, 202);
    assert!(asked.header("location").starts_with("/api/v1/operations/"));
    server.wait_for_operation(&root, &asked.ok_json()["operation"]);
    let found = server.post("/search", by, &query).ok_json();
    assert!(!text(&found["hits"][0]["uri"]).ends_with("/07.txt"), "{found}");
    let asked = server.post(&format!("{base}/documents/{document}/undelete"), by, &json!({}));
    let ended = server.wait_for_operation(&root, &asked.ok_json()["operation"]);
    assert_eq!(ended["status"], "completed", "{ended}");
    let found = server.post("/search", by, &query).ok_json();
    assert!(text(&found["hits"][0]["uri"]).ends_with("/07.txt"), "{found}");

    // A concurrent command delegates its run to the server.
    place.write("new.txt", "something else entirely");
    assert_eq!(place.run()["documents"]["stored"], 1);
    assert!(server.get("/search?q=something+else+entirely&k=1", by).text.contains("new.txt"));

    // Removes the source, then the collection.
    let sources = server.get(&format!("{base}/sources"), by).ok_json();
    let source = format!("{base}/sources/{}?confirm=test", text(&sources[0]["id"]));
    let ended = server.wait_for_operation(
        &root,
        &server.send("DELETE", &source, by, None).ok_json()["operation"],
    );
    assert_eq!(ended["type"], "remove_source");
    assert_eq!(server.get("/search?q=subject", by).ok_json()["hits"], json!([]));
    let gone = server.send("DELETE", &format!("{base}?confirm=test"), by, None).ok_json();
    place.wait_until("SELECT NOT EXISTS (SELECT FROM collections)");
    assert_eq!(server.wait_for_operation(&root, &gone["operation"])["type"], "delete");
    assert_eq!(server.get(&base, by).status, 404);
    server.get("/health/ready", None).ok_json();
    let (_, said) = server.stop();
    assert!(!said.contains("\"level\":\"ERROR\""), "{said}");
}

#[test]
fn a_server_keeps_the_schedules_of_its_files() {
    let place = TestProject::with_stand_in();
    place.write("a.txt", "a document");
    place.append_pipeline("schedule: { cron: \"* * * * * *\" }\n");
    let server = Server::start(&place);
    let root = server.set_up();
    place.wait_until(
        "SELECT EXISTS (SELECT FROM schedule_runs r JOIN operations o ON o.schedule_run_id = r.id
                        WHERE r.fate = 'fired' AND o.status = 'completed')",
    );
    let found = server.get("/search?q=document", Some(&root)).ok_json();
    assert!(text(&found["hits"][0]["uri"]).ends_with("/a.txt"), "{found}");
    let schedules = place.semantik(&["schedule", "list", "pipeline.yaml", "--json"]);
    assert_eq!(schedules.json()[0]["state"], "served", "{}", schedules.stderr);
    assert_eq!(server.stop().0.code(), Some(0));
    let schedules = place.semantik(&["schedule", "list", "pipeline.yaml", "--json"]);
    assert_eq!(schedules.json()[0]["state"], "nobody serves it", "{}", schedules.stderr);
}

/// The server exits with 0, and the next server continues the operation.
#[test]
fn a_server_that_is_told_to_end_hands_its_operation_back() {
    let (place, server, root) = filled();
    let path = format!("/collections/{}/operations", server.collection(&root));
    server.stop();
    let server = Server::start_with_args(&place, &["--grace", "0"]);
    let gate = place.gate("public.document_writes", "TRUE");
    let asked = server.post(&path, Some(&root), &json!({ "type": "append" })).ok_json();
    place.wait_at_gate();
    server.terminate();
    // The operation is requeued, or about to be.
    place.wait_until(
        "SELECT EXISTS (SELECT FROM operations WHERE status = 'cancelled')
             OR EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'
                            AND query LIKE '%SELECT collection_id, user_id, status%')",
    );
    drop(gate);
    let (status, said) = server.wait();
    assert_eq!(status.code(), Some(0), "{said}");
    assert_eq!(place.value("SELECT count(*) FROM executors"), "0");
    let states = "SELECT string_agg(status::text, ' ' ORDER BY created_at) FROM operations";
    assert_eq!(place.value(states), "cancelled pending", "{said}");

    let next = Server::start(&place);
    place.wait_until("SELECT EXISTS (SELECT FROM operations WHERE status = 'completed')");
    assert_eq!(place.value(states), "cancelled completed");
    let first = text(&asked["operation"]);
    let goes_on = "SELECT continues FROM operations WHERE status = 'completed'";
    assert_eq!(place.value(goes_on), first);
    let found = next.get("/search?q=subject&k=1", Some(&root)).ok_json();
    assert_eq!(found["hits"].as_array().unwrap().len(), 1, "{found}");
    next.stop();
    assert_eq!(place.semantik(&["verify", "pipeline.yaml"]).code, 0);
}

#[test]
fn an_operation_is_followed_to_its_end() {
    let (place, server, root) = filled();
    let id = server.collection(&root);
    let all = server.url.clone() + "/api/v1/operations/events";
    let token = format!("Bearer {root}");
    let all = events(&all, &token);
    let listening = std::thread::spawn(move || all.take(2).collect::<Vec<_>>());
    let gate = place.gate("public.document_writes", "TRUE");
    let asked = server
        .post(&format!("/collections/{id}/operations"), Some(&root), &json!({ "type": "append" }))
        .ok_json();
    place.wait_at_gate();
    let one = format!("{}{}", server.url, text(&asked["events"]));
    // The operation waits at the gate after it has seen all documents.
    let mut followed = events(&one, &token);
    let mut states: Vec<Value> = Vec::new();
    while states.last().is_none_or(|it| it["progress"]["seen"] != 13) {
        states.push(followed.next().expect("the operation is waiting, so the stream is open"));
    }
    drop(gate);
    states.extend(followed);
    let statuses: Vec<String> = states.iter().map(|it| text(&it["status"])).collect();
    assert_eq!(statuses.first().unwrap(), "processing");
    assert_eq!(statuses.last().unwrap(), "completed");
    assert!(
        states.iter().any(|it| it["progress"]["seen"] == 13 && it["status"] == "processing"),
        "{states:?}"
    );
    let seen = listening.join().unwrap();
    assert!(seen.iter().all(|it| it["id"] == asked["operation"]), "{seen:?}");

    // Cancels an operation, and stops the server while streams are open.
    let gate = place.gate("document_locations", "TRUE");
    let asked = server
        .post(&format!("/collections/{id}/operations"), Some(&root), &json!({ "type": "reindex" }))
        .ok_json();
    let path = format!("{}/cancel", text(&asked["href"]));
    server.post(&path, Some(&root), &json!({})).ok_json();
    drop(gate);
    assert_eq!(server.wait_for_operation(&root, &asked["operation"])["status"], "cancelled");
    // Cancelling twice is allowed; an operation that has ended cannot be cancelled.
    server.post(&path, Some(&root), &json!({})).ok_json();
    let ended = format!("/operations/{}/cancel", text(&states[0]["id"]));
    assert_eq!(server.post(&ended, Some(&root), &json!({})).code(), "conflict");
    let url = server.url.clone() + "/api/v1/operations/events";
    let open = events(&url, &token);
    server.stop();
    open.for_each(drop);
}

/// Opens an event stream; gives the data of its events until it ends. The server has begun to
/// follow the operations when this returns.
fn events(url: &str, token: &str) -> impl Iterator<Item = Value> + Send + use<> {
    let answer = ureq::get(url).header("authorization", token).call().unwrap();
    let lines = BufReader::new(answer.into_body().into_reader()).lines();
    let data = lines.map_while(Result::ok);
    data.filter_map(|line| Some(serde_json::from_str(line.strip_prefix("data: ")?).unwrap()))
}

/// A server that is only searching does not lock the vectors for other readers.
#[test]
fn commands_read_the_vectors_beside_a_server() {
    let (place, server, root) = filled();
    server.run(&root, "append");
    server.get("/search?q=subject", Some(&root)).ok_json();
    for args in [&["search", "pipeline.yaml", "subject"][..], &["verify", "pipeline.yaml"]] {
        let ran = place.semantik(args);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    // The server and the commands still work.
    server.get("/search?q=subject", Some(&root)).ok_json();
    server.stop();
    assert_eq!(place.semantik(&["search", "pipeline.yaml", "subject"]).code, 0);
}
