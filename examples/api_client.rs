//! A client of the HTTP API: updates a collection and waits for the end of the operation, or
//! searches.
//!
//! ```text
//! semantik serve handbook.yaml --listen 127.0.0.1:8080
//! cargo run -p examples --example api_client -- http://127.0.0.1:8080 KEY update handbook
//! cargo run -p examples --example api_client -- http://127.0.0.1:8080 KEY search "who signs"
//! ```
//!
//! KEY is an API key of the scope `write`, or `search` for searches; `-` sends none, which finds
//! public collections only. `docs/api.md` describes the rules of the API, and the server itself the
//! endpoints, under `/api/v1/docs`.

use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Interval between two requests for the state of an operation. A server with many clients is
/// better asked for events: `GET /operations/{operation}/events`.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

struct Client {
    agent: ureq::Agent,
    url: String,
    key: Option<String>,
}

impl Client {
    fn new(url: &str, key: Option<&str>) -> Self {
        // Error responses have a body that explains them.
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        let config = config.timeout_global(Some(Duration::from_secs(60))).build();
        let url = format!("{}/api/v1", url.trim_end_matches('/'));
        Self { agent: config.into(), url, key: key.map(str::to_owned) }
    }

    fn get(&self, path: &str) -> Result<Value, BoxError> {
        self.send(self.request("GET", path).body(Vec::new())?)
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value, BoxError> {
        let request = self.request("POST", path).header("content-type", "application/json");
        self.send(request.body(serde_json::to_vec(body)?)?)
    }

    fn request(&self, method: &str, path: &str) -> ureq::http::request::Builder {
        let uri = format!("{}{path}", self.url);
        let request = ureq::http::Request::builder().method(method).uri(uri);
        match &self.key {
            Some(key) => request.header("authorization", format!("Bearer {key}")),
            None => request,
        }
    }

    /// The JSON of a response. An error response is problem details (RFC 9457): `code` is stable,
    /// `title` and `detail` are for people, `request_id` finds the request in the server's log.
    fn send(&self, request: ureq::http::Request<Vec<u8>>) -> Result<Value, BoxError> {
        let mut response = self.agent.run(request)?;
        let body = response.body_mut().read_to_string()?;
        if response.status().is_success() {
            return Ok(serde_json::from_str(&body)?);
        }
        let Ok(problem) = serde_json::from_str::<Value>(&body) else {
            return Err(format!("the server responded {}", response.status()).into());
        };
        let text = |key: &str| problem[key].as_str().unwrap_or_default().to_owned();
        Err(format!("{} ({}): {}", text("title"), text("code"), text("detail")).into())
    }

    /// The id of the collection with this name, from all pages of the list.
    fn collection(&self, name: &str) -> Result<String, BoxError> {
        let mut path = "/collections".to_owned();
        loop {
            let page = self.get(&path)?;
            let items = page["items"].as_array().map_or(&[][..], |items| items);
            if let Some(id) = items.iter().find(|it| it["name"] == name).map(|it| &it["id"]) {
                return Ok(id.as_str().unwrap_or_default().to_owned());
            }
            let Some(cursor) = page["next"].as_str() else {
                return Err(format!("no collection `{name}`, or no right to see it").into());
            };
            path = format!("/collections?cursor={cursor}");
        }
    }

    /// Requests an update of a collection, and returns the operation when it has ended.
    fn update(&self, name: &str) -> Result<Value, BoxError> {
        let path = format!("/collections/{}/operations", self.collection(name)?);
        let requested = self.post(&path, &json!({ "type": "append" }))?;
        let operation = requested["operation"].as_str().unwrap_or_default();
        loop {
            let state = self.get(&format!("/operations/{operation}"))?;
            if !state["completed_at"].is_null() {
                return Ok(state);
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }
}

/// Executes a command: URL, KEY, the verb and its argument.
pub(crate) fn run(arguments: &[&str], out: &mut impl Write) -> Result<(), BoxError> {
    let &[url, key, verb, argument] = arguments else {
        return Err("usage: api_client URL KEY (update COLLECTION | search QUERY)".into());
    };
    let client = Client::new(url, Some(key).filter(|key| *key != "-"));
    match verb {
        "update" => {
            let operation = client.update(argument)?;
            let documents = &operation["report"]["documents"];
            writeln!(out, "{}: {documents}", operation["status"].as_str().unwrap_or_default())?;
        }
        "search" => {
            let results = client.post("/search", &json!({ "query": argument, "k": 3 }))?;
            for hit in results["hits"].as_array().into_iter().flatten() {
                let [uri, text] = ["uri", "text"].map(|key| hit[key].as_str().unwrap_or_default());
                let score = hit["score"].as_f64().unwrap_or_default();
                writeln!(out, "{score:.3} {uri}\n    {}", text.replace('\n', " "))?;
            }
            for collection in results["failed"].as_array().into_iter().flatten() {
                writeln!(out, "{} failed: {}", collection["name"], collection["reason"])?;
            }
        }
        other => return Err(format!("unknown verb `{other}`: expected update or search").into()),
    }
    Ok(())
}

fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run(&arguments, &mut std::io::stdout().lock())
}
