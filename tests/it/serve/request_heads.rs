//! Request heads: host names, credentials, size limits, and their representation in the log.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::server::Server;
use crate::support::{TestProject, text};

/// The response to a raw request head.
fn raw(server: &Server, head: &str) -> String {
    let mut socket = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // The server may close the connection before it has read an oversized head.
    drop(socket.write_all(head.as_bytes()));
    let mut said = Vec::new();
    drop(socket.read_to_end(&mut said));
    String::from_utf8_lossy(&said).into_owned()
}

fn status(said: &str) -> &str {
    said.split(' ').nth(1).unwrap_or_default()
}

#[test]
fn a_server_answers_to_its_names_alone() {
    let place = TestProject::with_stand_in();
    let server = Server::start_with_args(&place, &["--public-url", "https://search.example.org"]);
    let own = server.url.trim_start_matches("http://");
    let get = |hosts: &[&str]| {
        let hosts: String = hosts.iter().map(|host| format!("Host: {host}\r\n")).collect();
        raw(
            &server,
            &format!("GET /api/v1/health/live HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n"),
        )
    };
    for host in [
        own,
        "localhost",
        "127.0.0.1:1",
        "[::1]:8080",
        "search.example.org",
        "SEARCH.example.org:443",
    ] {
        assert_eq!(status(&get(&[host])), "200", "{host}");
    }
    for host in ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "192.0.2.7"] {
        let said = get(&[host]);
        assert_eq!(status(&said), "421", "{host}: {said}");
        assert!(
            said.contains(r#""code":"misdirected""#) && said.contains("--public-url"),
            "{said}"
        );
    }
    for hosts in [&[][..], &[own, own], &[own, "evil.example"], &[""]] {
        let said = get(hosts);
        assert_eq!(status(&said), "400", "{hosts:?}: {said}");
    }
    // The host in an absolute request target is checked too.
    let absolute = format!(
        "GET http://evil.example/api/v1/health/live HTTP/1.1\r\nHost: {own}\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(status(&raw(&server, &absolute)), "421");
    // The web UI has the same check as the API.
    let page = "GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&raw(&server, page)), "421");
    let wrong = place.semantik(&["serve", "pipeline.yaml", "--public-url", "search.example.org"]);
    assert_eq!(wrong.code, 64, "{}", wrong.stderr);
}

#[test]
fn heads_are_short_and_say_once_who_sends_them() {
    let place = TestProject::with_stand_in();
    let server = Server::start(&place);
    let root = server.set_up();
    let own = server.url.trim_start_matches("http://");
    let get = |lines: &str| {
        raw(
            &server,
            &format!(
                "GET /api/v1/users/me HTTP/1.1\r\nHost: {own}\r\n{lines}Connection: close\r\n\r\n"
            ),
        )
    };
    let bearer = format!("Authorization: Bearer {root}\r\n");
    assert_eq!(status(&get(&bearer)), "200");
    assert_eq!(status(&get(&format!("{bearer}{bearer}"))), "400");
    assert_eq!(status(&get(&format!("{bearer}Authorization: Bearer smk_other\r\n"))), "400");
    assert_eq!(status(&get(&format!("{bearer}X-Filler: {}\r\n", "a".repeat(8_000)))), "200");
    assert_eq!(status(&get(&format!("{bearer}X-Filler: {}\r\n", "a".repeat(500_000)))), "431");

    let body = |media: &str| {
        let body = json!({ "query": "x" }).to_string().into_bytes();
        server.send_raw("POST", "/search", Some(&root), &[("content-type", media)], Some(body))
    };
    for media in [
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=\"UTF-8\"",
    ] {
        assert_eq!(body(media).status, 200, "{media}");
    }
    for media in ["application/json; charset=latin1", "application/json;a=b;CHARSET=utf-16"] {
        assert_eq!(body(media).code(), "unsupported_media_type", "{media}");
    }
}

/// A log line stays one short line for any request.
#[test]
fn what_clients_send_is_bounded_and_cleaned_in_the_log() {
    let place = TestProject::with_stand_in();
    let server = Server::start(&place);
    let own = server.url.trim_start_matches("http://");
    let method = "M".repeat(20_000);
    let path = "p".repeat(20_000);
    raw(
        &server,
        &format!("{method} /api/v1/search HTTP/1.1\r\nHost: {own}\r\nConnection: close\r\n\r\n"),
    );
    raw(
        &server,
        &format!("GET /{path}\u{202e}\u{9b}x HTTP/1.1\r\nHost: {own}\r\nConnection: close\r\n\r\n"),
    );
    raw(
        &server,
        &format!("GET /a\u{202e}b\u{85}c HTTP/1.1\r\nHost: {own}\r\nConnection: close\r\n\r\n"),
    );
    let agent = "A".repeat(20_000);
    raw(
        &server,
        &format!(
            "GET /api/v1/users/me HTTP/1.1\r\nHost: {own}\r\nUser-Agent: {agent}\r\nX-Request-Id: {agent}\r\n\
             Connection: close\r\n\r\n"
        ),
    );
    let (_, said) = server.stop();
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("\"answered\"")).collect();
    assert!(lines.len() >= 3, "{said}");
    for line in lines {
        assert!(line.len() < 1000, "{} bytes: {}", line.len(), &line[..300]);
        assert!(
            !line.chars().any(|it| it.is_control() || ('\u{202a}'..='\u{202e}').contains(&it)),
            "{line}"
        );
        let _: Value = serde_json::from_str(line).unwrap();
    }
}

