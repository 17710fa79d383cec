//! Event streams: their limit per client, and their end when the client loses access.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::server::Server;
use crate::support::{TestProject, text, wait_for};

/// A client of an event stream.
struct Stream {
    status: u16,
    lines: BufReader<TcpStream>,
}

impl Stream {
    fn open(server: &Server, path: &str, bearer: &str) -> Self {
        let address = server.url.trim_start_matches("http://");
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let head = format!(
            "GET /api/v1{path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {bearer}\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).unwrap();
        let mut stream = Self { status: 0, lines: BufReader::new(socket) };
        let first = stream.line().expect("a response");
        stream.status = first.split(' ').nth(1).unwrap().parse().unwrap();
        while !stream.line().expect("a head").is_empty() {}
        stream
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line).expect("the stream is readable");
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// The next event with its data; `None` at the end of the stream. Skips comments.
    fn next(&mut self) -> Option<(String, Value)> {
        let mut name = String::new();
        loop {
            let line = self.line()?;
            if let Some(event) = line.strip_prefix("event: ") {
                event.clone_into(&mut name);
            } else if let Some(data) = line.strip_prefix("data: ") {
                return Some((name, serde_json::from_str(data).unwrap()));
            } else if line == "0" {
                // The last chunk (RFC 9112, 7.1).
                return None;
            }
        }
    }
}

/// A place with an operation of another process, and its server.
fn with_operation() -> (TestProject, Server, String, String) {
    let place = TestProject::with_stand_in();
    let server = Server::start(&place);
    let root = server.set_up();
    let operation = place.value(
        "WITH asked AS (
             INSERT INTO operations (collection_id, user_id, type, worker, config)
             SELECT id, owner_id, 'append', 'elsewhere', '{}' FROM collections RETURNING id),
         leased AS (
             INSERT INTO operation_leases (operation_id, expires_at) SELECT id, now() + interval '1 hour' FROM asked)
         SELECT id FROM asked",
    );
    // psql prints a command tag after the result.
    let operation = operation.lines().next().unwrap().to_owned();
    place.execute("UPDATE operations SET status = 'processing'");
    (place, server, root, operation)
}

fn progress(place: &TestProject, seen: u32) {
    place.execute(&format!("UPDATE operation_leases SET progress = '{{\"seen\": {seen}}}'"));
}

