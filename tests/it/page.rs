//! The web UI in a real browser, with a real server and embedded stores. The tests also assert that
//! pages write nothing to the console, send no request to another origin and have no accessibility
//! violations.
//!
//! The documents are those of this repository.

mod administration;
mod documents;
mod mobile;
mod sessions;

use std::path::Path;

use serde_json::{Value, json};

use crate::browser::{Browser, DOWN, ENTER, ESCAPE};
use crate::serve::server::Server;
use crate::support::{ROOT, TestProject, model};

const PASSWORD: &str = "correct horse battery staple";

/// A server on a place, and a browser with its web UI.
struct PageSession {
    place: TestProject,
    server: Server,
    url: String,
    browser: Browser,
}

impl PageSession {
    /// Serves a place and starts a browser.
    fn start(place: TestProject) -> Self {
        Self::start_with_files(place, &[])
    }

    /// Also serves these pipeline files of the place.
    fn start_with_files(place: TestProject, files: &[&str]) -> Self {
        let server = Server::start_with_files(&place, files);
        Self { url: server.url.clone(), place, server, browser: Browser::start() }
    }

    fn stop(&mut self) {
        self.server.kill();
    }

    fn goto(&self, path: &str) {
        self.browser.goto(&format!("{}{path}", self.url));
    }

    /// Creates the first administrator `ada` in the web UI, which also logs in.
    fn set_up(&self) {
        let token = std::fs::read_to_string(self.place.path().join("setup-token")).unwrap();
        self.goto("/setup");
        for (name, text) in [
            ("token", token.trim()),
            ("username", "ada"),
            ("email", "ada@example.org"),
            ("password", PASSWORD),
        ] {
            self.browser.type_into(&format!("input[name={name}]"), text);
        }
        self.browser.press(ENTER);
        self.browser.wait("document.querySelector('.account')?.ariaLabel === 'Account ada'");
    }

    /// Logs in on the login page that is open.
    fn log_in(&self, name: &str) {
        self.browser.type_into("input[name=username]", name);
        self.browser.type_into("input[name=password]", PASSWORD);
        self.browser.press(ENTER);
        let account = format!("Account {name}");
        self.browser
            .wait(&format!("document.querySelector('.account').ariaLabel === {}", json!(account)));
    }

    fn log_out(&self) {
        self.browser.click(".account");
        self.browser.click_text("Log out");
        self.browser.wait("!document.querySelector('.account')");
    }

    /// Asserts that the console is empty and that no request went to another origin.
    fn assert_no_console_output(&self) {
        let said = self.browser.console_messages();
        assert!(said.is_empty(), "{said:#?}");
        self.assert_no_foreign_requests();
    }

    fn assert_no_foreign_requests(&self) {
        for address in self.browser.requested_urls() {
            let is_ours = address.starts_with(&self.url);
            assert!(
                is_ours || ["data:", "about:", "chrome:"].iter().any(|it| address.starts_with(it)),
                "{address}"
            );
        }
    }

    /// Asserts that axe-core finds no WCAG 2.1 AA violation, in light and dark colours.
    fn assert_accessible(&self, what: &str) {
        let axe = std::fs::read_to_string(Path::new(ROOT).join(".cache/axe/axe.min.js"));
        let axe = axe.expect("axe-core is missing; run `.ci/setup chromium`");
        self.browser.run(&format!("if (!window.axe) {{ {axe} }}"));
        for colours in ["light", "dark"] {
            self.browser.prefer_color_scheme(colours);
            let found = self.browser.run_async(
                "axe.run(document, { resultTypes: ['violations'] }).then(it => done(it.violations.map(v =>
                    [v.id, v.help, ...v.nodes.map(n => n.target.join(' ') + ': ' + n.failureSummary)])))",
            );
            assert_eq!(found, json!([]), "{what}, {colours}: {found:#}");
        }
        self.browser.prefer_color_scheme("light");
    }
}

