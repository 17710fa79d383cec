//! A server started by a test, and a client for it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{TestProject, signal, text, wait_for};

/// The password of all accounts of these tests.
pub(super) const PASSWORD: &str = "correct horse battery";

/// A running server; dropping the value kills it.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    /// The log output so far.
    output: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    agent: ureq::Agent,
    pub(super) setup: Option<String>,
}

/// A response.
#[derive(Debug)]
pub(super) struct HttpReply {
    pub(super) status: u16,
    pub(super) headers: ureq::http::HeaderMap,
    pub(super) text: String,
}

impl HttpReply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body of a successful response.
    pub(super) fn ok_json(&self) -> Value {
        assert!((200..300).contains(&self.status), "{self:?}");
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    /// The `code` of a problem response.
    pub(super) fn code(&self) -> String {
        let problem = self.json();
        assert_eq!(self.headers["content-type"], "application/problem+json", "{self:?}");
        assert_eq!(problem["status"], self.status, "{self:?}");
        assert_eq!(problem["request_id"], self.header("x-request-id"), "{self:?}");
        text(&problem["code"])
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// Disables the rate limits, except in tests of the limits.
const ANY_RATE: [&str; 10] = [
    "--rate", "light=0", "--rate", "login=0", "--rate", "search=0", "--rate", "look=0", "--rate",
    "change=0",
];

impl Server {
    /// Serves the pipeline of a place.
    pub(crate) fn start(place: &TestProject) -> Self {
        Self::start_with_args(place, &ANY_RATE)
    }

    /// Serves the pipeline of a place and these files.
    pub(crate) fn start_with_files(place: &TestProject, files: &[&str]) -> Self {
        Self::start_with_args(place, &[files, &ANY_RATE].concat())
    }

    /// Serves the pipeline of a place with additional arguments.
    pub(super) fn start_with_args(place: &TestProject, args: &[&str]) -> Self {
        Self::launch(place, &[&["--setup-token-file", "setup-token"], args].concat())
    }

    /// Starts a server that prints the set-up link and writes the token to no file.
    pub(crate) fn start_without_token_file(place: &TestProject) -> Self {
        Self::launch(place, &ANY_RATE)
    }

    fn launch(place: &TestProject, args: &[&str]) -> Self {
        let token = place.path().join("setup-token");
        drop(std::fs::remove_file(&token));
        let fixed = [
            "--log",
            "debug,sqlx=info,hyper=info",
            "serve",
            "pipeline.yaml",
            "--listen",
            "127.0.0.1:0",
        ];
        let mut child = place.start(&[&fixed[..], args].concat());
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let (mut before, mut line) = (String::new(), String::new());
        while !line.contains("semantik: serving on ") {
            before.push_str(&line);
            line.clear();
            assert_ne!(
                stderr.read_line(&mut line).unwrap(),
                0,
                "the server did not start to serve: {before}"
            );
        }
        let url = line.trim().rsplit(' ').next().unwrap().to_owned();
        let said = Arc::new(Mutex::new(before + &line));
        let saying = Arc::clone(&said);
        let reader = std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(read @ 1..) = stderr.read(&mut part) {
                saying.lock().unwrap().push_str(&String::from_utf8_lossy(&part[..read]));
            }
        });
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            // The server may close a connection without reading the request to its end.
            .max_idle_connections(0)
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        let setup = std::fs::read_to_string(token).ok().map(|token| token.trim().to_owned());
        Self { child, url, output: said, reader: Some(reader), agent: config.into(), setup }
    }

    pub(super) fn send(
        &self,
        method: &str,
        path: &str,
        bearer: Option<&str>,
        body: Option<&Value>,
    ) -> HttpReply {
        let headers: Vec<(&str, &str)> =
            body.iter().map(|_| ("content-type", "application/json")).collect();
        let body = body.map(|body| serde_json::to_vec(body).unwrap());
        self.send_raw(method, path, bearer, &headers, body)
    }

    pub(super) fn send_raw(
        &self,
        method: &str,
        path: &str,
        bearer: Option<&str>,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> HttpReply {
        let path =
            if path.starts_with("/api/") { path.to_owned() } else { format!("/api/v1{path}") };
        self.send_whole(method, &path, bearer, headers, body)
    }

    /// Like `send_raw`, with the complete path, which may be outside the API.
    pub(super) fn send_whole(
        &self,
        method: &str,
        path: &str,
        bearer: Option<&str>,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> HttpReply {
        let mut request =
            ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(bearer) = bearer {
            request = request.header("authorization", format!("Bearer {bearer}"));
        }
        let answer = match body {
            Some(body) => self.agent.run(request.body(body).unwrap()),
            None => self.agent.run(request.body(()).unwrap()),
        };
        let mut answer = answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let is_stream =
            answer.headers().get("content-type").is_some_and(|it| it == "text/event-stream");
        let text =
            if is_stream { String::new() } else { answer.body_mut().read_to_string().unwrap() };
        HttpReply { status: answer.status().as_u16(), headers: answer.headers().clone(), text }
    }

    pub(super) fn get(&self, path: &str, bearer: Option<&str>) -> HttpReply {
        self.send("GET", path, bearer, None)
    }

    pub(super) fn post(&self, path: &str, bearer: Option<&str>, body: &Value) -> HttpReply {
        self.send("POST", path, bearer, Some(body))
    }

    /// Creates the first administrator; returns its access token.
    pub(super) fn set_up(&self) -> String {
        let token = self.setup.as_ref().expect("the server expects a set-up");
        let root = json!({ "token": token, "username": "root", "email": "root@here", "password": PASSWORD });
        self.post("/setup", None, &root).ok_json();
        self.log_in("root")
    }

    /// Creates an account; returns its access token.
    pub(super) fn user(&self, root: &str, name: &str) -> String {
        let user =
            json!({ "username": name, "email": format!("{name}@here"), "password": PASSWORD });
        self.post("/users", Some(root), &user).ok_json();
        self.log_in(name)
    }

    /// Logs in; returns an access token.
    pub(super) fn log_in(&self, name: &str) -> String {
        text(&self.session(name)["access_token"])
    }

    pub(super) fn session(&self, name: &str) -> Value {
        self.post("/sessions", None, &json!({ "username": name, "password": PASSWORD })).ok_json()
    }

    /// Creates a key for the account of a token.
    pub(super) fn key(&self, token: &str, scopes: &[&str]) -> Value {
        self.post("/keys", Some(token), &json!({ "name": "a key", "scopes": scopes })).ok_json()
    }

    /// The only collection.
    pub(super) fn collection(&self, bearer: &str) -> String {
        text(&self.get("/collections", Some(bearer)).ok_json()["items"][0]["id"])
    }

    /// Waits for the end of an operation; returns the operation.
    pub(super) fn wait_for_operation(&self, bearer: &str, operation: &Value) -> Value {
        let path = format!("/operations/{}", text(operation));
        wait_for(&format!("the end of {path}"), || {
            let found = self.get(&path, Some(bearer)).ok_json();
            (!found["completed_at"].is_null()).then_some(found)
        })
    }

    /// Runs the pipeline through the server.
    pub(super) fn run(&self, bearer: &str, kind: &str) -> Value {
        let path = format!("/collections/{}/operations", self.collection(bearer));
        let asked = self.post(&path, Some(bearer), &json!({ "type": kind })).ok_json();
        let ended = self.wait_for_operation(bearer, &asked["operation"]);
        assert_eq!(ended["status"], "completed", "{ended}");
        ended
    }

    /// The log output so far.
    pub(crate) fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// Kills the server.
    pub(crate) fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Sends SIGTERM.
    pub(super) fn terminate(&self) {
        signal(&self.child, "-TERM");
    }

    /// Stops the server; returns its exit status and log output.
    pub(super) fn stop(self) -> (ExitStatus, String) {
        self.terminate();
        self.wait()
    }

    /// Waits for the exit; returns the exit status and log output.
    pub(super) fn wait(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
        (status, self.output())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
