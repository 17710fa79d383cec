//! A WebDriver client (w3.org/TR/webdriver2) for a real browser: headless Chromium through
//! chromedriver. It implements only the commands that the tests of the web UI need; a client
//! library would add more code than it saves.
//!
//! The browser keeps its console messages and requested URLs, so that a test can check them at its
//! end.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Timeout for expected states of the page. It fails the test; no duration is asserted.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// Code points of keys in WebDriver.
pub(crate) const ENTER: &str = "\u{e007}";
const CONTROL: &str = "\u{e009}";
pub(crate) const ESCAPE: &str = "\u{e00c}";
pub(crate) const DOWN: &str = "\u{e015}";

/// A browser with one window; dropping it ends the browser.
pub(crate) struct Browser {
    driver: Child,
    session: String,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts a browser with a new profile.
    pub(crate) fn start() -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is missing; run `.ci/setup chromium`");
        let mut said = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = loop {
            let line = said.next().expect("chromedriver prints its port").unwrap();
            if let Some((_, port)) = line.split_once("successfully on port ") {
                break port.trim_end_matches('.').to_owned();
            }
        };
        // A full pipe would block chromedriver, so further output is read and dropped.
        std::thread::spawn(move || said.for_each(drop));
        let profile = tempfile::tempdir().unwrap();
        let flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1360,850",
        ];
        let user_data = format!("--user-data-dir={}", profile.path().display());
        let flags: Vec<&str> = flags.into_iter().chain([user_data.as_str()]).collect();
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": flags },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        } } });
        let base = format!("http://127.0.0.1:{port}/session");
        let made = call(&base, Some(&wanted)).unwrap_or_else(|error| panic!("no session: {error}"));
        let session = format!("{base}/{}", made["sessionId"].as_str().unwrap());
        Self { driver, session, _profile: profile }
    }

    fn ask(&self, what: &str, body: Option<&Value>) -> Value {
        call(&format!("{}/{what}", self.session), body)
            .unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    pub(crate) fn goto(&self, url: &str) {
        self.ask("url", Some(&json!({ "url": url })));
    }

    pub(crate) fn url(&self) -> String {
        self.ask("url", None).as_str().unwrap().to_owned()
    }

    /// Navigates: `back`, `forward` or `refresh`.
    pub(crate) fn navigate(&self, which: &str) {
        self.ask(which, Some(&json!({})));
    }

    /// Runs a JavaScript function body in the page; gives its return value.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.run_with(script, &[])
    }

    pub(crate) fn run_with(&self, script: &str, arguments: &[Value]) -> Value {
        self.ask("execute/sync", Some(&json!({ "script": script, "args": arguments })))
    }

    /// Runs a script that calls `done` with its result.
    pub(crate) fn run_async(&self, script: &str) -> Value {
        let script = format!("const done = arguments[arguments.length - 1]; {script}");
        self.ask("execute/async", Some(&json!({ "script": script, "args": [] })))
    }

    /// Waits until an expression in JavaScript is true.
    pub(crate) fn wait(&self, expression: &str) {
        let began = Instant::now();
        // An expression may fail while the page renders.
        let script = format!("try {{ return Boolean({expression}) }} catch {{ return false }}");
        while self.run(&script) != true {
            if began.elapsed() > WAIT_TIMEOUT {
                let text = self.run("return document.body.innerText");
                panic!(
                    "the page at {} never met the condition: {expression}\n{text}\n{:?}",
                    self.url(),
                    self.console_messages()
                );
            }
            std::thread::sleep(Duration::from_millis(25));
        }
    }

    /// Waits until the page contains a text.
    pub(crate) fn wait_for_text(&self, text: &str) {
        self.wait(&format!("document.body.innerText.includes({})", json!(text)));
    }

    /// The text of the first element that matches a selector; empty without a match.
    pub(crate) fn text(&self, selector: &str) -> String {
        let script = "return document.querySelector(arguments[0])?.innerText ?? ''";
        self.run_with(script, &[json!(selector)]).as_str().unwrap().to_owned()
    }

    /// Performs an action on the element that a JavaScript expression finds. If the page renders
    /// between the search and the action, the element is stale and the search is repeated.
    fn with_element(&self, find: &str, action: &str, body: &Value) {
        let began = Instant::now();
        loop {
            self.wait(find);
            let found = self.run(&format!("return {find}"));
            let element = found.as_object().and_then(|it| it.values().next()?.as_str());
            if let Some(element) = element {
                let path = format!("{}/element/{element}/{action}", self.session);
                match call(&path, Some(body)) {
                    Ok(_) => return,
                    Err(error) => {
                        let is_gone = ["stale element", "no such element", "detached"]
                            .iter()
                            .any(|it| error.contains(it));
                        assert!(
                            is_gone && began.elapsed() < WAIT_TIMEOUT,
                            "{action} {find}: {error}"
                        );
                    }
                }
            }
        }
    }

    /// Clicks the visible element of a selector.
    pub(crate) fn click(&self, selector: &str) {
        let find = format!("document.querySelector({})", json!(selector));
        self.with_element(&find, "click", &json!({}));
    }

    /// Clicks a link with Control pressed, which opens a new tab, and switches to that tab.
    pub(crate) fn click_into_new_tab(&self, selector: &str) {
        let before = self.tabs();
        self.wait(&format!("document.querySelector({})", json!(selector)));
        let found =
            self.ask("element", Some(&json!({ "using": "css selector", "value": selector })));
        let actions = json!({ "actions": [
            { "type": "key", "id": "keyboard", "actions": [
                { "type": "keyDown", "value": CONTROL }, { "type": "pause" }, { "type": "pause" },
                { "type": "pause" }, { "type": "keyUp", "value": CONTROL } ] },
            { "type": "pointer", "id": "mouse", "actions": [
                { "type": "pause" }, { "type": "pointerMove", "origin": found, "x": 0, "y": 0 },
                { "type": "pointerDown", "button": 0 }, { "type": "pointerUp", "button": 0 },
                { "type": "pause" } ] } ] });
        self.ask("actions", Some(&actions));
        let began = Instant::now();
        let opened = loop {
            let opened = self.tabs().into_iter().find(|it| !before.contains(it));
            if let Some(opened) = opened {
                break opened;
            }
            assert!(began.elapsed() < WAIT_TIMEOUT, "{selector} opened no tab");
            std::thread::sleep(Duration::from_millis(25));
        };
        self.switch_to(&opened);
    }

    /// The handles of all tabs.
    fn tabs(&self) -> Vec<String> {
        let handles = self.ask("window/handles", None);
        handles.as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
    }

    /// The handle of the current tab.
    pub(crate) fn tab(&self) -> String {
        self.ask("window", None).as_str().unwrap().to_owned()
    }

    /// Opens an empty tab and switches to it.
    pub(crate) fn open_tab(&self) {
        let opened = self.ask("window/new", Some(&json!({ "type": "tab" })));
        self.switch_to(opened["handle"].as_str().unwrap());
    }

    /// Switches to another tab.
    pub(crate) fn switch_to(&self, tab: &str) {
        self.ask("window", Some(&json!({ "handle": tab })));
    }

    /// Clicks the first button or link with this text.
    pub(crate) fn click_text(&self, text: &str) {
        self.click_text_in("button, a", text);
    }

    /// Clicks the first element of a selector whose first line is this text.
    pub(crate) fn click_text_in(&self, selector: &str, text: &str) {
        let find = format!(
            "[...document.querySelectorAll({})].find(it => it.innerText.trim().split('\\n')[0] === {})",
            json!(selector),
            json!(text)
        );
        self.with_element(&find, "click", &json!({}));
    }

    /// Types into an element.
    pub(crate) fn type_into(&self, selector: &str, text: &str) {
        let find = format!("document.querySelector({})", json!(selector));
        self.with_element(&find, "value", &json!({ "text": text }));
    }

    /// Presses keys; the focused element receives them.
    pub(crate) fn press(&self, keys: &str) {
        let strokes: Vec<Value> = keys
            .chars()
            .flat_map(|key| {
                ["keyDown", "keyUp"].map(|what| json!({ "type": what, "value": key.to_string() }))
            })
            .collect();
        let actions =
            json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": strokes }] });
        self.ask("actions", Some(&actions));
    }

    /// Sends a command of the Chrome DevTools Protocol.
    pub(crate) fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.ask("goog/cdp/execute", Some(&json!({ "cmd": command, "params": parameters })))
    }

    /// Emulates a phone: screen size in CSS pixels, and touch input.
    pub(crate) fn emulate_phone(&self, width: u32, height: u32) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": true });
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
        self.devtools("Emulation.setTouchEmulationEnabled", &json!({ "enabled": true }));
    }

    /// Emulates the colour scheme that the system prefers.
    pub(crate) fn prefer_color_scheme(&self, colours: &str) {
        let features = json!([
            { "name": "prefers-color-scheme", "value": colours },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]);
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// Console messages above INFO since the last call.
    pub(crate) fn console_messages(&self) -> Vec<String> {
        let entries = self.ask("se/log", Some(&json!({ "type": "browser" })));
        let of_note = |it: &&Value| it["level"] != "INFO" && it["level"] != "DEBUG";
        entries
            .as_array()
            .unwrap()
            .iter()
            .filter(of_note)
            .map(|it| it["message"].to_string())
            .collect()
    }

    /// URLs requested since the last call.
    pub(crate) fn requested_urls(&self) -> Vec<String> {
        let entries = self.ask("se/log", Some(&json!({ "type": "performance" })));
        let events = entries.as_array().unwrap().iter().filter_map(|it| {
            let event: Value = serde_json::from_str(it["message"].as_str()?).ok()?;
            let message = &event["message"];
            (message["method"] == "Network.requestWillBeSent")
                .then(|| message["params"]["request"]["url"].as_str().map(str::to_owned))?
        });
        events.collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(ureq::delete(&self.session).call());
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}

/// Sends POST with a body, else GET; gives the `value` of the response.
fn call(url: &str, body: Option<&Value>) -> Result<Value, String> {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let answer = match body {
        Some(body) => agent.post(url).send_json(body),
        None => agent.get(url).call(),
    };
    let mut answer = answer.map_err(|error| error.to_string())?;
    let is_ok = answer.status().is_success();
    let said: Value = answer.body_mut().read_json().map_err(|error| error.to_string())?;
    if is_ok { Ok(said["value"].clone()) } else { Err(said["value"].to_string()) }
}
