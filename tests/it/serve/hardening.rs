//! Malicious and malformed requests.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use super::server::Server;
use crate::support::{TestProject, text};

#[test]
fn malformed_requests_are_answered_by_problems() {
    let place = TestProject::with_stand_in();
    let server = Server::start(&place);
    let root = server.set_up();
    let by = Some(root.as_str());
    let id = server.collection(&root);
    let raw = |path: &str, media: &str, body: &str| {
        server.send_raw(
            "POST",
            path,
            by,
            &[("content-type", media)],
            Some(body.as_bytes().to_vec()),
        )
    };
    let json = "application/json";
    for (reply, status, code) in [
        (raw("/search", json, "{"), 400, "invalid_json"),
        (raw("/search", json, ""), 400, "invalid_json"),
        (raw("/search", json, &"[".repeat(100_000)), 400, "invalid_json"),
        (raw("/search", json, "{}"), 422, "invalid_body"),
        (raw("/search", json, r#"{"query":"x","k":0}"#), 422, "invalid_body"),
        (raw("/search", json, r#"{"query":"x","k":1001}"#), 422, "invalid_body"),
        (raw("/search", json, r#"{"query":"x","whatever":1}"#), 422, "invalid_body"),
        (
            raw("/search", json, r#"{"query":"x","filter":{"no such field":1}}"#),
            422,
            "invalid_body",
        ),
        (raw("/search", json, r#"{"query":"x\u0000"}"#), 422, "invalid_body"),
        (raw("/search", json, r#"{"query":"x","cursor":"none"}"#), 422, "invalid_body"),
        (raw("/search", "text/plain", r#"{"query":"x"}"#), 415, "unsupported_media_type"),
        (server.get("/search", by), 400, "invalid_query"),
        (server.get("/search?q=x&k=ten", by), 400, "invalid_query"),
        (server.get("/search?q=%00", by), 400, "invalid_query"),
        (server.get("/search?q=x&collections=nothing-like-it", by), 404, "not_found"),
        (
            server.get(&format!("/search?q=x&collections={}", "a,".repeat(101)), by),
            400,
            "invalid_query",
        ),
        (server.get("/collections?limit=0", by), 400, "invalid_query"),
        (server.get("/collections?limit=100000", by), 400, "invalid_query"),
        (server.get("/collections?cursor=x", by), 400, "invalid_query"),
        (server.get("/operations?cursor=9999999999999999999-0", by), 400, "invalid_query"),
        (server.get("/collections/x", by), 404, "not_found"),
        (server.get("/nothing", by), 404, "not_found"),
        (server.send("DELETE", "/search", by, None), 405, "method_not_allowed"),
        (
            server.get(&format!("/collections/{id}/why?document=relative.txt"), by),
            400,
            "invalid_query",
        ),
    ] {
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{reply:?}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert!(reply.header("content-security-policy").contains("default-src 'none'"));
    }
    assert!(server.send("DELETE", "/search", by, None).header("allow").contains("POST"));

    // A body that is too large by its declared length is rejected before it is sent.
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    let head = "POST /api/v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                Content-Length: 2000000\r\n\r\n{";
    stream.write_all(head.as_bytes()).unwrap();
    let mut said = [0; 4096];
    let read = stream.read(&mut said).unwrap();
    let said = String::from_utf8_lossy(&said[..read]);
    assert!(said.starts_with("HTTP/1.1 413"), "{said}");
}

#[test]
fn nothing_leads_out_of_where_it_belongs() {
    let place = TestProject::with_stand_in();
    place.write("a.txt", "a document");
    std::os::unix::fs::symlink("/etc", place.corpus().join("etc")).unwrap();
    let server = Server::start(&place);
    let root = server.set_up();
    server.run(&root, "append");
    let id = server.collection(&root);
    let by = Some(root.as_str());
    let corpus = place.corpus().display().to_string();
    for named in [
        format!("{corpus}/../../../../etc/passwd"),
        format!("{corpus}/%252e%252e/%252e%252e/etc/passwd"),
        "file:///etc/passwd".to_owned(),
        "/etc/passwd".to_owned(),
        format!("file://{corpus}/..%252f..%252fetc%252fpasswd"),
    ] {
        let reply = server.get(&format!("/collections/{id}/why?document={named}"), by);
        // Outside all sources the response does not reveal the existence of a file.
        assert!(reply.status == 400 || reply.json()["state"] == "unknown", "{named}: {reply:?}");
        assert!(!reply.text.contains("root:"), "{reply:?}");
    }
    // Targets of links that leave the source are left out, independent of their existence.
    let said = |name: &str| {
        let named = format!("{corpus}/etc/{name}");
        let reply = server.get(&format!("/collections/{id}/why?document={named}"), by).ok_json();
        reply.to_string().replace(name, "NAME")
    };
    assert!(said("passwd").contains("left_out"), "{}", said("passwd"));
    for name in ["no-such", "ssh", "passwd/x"] {
        assert_eq!(said(name), said("passwd"), "{name}");
    }
    for path in [
        "/api/v1/docs/../../../etc/passwd",
        "/api/v1/docs/%2e%2e/%2e%2e/etc/passwd",
        "/api/v1/docs//etc/passwd",
    ] {
        let reply = server.get(path, None);
        assert!(!reply.text.contains("root:") && matches!(reply.status, 404 | 400), "{reply:?}");
    }

    // SQL in every text parameter.
    let quote = "' OR 1=1; DROP TABLE documents; --";
    let encoded = "%27%20OR%201%3D1%3B%20DROP%20TABLE%20documents%3B%20--";
    assert_eq!(
        server.post("/sessions", None, &json!({ "username": quote, "password": quote })).status,
        401
    );
    assert_eq!(server.get(&format!("/search?q=x&collections={encoded}"), by).status, 404);
    assert_eq!(server.get(&format!("/collections?cursor={encoded}"), by).status, 400);
    assert_eq!(
        server.get(&format!("/collections/{id}/documents?status={encoded}"), by).status,
        400
    );
    let described = json!({ "description": quote });
    let changed =
        server.send("PATCH", &format!("/collections/{id}"), by, Some(&described)).ok_json();
    assert_eq!(changed["description"], quote);
    assert_eq!(
        server.get(&format!("/collections/{id}/documents"), by).ok_json()["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );

    // The request id of a client is used only if it is valid.
    let id_of = |given: &str| {
        text(&json!(
            server
                .send_raw("GET", "/health/live", None, &[("x-request-id", given)], None)
                .header("x-request-id")
        ))
    };
    assert_eq!(id_of("abc-123"), "abc-123");
    for bad in ["a b", "<script>", "\"}", &"x".repeat(65), "a;b"] {
        assert_eq!(id_of(bad).len(), 36, "{bad}");
    }
    // A logged path stays on one JSON line.
    server.get("/%0a%7B%22level%22%3A%22ERROR%22%7D", None);
    server.send_raw("GET", "/health/live", None, &[("user-agent", "x\" \\\" }")], None);
    let (_, said) = server.stop();
    for line in said.lines().filter(|line| !line.starts_with("semantik: ")) {
        serde_json::from_str::<serde_json::Value>(line)
            .unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

#[test]
fn pages_of_other_origins_are_kept_out_unless_they_are_named() {
    let place = TestProject::with_stand_in();
    let ask = |server: &Server, origin: &str| {
        let headers = [("origin", origin), ("access-control-request-method", "POST")];
        let before = server.send_raw("OPTIONS", "/search", None, &headers, None);
        let after = server.send_raw("GET", "/health/live", None, &headers[..1], None);
        let allowed = |reply: &super::server::HttpReply| {
            reply.header("access-control-allow-origin").to_owned()
        };
        (before.status, allowed(&before), allowed(&after))
    };
    let nothing = (405, String::new(), String::new());
    assert_eq!(ask(&Server::start(&place), "https://a.example"), nothing);
    let server = Server::start_with_args(&place, &["--cors-origin", "https://a.example"]);
    let granted = "https://a.example".to_owned();
    assert_eq!(ask(&server, "https://a.example"), (204, granted.clone(), granted));
    assert_eq!(ask(&server, "https://b.example"), nothing);
    assert_eq!(ask(&server, "null"), nothing);
}

#[test]
fn clients_that_are_too_slow_are_let_go_and_hold_nobody_up() {
    let place = TestProject::with_stand_in();
    let server = Server::start(&place);
    server.set_up();
    let address = server.url.trim_start_matches("http://").to_owned();
    let slow: Vec<(TcpStream, &str)> = [
        "GET /api/v1/health/live HTTP/1.1\r\nHost: localhost\r\n",
        "POST /api/v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{",
    ]
    .into_iter()
    .cycle()
    .take(200)
    .map(|head| {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        (stream, head)
    })
    .collect();
    server.get("/health/ready", None).ok_json();
    for (stream, _) in &slow {
        stream.set_nonblocking(true).unwrap();
        let waits = stream.peek(&mut [0]).unwrap_err();
        assert_eq!(waits.kind(), ErrorKind::WouldBlock, "a slow client delayed another one");
        stream.set_nonblocking(false).unwrap();
    }
    for (mut stream, head) in slow.into_iter().take(4) {
        stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
        let mut said = Vec::new();
        let ended = stream.read_to_end(&mut said);
        assert!(ended.is_ok() || head.starts_with("GET"), "the connection is still open: {head}");
        let said = String::from_utf8_lossy(&said);
        assert!(head.starts_with("GET") || said.contains("408"), "{said}");
    }
}

#[test]
fn tls_and_stopping() {
    let place = TestProject::with_stand_in();
    let made = std::process::Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out",
            "cert.pem", "-days", "2",
        ])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"])
        .current_dir(place.path())
        .output()
        .expect("`.ci/setup programs` installs it");
    assert!(made.status.success());
    let server =
        Server::start_with_args(&place, &["--tls-cert", "cert.pem", "--tls-key", "key.pem"]);
    assert!(server.url.starts_with("https://"), "{}", server.url);
    let asked = std::process::Command::new("curl")
        .args(["-s", "-i", "--cacert", "cert.pem", &format!("{}/api/v1/health/live", server.url)])
        .current_dir(place.path())
        .output()
        .unwrap();
    let said = String::from_utf8(asked.stdout).unwrap();
    assert!(
        said.starts_with("HTTP/1.1 200") && said.contains("strict-transport-security"),
        "{said}"
    );
    let (status, _) = server.stop();
    assert!(status.success(), "{status:?}");
    let wrong = place.semantik(&[
        "serve",
        "pipeline.yaml",
        "--listen",
        "127.0.0.1:0",
        "--tls-cert",
        "key.pem",
        "--tls-key",
        "cert.pem",
    ]);
    assert_eq!(wrong.code, 1);
    assert!(wrong.stderr.contains("PEM"), "{}", wrong.stderr);
}
