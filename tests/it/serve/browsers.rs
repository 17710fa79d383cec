//! Browser sessions over HTTP: attributes of the cookie, checks of the request origin, scope of the
//! cookie and its expiry.

use serde_json::{Value, json};

use super::server::{HttpReply, PASSWORD, Server};
use crate::support::{TestProject, text};

/// Headers that the web UI sends.
pub(super) const OWN_PAGE: [(&str, &str); 2] =
    [("x-semantik-csrf", "1"), ("sec-fetch-site", "same-origin")];

/// Sends a request with this cookie and these headers, like a browser.
pub(super) fn send_with_cookie(
    server: &Server,
    method: &str,
    path: &str,
    cookie: Option<&str>,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> HttpReply {
    let mut headers = headers.to_vec();
    headers.extend(cookie.map(|cookie| ("cookie", cookie)));
    headers.extend(body.map(|_| ("content-type", "application/json")));
    let body = body.map(|body| serde_json::to_vec(body).unwrap());
    server.send_raw(method, path, None, &headers, body)
}

/// Logs in like the web UI; returns the session, and the cookie with its attributes.
pub(super) fn logged_in(server: &Server, name: &str, headers: &[(&str, &str)]) -> (Value, String) {
    let login = json!({ "username": name, "password": PASSWORD });
    let reply = send_with_cookie(server, "POST", "/sessions/browser", None, headers, Some(&login));
    let cookie = reply.header("set-cookie").to_owned();
    (reply.ok_json(), cookie)
}

/// The cookie as sent back, without attributes.
pub(super) fn cookie_pair(cookie: &str) -> String {
    cookie.split(';').next().unwrap().to_owned()
}

fn resumed(server: &Server, cookie: &str) -> HttpReply {
    send_with_cookie(server, "POST", "/sessions/browser/token", Some(cookie), &OWN_PAGE, None)
}

#[test]
fn any_number_of_tabs_goes_on_by_one_cookie_until_one_logs_out() {
    let place = TestProject::with_stand_in();
    let server = Server::start(&place);
    let root = server.set_up();
    let (session, cookie) = logged_in(&server, "root", &OWN_PAGE);
    for attribute in ["; HttpOnly", "; SameSite=Strict", "; Path=/"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(!cookie.contains("Secure") && !cookie.contains("Domain"), "{cookie}");
    assert!(session.get("refresh_token").is_none(), "{session}");
    let cookie = cookie_pair(&cookie);
    let (name, credential) = cookie.split_once('=').unwrap();
    assert!(!session.to_string().contains(credential), "the credential must be in the cookie only");
    let port = server.url.rsplit(':').next().unwrap();
    assert_eq!(name, format!("semantik-session-{port}"));
    let digests = place.value("SELECT string_agg(token_hash, ' ') FROM refresh_tokens");
    assert!(!digests.contains(credential), "only its digest may be stored");

    // Concurrently and repeatedly.
    let tokens: Vec<String> = std::thread::scope(|scope| {
        let tabs: Vec<_> =
            (0..8).map(|_| scope.spawn(|| resumed(&server, &cookie).ok_json())).collect();
        tabs.into_iter().map(|it| text(&it.join().unwrap()["access_token"])).collect()
    });
    assert!(tokens.iter().all(|token| server.get("/users/me", Some(token)).status == 200));

    // The cookie is not a valid refresh token, and the attempt does not end the session.
    let refresh = json!({ "refresh_token": credential });
    assert_eq!(server.post("/sessions/refresh", None, &refresh).code(), "invalid_credentials");
    assert_eq!(resumed(&server, &cookie).status, 200);

    // Logout ends the session in every tab, including access tokens, and keeps other sessions.
    let out =
        send_with_cookie(&server, "DELETE", "/sessions/browser", Some(&cookie), &OWN_PAGE, None);
    assert_eq!(out.status, 204, "{out:?}");
    assert!(out.header("set-cookie").starts_with(&format!("{name}=; ")), "{out:?}");
    assert!(out.header("set-cookie").contains("Max-Age=0"), "{out:?}");
    let gone = resumed(&server, &cookie);
    assert_eq!((gone.status, gone.text.as_str()), (204, ""));
    assert!(gone.header("set-cookie").contains("Max-Age=0"), "the cookie must be removed");
    for token in &tokens {
        assert_eq!(server.get("/users/me", Some(token)).code(), "invalid_credentials");
    }
    assert_eq!(server.get("/users/me", Some(&root)).status, 200);
    assert_eq!(
        send_with_cookie(&server, "DELETE", "/sessions/browser", None, &OWN_PAGE, None).status,
        204
    );
}

#[test]
fn the_cookie_gives_no_right_by_itself_and_none_to_another_origin() {
    let place = TestProject::with_stand_in();
    let server = Server::start_with_args(
        &place,
        &["--rate", "login=0", "--rate", "look=0", "--cors-origin", "https://friend.example"],
    );
    server.set_up();
    let (_, cookie) = logged_in(&server, "root", &OWN_PAGE);
    let cookie = cookie_pair(&cookie);

    // All other endpoints ignore the cookie, also in requests of the web UI.
    for (method, path) in [
        ("GET", "/users/me"),
        ("GET", "/users"),
        ("GET", "/audit"),
        ("GET", "/keys"),
        ("POST", "/keys"),
        ("POST", "/users"),
        ("PATCH", "/users/me"),
    ] {
        let body = json!({});
        let body = (method != "GET").then_some(&body);
        let reply = send_with_cookie(&server, method, path, Some(&cookie), &OWN_PAGE, body);
        assert_eq!((reply.status, reply.code().as_str()), (401, "unauthenticated"), "{path}");
    }

    let host = server.url.trim_start_matches("http://");
    let own = format!("http://{host}");
    let other = "http://127.0.0.1:1";
    let csrf = ("x-semantik-csrf", "1");
    let refused: &[&[(&str, &str)]] = &[
        &[],
        &[csrf],
        &[("origin", &own)],
        &[("sec-fetch-site", "same-origin")],
        &[csrf, ("origin", other)],
        &[csrf, ("origin", "null")],
        &[csrf, ("origin", "https://friend.example")],
        &[csrf, ("sec-fetch-site", "same-site"), ("origin", &own)],
        &[csrf, ("sec-fetch-site", "cross-site"), ("origin", "https://friend.example")],
        &[csrf, ("sec-fetch-site", "none")],
        &[csrf, ("origin", &own), ("host", "rebound.example")],
    ];
    let login = json!({ "username": "root", "password": PASSWORD });
    for headers in refused {
        for (method, path, body) in [
            ("POST", "/sessions/browser/token", None),
            ("DELETE", "/sessions/browser", None),
            ("POST", "/sessions/browser", Some(&login)),
        ] {
            let reply = send_with_cookie(&server, method, path, Some(&cookie), headers, body);
            // A host name of another server may be rejected earlier.
            let is_rebound = headers.iter().any(|(name, _)| *name == "host");
            let is_refused =
                reply.status == 403 || (is_rebound && (400..500).contains(&reply.status));
            assert!(is_refused, "{method} {path} {headers:?}: {reply:?}");
            assert_eq!(reply.header("set-cookie"), "", "{method} {path} {headers:?}");
        }
    }
    // Pages of other origins may use the API with their own token, but not the session endpoints.
    let ask = [
        ("origin", "https://friend.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "x-semantik-csrf"),
    ];
    let preflight =
        send_with_cookie(&server, "OPTIONS", "/sessions/browser/token", None, &ask, None);
    assert_eq!(preflight.header("access-control-allow-origin"), "https://friend.example");
    assert!(!preflight.header("access-control-allow-headers").contains("csrf"), "{preflight:?}");
    assert_eq!(preflight.header("access-control-allow-credentials"), "", "{preflight:?}");

    // The session is still valid, and an Origin header alone is sufficient.
    let by_origin = [csrf, ("origin", own.as_str())];
    let resumed = send_with_cookie(
        &server,
        "POST",
        "/sessions/browser/token",
        Some(&cookie),
        &by_origin,
        None,
    );
    assert_eq!(resumed.ok_json()["user"]["username"], "root");
}

#[test]
fn whatever_ends_sessions_ends_those_of_browsers() {
    let place = TestProject::with_stand_in();
    let server = Server::start(&place);
    let root = server.set_up();
    server.user(&root, "grace");
    let id = text(
        &server.get("/users", Some(&root)).ok_json()["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|it| it["username"] == "grace")
            .unwrap()["id"],
    );
    let begun = || cookie_pair(&logged_in(&server, "grace", &OWN_PAGE).1);

    let cookie = begun();
    let other = json!({ "password": "another good password" });
    server.send("PUT", &format!("/users/{id}/password"), Some(&root), Some(&other)).ok_json();
    assert_eq!(resumed(&server, &cookie).status, 204, "after a password change");
    let again = json!({ "password": PASSWORD });
    server.send("PUT", &format!("/users/{id}/password"), Some(&root), Some(&again)).ok_json();

    let cookie = begun();
    let active = |is_active: bool| {
        let change = json!({ "is_active": is_active });
        server.send("PATCH", &format!("/users/{id}"), Some(&root), Some(&change)).ok_json();
    };
    active(false);
    assert_eq!(resumed(&server, &cookie).status, 204, "after the account is disabled");
    active(true);

    // Another login in the same browser ends its previous session.
    let (first, cookie) = logged_in(&server, "grace", &OWN_PAGE);
    let login = json!({ "username": "root", "password": PASSWORD });
    let reply = send_with_cookie(
        &server,
        "POST",
        "/sessions/browser",
        Some(&cookie_pair(&cookie)),
        &OWN_PAGE,
        Some(&login),
    );
    assert_eq!(reply.ok_json()["user"]["username"], "root");
    assert_eq!(resumed(&server, &cookie_pair(&cookie)).status, 204, "the previous session");
    let token = text(&first["access_token"]);
    assert_eq!(server.get("/users/me", Some(&token)).code(), "invalid_credentials");

    // Each use extends the session, up to a fixed last day.
    let cookie = begun();
    let row = "FROM refresh_tokens WHERE is_browser AND NOT is_revoked AND user_id <> \
               (SELECT id FROM users WHERE username = 'root')";
    let left = || -> i64 {
        place
            .value(&format!("SELECT extract(day FROM expires_at - now())::bigint {row}"))
            .parse()
            .unwrap()
    };
    assert_eq!(left(), 29, "a new session lasts thirty days");
    let age = |days: u32, left: u32| {
        place.execute(&format!(
            "UPDATE refresh_tokens SET created_at = now() - interval '{days} days', \
             expires_at = now() + interval '{left} days' WHERE is_browser AND NOT is_revoked"
        ));
    };
    age(20, 10);
    assert_eq!(resumed(&server, &cookie).status, 200);
    assert_eq!(left(), 29, "each use restarts the thirty days");
    age(85, 2);
    assert_eq!(resumed(&server, &cookie).status, 200);
    assert_eq!(left(), 4, "the session is limited to ninety days");
    age(91, 0);
    assert_eq!(resumed(&server, &cookie).status, 204, "after ninety days");
    assert_eq!(server.get("/users/me", Some(&root)).status, 200);
}

#[test]
fn behind_a_proxy_that_speaks_tls_the_cookie_is_for_tls_alone() {
    let place = TestProject::with_stand_in();
    let server = Server::start_with_args(&place, &["--trusted-proxy", "127.0.0.1"]);
    server.set_up();
    let host = server.url.trim_start_matches("http://").to_owned();
    let port = host.rsplit(':').next().unwrap();
    let by_tls = [OWN_PAGE[0], OWN_PAGE[1], ("x-forwarded-proto", "https")];
    let (_, cookie) = logged_in(&server, "root", &by_tls);
    assert!(cookie.starts_with(&format!("__Host-semantik-session-{port}=")), "{cookie}");
    assert!(cookie.ends_with("; Secure"), "{cookie}");
    let cookie = cookie_pair(&cookie);
    let token = |headers: &[(&str, &str)]| {
        send_with_cookie(&server, "POST", "/sessions/browser/token", Some(&cookie), headers, None)
            .status
    };
    assert_eq!(token(&by_tls), 200);
    assert_eq!(token(&OWN_PAGE), 204, "the TLS cookie must be ignored without TLS");
    let (_, plain) =
        logged_in(&server, "root", &[OWN_PAGE[0], OWN_PAGE[1], ("x-forwarded-proto", "http")]);
    assert!(plain.starts_with("semantik-session-") && !plain.contains("Secure"), "{plain}");
}

#[test]
fn the_setup_is_open_until_it_was_used() {
    let place = TestProject::with_stand_in();
    let server = Server::start(&place);
    let is_needed = || server.get("/setup", None).ok_json()["is_needed"].clone();
    assert_eq!(is_needed(), true);
    let root = |token: &str| {
        let root =
            json!({ "token": token, "username": "root", "email": "root@x", "password": PASSWORD });
        server.post("/setup", None, &root)
    };
    let refused = root("guessed");
    assert_eq!(refused.code(), "invalid_credentials");
    assert!(text(&refused.json()["detail"]).contains("the set-up token is wrong"), "{refused:?}");
    assert_eq!(is_needed(), true);
    root(server.setup.as_ref().unwrap()).ok_json();
    assert_eq!(is_needed(), false);
    let refused = root(server.setup.as_ref().unwrap());
    assert!(text(&refused.json()["detail"]).contains("log in"), "{refused:?}");
}

#[test]
fn browsers_are_shown_a_page_where_there_is_nothing_and_programs_a_problem() {
    let place = TestProject::with_stand_in();
    let server = Server::start(&place);
    let asked = |path: &str, accept: &str| {
        let url = format!("{}{path}", server.url);
        let request = ureq::get(url).header("accept", accept);
        let mut answer = request.config().http_status_as_error(false).build().call().unwrap();
        let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
        (answer.status().as_u16(), kind, answer.body_mut().read_to_string().unwrap())
    };
    let (status, kind, page) = asked("/no/such/page", "text/html,*/*;q=0.8");
    assert_eq!((status, kind.as_str()), (404, "text/html; charset=utf-8"));
    assert!(page.starts_with("<!doctype html>"), "{page}");
    for (path, accept) in [
        ("/no/such/page", "*/*"),
        ("/no/such/page", "application/json"),
        ("/api/v1/no/such", "text/html"),
        ("/api/v9", "text/html"),
    ] {
        let (status, kind, said) = asked(path, accept);
        assert_eq!((status, kind.as_str()), (404, "application/problem+json"), "{path} {accept}");
        assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["code"], "not_found", "{path}");
    }
}
