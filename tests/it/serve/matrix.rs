//! Access control: every endpoint of the table, requested by every kind of client.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use server::right::Right;
use server::{Endpoint, endpoints};
use sha2::Sha256;

use super::server::Server;
use crate::support::{ROOT, TestProject, text};

/// The columns: the rights in their order, without that of the owner.
const RIGHTS: [Right; 11] = [
    Right::Public,
    Right::Search,
    Right::Browse,
    Right::Authenticated,
    Right::Session,
    Right::Superuser,
    Right::SuperuserSession,
    Right::Read,
    Right::Write,
    Right::Admin,
    Right::Owner,
];

/// Expected results for a private collection: `ok`, or the status.
#[rustfmt::skip]
const PRIVATE: &[(&str, &str)] = &[
    //                                open srch brws know sess supr sups read writ admn ownr
    ("anonymous",                    "ok   ok   ok   401  401  401  401  404  404  404  404"),
    ("a stranger",                   "ok   ok   ok   ok   ok   403  403  404  404  404  404"),
    ("a reader",                     "ok   ok   ok   ok   ok   403  403  ok   403  403  403"),
    ("a writer",                     "ok   ok   ok   ok   ok   403  403  ok   ok   403  403"),
    ("a collection admin",           "ok   ok   ok   ok   ok   403  403  ok   ok   ok   403"),
    ("the owner",                    "ok   ok   ok   ok   ok   403  403  ok   ok   ok   ok"),
    ("an administrator",             "ok   ok   ok   ok   ok   ok   ok   ok   ok   ok   ok"),
    ("the owner's key: search",      "ok   ok   403  ok   403  403  403  403  403  403  403"),
    ("the owner's key: read",        "ok   ok   ok   ok   403  403  403  ok   403  403  403"),
    ("the owner's key: write",       "ok   ok   ok   ok   403  403  403  ok   ok   403  403"),
    ("the owner's key: admin",       "ok   ok   ok   ok   403  403  403  ok   ok   ok   ok"),
    ("the stranger's key: admin",    "ok   ok   ok   ok   403  403  403  404  404  404  404"),
    ("the stranger's key, granted",  "ok   ok   ok   ok   403  403  403  ok   403  403  403"),
    ("the reader's key: admin",      "ok   ok   ok   ok   403  403  403  ok   403  403  403"),
    ("an administrator's key: read", "ok   ok   ok   ok   403  403  403  ok   403  403  403"),
    ("an administrator's key: admin","ok   ok   ok   ok   403  ok   403  ok   ok   ok   ok"),
    ("an expired key",               "ok   401  401  401  401  401  401  401  401  401  401"),
    ("a revoked key",                "ok   401  401  401  401  401  401  401  401  401  401"),
    ("an inactive user",             "ok   401  401  401  401  401  401  401  401  401  401"),
    ("an inactive user's key",       "ok   401  401  401  401  401  401  401  401  401  401"),
    ("an expired token",             "ok   401  401  401  401  401  401  401  401  401  401"),
    ("a token after its logout",     "ok   401  401  401  401  401  401  401  401  401  401"),
    ("a token of another key",       "ok   401  401  401  401  401  401  401  401  401  401"),
    ("a token from the future",      "ok   401  401  401  401  401  401  401  401  401  401"),
    ("a token before its time",      "ok   401  401  401  401  401  401  401  401  401  401"),
    ("a token that lasts too long",  "ok   401  401  401  401  401  401  401  401  401  401"),
    ("a token of another account",   "ok   401  401  401  401  401  401  401  401  401  401"),
    ("a token for another service",  "ok   401  401  401  401  401  401  401  401  401  401"),
    ("a token by another issuer",    "ok   401  401  401  401  401  401  401  401  401  401"),
    ("a token without a signature",  "ok   401  401  401  401  401  401  401  401  401  401"),
    ("nonsense",                     "ok   401  401  401  401  401  401  401  401  401  401"),
];

