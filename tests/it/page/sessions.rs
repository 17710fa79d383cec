//! Browser sessions in the web UI: the printed set-up link, several tabs, links opened in new tabs,
//! logout in all tabs, and requests from pages of another origin.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use serde_json::json;

use super::{PASSWORD, PageSession, repository};
use crate::browser::{Browser, ENTER};
use crate::serve::server::Server;
use crate::support::TestProject;

fn filled() -> TestProject {
    let place = repository("model: 'stand-in:16'");
    place.run();
    place
}

#[test]
fn the_first_start_prints_one_link_that_leads_to_the_set_up() {
    let place = TestProject::with_stand_in();
    let server = Server::start_without_token_file(&place);
    let said = server.output();
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("#token=")).collect();
    let [line] = lines[..] else { panic!("expected one line with the link: {said}") };
    let link = line.rsplit(' ').next().unwrap().to_owned();
    assert!(link.starts_with(&format!("{}/setup#token=", server.url)), "{line}");
    let visit = PageSession { url: server.url.clone(), place, server, browser: Browser::start() };
    let browser = &visit.browser;

    // Without the link, the start page explains the set-up.
    visit.goto("/");
    browser.wait_for_text("has no administrator yet");
    visit.assert_accessible("an empty server");
    browser.click_text("Create the first administrator");
    browser.wait("location.pathname === '/setup' && document.querySelector('input[name=token]').value === ''");
    visit.assert_accessible("the set-up");
    fill(browser, "guessed");
    browser.press(ENTER);
    browser.wait_for_text("Invalid set-up token");
    browser.wait_for_text("the set-up token is wrong");
    assert!(
        browser.console_messages().iter().all(|it| it.contains("401")),
        "expected only the logged response"
    );

    browser.goto(&link);
    browser.wait("document.querySelector('input[name=token]').value.length > 20");
    assert_eq!(
        browser.url(),
        format!("{}/setup", visit.url),
        "the token must be removed from the address"
    );
    fill(browser, "");
    browser.press(ENTER);
    browser.wait("document.querySelector('.account')?.innerText === 'ada'");
    visit.log_out();

    // The token was used.
    browser.goto(&link);
    browser.wait_for_text("This server already has an administrator");
    assert_eq!(browser.run("return location.pathname"), "/login");
    visit.log_in("ada");
    visit.goto("/setup");
    browser.wait("location.pathname === '/' && document.querySelector('.account')");
    visit.goto("/");
    browser.wait_for_text("No documents are indexed yet");
    visit.assert_no_console_output();
}

fn fill(browser: &Browser, token: &str) {
    for (name, text) in [
        ("token", token),
        ("username", "ada"),
        ("email", "ada@example.org"),
        ("password", PASSWORD),
    ] {
        browser.type_into(&format!("input[name={name}]"), text);
    }
}

#[test]
fn every_tab_is_logged_in_and_out_together() {
    let visit = PageSession::start(filled());
    let browser = &visit.browser;
    visit.set_up();
    let first = browser.tab();

    // A link opened in a new tab.
    visit.goto("/collections");
    browser.click_into_new_tab(".card h2 a");
    browser.wait(
        "location.pathname.startsWith('/collections/') && document.querySelector('tbody th a')",
    );
    browser.wait("document.querySelector('.account').innerText === 'ada'");
    let second = browser.tab();
    let collection = browser.run("return location.pathname").as_str().unwrap().to_owned();

    // A pasted address also works, and both tabs keep the session.
    browser.open_tab();
    visit.goto(&format!("{collection}?tab=settings"));
    browser.wait("document.querySelector('.danger-zone')");
    let third = browser.tab();
    for tab in [&first, &second, &third] {
        browser.switch_to(tab);
        browser.navigate("refresh");
        browser.wait("document.querySelector('.account')?.innerText === 'ada'");
    }

    // The session is not readable by scripts.
    let kept = browser.run("return [document.cookie, localStorage.length, sessionStorage.length]");
    assert_eq!(kept, json!(["", 0, 0]));
    let cookies = browser.devtools("Network.getCookies", &json!({}));
    let [cookie] = &cookies["cookies"].as_array().unwrap()[..] else { panic!("{cookies}") };
    assert_eq!(
        (&cookie["httpOnly"], &cookie["sameSite"]),
        (&json!(true), &json!("Strict")),
        "{cookie}"
    );

    // A logout in one tab logs out all tabs and clears their content.
    browser.switch_to(&second);
    visit.log_out();
    browser.switch_to(&third);
    browser.wait("location.pathname === '/login' && !document.querySelector('.account')");
    browser.wait("!document.querySelector('.danger-zone')");
    browser.switch_to(&first);
    browser.wait("location.pathname === '/login'");

    // A login in one tab returns the others to their previous address.
    visit.log_in("ada");
    browser.wait("location.pathname === '/collections' && document.querySelector('.card')");
    browser.switch_to(&third);
    browser.wait("location.search === '?tab=settings' && document.querySelector('.danger-zone')");

    // After a password change, the other tabs continue with the new session.
    browser.switch_to(&first);
    browser.click(".account");
    browser.click_text("Password …");
    browser.type_into("dialog input[name=current]", PASSWORD);
    browser.type_into("dialog input[name=new]", "staple battery horse correct");
    browser.press(ENTER);
    browser.wait_for_text("Password changed");
    browser.switch_to(&third);
    browser.navigate("refresh");
    browser.wait("document.querySelector('.danger-zone')");
    visit.assert_no_foreign_requests();
}

