//! Accounts, sessions and keys: creation, use, expiry and revocation.

use serde_json::json;

use super::server::{PASSWORD, Server};
use crate::support::{TestProject, command, dump, ran, text, wait_for};

#[test]
fn the_first_administrator_is_made_once_however_many_try() {
    let place = TestProject::with_stand_in();
    let server = Server::start(&place);
    let token = server.setup.clone().unwrap();
    let file = place.path().join("setup-token");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert!(!place.value("SELECT token_hash FROM setup_tokens").contains(&token));

    let admin = |name: &str, token: &str| {
        let root = json!({ "token": token, "username": name, "email": format!("{name}@x"), "password": PASSWORD });
        server.post("/setup", None, &root)
    };
    assert_eq!(admin("thief", "guessed").code(), "invalid_credentials");
    let made: Vec<u16> = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..8)
            .map(|n| {
                let (admin, token) = (&admin, &token);
                scope.spawn(move || admin(&format!("root{n}"), token).status)
            })
            .collect();
        tries.into_iter().map(|it| it.join().unwrap()).collect()
    });
    assert_eq!(made.iter().filter(|status| **status == 201).count(), 1, "{made:?}");
    assert_eq!(made.iter().filter(|status| **status == 401).count(), 7, "{made:?}");
    assert_eq!(place.value("SELECT count(*) FROM users WHERE is_superuser"), "1");
    drop(server);
    assert_eq!(Server::start(&place).setup, None, "the server has an administrator now");
}

#[test]
fn a_session_goes_on_by_refreshing_and_ends_when_a_spent_token_comes_again() {
    let place = TestProject::with_stand_in();
    let server = Server::start(&place);
    server.set_up();
    let refresh = |token: &serde_json::Value| {
        server.post("/sessions/refresh", None, &json!({ "refresh_token": token }))
    };
    let first = server.session("root");
    let second = refresh(&first["refresh_token"]).ok_json();
    assert_ne!(first["refresh_token"], second["refresh_token"]);
    let third = refresh(&second["refresh_token"]).ok_json();
    let access = text(&third["access_token"]);
    assert_eq!(server.get("/users/me", Some(&access)).status, 200);

    // The first token was copied. The server cannot tell the owner from the thief, so it ends the
    // session.
    assert_eq!(refresh(&first["refresh_token"]).code(), "invalid_credentials");
    assert_eq!(refresh(&third["refresh_token"]).code(), "invalid_credentials");
    assert_eq!(server.get("/users/me", Some(&access)).code(), "invalid_credentials");
    let log = server.get("/audit", Some(&server.log_in("root"))).ok_json();
    let actions: Vec<_> =
        log["items"].as_array().unwrap().iter().map(|it| text(&it["action"])).collect();
    assert_eq!(actions, ["login", "refresh_token_reused", "login", "login", "user_created"]);
    assert_eq!(log["items"][1]["ip_address"], "127.0.0.1");
    assert!(text(&log["items"][1]["user_agent"]).starts_with("ureq/"));

    // Of concurrent refreshes with one token at most one succeeds, and the session ends.
    let session = server.session("root");
    let good: usize = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..6)
            .map(|_| scope.spawn(|| refresh(&session["refresh_token"]).status == 200))
            .collect();
        tries.into_iter().map(|it| usize::from(it.join().unwrap())).sum()
    });
    assert_eq!(good, 1);
    let access = text(&session["access_token"]);
    assert_eq!(server.get("/users/me", Some(&access)).status, 401);
}

#[test]
fn passwords_are_changed_and_what_was_let_in_by_the_old_one_is_out() {
    let place = TestProject::with_stand_in();
    let server = Server::start(&place);
    let root = server.set_up();
    let ada = server.user(&root, "ada");
    let key = text(&server.key(&ada, &["read"])["secret"]);
    let change = |current: &str, new: &str, token: &str| {
        server.post("/users/me/password", Some(token), &json!({ "current": current, "new": new }))
    };
    assert_eq!(change("wrong", "a new long password", &ada).code(), "invalid_body");
    assert_eq!(change(PASSWORD, "short", &ada).code(), "invalid_body");
    assert_eq!(change(PASSWORD, "a new long password", &key).code(), "session_required");
    change(PASSWORD, "a new long password", &ada).ok_json();
    assert_eq!(server.get("/users/me", Some(&ada)).code(), "invalid_credentials");
    let login = |password: &str| {
        server.post("/sessions", None, &json!({ "username": "ada", "password": password }))
    };
    assert_eq!(login(PASSWORD).code(), "invalid_credentials");
    login("a new long password").ok_json();

    // The built-in account has no login and cannot be changed.
    for password in ["!", "", "local"] {
        let local = json!({ "username": "local", "password": password });
        assert_eq!(server.post("/sessions", None, &local).code(), "invalid_credentials");
    }
    let path = "/users/00000000-0000-0000-0000-000000000001";
    let set = json!({ "password": "a new long password" });
    assert_eq!(
        server.send("PUT", &format!("{path}/password"), Some(&root), Some(&set)).status,
        404
    );
    let up = json!({ "is_superuser": true });
    assert_eq!(server.send("PATCH", path, Some(&root), Some(&up)).status, 404);
    // The last administrator must keep its rights.
    let me = text(&server.get("/users/me", Some(&root)).ok_json()["id"]);
    let off = json!({ "is_active": false });
    assert_eq!(
        server.send("PATCH", &format!("/users/{me}"), Some(&root), Some(&off)).code(),
        "conflict"
    );
    let taken = json!({ "username": "ada", "email": "other@x", "password": PASSWORD });
    assert_eq!(server.post("/users", Some(&root), &taken).code(), "conflict");
}

