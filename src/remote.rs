//! A client of a server: `--server URL`, or the local socket of the server that has the embedded
//! vectors of a pipeline file open.

mod mapping;
mod transport;

use std::path::Path;
use std::time::{Duration, Instant};

use operations::VerifyReport;
use pipeline::{BoxError, PipelineSpec};
use search::{Request, SearchResults};
use serde::Serialize;
use serde_json::{Map, Value};
use server::wire::{SearchAnswer, ServedList, VerifyRequest};
use ureq::http::Response;
use ureq::{Agent, Body};
use uuid::Uuid;

use self::transport::{NoResolver, SocketConnector};
use crate::local_socket;

/// Time limit of a request that does not wait for an operation.
const TIMEOUT: Duration = Duration::from_secs(90);

/// Longest wait in total for a server that limits the rate of requests.
const MAX_RATE_WAIT: Duration = Duration::from_secs(300);

/// The base URL of requests through a socket, which need a host.
const SOCKET_URL: &str = "http://localhost";

/// A server, with an HTTP client that reuses its connection.
pub(crate) struct RemoteServer {
    url: String,
    /// The server in error messages.
    name: String,
    token: Option<String>,
    agent: Agent,
    /// The same without a time limit.
    patient_agent: Agent,
}

/// A failed request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemoteError {
    /// No response: nothing listens, or the connection broke.
    #[error(
        "cannot connect to the server at {server}: {cause}; check the address and that the server \
         runs"
    )]
    NoResponse { server: String, cause: String },
    /// An error response.
    #[error("the server at {server} answered {status}{text}")]
    Refused { server: String, status: String, code: String, text: String, retry_after: Option<u64> },
    /// An option that the API does not have.
    #[error("a search through a server has no option for {0}: leave it out")]
    Unsupported(&'static str),
    /// A response of another program.
    #[error("{server} did not answer with JSON; check that it is a semantik server")]
    NotJson { server: String },
}

impl RemoteServer {
    /// The server at a URL; `token` is an access token or API key.
    pub(crate) fn at_url(url: &str, token: Option<String>) -> Self {
        let url = url.trim_end_matches('/').to_owned();
        let agent = |timeout| Agent::from(config(timeout));
        Self {
            name: pipeline::url_origin(&url),
            url,
            token,
            agent: agent(Some(TIMEOUT)),
            patient_agent: agent(None),
        }
    }

    /// The server of a local socket.
    fn on_socket(path: &Path) -> Self {
        let agent = |timeout| {
            Agent::with_parts(config(timeout), SocketConnector(path.to_owned()), NoResolver)
        };
        Self {
            url: SOCKET_URL.to_owned(),
            name: path.display().to_string(),
            token: None,
            agent: agent(Some(TIMEOUT)),
            patient_agent: agent(None),
        }
    }

