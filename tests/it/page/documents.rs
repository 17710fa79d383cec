//! The document list of a collection: sort orders, names, states and reasons; and the counts of the
//! search filters.

use serde_json::json;

use super::PageSession;
use crate::support::TestProject;

fn sample_project() -> TestProject {
    let place = TestProject::with_stand_in();
    place.write("b.txt", "a short note about the harbour");
    place.write("A.md", "# The harbour\n\nThe harbour is closed, and the ferry does not leave.");
    place.write("c.html", "<html lang=en><title>Ferries</title><p>Tickets of the ferry.</p>");
    place.write("script.py", "print('harbour')\n".repeat(40));
    place.write("empty.txt", "");
    place.write("also empty.txt", " \n");
    place.write("broken.docx", "this is no zip archive");
    place.run();
    place
}

/// Waits until the list has exactly these names in this order.
fn wait_for_list(visit: &PageSession, names: &[&str]) {
    let names = json!(names);
    visit.browser.wait(&format!(
        "JSON.stringify([...document.querySelectorAll('#documents tbody th > a')].map(it => it.innerText)) === \
         JSON.stringify({names})"
    ));
}

const BY_NAME: [&str; 7] =
    ["A.md", "also empty.txt", "b.txt", "broken.docx", "c.html", "empty.txt", "script.py"];

#[test]
fn documents_are_sorted_searched_and_grouped() {
    let visit = PageSession::start(sample_project());
    let browser = &visit.browser;
    visit.set_up();
    visit.goto("/collections");
    browser.click(".card h2 a");
    wait_for_list(&visit, &BY_NAME);
    browser.wait_for_text("Python");
    visit.assert_accessible("documents by name");

    // Sorts by column heads in both directions; the address keeps the order.
    browser.click("[data-sort=name]");
    let backwards: Vec<&str> = BY_NAME.iter().rev().copied().collect();
    wait_for_list(&visit, &backwards);
    assert_eq!(
        browser.run("return document.querySelector('th[aria-sort]').getAttribute('aria-sort')"),
        "descending"
    );
    assert_eq!(
        browser.run("return document.activeElement.dataset.sort"),
        "name",
        "the focus must not move"
    );
    browser.click("[data-sort=size]");
    browser.wait("document.querySelector('#documents tbody th > a').innerText === 'script.py'");
    browser.click("[data-sort=size]");
    browser.wait("document.querySelector('#documents tbody th > a').innerText === 'empty.txt'");
    browser.navigate("refresh");
    browser.wait("document.querySelector('#documents tbody th > a')?.innerText === 'empty.txt'");
    browser.type_into("select[aria-label=Order]", "Name, A");
    wait_for_list(&visit, &BY_NAME);
    browser.navigate("back");
    browser.wait("document.querySelector('#documents tbody th > a').innerText === 'empty.txt'");
    browser.navigate("forward");
    wait_for_list(&visit, &BY_NAME);

    // Filters by part of a name while typing.
    browser.type_into(".narrow-form input", "EMPTY");
    wait_for_list(&visit, &["also empty.txt", "empty.txt"]);
    browser.wait("location.search.includes('q=EMPTY') && document.activeElement.matches('.narrow-form input')");
    browser.type_into(".narrow-form input", " and more");
    browser.wait_for_text("No name, title or message contains");
    visit.assert_accessible("no document");
    browser.navigate("back");
    wait_for_list(&visit, &BY_NAME);

    // Filters by state, reason and message; states and reasons have counts.
    browser.wait("document.querySelector('.segments').innerText.includes('In the index 4')");
    browser.wait("document.querySelector('.segments').innerText.includes('Set aside 3')");
    browser.click(".segments a[href*='status=failed']");
    wait_for_list(&visit, &["also empty.txt", "broken.docx", "empty.txt"]);
    browser.wait("document.querySelectorAll('.reason-list li').length === 3");
    visit.assert_accessible("documents by reason");
    browser.click(".reason-list a[href*='reason=empty']");
    wait_for_list(&visit, &["also empty.txt", "empty.txt"]);
    browser.wait("document.querySelector('.reason-list [aria-current]').innerText.includes('2')");

    // Similarity search is offered for indexed documents only.
    browser.click("#documents tbody th > a");
    browser.wait("document.querySelector('.story')");
    assert!(!browser.text(".page-head").contains("Find similar"), "{}", browser.text(".page-head"));
    browser.navigate("back");
    wait_for_list(&visit, &["also empty.txt", "empty.txt"]);
    browser.click(".segments a[href*='status=completed']");
    wait_for_list(&visit, &["A.md", "b.txt", "c.html", "script.py"]);
    browser.click("#documents tbody th > a");
    browser.wait_for_text("Find similar");
    visit.assert_no_console_output();
}