#[test]
fn a_collection_is_handed_over_by_its_owner_alone() {
    let place = TestProject::with_stand_in();
    let server = Server::start(&place);
    let root = server.set_up();
    let (ada, grace) = (server.user(&root, "ada"), server.user(&root, "grace"));
    let path = format!("/collections/{}", server.collection(&root));
    let change = |token: &str, change: serde_json::Value| {
        server.send("PATCH", &path, Some(token), Some(&change))
    };
    let hand_over = |token: &str, to: &str| change(token, json!({ "owner": to }));
    let right = |token: &str| server.get(&path, Some(token)).ok_json()["right"].clone();

    // Administrators may transfer collections of the built-in account.
    assert_eq!(hand_over(&ada, "ada").status, 404, "the collection must be invisible");
    assert_eq!(hand_over(&root, "ada").ok_json()["owner"], "ada");
    assert_eq!(right(&ada), "owner");

    // Admin rights on a collection do not include its transfer.
    let grant = json!({ "user": "grace", "permission": "admin" });
    server.post(&format!("{path}/grants"), Some(&ada), &grant).ok_json();
    change(&grace, json!({ "description": "what it is about" })).ok_json();
    let refused = hand_over(&grace, "grace");
    assert_eq!((refused.status, refused.code().as_str()), (403, "forbidden"));

    // An account cannot own two collections of one name, and the new owner must exist.
    place.execute(
        "INSERT INTO collections (name, owner_id, vector_store_name, embedding_model, quantization, chunk_size,
                                  chunk_overlap, qdrant_collections)
         SELECT c.name, u.id, 'another', c.embedding_model, c.quantization, c.chunk_size, c.chunk_overlap, '[]'
         FROM collections c, users u WHERE u.username = 'grace'",
    );
    let refused = hand_over(&ada, "grace");
    assert_eq!((refused.status, refused.code().as_str()), (409, "conflict"));
    assert_eq!(refused.json()["detail"], "the new owner has a collection of this name already");
    assert_eq!(hand_over(&ada, "nobody").code(), "invalid_body");
    assert_eq!(right(&ada), "owner");
    place.execute("DELETE FROM collections WHERE vector_store_name = 'another'");

    // The old owner loses access after the transfer; the grant of the new owner is superseded by
    // ownership.
    assert_eq!(hand_over(&ada, "grace").ok_json()["owner"], "grace");
    assert_eq!(server.get(&path, Some(&ada)).status, 404);
    assert_eq!(hand_over(&ada, "ada").status, 404);
    assert_eq!(right(&grace), "owner");
    let log = server.get(&format!("{path}/audit"), Some(&grace)).ok_json();
    let entry = &log["items"][0];
    assert_eq!((&entry["action"], &entry["by"]), (&json!("collection_changed"), &json!("ada")));
    let id = &server.get("/users/me", Some(&grace)).ok_json()["id"];
    assert_eq!((&entry["details"]["owner"], &entry["ip_address"]), (id, &json!("127.0.0.1")));
    assert!(text(&entry["user_agent"]).starts_with("ureq/"));
}