    /// The server that has the embedded vectors of all these files open and searches these
    /// collections; `None` if none runs, or if one of the files has its vectors on a Qdrant server,
    /// which every process can read.
    ///
    /// # Errors
    /// If other users of the machine could answer in its place.
    pub(crate) fn find_local<'a>(
        specs: impl IntoIterator<Item = &'a PipelineSpec>,
        collections: &[Uuid],
    ) -> Result<Option<Self>, BoxError> {
        let specs: Vec<&PipelineSpec> = specs.into_iter().collect();
        let Some(first) = specs.first() else { return Ok(None) };
        if !specs.iter().all(|spec| local_socket::has_embedded_vectors(spec)) {
            return Ok(None);
        }
        for socket in local_socket::list(&first.data_folder())? {
            let server = Self::on_socket(&socket);
            match server.get("served").and_then(|json| server.parse::<ServedList>(json)) {
                Ok(served) if collections.iter().all(|id| served.collections.contains(id)) => {
                    tracing::debug!(socket = server.name, "a server has the vectors open");
                    return Ok(Some(server));
                }
                Ok(_) => {}
                // A server that was killed leaves its socket.
                Err(error) => tracing::debug!(%error, "skipped a local server"),
            }
        }
        Ok(None)
    }

    /// Searches the collections of a request, which are ids or names. `filter` is that of the
    /// request, as the API reads it.
    pub(crate) async fn search(
        &self,
        request: &Request,
        filter: Option<&Map<String, Value>>,
    ) -> Result<SearchResults, RemoteError> {
        let body = mapping::to_wire(request, filter.cloned()).map_err(RemoteError::Unsupported)?;
        let asked = Instant::now();
        loop {
            match self.post(&self.agent, "search", &body) {
                Err(RemoteError::Refused { code, retry_after: Some(seconds), .. })
                    if code == "rate_limited" && asked.elapsed() < MAX_RATE_WAIT =>
                {
                    tracing::debug!(seconds, "waiting for the rate limit of the server");
                    tokio::time::sleep(Duration::from_secs(seconds)).await;
                }
                answer => return Ok(mapping::to_results(self.parse::<SearchAnswer>(answer?)?)),
            }
        }
    }

    /// Compares the stores of a collection; only through a local socket.
    pub(crate) fn verify(&self, collection: Uuid, wait: bool) -> Result<VerifyReport, BoxError> {
        let path = format!("collections/{collection}/verify");
        let report = self.post(&self.patient_agent, &path, &VerifyRequest { wait });
        match report {
            // The cause is the error of the comparison itself.
            Err(RemoteError::Refused { code, text, .. }) if code == "unavailable" => {
                Err(text.trim_start_matches([':', ' ']).to_owned().into())
            }
            report => Ok(self.parse(report?)?),
        }
    }

    /// The JSON of a resource.
    pub(crate) fn get(&self, path: &str) -> Result<Value, RemoteError> {
        let mut request = self.agent.get(format!("{}/api/v1/{path}", self.url));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.receive(tokio::task::block_in_place(|| request.call()))
    }

    fn post(&self, agent: &Agent, path: &str, body: &impl Serialize) -> Result<Value, RemoteError> {
        let mut request = agent.post(format!("{}/api/v1/{path}", self.url));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        // A server of an earlier version knows no newer options; those that are not given stay out.
        let mut body = serde_json::to_value(body).unwrap_or_default();
        if let Some(fields) = body.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
        }
        self.receive(tokio::task::block_in_place(|| request.send_json(&body)))
    }

    fn receive(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<Value, RemoteError> {
        let server = self.name.clone();
        let mut answer = answer.map_err(|error| RemoteError::NoResponse {
            server: server.clone(),
            cause: pipeline::strip_os_error_code(&error.to_string()),
        })?;
        let status = answer.status();
        let header = answer.headers().get("retry-after").and_then(|it| it.to_str().ok());
        let retry_after = header.and_then(|seconds| seconds.parse().ok());
        let body = answer.body_mut().with_config().limit(u64::MAX).read_json::<Value>();
        if status.is_success() {
            return body.map_err(|_| RemoteError::NotJson { server });
        }
        let problem = body.unwrap_or_default();
        let text = |key: &str| problem[key].as_str().unwrap_or_default().to_owned();
        let (code, said) = (text("code"), problem["detail"].as_str().or(problem["title"].as_str()));
        let mut text = said.map(|said| format!(" {said}")).unwrap_or_default();
        if let Some(remedy) = remedy(&code) {
            text = format!("{text}: {remedy}");
        }
        Err(RemoteError::Refused { server, status: status.to_string(), code, text, retry_after })
    }

    fn parse<T: serde::de::DeserializeOwned>(&self, json: Value) -> Result<T, RemoteError> {
        serde_json::from_value(json).map_err(|error| {
            tracing::debug!(%error, "unexpected JSON");
            RemoteError::NotJson { server: self.name.clone() }
        })
    }
}

/// What the user can do about a problem; `None` if its text says so or nothing is known.
fn remedy(code: &str) -> Option<&'static str> {
    Some(match code {
        "unauthenticated" | "invalid_credentials" => {
            "give a valid API key with --token or SEMANTIK_TOKEN"
        }
        "insufficient_scope" => "use an API key with a wider scope",
        "not_found" => "check the name, and that the API key may read the collection",
        "not_served" => "start the server with the pipeline file of the collection",
        "misdirected" => "use a URL that the server accepts",
        _ => return None,
    })
}

fn config(timeout: Option<Duration>) -> ureq::config::Config {
    Agent::config_builder()
        .timeout_global(timeout)
        .http_status_as_error(false)
        // A token must not reach another server.
        .max_redirects(0)
        .build()
}

/// The collection that the argument FILE of a verb names with `--server`: that of a pipeline file,
/// or itself.
///
/// # Errors
/// If it is an invalid pipeline file.
pub(crate) fn collection_name(named: &Path) -> Result<String, BoxError> {
    let is_yaml = named.extension().is_some_and(|it| it == "yaml" || it == "yml");
    if is_yaml || named.is_file() {
        return Ok(crate::composition::read_spec(named)?.file.collection);
    }
    Ok(named.to_string_lossy().into_owned())
}