#[test]
fn a_collection_says_what_its_figures_mean() {
    let visit = PageSession::start(sample_project());
    let browser = &visit.browser;
    visit.set_up();
    visit.goto("/collections");
    browser.click(".card h2 a");
    browser.wait("document.querySelector('.figures').innerText.includes('no one')");
    assert!(browser.text(".figures").contains("tokens"), "{}", browser.text(".figures"));
    browser.click_text_in(".tabs a", "Limits");
    browser.wait("document.querySelector('.usage')");
    let usage = browser.text(".usage");
    assert!(
        !usage.contains('%') && !usage.contains(" of "),
        "limits that are not enforced: {usage}"
    );
}

/// JavaScript expression for the number beside a facet value; empty without a number.
fn number(label: &str) -> String {
    format!(
        "([...document.querySelectorAll('.facet label')].find(it => it.querySelector('.name').innerText === {})
            ?.querySelector('.number')?.innerText ?? '')",
        json!(label)
    )
}

#[test]
fn the_numbers_beside_filters_are_those_of_the_question() {
    let visit = PageSession::start(sample_project());
    let browser = &visit.browser;
    visit.set_up();
    let shows = |label: &str, number_: &str| {
        browser.wait(&format!("{} === {}", number(label), json!(number_)));
    };
    visit.goto("/?q=ferry&mode=sparse");
    shows("HTML", "1");
    shows("Markdown", "1");
    shows("Text", "");
    browser.wait("document.querySelector('.facets-of').innerText === 'Numbers: of 2 chunks found'");
    visit.assert_accessible("hits with numbers");
    // Another query has other numbers; a filter does not change the numbers of its own field.
    browser.run("document.querySelector('#q').value = ''");
    browser.type_into("#q", "harbour");
    shows("HTML", "");
    shows("Text", "1");
    browser.click_text_in("label", "Markdown");
    browser.wait("document.querySelectorAll('.hit').length === 1");
    shows("Text", "1");
    shows("Markdown", "1");
    browser.wait("document.querySelector('.facets-of').innerText === 'Numbers: of 1 chunk found'");
    // Dense search counts the best chunks, and the text says so.
    visit.goto("/?q=ferry");
    browser.wait("document.querySelector('.facets-of').innerText.startsWith('Numbers: of ')");
    shows("HTML", "1");
    visit.assert_no_console_output();
}

#[test]
fn how_many_hits_there_are_is_said_where_it_is_known() {
    let place = TestProject::with_stand_in();
    for n in 0..25 {
        place.write(&format!("{n}.txt"), format!("harbour number {n}"));
    }
    place.run();
    let visit = PageSession::start(place);
    let browser = &visit.browser;
    visit.set_up();
    visit.goto("/?q=harbour&mode=sparse");
    browser.wait("document.querySelector('.summary strong').innerText === 'Hits 1–20 of 25'");
    browser.click("a[rel=next]");
    browser.wait("document.querySelector('.summary strong').innerText === 'Hits 21–25 of 25'");
    visit.assert_no_console_output();
}
