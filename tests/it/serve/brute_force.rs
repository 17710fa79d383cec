//! Guessing of passwords and keys is slowed down without locking out the owner.

use serde_json::json;

use super::server::{HttpReply, PASSWORD, Server};
use crate::support::{TestProject, text, wait_for};

/// Clients come through a proxy that forwards their addresses, without rate limits: only the limits
/// on failed attempts apply.
const BEHIND_PROXY: [&str; 12] = [
    "--trusted-proxy",
    "127.0.0.0/8",
    "--rate",
    "login=0",
    "--rate",
    "look=0",
    "--rate",
    "change=0",
    "--rate",
    "search=0",
    "--rate",
    "light=0",
];

fn log_in(server: &Server, from: &str, name: &str, password: &str) -> HttpReply {
    let headers = [("x-forwarded-for", from), ("content-type", "application/json")];
    let body = json!({ "username": name, "password": password }).to_string();
    server.send_raw("POST", "/sessions", None, &headers, Some(body.into_bytes()))
}

#[test]
fn guessing_elsewhere_does_not_keep_the_owner_of_an_account_out() {
    let place = TestProject::with_stand_in();
    let server = Server::start_with_args(&place, &BEHIND_PROXY);
    server.set_up();
    let home = "198.51.100.7";
    assert_eq!(log_in(&server, home, "root", PASSWORD).status, 201);
    let guess = |server: &Server| {
        // Until logins are delayed by seconds.
        let mut addresses = (0..8).cycle();
        wait_for("delayed guesses", || {
            let from = format!("203.0.113.{}", addresses.next().unwrap());
            let reply = log_in(server, &from, "root", "a wrong password");
            reply.header("retry-after").parse().is_ok_and(|wait: u64| wait >= 4).then_some(())
        });
        // From an unknown address the owner is delayed too.
        let elsewhere = log_in(server, "192.0.2.1", "root", PASSWORD);
        assert_eq!((elsewhere.status, elsewhere.code().as_str()), (429, "rate_limited"));
        let home = log_in(server, home, "root", PASSWORD);
        assert_eq!(home.status, 201, "{home:?}");
    };
    guess(&server);
    server.stop();
    // The state is shared with other processes.
    let server = Server::start_with_args(&place, &BEHIND_PROXY);
    guess(&server);
}

#[test]
fn guesses_that_come_at_once_are_counted_before_they_are_checked() {
    let place = TestProject::with_stand_in();
    let server = Server::start_with_args(&place, &BEHIND_PROXY);
    server.set_up();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..40)
            .map(|n| {
                let server = &server;
                let from = format!("203.0.113.{n}");
                scope.spawn(move || log_in(server, &from, "root", "a wrong password").status)
            })
            .collect();
        tries.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let count = |status: u16| statuses.iter().filter(|it| **it == status).count();
    assert_eq!(count(401) + count(429), 40, "{statuses:?}");
    // Five failures are free; then the delays are 1, 2, 4, … seconds, independent of the speed of
    // the machine.
    assert!((5..=12).contains(&count(401)), "{statuses:?}");
    let failed = "SELECT count(*) FROM account_audit_log WHERE action = 'login_failed'";
    assert_eq!(place.value(failed), count(401).to_string());
}

#[test]
fn who_has_tried_too_many_keys_costs_the_database_nothing() {
    let place = TestProject::with_stand_in();
    let server = Server::start_with_args(&place, &["--rate", "login=0.001:20"]);
    let root = server.set_up();
    let key = |n: usize| format!("smk_abcdefgh_{n:043}");
    let good = text(&server.key(&root, &["read"])["secret"]);
    server.get("/users/me", Some(&good)).ok_json();
    let over = (0..40).find(|n| server.get("/users/me", Some(&key(*n))).status == 429);
    assert!(over.is_some_and(|n| n >= 10), "{over:?}");

    // No query can read keys now, so an answered request did not look up its key.
    let mut lock = place.session();
    lock.execute("LOCK TABLE api_keys IN ACCESS EXCLUSIVE MODE");
    for n in 100..110 {
        let refused = server.get("/users/me", Some(&key(n)));
        assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limited"));
        assert!(!refused.header("retry-after").is_empty());
    }
    // Other clients at this address are not affected: a session works immediately, a valid key once
    // lookups work again.
    server.get("/users/me", Some(&root)).ok_json();
    drop(lock);
    server.get("/users/me", Some(&good)).ok_json();
}