impl Drop for PageSession {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A place with documents of this repository. Chunks are shorter than the default, so that
/// documents have several.
fn repository(embed: &str) -> TestProject {
    let place = TestProject::with_embedding(embed);
    place.write_pipeline(embed, "", "strategy: markdown, size: 96, overlap: 16");
    let docs = Path::new(ROOT).join("docs");
    for name in [
        "lifecycle.md",
        "notifications.md",
        "adr/0005-document-and-location.md",
        "adr/0006-embedded-postgres.md",
    ] {
        place.write(name, std::fs::read(docs.join(name)).unwrap());
    }
    place.write("notes/broken.docx", "this is no zip archive");
    place
}

#[test]
fn a_user_indexes_monitors_and_searches() {
    let visit = PageSession::start(repository(&format!("model: {}", model().display())));
    let browser = &visit.browser;
    visit.set_up();
    visit.goto("/collections");
    browser.wait("document.querySelector('.card')");
    visit.assert_accessible("collections");
    browser.click(".card h2 a");
    browser.wait_for_text("No documents are stored yet");

    // The run is stopped in the middle, so that its live view can be tested.
    let gate = visit.place.gate("documents", "TRUE");
    browser.click_text("Update");
    browser.wait("location.pathname.startsWith('/operations/')");
    visit.place.wait_at_gate();
    browser.wait("document.querySelectorAll('.nodes tbody tr').length === 7");
    browser.wait("document.querySelector('.pill').innerText === 'running'");
    visit.assert_accessible("operation");
    shows_throughput(&visit);
    drop(gate);
    browser.wait("document.querySelector('.pill').innerText === 'completed'");
    browser.wait("document.querySelector('.outcomes .stored strong').innerText === '4'");
    browser.wait("document.querySelector('.outcomes .aside strong').innerText === '1'");
    assert!(browser.text(".feed").contains("broken.docx"), "{}", browser.text(".feed"));
    visit.assert_no_console_output();

    says_so_far(&visit);
    finds_a_passage(&visit);
    goes_by_keys(&visit);
    goes_back_and_forward(&visit);
    narrows_the_search(&visit);
    visit.assert_no_console_output();
}

/// The throughput page while an operation runs, then back to the page of the operation.
fn shows_throughput(visit: &PageSession) {
    let browser = &visit.browser;
    browser.press("gt");
    browser.wait("location.pathname === '/throughput'");
    browser.wait("document.querySelector('.runs .pill').innerText === 'running'");
    browser.wait("document.querySelectorAll('.runs .nodes tbody tr').length === 7");
    browser.wait("document.querySelectorAll('.runs .figure').length === 3");
    // The queue size is known from the first sample; a rate needs two, and the halted run sends no
    // more.
    browser.wait(
        "[...document.querySelectorAll('.runs .figure')].some(it => it.querySelector('.dot') &&
            it.querySelector('.figure-value').innerText !== '–')",
    );
    visit.assert_accessible("throughput of a running operation");
    visit.assert_no_console_output();
    browser.navigate("back");
    browser.wait("location.pathname.startsWith('/operations/')");
    browser.wait("document.querySelector('.pill').innerText === 'running'");
}

/// While sources may produce more, no share of the total is shown. A run is too short to observe
/// this, so the test calls the script.
fn says_so_far(visit: &PageSession) {
    let far = "import('/assets/now/flow.js').then(flow => done([false, true].map(all_seen => {
        const progress = { seen: 8, all_seen, outcomes: { stored: 1, unchanged: 3 } };
        return [flow.farOf(progress, String), flow.shareOf(progress) ?? null];
    })))";
    let said = json!([["4 of 8 documents seen so far", null], ["4 of 8 documents", 0.5]]);
    assert_eq!(visit.browser.run_async(far), said);
}

