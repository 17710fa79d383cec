//! Commands that read and repair embedded vectors while a server has them open.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::server::Server;
use crate::support::{CommandOutput, TestProject, ran, text, wait_for};

/// A server that has indexed and searched a collection, and the token of its administrator.
fn searched() -> (TestProject, Server, String) {
    searched_with("model: 'stand-in:16'")
}

/// The same with these options of the embed node.
fn searched_with(embed: &str) -> (TestProject, Server, String) {
    let place = TestProject::with_embedding(embed);
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

/// Judgements for the documents of [`searched`].
const JUDGEMENTS: &str = r#"{"query": "subject 3", "relevant": {"03.txt": 2}}
{"query": "document number 7", "relevant": {"07.txt": 1}}
"#;

/// Commands that read the vectors of a place, with and without options.
const READERS: [&[&str]; 7] = [
    &["search", "pipeline.yaml", "subject", "3"],
    &["search", "pipeline.yaml", "--json", "--k", "3", "--per-document", "1", "number"],
    &["search", "pipeline.yaml", "--json", "--mode", "sparse", "--offset", "2", "subject"],
    &["search", "pipeline.yaml", "--json", "--filter", r#"{"path": {"glob": "0*"}}"#, "subject"],
    &["search", "pipeline.yaml", "--json", "--fusion-k", "10", "--weights", "2:1", "subject"],
    &["eval", "pipeline.yaml", "--judgements", "judgements.jsonl", "--json"],
    &["verify", "pipeline.yaml", "--json"],
];

/// Requests of commands in the log of a server.
fn requests_of_commands(server: &Server, path: &str) -> usize {
    let log = server.output();
    let is_one = |line: &&str| line.contains("the local command") && line.contains(path);
    log.lines().filter(is_one).count()
}

#[test]
fn commands_ask_a_running_server_and_print_the_same() {
    let (place, mut server, _) = searched();
    std::fs::write(place.path().join("judgements.jsonl"), JUDGEMENTS).unwrap();
    let asked: Vec<CommandOutput> = READERS.iter().map(|args| place.semantik(args)).collect();
    wait_for("the log of the requests", || {
        let searches = requests_of_commands(&server, "/api/v1/search");
        (searches >= 5 && requests_of_commands(&server, "/verify") == 1).then_some(())
    });
    // A killed server leaves its socket, which is ignored.
    server.kill();
    let sockets = place.path().join(".semantik/sockets");
    assert_eq!(std::fs::read_dir(&sockets).unwrap().count(), 1);
    for (args, asked) in READERS.iter().zip(asked) {
        let read = place.semantik(args);
        assert_eq!((read.code, &*read.stderr), (0, ""), "{args:?}");
        assert_eq!((asked.code, asked.stdout), (0, read.stdout), "{args:?}: {}", asked.stderr);
    }
    // The next server deletes the old socket, and its own at its end.
    let server = Server::start(&place);
    assert_eq!(std::fs::read_dir(&sockets).unwrap().count(), 1);
    assert_eq!(place.semantik(READERS[0]).code, 0);
    server.stop();
    assert_eq!(std::fs::read_dir(&sockets).unwrap().count(), 0);
}

#[test]
fn commands_read_while_an_operation_of_the_server_writes() {
    // At 400 tokens per second, the run takes minutes; it is cancelled.
    let (place, server, root) = searched_with("model: 'stand-in:16@400'");
    std::fs::write(place.path().join("judgements.jsonl"), JUDGEMENTS).unwrap();
    for n in 12..800 {
        let text = format!("document number {n} is another one, about {n}. ").repeat(6);
        place.write(&format!("{n:03}.txt"), text);
    }
    let path = format!("/collections/{}/operations", server.collection(&root));
    let asked = server.post(&path, Some(&root), &json!({ "type": "append" })).ok_json();
    wait_for("the first documents of the run", || {
        let stored = place.value("SELECT count(*) FROM documents WHERE status = 'completed'");
        (stored.parse::<u64>().unwrap() > 12).then_some(())
    });
    for args in READERS {
        let read = place.semantik(args);
        assert_eq!(read.code, 0, "{args:?}: {}{}", read.stdout, read.stderr);
    }
    let verified = verify(&place, &[]).json();
    assert_eq!(verified["consistent"], true, "{verified}");
    assert!(verified["documents_in_progress"].is_u64(), "{verified}");
    let operation = format!("/operations/{}", text(&asked["operation"]));
    let state = server.get(&operation, Some(&root)).ok_json();
    assert_eq!(state["status"], "processing", "{state}");
    server.send("POST", &format!("{operation}/cancel"), Some(&root), None).ok_json();
    // The cancelled operation still stops: a command waits for it, or leaves its documents out.
    let verified = verify(&place, &[]).json();
    assert_eq!(verified["consistent"], true, "{verified}");
    let verified = verify(&place, &["--wait"]).json();
    assert_eq!(
        (&verified["consistent"], &verified["documents_in_progress"]),
        (&true.into(), &Value::Null)
    );
}

#[test]
fn a_socket_that_others_could_replace_is_refused() {
    let (place, server, _) = searched();
    let sockets = place.path().join(".semantik/sockets");
    assert_eq!(mode_of(&sockets), 0o700);
    std::fs::set_permissions(&sockets, PermissionsExt::from_mode(0o777)).unwrap();
    // The data folder itself is closed at each use, and with it the folder of the sockets.
    std::fs::remove_dir_all(&sockets).unwrap();
    std::os::unix::fs::symlink(place.path(), &sockets).unwrap();
    for args in [READERS[0], READERS[5], READERS[6]] {
        std::fs::write(place.path().join("judgements.jsonl"), JUDGEMENTS).unwrap();
        let refused = place.semantik(args);
        assert_eq!(refused.code, 1, "{}", refused.stdout);
        assert!(refused.stderr.contains("must be a folder with mode 0700"), "{}", refused.stderr);
    }
    server.stop();
}

#[test]
fn a_server_elsewhere_is_asked_with_a_key() {
    let (place, server, root) = searched();
    std::fs::write(place.path().join("judgements.jsonl"), JUDGEMENTS).unwrap();
    let key = text(&server.key(&root, &["search"])["secret"]);
    let at = |args: &[&str], key: &str| {
        let mut command = place.command(&[args, &["--server", server.url.as_str()]].concat());
        ran(command.env("SEMANTIK_TOKEN", key).output().unwrap())
    };
    for args in &READERS[..6] {
        let (here, there) = (place.semantik(args), at(args, &key));
        assert_eq!((there.code, &*there.stderr), (0, ""), "{args:?}");
        assert_eq!(there.stdout, here.stdout, "{args:?}");
        // The name of the collection takes the place of the file.
        let named: Vec<&str> =
            args.iter().map(|it| if *it == "pipeline.yaml" { "test" } else { it }).collect();
        assert_eq!(at(&named, &key).stdout, here.stdout, "{named:?}");
    }
    for (args, key, said) in [
        (READERS[0], "smk_unknown_key", "give a valid API key with --token or SEMANTIK_TOKEN"),
        (&["search", "other", "subject"], &*key, "check the name, and that the API key may read"),
        (&["search", "test", "--threshold", "2", "subject"], &*key, "expected a cosine"),
        (&[READERS[5], &["--generation", "1"]].concat(), &*key, "the live generation only"),
    ] {
        let refused = at(args, key);
        assert_eq!(refused.code, 1, "{}", refused.stdout);
        assert!(refused.stderr.contains(said), "{args:?}: {}", refused.stderr);
    }
    server.stop();
}

fn mode_of(path: &std::path::Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The status of a request through the only socket of a place.
fn status_on_socket(place: &TestProject, method: &str, path: &str) -> u16 {
    let mut sockets = std::fs::read_dir(place.path().join(".semantik/sockets")).unwrap();
    let socket = sockets.next().unwrap().unwrap().path();
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// The socket has three endpoints; those of the API, with their rights, are on the port, and the
/// others only on the socket.
#[test]
fn the_socket_gives_no_other_right() {
    let (place, server, root) = searched();
    let collection = server.collection(&root);
    assert_eq!(status_on_socket(&place, "GET", "/api/v1/served"), 200);
    for endpoint in server::endpoints() {
        let path = endpoint.path.replace("{collection}", &collection);
        let method = endpoint.method.to_uppercase();
        let status = status_on_socket(&place, &method, &path);
        let is_search = path == "/api/v1/search";
        // Without a body, the search is refused later.
        let expected: &[u16] = if is_search { &[405, 415] } else { &[404] };
        assert!(expected.contains(&status), "{method} {path}: {status}");
    }
    let verify = format!("/collections/{collection}/verify");
    for token in [None, Some(&*root)] {
        assert_eq!(server.get("/served", token).status, 404);
        assert_eq!(server.post(&verify, token, &json!({})).status, 404);
    }
    server.stop();
}