/// Expected results for a public collection, for the clients with a difference.
#[rustfmt::skip]
const PUBLIC: &[(&str, &str)] = &[
    ("anonymous",                    "ok   ok   ok   401  401  401  401  ok   401  401  401"),
    ("a stranger",                   "ok   ok   ok   ok   ok   403  403  ok   403  403  403"),
    ("a reader",                     "ok   ok   ok   ok   ok   403  403  ok   403  403  403"),
    ("the owner's key: search",      "ok   ok   403  ok   403  403  403  403  403  403  403"),
    ("the stranger's key: admin",    "ok   ok   ok   ok   403  403  403  ok   403  403  403"),
    ("an expired key",               "ok   401  401  401  401  401  401  401  401  401  401"),
    ("nonsense",                     "ok   401  401  401  401  401  401  401  401  401  401"),
];

/// All clients of the tables with their credentials.
fn callers(
    place: &TestProject,
    server: &Server,
    root: &str,
) -> Vec<(&'static str, Option<String>)> {
    let collection = server.collection(root);
    let grants = format!("/collections/{collection}/grants");
    let owner = server.log_in("owner");
    let grant = |to: Value, permission: &str| {
        let mut grant = to;
        grant["permission"] = json!(permission);
        server.post(&grants, Some(&owner), &grant).ok_json();
    };
    let user = |name: &str, permission: Option<&str>| {
        let token = server.user(root, name);
        if let Some(permission) = permission {
            grant(json!({ "user": name }), permission);
        }
        token
    };
    let key = |token: &str, scope: &str| text(&server.key(token, &[scope])["secret"]);
    let (stranger, reader) = (user("stranger", None), user("reader", Some("read")));
    let (writer, admin) = (user("writer", Some("write")), user("admin", Some("admin")));
    let (inactive, gone) = (user("inactive", Some("admin")), user("gone", Some("admin")));

    let granted = server.key(&stranger, &["write"]);
    grant(json!({ "key": granted["id"] }), "read");
    let expired = server.key(&owner, &["admin"]);
    let id = text(&expired["id"]);
    place.execute(&format!("UPDATE api_keys SET expires_at = now() WHERE id = '{id}'"));
    let revoked = server.key(&owner, &["admin"]);
    let path = format!("/keys/{}", text(&revoked["id"]));
    server.send("DELETE", &path, Some(&owner), None).ok_json();
    let inactive_key = key(&inactive, "admin");
    let id = text(&server.get("/users/me", Some(&inactive)).ok_json()["id"]);
    let inactive_id = id.clone();
    let off = json!({ "is_active": false });
    server.send("PATCH", &format!("/users/{id}"), Some(root), Some(&off)).ok_json();
    let session = server.session("gone");
    let logged_out = text(&session["access_token"]);
    server
        .post("/sessions/logout", None, &json!({ "refresh_token": session["refresh_token"] }))
        .ok_json();
    drop(gone);

    let forged = Forged::of(place, &owner);
    let all: Vec<(&str, Option<String>)> = vec![
        ("anonymous", None),
        ("the owner's key: search", Some(key(&owner, "search"))),
        ("the owner's key: read", Some(key(&owner, "read"))),
        ("the owner's key: write", Some(key(&owner, "write"))),
        ("the owner's key: admin", Some(key(&owner, "admin"))),
        ("the stranger's key: admin", Some(key(&stranger, "admin"))),
        ("the stranger's key, granted", Some(text(&granted["secret"]))),
        ("the reader's key: admin", Some(key(&reader, "admin"))),
        ("an administrator's key: read", Some(key(root, "read"))),
        ("an administrator's key: admin", Some(key(root, "admin"))),
        ("an expired key", Some(text(&expired["secret"]))),
        ("a revoked key", Some(text(&revoked["secret"]))),
        ("an inactive user", Some(inactive)),
        ("an inactive user's key", Some(inactive_key)),
        ("an expired token", Some(forged.expired())),
        ("a token after its logout", Some(logged_out)),
        ("a token from the future", Some(forged.of_the_future())),
        ("a token before its time", Some(forged.with("nbf", |now| json!(now + 3600)))),
        ("a token that lasts too long", Some(forged.with("exp", |now| json!(now + 86_400)))),
        ("a token of another account", Some(forged.with("sub", |_| json!(inactive_id)))),
        ("a token for another service", Some(forged.with("aud", |_| json!("another service")))),
        ("a token by another issuer", Some(forged.with("iss", |_| json!("another issuer")))),
        ("a token of another key", Some(forged.of_another_key())),
        ("a token without a signature", Some(forged.unsigned())),
        ("nonsense", Some("nonsense".to_owned())),
        ("a stranger", Some(stranger)),
        ("a reader", Some(reader)),
        ("a writer", Some(writer)),
        ("a collection admin", Some(admin)),
        ("the owner", Some(owner)),
        ("an administrator", Some(root.to_owned())),
    ];
    all
}

