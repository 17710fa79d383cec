//! What an administrator does for people: makes an account, lets it into a collection, takes both back, and reads in
//! the audit log that it was so.

use serde_json::json;

use super::{PASSWORD, Visit, repository};
use crate::browser::ENTER;

/// What somebody makes of the password that an administrator gave them.
const OWN_PASSWORD: &str = "staple battery horse correct";

#[test]
fn somebody_is_let_in_and_disabled_and_all_of_it_is_on_record() {
    let place = repository("model: 'stand-in:16'");
    place.run();
    let visit = Visit::begin(place);
    visit.set_up();
    makes_an_account(&visit);
    lets_it_in(&visit);
    is_used(&visit);
    disables_it(&visit);
    reads_the_record(&visit);
    sets_limits(&visit);
    visit.assert_quiet();
}

fn makes_an_account(visit: &Visit) {
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
    // What is refused is said in the dialog, where it can be mended.
    browser.wait("document.querySelector('dialog .problem').innerText.includes('is taken')");
    assert!(browser.console().iter().all(|it| it.contains("409")), "the browser notes an answer");
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

fn settings(visit: &Visit) {
    visit.goto("/collections");
    visit.browser.click(".card h2 a");
    visit.browser.click_text_in(".tabs a", "Settings");
}

fn lets_it_in(visit: &Visit) {
    let browser = &visit.browser;
    settings(visit);
    browser.type_into("form.inline input", "grace");
    browser.click_text("Let in");
    browser.wait("document.querySelector('.settings tbody th').innerText === 'grace'");
    browser.type_into("form.inline input", "grace");
    browser.type_into("form.inline select", "read and write");
    browser.click_text("Let in");
    browser.wait("document.querySelector('.settings tbody td').innerText === 'write'");
    visit.log_out();
}

/// Whoever was let in finds the collection and may write, and no more; the views of administrators say so.
fn is_used(visit: &Visit) {
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
    assert!(browser.console().is_empty());
    browser.click(".account");
    browser.click_text("Password …");
    browser.type_into("dialog input[name=current]", PASSWORD);
    browser.type_into("dialog input[name=new]", OWN_PASSWORD);
    browser.press(ENTER);
    browser.wait_for_text("You have another password");
    browser.press("ga");
    browser.wait_for_text("This is not yours to do");
    browser.console();
    visit.log_out();
}

fn disables_it(visit: &Visit) {
    let browser = &visit.browser;
    visit.goto("/login?to=%2Fusers");
    visit.log_in("ada");
    browser.click("[aria-label='Disable: grace']");
    browser.click_text("Disable them");
    browser.wait("document.querySelector('tr.past').innerText.includes('disabled')");
    let login = json!({ "username": "grace", "password": OWN_PASSWORD });
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build();
    let answer =
        ureq::Agent::from(agent).post(format!("{}/api/v1/sessions", visit.url)).send_json(&login);
    assert_eq!(answer.unwrap().status(), 401);
    settings(visit);
    browser.click("[aria-label='Take it back from grace']");
    browser.wait_for_text("Nobody but its owner was let in");
}

fn reads_the_record(visit: &Visit) {
    let browser = &visit.browser;
    browser.click_text_in(".tabs a", "Audit");
    browser.wait("document.querySelector('.tab tbody')");
    let said = browser.text(".tab tbody");
    for words in ["Let in", "permission: write", "user: grace", "Grant taken back"] {
        assert!(said.contains(words), "{words} is not in {said}");
    }
    browser.press("ga");
    browser.wait("location.pathname === '/audit' && document.querySelector('tbody tr')");
    browser.type_into(".audit-filter input", "grace");
    browser.wait(
        "[...document.querySelectorAll('tbody tr')].every(it => it.innerText.includes('grace'))",
    );
    let said = browser.text("tbody");
    for words in ["Login that failed", "User changed", "is active: no", "User made"] {
        assert!(said.contains(words), "{words} is not in {said}");
    }
    browser.type_into(".audit-filter select", "User made");
    browser.wait("document.querySelectorAll('tbody tr').length === 1");
    visit.assert_accessible("audit");
    browser.type_into(".audit-filter input", " of another name");
    browser.wait_for_text("No entry fits");
}

fn sets_limits(visit: &Visit) {
    let browser = &visit.browser;
    visit.goto("/collections");
    browser.click(".card h2 a");
    browser.click_text_in(".tabs a", "Limits");
    browser.wait("document.querySelector('input[name=max_documents]')");
    browser.run("document.querySelector('input[name=max_documents]').value = '1234'");
    browser.click_text("Set the limits");
    browser.wait_for_text("The limits are set");
    browser.step("refresh");
    browser.wait("document.querySelector('input[name=max_documents]')?.value === '1234'");
}
