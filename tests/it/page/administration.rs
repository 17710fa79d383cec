//! Administration of accounts in the web UI: creates an account, grants it access to a collection,
//! disables it, revokes the grant, and reads the audit log.

use serde_json::json;

use super::{PASSWORD, PageSession, repository};
use crate::browser::ENTER;

/// The password that the user sets after the first login.
const OWN_PASSWORD: &str = "staple battery horse correct";

#[test]
fn accounts_are_created_granted_disabled_and_audited() {
    let place = repository("model: 'stand-in:16'");
    place.run();
    let visit = PageSession::start(place);
    visit.set_up();
    makes_an_account(&visit);
    grants_access(&visit);
    uses_the_account(&visit);
    disables_it(&visit);
    reads_the_audit_log(&visit);
    sets_limits(&visit);
    visit.assert_no_console_output();
}

fn makes_an_account(visit: &PageSession) {
    let browser = &visit.browser;
    browser.click(".account");
    browser.click_text("Users");
    browser.wait(
        "location.pathname === '/users' && document.querySelectorAll('tbody tr').length === 2",
    );
    browser.click_text("New user");
    visit.assert_accessible("new user");
    for (name, text) in
        [("username", "ada"), ("email", "grace@example.org"), ("password", PASSWORD)]
    {
        browser.type_into(&format!("dialog input[name={name}]"), text);
    }
    browser.press(ENTER);
    // The error appears in the dialog, where the input can be corrected.
    browser.wait("document.querySelector('dialog .problem').innerText.includes('is taken')");
    assert!(
        browser.console_messages().iter().all(|it| it.contains("409")),
        "expected only the logged response"
    );
    browser.run("document.querySelector('dialog input[name=username]').value = ''");
    browser.type_into("dialog input[name=username]", "grace");
    browser.press(ENTER);
    browser.wait(
        "!document.querySelector('dialog') && document.querySelectorAll('tbody tr').length === 3",
    );
    visit.assert_accessible("users");
    browser.click("[aria-label='Change …: grace']");
    browser.type_into("dialog input[name=full_name]", "Grace Hopper");
    browser.press(ENTER);
    browser.wait_for_text("Grace Hopper");
}

fn settings(visit: &PageSession) {
    visit.goto("/collections");
    visit.browser.click(".card h2 a");
    visit.browser.click_text_in(".tabs a", "Settings");
}

fn grants_access(visit: &PageSession) {
    let browser = &visit.browser;
    settings(visit);
    browser.type_into("form.inline input", "grace");
    browser.click_text("Grant access");
    browser.wait("document.querySelector('.settings tbody th').innerText === 'grace'");
    browser.type_into("form.inline input", "grace");
    browser.type_into("form.inline select", "read and write");
    browser.click_text("Grant access");
    browser.wait("document.querySelector('.settings tbody td').innerText === 'write'");
    visit.log_out();
}

/// The account with the grant finds the collection and may write, but not administer it.
fn uses_the_account(visit: &PageSession) {
    let browser = &visit.browser;
    visit.goto("/login");
    visit.log_in("grace");
    visit.goto("/collections");
    browser.click(".card h2 a");
    browser.wait_for_text("Update");
    let tabs =
        browser.run("return [...document.querySelectorAll('.tabs a')].map(it => it.innerText)");
    assert_eq!(tabs, json!(["Documents", "Sources", "Operations", "Generations", "Limits"]));
    browser.click_text("Limits");
    browser.wait("document.querySelector('.usage')");
    assert_eq!(browser.run("return document.querySelector('.limit-fields')"), json!(null));
    assert!(browser.console_messages().is_empty());
    browser.click(".account");
    browser.click_text("Password …");
    browser.type_into("dialog input[name=current]", PASSWORD);
    browser.type_into("dialog input[name=new]", OWN_PASSWORD);
    browser.press(ENTER);
    browser.wait_for_text("Password changed");
    browser.press("ga");
    browser.wait_for_text("Forbidden");
    browser.console_messages();
    visit.log_out();
}

fn disables_it(visit: &PageSession) {
    let browser = &visit.browser;
    visit.goto("/login?to=%2Fusers");
    visit.log_in("ada");
    browser.click("[aria-label='Disable: grace']");
    browser.click_text("Disable account");
    browser.wait("document.querySelector('tr.past').innerText.includes('disabled')");
    let login = json!({ "username": "grace", "password": OWN_PASSWORD });
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build();
    let answer =
        ureq::Agent::from(agent).post(format!("{}/api/v1/sessions", visit.url)).send_json(&login);
    assert_eq!(answer.unwrap().status(), 401);
    settings(visit);
    browser.click("[aria-label='Revoke access of grace']");
    browser.wait_for_text("Only the owner has access");
}

fn reads_the_audit_log(visit: &PageSession) {
    let browser = &visit.browser;
    browser.click_text_in(".tabs a", "Audit");
    browser.wait("document.querySelector('.tab tbody')");
    let said = browser.text(".tab tbody");
    for words in ["Access granted", "permission: write", "user: grace", "Access revoked"] {
        assert!(said.contains(words), "{words} is missing in {said}");
    }
    browser.press("ga");
    browser.wait("location.pathname === '/audit' && document.querySelector('tbody tr')");
    browser.type_into(".audit-filter input", "grace");
    browser.wait(
        "[...document.querySelectorAll('tbody tr')].every(it => it.innerText.includes('grace'))",
    );
    let said = browser.text("tbody");
    for words in ["Failed login", "User changed", "is active: no", "User created"] {
        assert!(said.contains(words), "{words} is missing in {said}");
    }
    browser.type_into(".audit-filter select", "User created");
    browser.wait("document.querySelectorAll('tbody tr').length === 1");
    visit.assert_accessible("audit");
    browser.type_into(".audit-filter input", " of another name");
    browser.wait_for_text("No matching entries");
}

fn sets_limits(visit: &PageSession) {
    let browser = &visit.browser;
    visit.goto("/collections");
    browser.click(".card h2 a");
    browser.click_text_in(".tabs a", "Limits");
    browser.wait("document.querySelector('input[name=max_documents]')");
    browser.run("document.querySelector('input[name=max_documents]').value = '1234'");
    browser.click_text("Save limits");
    browser.wait_for_text("Limits saved");
    browser.navigate("refresh");
    browser.wait("document.querySelector('input[name=max_documents]')?.value === '1234'");
}