#[test]
fn a_visitor_is_led_to_the_login_and_back() {
    let visit = PageSession::start(filled());
    let browser = &visit.browser;
    visit.set_up();
    visit.goto("/collections");
    browser.click(".card h2 a");
    browser.wait("document.querySelector('tbody th a')");
    browser.click("tbody th a");
    browser.wait("document.querySelector('.story')");
    let document = browser.url();
    visit.log_out();
    // As if opened from a message.
    browser.goto(&document);
    browser.wait_for_text("Log in to see the requested page");
    visit.assert_accessible("the login before a document");
    visit.log_in("ada");
    browser.wait("document.querySelector('.story')");
    assert_eq!(browser.url(), document);
    // A session that was revoked elsewhere also leads to the login.
    visit.place.execute("UPDATE refresh_tokens SET is_revoked = TRUE");
    browser.navigate("refresh");
    browser.wait_for_text("Log in to see the requested page");
    visit.log_in("ada");
    browser.wait("document.querySelector('.story')");
    // An unknown address gives an error, also for a logged-in account.
    visit.goto("/no/such/page");
    browser.wait_for_text("No page has this address");
    assert!(browser.run("return document.querySelector('.account') !== null").as_bool().unwrap());
}

/// A server of another origin that sends the same page in every response.
fn serve_foreign_origin(page: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::Builder::new()
        .spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let mut request = [0; 4096];
                // A request without a body fits into one segment.
                let Ok(1..) = stream.read(&mut request) else { continue };
                let head = "HTTP/1.1 200 x\r\ncontent-type: text/html\r\nconnection: close\r\n";
                let length = page.len();
                drop(write!(stream, "{head}content-length: {length}\r\n\r\n{page}"));
            }
        })
        .unwrap();
    port
}

/// All request types that a page of another origin can send: forms, and scripts with and without
/// CORS preflight.
const ATTACK: &str = "
    const own = { 'X-Semantik-CSRF': '1' };
    const json = { 'Content-Type': 'application/json' };
    const got = [];
    const attempt = async (method, path, options) => {
        try {
            const answer = await fetch(`${target}${path}`, { method, credentials: 'include', ...options });
            got.push([method, path, answer.type, answer.status, await answer.text()]);
        } catch (error) {
            got.push([method, path, 'error', 0, '']);
        }
    };
    for (const path of ['/sessions/browser/token', '/sessions/browser', '/keys', '/users'])
        for (const options of [{}, { mode: 'no-cors' }, { headers: own }, { headers: json, body: '{}' }])
            await attempt('POST', path, options);
    for (const path of ['/users/me', '/keys', '/collections', '/audit', '/users'])
        for (const options of [{}, { mode: 'no-cors' }, { headers: own }]) await attempt('GET', path, options);
    await attempt('DELETE', '/sessions/browser', {});
    await attempt('DELETE', '/sessions/browser', { headers: own });
    for (const path of ['/sessions/browser/token', '/sessions/browser', '/sessions/logout', '/keys']) {
        const frame = Object.assign(document.createElement('iframe'), { name: path });
        const form = Object.assign(document.createElement('form'), { method: 'post', action: target + path, target: path });
        document.body.append(frame, form);
        const loaded = new Promise((done) => frame.addEventListener('load', done, { once: true }));
        form.submit();
        await Promise.race([loaded, new Promise((done) => setTimeout(done, 2000))]);
    }
    done(got);
";

#[test]
fn a_page_of_another_origin_gets_nothing_and_does_nothing() {
    let visit = PageSession::start(filled());
    let browser = &visit.browser;
    visit.set_up();
    let port =
        serve_foreign_origin("<!doctype html><title>stranger</title><body>a page".to_owned());
    let before = visit.place.value("SELECT count(*) FROM account_audit_log");
    let first = browser.tab();
    // The same site at another port, which SameSite does not separate; and another site.
    for host in ["127.0.0.1", "localhost"] {
        browser.open_tab();
        browser.goto(&format!("http://{host}:{port}/"));
        browser.wait("document.title === 'stranger'");
        let target = json!(format!("{}/api/v1", visit.url));
        let attack = format!("(async () => {{ const target = {target}; {ATTACK} }})();");
        let got = browser.run_async(&attack);
        for attempt in got.as_array().unwrap() {
            let is_nothing = attempt[2] == "error" || (attempt[2] == "opaque" && attempt[4] == "");
            assert!(is_nothing, "{host}: {attempt}");
        }
        assert!(got.as_array().unwrap().len() > 30, "{got}");
    }
    // The session is still valid, and no key, audit entry or revocation was written.
    browser.switch_to(&first);
    browser.navigate("refresh");
    browser.wait("document.querySelector('.account')?.innerText === 'ada'");
    assert_eq!(visit.place.value("SELECT count(*) FROM api_keys"), "0");
    assert_eq!(visit.place.value("SELECT count(*) FROM account_audit_log"), before);
    assert_eq!(visit.place.value("SELECT count(*) FROM refresh_tokens WHERE is_revoked"), "0");
}