#[test]
fn grants_go_to_those_who_can_use_them() {
    let place = TestProject::with_stand_in();
    let server = Server::start(&place);
    let root = server.set_up();
    let by = Some(root.as_str());
    let grants = format!("/collections/{}/grants", server.collection(&root));
    let (gone, ada) = (server.user(&root, "gone"), server.user(&root, "ada"));
    let of_gone = server.key(&gone, &["read"]);
    let (good, revoked) = (server.key(&ada, &["read"]), server.key(&ada, &["read"]));
    server.send("DELETE", &format!("/keys/{}", text(&revoked["id"])), Some(&ada), None).ok_json();
    let id = text(&server.get("/users/me", Some(&gone)).ok_json()["id"]);
    server
        .send("PATCH", &format!("/users/{id}"), by, Some(&json!({ "is_active": false })))
        .ok_json();
    let give = |to: Value| {
        let mut grant = to;
        grant["permission"] = json!("read");
        server.post(&grants, by, &grant)
    };
    let missing = give(json!({ "user": "nobody-of-that-name" }));
    assert_eq!((missing.status, missing.code().as_str()), (422, "invalid_body"));
    for to in [
        json!({ "user": "local" }),
        json!({ "user": "gone" }),
        json!({ "key": of_gone["id"] }),
        json!({ "key": revoked["id"] }),
        json!({ "key": "00000000-0000-4000-8000-000000000000" }),
    ] {
        let refused = give(to.clone());
        assert_eq!(refused.status, 422, "{to}");
        assert_eq!(
            refused.json()["detail"],
            missing.json()["detail"],
            "the response must not tell the cases apart: {to}"
        );
    }
    give(json!({ "user": "ada" })).ok_json();
    give(json!({ "key": good["id"] })).ok_json();
}

#[test]
fn a_key_gives_nobody_a_session_or_rights() {
    let place = TestProject::with_stand_in();
    let server = Server::start(&place);
    let root = server.set_up();
    server.user(&root, "ada");
    let key = text(&server.key(&root, &["admin"])["secret"]);
    let by = Some(key.as_str());
    let users = server.get("/users", by).ok_json();
    for user in users["items"].as_array().unwrap() {
        let path = format!("/users/{}", text(&user["id"]));
        let set = json!({ "password": "a password of the thief" });
        let refused = [
            server.send("PUT", &format!("{path}/password"), by, Some(&set)),
            server.send("PATCH", &path, by, Some(&json!({ "is_superuser": true }))),
            server.send("PATCH", &path, by, Some(&json!({ "is_active": false }))),
            server.send("PATCH", &path, by, Some(&json!({ "email": "thief@example.org" }))),
        ];
        for refused in refused {
            assert_eq!(
                (refused.status, refused.code().as_str()),
                (403, "session_required"),
                "{user}"
            );
        }
    }
    let another = |is_superuser: bool| {
        let name = format!("made{is_superuser}");
        let user = json!({
            "username": name, "email": format!("{name}@here"), "password": "a long password",
            "is_superuser": is_superuser,
        });
        server.post("/users", by, &user)
    };
    assert_eq!(another(true).code(), "session_required");
    assert_eq!(another(false).ok_json()["is_superuser"], false, "keys may create accounts");
    assert_eq!(place.value("SELECT count(*) FROM users WHERE is_superuser"), "1");
}