/// Searches while typing, and opens a passage in its document.
fn finds_a_passage(visit: &PageSession) {
    let browser = &visit.browser;
    visit.goto("/");
    visit.assert_accessible("home");
    browser.press("/");
    for part in ["what happens to a file", " that was rena", "med"] {
        browser.press(part);
    }
    browser.wait(
        "document.querySelectorAll('.hit').length > 2 && location.search.endsWith('renamed')",
    );
    browser.wait("[...document.querySelectorAll('.hit mark')].some(it => it.innerText.toLowerCase().includes('renam'))");
    visit.assert_accessible("hits");
    browser.click(".hit a");
    browser.wait("document.querySelector('.chunk.focal')");
    browser.wait("document.querySelectorAll('.preview .chunk').length > 1");
    // The passage is complete, and its neighbours do not repeat the overlap.
    let text = browser.run("return [...document.querySelectorAll('.preview .chunk')].map(it => it.textContent).join('')");
    let path = browser.text(".preview .path");
    let document = std::fs::read_to_string(path.trim()).unwrap();
    let letters = |text: &str| text.split_whitespace().collect::<String>();
    let (shown, whole) = (letters(text.as_str().unwrap()), letters(&document));
    assert!(!shown.is_empty() && whole.contains(&shown), "{text}\nis missing in\n{document}");
    visit.assert_accessible("passage");
    browser.prefer_color_scheme("dark");
    let dark = browser.run("return getComputedStyle(document.body).backgroundColor");
    browser.prefer_color_scheme("light");
    assert_ne!(dark, browser.run("return getComputedStyle(document.body).backgroundColor"));
}

/// Keyboard navigation through the hits.
fn goes_by_keys(visit: &PageSession) {
    let browser = &visit.browser;
    let focused = "[...document.querySelectorAll('.hit-link')].indexOf(document.activeElement)";
    browser.press(ESCAPE);
    browser.wait("document.querySelector('.preview').hidden");
    browser.press("/");
    browser.wait("document.activeElement.id === 'q'");
    browser.press(&[DOWN, DOWN].concat());
    browser.wait(&format!("{focused} === 1"));
    browser.press(ENTER);
    browser.wait("document.querySelector('.chunk.focal') && location.search.includes('open=')");
    browser.press(DOWN);
    browser.wait("[...document.querySelectorAll('.hit')][2].matches('.current')");
    browser.press(ESCAPE);
    browser.wait(&format!("document.querySelector('.preview').hidden && {focused} === 2"));
    browser.press("?");
    browser.wait(
        "document.querySelector('dialog[open]').innerText.includes('focus the search field')",
    );
    browser.press(ESCAPE);
    browser.wait("!document.querySelector('dialog')");
}

fn goes_back_and_forward(visit: &PageSession) {
    let browser = &visit.browser;
    browser.navigate("back");
    browser.wait("!document.querySelector('.preview').hidden");
    browser.navigate("back");
    browser.wait("document.querySelector('.preview').hidden");
    browser.navigate("forward");
    browser.wait("!document.querySelector('.preview').hidden");
    let before = browser.url();
    browser.navigate("refresh");
    browser.wait("document.querySelector('.chunk.focal')");
    assert_eq!(browser.url(), before, "the address holds the state");
}

/// Filters by mode, by type and by a type without hits.
fn narrows_the_search(visit: &PageSession) {
    let browser = &visit.browser;
    visit.goto("/?q=advisory+lock");
    browser.wait("document.querySelector('.hit')");
    browser.click_text_in("label", "Words");
    browser.wait("location.search.includes('mode=sparse') && document.querySelector('.hit mark')");
    browser.click_text_in("label", "Markdown");
    browser
        .wait("location.search.includes('type=text%2Fmarkdown') && document.querySelector('.hit')");
    visit.goto("/?q=advisory+lock&type=application%2Fpdf");
    browser.wait_for_text("No hit matches the query and all filters");
    browser.click_text("Search without filters");
    browser.wait("document.querySelector('.hit')");
}

#[test]
fn a_user_creates_a_key_deletes_a_document_and_logs_out() {
    let place = repository("model: 'stand-in:16'");
    place.run();
    let visit = PageSession::start(place);
    let browser = &visit.browser;
    visit.set_up();
    is_asked_to_log_in(&visit);
    makes_a_key(&visit);
    takes_a_document_out(&visit);
    looks_at_the_rest(&visit);
    visit.assert_no_console_output();
    visit.log_out();
    visit.goto("/collections");
    browser.wait_for_text("There are no public collections");
    assert_eq!(browser.run("return [localStorage.length, sessionStorage.length]"), json!([0, 0]));
    // The session leaves no usable data behind.
    visit.assert_no_console_output();
}

