//! Every view on a phone of 360 by 740 pixels, light and dark: no element is wider than the window,
//! every touch target is large enough (WCAG 2.2, 2.5.8), and axe-core finds no violation.

use serde_json::json;

use super::{PageSession, repository};

const WIDTH: u32 = 360;
const HEIGHT: u32 = 740;

/// Elements wider than the window, and touch targets smaller than 24 pixels. Scrollable elements
/// may have wider content; a link that covers its card and a checkbox inside its label have the
/// size of the card or label.
const FAULTS: &str = "
    const faults = [];
    const name = (it) => `${it.tagName}.${it.className} ${it.textContent.slice(0, 30)}`;
    if (document.documentElement.scrollWidth > arguments[0]) faults.push('the page scrolls sideways');
    for (const it of document.querySelectorAll('body *')) {
        const { right, width } = it.getBoundingClientRect();
        if (width > 0 && right > arguments[0] + 1 && !it.closest('.tabs, nav, .visually-hidden, thead'))
            faults.push(`${name(it)} ends at ${right}`);
    }
    for (const it of document.querySelectorAll('a, button, input, select, textarea, summary')) {
        if (!it.checkVisibility({ visibilityProperty: true }) || it.matches('.skip, .hit-link, .card h2 a')) continue;
        const box = it.matches('[type=checkbox], [type=radio]') ? it.closest('label') : it;
        const { width, height } = box.getBoundingClientRect();
        if (width > 0 && (width < 23.9 || height < 23.9)) faults.push(`${name(it)} is ${width} by ${height}`);
    }
    return faults;
";

#[test]
fn every_view_fits_a_phone() {
    let place = repository("model: 'stand-in:16'");
    place.run();
    let visit = PageSession::start(place);
    let browser = &visit.browser;
    // Views without a login.
    browser.emulate_phone(WIDTH, HEIGHT);
    for (view, there) in [("/", ".empty .button"), ("/login", ".gate"), ("/setup", ".gate")] {
        visit.goto(view);
        browser.wait(&format!("document.querySelector({})", json!(there)));
        assert_fits(&visit, view);
    }
    visit.set_up();
    let address = |view: &str, link: &str| {
        visit.goto(view);
        browser.wait(&format!("document.querySelector({})", json!(link)));
        let found = browser
            .run_with("return document.querySelector(arguments[0]).pathname", &[json!(link)]);
        found.as_str().unwrap().to_owned()
    };
    let collection = address("/collections", ".card h2 a");
    let document = address(&format!("{collection}?status=completed"), "tbody th a");
    let operation = address("/operations", "tbody th a");
    let tab = |name: &str| format!("{collection}?tab={name}");
    let views = [
        ("/".to_owned(), ".home-list"),
        ("/?q=lock".to_owned(), ".hit"),
        ("/collections".to_owned(), ".card"),
        (collection.clone(), "tbody th"),
        (format!("{collection}?status=failed"), ".reason-list a"),
        (tab("sources"), "tbody th"),
        (tab("operations"), "tbody th"),
        (tab("generations"), "tbody th"),
        (tab("limits"), ".usage"),
        (tab("audit"), "tbody th"),
        (tab("settings"), ".danger-zone"),
        (document, ".document-text .chunk"),
        ("/operations".to_owned(), "tbody th"),
        (operation, ".nodes tbody th"),
        ("/throughput".to_owned(), "section[aria-label=Server] .figure-value"),
        ("/keys".to_owned(), ".page-head"),
        ("/users".to_owned(), "tbody th"),
        ("/audit".to_owned(), "tbody th"),
    ];
    for (view, there) in views {
        visit.goto(&view);
        browser.wait(&format!("document.querySelector({})", json!(there)));
        assert_fits(&visit, &view);
    }
    what_opens_fits(&visit);
    visit.assert_no_console_output();
}

fn what_opens_fits(visit: &PageSession) {
    let browser = &visit.browser;
    visit.goto("/?q=lock");
    browser.click_text("Filters");
    browser.wait("document.querySelector('.facets').checkVisibility()");
    assert_fits(visit, "the filters");
    browser.click(".hit a");
    browser.wait("document.querySelectorAll('.preview .chunk').length > 1");
    assert_fits(visit, "a passage");
    visit.goto("/users");
    browser.click(".account");
    browser.wait("document.querySelector('#account-menu').matches(':popover-open')");
    assert_fits(visit, "the menu");
    visit.goto("/users");
    browser.click_text("New user");
    browser.wait("document.querySelector('dialog[open]')");
    assert_fits(visit, "a dialog");
}

fn assert_fits(visit: &PageSession, what: &str) {
    let faults = visit.browser.run_with(FAULTS, &[json!(WIDTH)]);
    assert_eq!(faults, json!([]), "{what}: {faults:#}");
    visit.assert_accessible(what);
}