/// Forged tokens, as an attacker with the database could make, and tokens only the server could
/// make.
struct Forged {
    secret: Vec<u8>,
    header: Value,
    claims: Value,
}

impl Forged {
    /// Forges tokens like this valid one.
    fn of(place: &TestProject, token: &str) -> Self {
        let part =
            |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
        let mut parts = token.split('.');
        let (header, claims) = (part(parts.next().unwrap()), part(parts.next().unwrap()));
        let hex = place.value("SELECT encode(secret, 'hex') FROM signing_keys");
        let secret =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
        let forged = Self { secret: secret.collect(), header, claims };
        assert_eq!(
            Self::signed(&forged.header, &forged.claims, &forged.secret),
            token,
            "the test must sign like the server"
        );
        forged
    }

    fn signed(header: &Value, claims: &Value, secret: &[u8]) -> String {
        // In the order in which the server writes them.
        let header = format!(
            r#"{{"typ":{},"alg":{},"kid":{}}}"#,
            header["typ"], header["alg"], header["kid"]
        );
        let mut written = format!(
            r#"{{"sub":{},"sid":{},"iat":{},"exp":{}"#,
            claims["sub"], claims["sid"], claims["iat"], claims["exp"]
        );
        for name in ["nbf", "aud", "iss"] {
            if !claims[name].is_null() {
                written += &format!(r#","{name}":{}"#, claims[name]);
            }
        }
        let claims = written + "}";
        let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
        mac.update(text.as_bytes());
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }

    fn expired(&self) -> String {
        let mut claims = self.claims.clone();
        claims["exp"] = json!(claims["iat"].as_u64().unwrap() - 60);
        Self::signed(&self.header, &claims, &self.secret)
    }

    /// With a claim computed from the issue time.
    fn with(&self, claim: &str, value: impl FnOnce(u64) -> Value) -> String {
        let mut claims = self.claims.clone();
        claims[claim] = value(claims["iat"].as_u64().unwrap());
        Self::signed(&self.header, &claims, &self.secret)
    }

    fn of_the_future(&self) -> String {
        let mut claims = self.claims.clone();
        for claim in ["iat", "exp"] {
            claims[claim] = json!(claims[claim].as_u64().unwrap() + 600);
        }
        Self::signed(&self.header, &claims, &self.secret)
    }

    fn of_another_key(&self) -> String {
        Self::signed(&self.header, &self.claims, &[7; 32])
    }

    fn unsigned(&self) -> String {
        let mut header = self.header.clone();
        header["alg"] = json!("none");
        let whole = Self::signed(&header, &self.claims, &self.secret);
        whole.rsplit_once('.').unwrap().0.to_owned() + "."
    }
}

/// The result of an endpoint for a client: `ok` if access is granted, also if the request is
/// invalid otherwise. The requests change nothing: ids below a collection are unknown, and bodies
/// are empty.
fn answer(server: &Server, endpoint: &Endpoint, ids: (&str, &str), bearer: Option<&str>) -> String {
    let mut path = endpoint.path.replace("{collection}", ids.0).replace("{operation}", ids.1);
    for nothing in ["document", "source", "grant", "key", "user"] {
        path = path.replace(&format!("{{{nothing}}}"), "00000000-0000-4000-8000-000000000000");
    }
    assert!(!path.contains('{'), "{path} has a parameter without a test value");
    let method = endpoint.method.to_uppercase();
    let nothing = json!({});
    let body = matches!(&*method, "POST" | "PUT" | "PATCH").then_some(&nothing);
    let reply = server.send(&method, &path, bearer, body);
    assert!(reply.status < 500, "{method} {path}: {reply:?}");
    let is_hidden = reply.status == 404 && reply.text.contains("collection or operation");
    let is_refused = matches!(reply.status, 401 | 403) && endpoint.right != Right::Public;
    if is_hidden || is_refused { reply.status.to_string() } else { "ok".to_owned() }
}

#[test]
fn the_documents_list_every_endpoint_with_its_right() {
    let lines = endpoints().into_iter().map(|Endpoint { right, method, path, .. }| {
        let path = path.strip_prefix("/api/v1").unwrap();
        let right = right.name();
        format!("| `{} {path}` | {right} |", method.to_uppercase())
    });
    let table = lines.collect::<Vec<_>>().join("\n");
    let documented = std::fs::read_to_string(Path::new(ROOT).join("docs/api.md")).unwrap();
    assert!(documented.contains(&format!("\n{table}\n\n")), "docs/api.md must contain\n{table}");
}

#[test]
fn rights_are_exactly_those_of_the_table() {
    let place = TestProject::with_stand_in();
    place.write("a.txt", "a document about subjects");
    let first = Server::start(&place);
    let root = first.set_up();
    first.user(&root, "owner");
    first.stop();
    place.edit_pipeline("collection: test\n", "collection: test\nowner: owner\n");
    // A collection of the built-in account with the same name, visible to the administrator only.
    place.execute("DELETE FROM collections");

    let server = Server::start(&place);
    assert_eq!(server.setup, None, "the server must have an administrator");
    let root = server.log_in("root");
    let operation = text(&server.run(&root, "append")["id"]);
    let collection = server.collection(&root);
    let everybody = callers(&place, &server, &root);
    let endpoints = endpoints();
    assert!(endpoints.len() > 45, "{}", endpoints.len());

    let mut faults = Vec::new();
    let mut cells = 0;
    for (table, is_public) in [(PRIVATE, false), (PUBLIC, true)] {
        let public = json!({ "is_public": is_public });
        server
            .send("PATCH", &format!("/collections/{collection}"), Some(&root), Some(&public))
            .ok_json();
        for (name, row) in table {
            let (_, bearer) = everybody.iter().find(|(it, _)| it == name).unwrap();
            let expected: Vec<&str> = row.split_whitespace().collect();
            for endpoint in &endpoints {
                let column = RIGHTS.iter().position(|right| *right == endpoint.right).unwrap();
                let got = answer(&server, endpoint, (&collection, &operation), bearer.as_deref());
                cells += 1;
                if got != expected[column] {
                    let Endpoint { method, path, right, .. } = endpoint;
                    faults.push(format!(
                        "{name}: {method} {path} ({right:?}): {got}, not {}",
                        expected[column]
                    ));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{} of {cells} cells:\n{}", faults.len(), faults.join("\n"));
    // None of the requests changed data.
    assert_eq!(
        server.get(&format!("/collections/{collection}"), Some(&root)).ok_json()["document_count"],
        1
    );
    assert_eq!(place.value("SELECT count(*) FROM operations"), "1");
}
