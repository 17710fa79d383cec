//! The audit log has an entry for every change, with the action, the address and the client
//! program.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use server::endpoints;

use super::server::{PASSWORD, Server};
use super::{browsers, limits};
use crate::support::{TestProject, text};

/// Endpoints without an audit entry: searches with a body, and session refreshes. A reused refresh
/// token ends its session, which is logged.
const NO_CHANGES: [&str; 4] = [
    "post /search",
    "post /search/facets",
    "post /sessions/browser/token",
    "post /sessions/refresh",
];

/// The entries of both logs as they are inserted; entries of a collection are deleted with it.
const AUDIT_ENTRIES: &str = "
    CREATE TABLE public.noted (action text, ip_address text, user_agent text);
    CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN
        INSERT INTO public.noted VALUES (NEW.action, NEW.ip_address, NEW.user_agent);
        RETURN NULL;
    END $$;
    CREATE TRIGGER note AFTER INSERT ON collection_audit_log FOR EACH ROW EXECUTE FUNCTION public.note();
    CREATE TRIGGER note AFTER INSERT ON account_audit_log FOR EACH ROW EXECUTE FUNCTION public.note();";

/// A client that checks after each change that the audit log has an entry.
struct AuditedClient<'a> {
    place: &'a TestProject,
    server: &'a Server,
    token: String,
    /// The endpoints that were used, named as in [`NO_CHANGES`].
    used: BTreeSet<String>,
}

impl AuditedClient<'_> {
    /// Sends a request to an endpoint with these ids in its path; returns the response.
    fn change(&mut self, endpoint: &str, ids: &[&str], body: &Value, action: &str) -> Value {
        let (method, path) = endpoint.split_once(' ').unwrap();
        self.used.insert(endpoint.to_owned());
        let mut ids = ids.iter();
        let parts = path.split('/').map(|part| match part.starts_with('{') {
            true => *ids.next().unwrap_or_else(|| panic!("{endpoint} needs another id")),
            false => part,
        });
        let path = parts.collect::<Vec<_>>().join("/") + "?confirm=test";
        let before = self.noted(action);
        let bearer = Some(self.token.as_str()).filter(|token| !token.is_empty());
        let body = Some(body).filter(|_| method != "delete");
        let reply = self.server.send(&method.to_uppercase(), &path, bearer, body);
        let said = reply.ok_json();
        assert!(self.noted(action) > before, "{endpoint} must have an entry `{action}`");
        said
    }

    /// The number of entries of an action from this address and program.
    fn noted(&self, action: &str) -> u32 {
        let count = self.place.value(&format!(
            "SELECT count(*) FROM noted
             WHERE action = '{action}' AND ip_address = '127.0.0.1' AND user_agent LIKE 'ureq/%'"
        ));
        count.parse().unwrap()
    }

    /// Requests an operation and waits for its end; returns its final status.
    fn operate(&mut self, endpoint: &str, ids: &[&str], body: &Value) -> Value {
        let asked = self.change(endpoint, ids, body, "operation_requested");
        self.server.wait_for_operation(&self.token, &asked["operation"])["status"].clone()
    }
}

#[test]
fn every_change_is_on_record_with_where_it_came_from() {
    let place = TestProject::with_stand_in();
    place.write("a.txt", "a document");
    let server = Server::start(&place);
    place.execute(AUDIT_ENTRIES);
    let (token, used) = (String::new(), BTreeSet::new());
    let mut by = AuditedClient { place: &place, server: &server, token, used };

    let setup = server.setup.as_ref().unwrap();
    let root =
        json!({ "token": setup, "username": "root", "email": "root@here", "password": PASSWORD });
    by.change("post /setup", &[], &root, "user_created");
    let login = json!({ "username": "root", "password": PASSWORD });
    let session = by.change("post /sessions", &[], &login, "login");
    let ended = json!({ "refresh_token": session["refresh_token"] });
    by.change("post /sessions/logout", &[], &ended, "logout");
    let wrong = json!({ "username": "root", "password": "not the password" });
    let before = by.noted("login_failed");
    assert_eq!(server.post("/sessions", None, &wrong).status, 401);
    assert_eq!(by.noted("login_failed"), before + 1);

    in_a_browser(&mut by);
    by.token = server.log_in("root");
    accounts(&mut by);
    collections(&mut by);
    let own = json!({ "current": PASSWORD, "new": "a new long password" });
    by.change("post /users/me/password", &[], &own, "password_changed");

    let changing = endpoints().into_iter().filter(|it| it.method != "get");
    let named =
        changing.map(|it| format!("{} {}", it.method, it.path.strip_prefix("/api/v1").unwrap()));
    let left: Vec<String> =
        named.filter(|it| !by.used.contains(it) && !NO_CHANGES.contains(&it.as_str())).collect();
    assert!(left.is_empty(), "endpoints without a check of their audit entry: {left:?}");
}

/// Logs in and out like the web UI, with its headers and cookie.
fn in_a_browser(by: &mut AuditedClient<'_>) {
    let (logins, logouts) = (by.noted("login"), by.noted("logout"));
    let (_, cookie) = browsers::logged_in(by.server, "root", &browsers::OWN_PAGE);
    assert!(by.noted("login") > logins);
    let cookie = browsers::cookie_pair(&cookie);
    let path = "/sessions/browser";
    let out = browsers::send_with_cookie(
        by.server,
        "DELETE",
        path,
        Some(&cookie),
        &browsers::OWN_PAGE,
        None,
    );
    assert_eq!(out.status, 204, "{out:?}");
    assert!(by.noted("logout") > logouts);
    by.used.extend(["post", "delete"].map(|method| format!("{method} {path}")));
}