/// A wrong password gives an error message; a reload keeps the session; the login does not redirect
/// to another origin.
fn is_asked_to_log_in(visit: &PageSession) {
    let browser = &visit.browser;
    visit.log_out();
    visit.goto("/keys");
    browser.wait_for_text("Log in to see the requested page");
    visit.goto("/login?to=%2F%2Fexample.org%2F");
    browser.wait("document.querySelector('.gate')");
    visit.assert_accessible("login");
    browser.type_into("input[name=username]", "ada");
    browser.type_into("input[name=password]", "not the password");
    browser.press(ENTER);
    browser.wait_for_text("Invalid credentials");
    // The browser logs each error response itself.
    assert!(browser.console_messages().iter().all(|it| it.contains("401")));
    browser.navigate("refresh");
    visit.log_in("ada");
    browser.wait("location.pathname === '/'");
    browser.navigate("refresh");
    browser.wait("document.querySelector('.account')");
}

fn makes_a_key(visit: &PageSession) {
    let browser = &visit.browser;
    visit.goto("/keys");
    browser.click_text("New key");
    visit.assert_accessible("new key");
    browser.type_into("dialog input[name=name]", "nightly report");
    browser.click("dialog input[value=read]");
    browser.press(ENTER);
    browser.wait("document.querySelector('#key-secret')");
    let key = browser.run("return document.querySelector('#key-secret').value");
    let key = key.as_str().unwrap().to_owned();
    browser.click_text("Done");
    browser.wait_for_text("nightly report");
    visit.assert_accessible("keys");
    assert!(!browser.text("main").contains(&key), "the key must be shown once only");
    assert_eq!(collections(visit, &key), (200, 1));
    browser.click("[aria-label='Revoke nightly report']");
    browser.click_text("Revoke key");
    browser.wait("document.querySelector('.pill').innerText === 'revoked'");
    assert_eq!(collections(visit, &key).0, 401);
}

/// Response of the API to a request with this key: the status, and the number of collections.
fn collections(visit: &PageSession, key: &str) -> (u16, usize) {
    let request = ureq::get(format!("{}/api/v1/collections", visit.url));
    let request = request.header("Authorization", format!("Bearer {key}"));
    let mut answer = request.config().http_status_as_error(false).build().call().unwrap();
    let said: Value = answer.body_mut().read_json().unwrap();
    (answer.status().as_u16(), said["items"].as_array().map_or(0, Vec::len))
}

fn takes_a_document_out(visit: &PageSession) {
    let browser = &visit.browser;
    visit.goto("/collections");
    browser.click(".card h2 a");
    browser.click(".segments a[href*='status=failed']");
    browser.wait("document.querySelectorAll('.tab tbody tr').length === 1");
    browser.wait_for_text("broken.docx");
    visit.assert_accessible("documents");
    browser.type_into(".why-form input", "notifications.md");
    browser.press(ENTER);
    browser.wait_for_text("it is in the index, in generation 1");
    browser.wait("document.querySelectorAll('.document-text .chunk').length > 3");
    visit.assert_accessible("story");
    browser.click_text("Delete");
    browser.click_text("Delete document");
    browser.wait("document.querySelector('.story').innerText.includes('deleted')");
    browser.click_text("Restore");
    browser.wait("document.querySelector('.story').innerText.includes('it is in the index')");
}

/// Opens all other views.
fn looks_at_the_rest(visit: &PageSession) {
    let browser = &visit.browser;
    visit.goto("/operations");
    browser.wait("document.querySelectorAll('tbody tr').length >= 3");
    visit.assert_accessible("operations");
    browser.press("gt");
    browser.wait("location.pathname === '/throughput'");
    browser.wait_for_text("No operation is running");
    browser.wait("document.querySelector('section[aria-label=Server] .figure-value')");
    visit.assert_accessible("throughput");
    browser.press("gc");
    browser.click(".card h2 a");
    for (tab, text) in [
        ("Sources", "directory"),
        ("Operations", "First indexing"),
        ("Generations", "live"),
        ("Limits", "collections of the built-in account"),
        ("Audit", "Collection created"),
        ("Settings", "Delete the collection"),
    ] {
        browser.click_text_in(".tabs a", tab);
        browser
            .wait(&format!("document.querySelector('.tab').innerText.includes({})", json!(text)));
        visit.assert_accessible(tab);
    }
}