#[test]
fn what_is_lost_ends_the_streams_that_it_gave() {
    let (place, server, root, operation) = with_operation();
    let by = Some(root.as_str());
    let grants = format!("/collections/{}/grants", server.collection(&root));
    let one = format!("/operations/{operation}/events");
    let losses = [
        "the account is deactivated",
        "the session ends",
        "the password changes",
        "the key is revoked",
        "the administrator is demoted",
        "the grant is taken",
        "another process deactivates the account",
    ];
    let mut streams = Vec::new();
    for (n, loss) in losses.into_iter().enumerate() {
        let name = format!("user{n}");
        let token = server.user(&root, &name);
        let user = text(&server.get("/users/me", Some(&token)).ok_json()["id"]);
        let mut grant = Value::Null;
        if loss == "the administrator is demoted" {
            let up = json!({ "is_superuser": true });
            server.send("PATCH", &format!("/users/{user}"), by, Some(&up)).ok_json();
        } else {
            let read = json!({ "user": name, "permission": "read" });
            grant = server.post(&grants, by, &read).ok_json()["id"].clone();
        }
        let key = server.key(&token, &["read"]);
        let session = server.session(&name);
        let bearer = match loss {
            "the key is revoked" => text(&key["secret"]),
            _ => text(&session["access_token"]),
        };
        for path in ["/operations/events", &one] {
            let stream = Stream::open(&server, path, &bearer);
            assert_eq!(stream.status, 200, "{loss}: {path}");
            streams.push((loss, path, stream));
        }
        let lose = match loss {
            "the account is deactivated" => {
                let off = json!({ "is_active": false });
                ("PATCH", format!("/users/{user}"), root.clone(), off)
            }
            "the session ends" => {
                let spent = json!({ "refresh_token": session["refresh_token"] });
                ("POST", "/sessions/logout".to_owned(), bearer, spent)
            }
            "the password changes" => {
                let set = json!({ "password": "quite another password" });
                ("PUT", format!("/users/{user}/password"), root.clone(), set)
            }
            "the key is revoked" => {
                ("DELETE", format!("/keys/{}", text(&key["id"])), token, Value::Null)
            }
            "the administrator is demoted" => {
                let down = json!({ "is_superuser": false });
                ("PATCH", format!("/users/{user}"), root.clone(), down)
            }
            "the grant is taken" => {
                ("DELETE", format!("{grants}/{}", text(&grant)), root.clone(), Value::Null)
            }
            _ => (
                "SQL",
                format!("UPDATE users SET is_active = FALSE WHERE id = '{user}'"),
                String::new(),
                Value::Null,
            ),
        };
        // Both streams have sent an event before.
        let seen = u32::try_from(n).unwrap() * 2 + 1;
        progress(&place, seen);
        for (loss, path, stream) in streams.iter_mut().rev().take(2) {
            loop {
                let (event, data) = stream.next().unwrap_or_else(|| panic!("{loss}: {path} ended"));
                assert_eq!(event, "operation", "{loss}: {path}: {data}");
                if data["progress"]["seen"] == seen {
                    break;
                }
            }
        }
        let (method, path, bearer, body) = lose;
        if method == "SQL" {
            place.execute(&path);
        } else {
            let body = (!body.is_null()).then_some(&body);
            server.send(method, &path, Some(&bearer), body).ok_json();
        }
        if method != "SQL" {
            // Changes made by this server take effect immediately.
            progress(&place, seen + 1);
        }
        for (loss, path, stream) in streams.iter_mut().rev().take(2) {
            let (event, data) = stream
                .next()
                .unwrap_or_else(|| panic!("{loss}: {path}: the stream ended without a reason"));
            assert_eq!(event, "end", "{loss}: {path}: {data}");
            let reason = match *loss {
                "the administrator is demoted" | "the grant is taken" => "rights",
                _ => "credentials",
            };
            assert_eq!(data["reason"], reason, "{loss}: {path}");
            assert_eq!(stream.next(), None, "{loss}: {path}");
        }
    }
    // Streams of other clients continue.
    let mut stream = Stream::open(&server, &one, &root);
    assert_eq!(stream.next().unwrap().0, "operation");
    place.execute("UPDATE operations SET status = 'completed'");
    let (_, last) = stream.next().unwrap();
    assert_eq!((&last["status"], stream.next()), (&json!("completed"), None));
}

#[test]
fn a_client_has_so_many_streams_and_no_more() {
    let (_place, server, root, operation) = with_operation();
    let ada = server.user(&root, "ada");
    let key = text(&server.key(&root, &["read"])["secret"]);
    let one = format!("/operations/{operation}/events");
    let open = |bearer: &str, n: usize| {
        let path = if n.is_multiple_of(2) { "/operations/events" } else { &one };
        Stream::open(&server, path, bearer)
    };
    let mut streams: Vec<Stream> =
        (0..20).map(|n| open(if n < 10 { &root } else { &key }, n)).collect();
    assert!(streams.iter().all(|stream| stream.status == 200));
    let refused = server.get("/operations/events", Some(&root));
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limited"));
    assert!(refused.json()["detail"].as_str().unwrap().contains("20 event streams"), "{refused:?}");
    assert!(!refused.header("retry-after").is_empty());
    // Each client has a separate limit, and closing a stream frees a slot.
    assert_eq!(open(&ada, 0).status, 200);
    streams.pop();
    wait_for("room for a stream", || (open(&root, 0).status == 200).then_some(()));
}