fn accounts(by: &mut AuditedClient<'_>) {
    by.change("patch /users/me", &[], &json!({ "full_name": "Root" }), "user_changed");
    let ada = json!({ "username": "ada", "email": "ada@here", "password": PASSWORD });
    let ada = text(&by.change("post /users", &[], &ada, "user_created")["id"]);
    let named = json!({ "full_name": "Ada" });
    by.change("patch /users/{user}", &[&ada], &named, "user_changed");
    let password = json!({ "password": "a new long password" });
    by.change("put /users/{user}/password", &[&ada], &password, "password_changed");
    let key = json!({ "name": "a key", "scopes": ["read"] });
    let key = text(&by.change("post /keys", &[], &key, "key_created")["id"]);
    by.change("delete /keys/{key}", &[&key], &json!({}), "key_revoked");
}

fn collections(by: &mut AuditedClient<'_>) {
    let (server, place) = (by.server, by.place);
    let id = server.collection(&by.token);
    let base = format!("/collections/{id}");
    let about = json!({ "description": "what it is about" });
    by.change("patch /collections/{collection}", &[&id], &about, "collection_changed");
    let limits = json!({
        "max_documents": 9, "max_storage_gb": 1.0, "max_operations_per_hour": 99, "max_sources": 5,
    });
    by.change("put /collections/{collection}/limits", &[&id], &limits, "limits_changed");
    let grant = json!({ "user": "ada", "permission": "read" });
    let given = by.change("post /collections/{collection}/grants", &[&id], &grant, "grant_given");
    let grant = text(&given["id"]);
    let taken = "delete /collections/{collection}/grants/{grant}";
    by.change(taken, &[&id, &grant], &json!({}), "grant_taken");

    // While one operation is blocked, the next one waits and is cancelled.
    let (start, nothing) = ("post /collections/{collection}/operations", json!({}));
    let gate = place.gate("documents", "TRUE");
    let held = by.change(start, &[&id], &json!({ "type": "append" }), "operation_requested");
    place.wait_at_gate();
    let stopped = by.change(start, &[&id], &json!({ "type": "reindex" }), "operation_requested");
    let operation = text(&stopped["operation"]);
    let cancel = "post /operations/{operation}/cancel";
    by.change(cancel, &[&operation], &nothing, "operation_cancel_requested");
    drop(gate);
    assert_eq!(server.wait_for_operation(&by.token, &stopped["operation"])["status"], "cancelled");
    assert_eq!(server.wait_for_operation(&by.token, &held["operation"])["status"], "completed");

    let documents = server.get(&format!("{base}/documents"), Some(&by.token)).ok_json();
    let document = text(&documents["items"][0]["id"]);
    let one = "/collections/{collection}/documents/{document}";
    assert_eq!(by.operate(&format!("delete {one}"), &[&id, &document], &nothing), "completed");
    let undelete = format!("post {one}/undelete");
    assert_eq!(by.operate(&undelete, &[&id, &document], &nothing), "completed");

    let sources = server.get(&format!("{base}/sources"), Some(&by.token)).ok_json();
    let source = text(&sources[0]["id"]);
    let remove = "delete /collections/{collection}/sources/{source}";
    assert_eq!(by.operate(remove, &[&id, &source], &nothing), "completed");
    by.change("delete /collections/{collection}", &[&id], &nothing, "operation_requested");
    place.wait_until("SELECT NOT EXISTS (SELECT FROM collections)");
}

#[test]
fn records_of_a_deleted_collection_are_for_its_owner_and_administrators() {
    let place = TestProject::with_stand_in();
    place.write("a.txt", "a document");
    let (server, root, owner) = limits::owned(&place);
    let (reader, stranger) = (server.user(&root, "reader"), server.user(&root, "stranger"));
    let id = server.collection(&owner);
    let base = format!("/collections/{id}");
    let grant = json!({ "user": "reader", "permission": "admin" });
    server.post(&format!("{base}/grants"), Some(&owner), &grant).ok_json();
    let key = |scope: &str| text(&server.key(&owner, &[scope])["secret"]);
    let (reading, administering) = (key("read"), key("admin"));
    let deleted =
        server.send("DELETE", &format!("{base}?confirm=test"), Some(&owner), None).ok_json();
    let deletion = server.wait_for_operation(&owner, &deleted["operation"]);
    place.wait_until("SELECT NOT EXISTS (SELECT FROM collections)");

    let (operation, audit) = (text(&deleted["href"]), format!("{base}/audit"));
    for (who, bearer, expected) in [
        ("the owner", Some(&owner), [200, 200]),
        ("an administrator", Some(&root), [200, 200]),
        ("the owner's key: read", Some(&reading), [200, 403]),
        ("the owner's key: admin", Some(&administering), [200, 200]),
        ("an account that had a grant", Some(&reader), [404, 404]),
        ("a stranger", Some(&stranger), [404, 404]),
        ("anonymous", None, [404, 404]),
    ] {
        let bearer = bearer.map(String::as_str);
        let got = [&operation, &audit].map(|path| server.get(path, bearer).status);
        assert_eq!(got, expected, "{who}");
    }
    assert_eq!(deletion["type"], "delete", "{deletion}");
    let entries = server.get(&audit, Some(&owner)).ok_json();
    let actions: Vec<String> =
        entries["items"].as_array().unwrap().iter().map(|it| text(&it["action"])).collect();
    assert!(actions.contains(&"collection_deleted".to_owned()), "{actions:?}");
    // All other resources are deleted with the collection, and an unknown id has no entries.
    assert_eq!(server.get(&base, Some(&owner)).status, 404);
    let unknown = "/collections/00000000-0000-4000-8000-000000000000/audit";
    assert_eq!(server.get(unknown, Some(&root)).status, 404);
}