#[test]
fn stale_responses_are_dropped_and_text_is_escaped() {
    let place = TestProject::with_stand_in();
    let evil = "<img src=x onerror=\"document.title='taken over'\"><script>alert(1)</script> harmless words";
    place.write("<b>bold.txt", evil);
    place.write("other.txt", "quite other words of another document");
    place.run();
    let visit = PageSession::start(place);
    let browser = &visit.browser;
    visit.set_up();
    visit.goto("/");
    // Delays every response to the first query until the second query has its response.
    browser.run(
        "const real = window.fetch; window.held = [];
         window.fetch = async (url, options) => {
             const answer = await real(url, { ...options, signal: undefined });
             if (options?.body?.includes('harmless')) await new Promise(go => window.held.push(go));
             return answer;
         };",
    );
    browser.type_into("#q", "harmless");
    browser.wait("window.held.length === 1");
    browser.run("document.querySelector('#q').value = ''");
    browser.type_into("#q", "quite other");
    browser.wait("document.querySelector('.hit mark')?.innerText === 'quite'");
    browser.run("window.held.forEach(go => go())");
    browser.run_async("setTimeout(done, 300)");
    assert_eq!(browser.text(".hit mark"), "quite");
    visit.assert_no_console_output();

    visit.goto("/?q=harmless");
    browser.wait("document.querySelector('.hit mark')");
    browser.click(".hit a");
    browser.wait("document.querySelector('.chunk.focal')");
    let made =
        browser.run("return document.querySelectorAll('main img, main script, main b').length");
    assert_eq!(made, 0);
    assert!(browser.text(".chunk.focal").contains("onerror="), "the text must be shown unchanged");
    assert_eq!(browser.text(".preview h2"), "<b>bold", "the name must be shown unchanged");
    visit.assert_no_console_output();
}

#[test]
fn errors_are_shown_in_place() {
    let place = repository("model: 'stand-in:16'");
    place.run();
    place.run_another("other", "model: 'stand-in:16', sparse: none");
    // The vectors are temporarily missing.
    let (vectors, aside) = (place.vectors_of("other"), place.path().join("aside"));
    std::fs::rename(&vectors, &aside).unwrap();
    let mut visit = PageSession::start_with_files(place, &["other.yaml"]);
    visit.set_up();
    names_what_did_not_answer(&visit, || std::fs::rename(&aside, &vectors).unwrap());
    let browser = &visit.browser;
    visit.goto("/collections/8d0b5c1e-0000-4000-8000-000000000000");
    // A logged-in account gets an error, not the login page.
    browser.wait_for_text("no right to see it");
    visit.goto("/?q=lock");
    browser.wait("document.querySelector('.hit')");
    browser.console_messages();
    visit.stop();
    let browser = &visit.browser;
    browser.click_text_in("label", "Meaning");
    browser.wait("document.querySelector('#hits .problem')?.innerText.includes('The server does not respond')");
    visit.assert_no_foreign_requests();
}

/// The area above the hits lists collections that failed or were searched in another mode, with the
/// reason. The error disappears after `mend`.
fn names_what_did_not_answer(visit: &PageSession, mend: impl FnOnce()) {
    let browser = &visit.browser;
    visit.goto("/?q=lock");
    browser.wait("document.querySelector('.hit')");
    browser.wait(
        "document.querySelector('#hits .problem').innerText.includes('other did not answer') &&
         document.querySelector('#hits .problem').innerText.includes('are currently unavailable')",
    );
    visit.assert_accessible("a response with a failed collection");
    // The browser logs each error response itself; the facets of the collection fail as well.
    assert!(browser.console_messages().iter().all(|it| it.contains("503")));
    mend();
    browser.navigate("refresh");
    browser.wait("document.querySelector('.hit') && !document.querySelector('#hits .problem')");
    browser.wait_for_text(
        "other: searched by meaning only, because the collection has no sparse vectors",
    );
    browser.click_text_in("label", "Words");
    browser.wait(
        "document.querySelector('#hits .problem').innerText.includes('It has no sparse vectors')",
    );
    assert!(browser.run("return document.querySelectorAll('.hit').length").as_u64() > Some(0));
    visit.assert_no_console_output();
}