#[test]
fn a_key_is_shown_once_and_notes_its_use() {
    let place = TestProject::with_stand_in();
    let server = Server::start(&place);
    let root = server.set_up();
    let key = server.key(&root, &["read"]);
    let secret = text(&key["secret"]);
    assert!(secret.starts_with(&format!("{}_", text(&key["prefix"]))), "{key}");
    let list = server.get("/keys", Some(&root));
    assert!(!list.text.contains(&secret) && list.ok_json()["items"][0]["last_used_at"].is_null());
    server.get("/users/me", Some(&secret)).ok_json();
    assert!(!server.get("/keys", Some(&root)).ok_json()["items"][0]["last_used_at"].is_null());
    let stored = place.execute("SELECT * FROM api_keys");
    assert!(!stored.contains(&secret[13..]), "only its digest may be stored: {stored}");
    for bad in [
        json!({ "name": "x", "scopes": [] }),
        json!({ "name": "", "scopes": ["read"] }),
        json!({ "name": "x", "scopes": ["everything"] }),
        json!({ "name": "x", "scopes": ["read"], "expires_at": "2001-01-01T00:00:00Z" }),
        json!({ "name": "x", "scopes": ["read"], "expires_at": "9001-01-01T00:00:00Z" }),
        json!({ "name": "x\u{0}", "scopes": ["read"] }),
    ] {
        assert_eq!(server.post("/keys", Some(&root), &bad).code(), "invalid_body", "{bad}");
    }
}

#[test]
fn secrets_are_in_no_log_and_no_table() {
    let place = TestProject::with_stand_in();
    let server = Server::start(&place);
    let setup = server.setup.clone().unwrap();
    let root = server.set_up();
    let session = server.session("root");
    let key = text(&server.key(&root, &["admin"])["secret"]);
    let refresh = text(&session["refresh_token"]);
    // Also in places where a client may put a secret by mistake.
    server.get(&format!("/search?q={key}"), Some(&key));
    server.get(&format!("/{key}?token={refresh}"), Some(&refresh));
    server.post("/sessions", None, &json!({ "username": "root", "password": { "x": PASSWORD } }));
    server.post("/sessions", None, &json!({ "username": PASSWORD, "password": PASSWORD }));
    server.send_raw(
        "POST",
        "/sessions",
        None,
        &[("content-type", "application/json")],
        Some(PASSWORD.into()),
    );
    let (status, said) = server.stop();
    assert!(status.success() || status.code() == Some(128 + 15), "{status:?}");
    let dump = dump(place.url());
    assert!(dump.contains("api_keys") && said.contains("answered"));
    for secret in [setup, text(&session["access_token"]), refresh, PASSWORD.to_owned()] {
        assert!(!said.contains(&secret), "the log contains {secret}: {said}");
        assert!(!dump.contains(&secret), "the database contains {secret}");
    }
    // Unknown paths are logged unchanged, so a key in such a path is in the log.
    assert!(!dump.contains(&key));
}

#[test]
fn who_has_the_database_at_hand_lets_people_in() {
    let place = TestProject::with_stand_in();
    let entered = |command: &mut std::process::Command, password: &str| {
        use std::io::Write as _;
        let mut child = command
            .current_dir(place.path())
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(format!("{password}\n").as_bytes()).unwrap();
        drop(stdin);
        ran(child.wait_with_output().unwrap())
    };
    let typed = |args: &[&str], password: &str| {
        let words = [&["users", args[0], "pipeline.yaml"], &args[1..]].concat();
        entered(&mut command(&words), password)
    };
    let made = typed(&["add", "root", "--email", "root@here", "--superuser"], PASSWORD);
    assert_eq!(made.stdout, "created account `root`\n", "{}", made.stderr);
    assert_eq!(typed(&["add", "ada", "--email", "ada@here"], "short").code, 1);
    let server = Server::start(&place);
    assert_eq!(server.setup, None);
    let root = server.log_in("root");
    let changed = typed(&["password", "root"], "quite another password");
    assert_eq!(changed.code, 0, "{}", changed.stderr);
    let login = json!({ "username": "root", "password": "quite another password" });
    server.post("/sessions", None, &login).ok_json();
    // Changes by another process take effect within seconds.
    wait_for("the end of the old session", || {
        (server.get("/users/me", Some(&root)).status == 401).then_some(())
    });
    assert_eq!(typed(&["password", "local"], "quite another password").code, 1);
    // A URL takes the place of the file.
    let url = place.url().to_owned();
    let by_option = ["users", "password", "--url", &url, "root"];
    let changed = entered(&mut command(&by_option), "a third long password");
    assert_eq!(changed.code, 0, "{}", changed.stderr);
    let mut by_variable = command(&["users", "password", "root"]);
    let changed = entered(by_variable.env("DATABASE_URL", &url), "a fourth long password");
    assert_eq!(changed.code, 0, "{}", changed.stderr);
    let list = typed(&["list"], "").stdout;
    assert!(list.contains("root@here") && !list.contains("ada"), "{list}");
}
