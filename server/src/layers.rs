//! Layers of every request and response: request id, client address, time limit, problem format,
//! security headers, access log.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, MatchedPath, Request};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, ORIGIN,
    REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, VARY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::timeout::TimeoutLayer;
use utoipa_swagger_ui::SwaggerUi;
use uuid::Uuid;

use super::browser::IsSecure;
use super::guard::{Caller, ClientAddress, count_file};
use super::problem::{Problem, render_problem};
use super::right::Identity;
use super::{App, ServerConfig, client, endpoints, host, log_text, openapi};
use search::Timings;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Content security policy of responses other than pages: no scripts, no frames.
const API_CSP: &str = "default-src 'none'; frame-ancestors 'none'";
/// Content security policy of pages: everything is loaded from this server.
const PAGE_CSP: &str = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; \
                        base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// The complete server. `page` serves the web UI and responds to unknown paths. It and the
/// description of the API need no right; only their rate is limited.
pub fn router(app: &App, page: Router) -> Router {
    let (api, description) = endpoints::guarded_routes(app);
    let docs = SwaggerUi::new(openapi::DOCS_PATH).url(openapi::SPEC_PATH, description);
    let timeout = TimeoutLayer::with_status_code(
        StatusCode::SERVICE_UNAVAILABLE,
        app.config.response_timeout,
    );
    let counting = app.clone();
    let files = Router::new()
        .merge(docs)
        .merge(page)
        .layer(from_fn(move |request, next| count_file(counting.clone(), request, next)));
    let outer = app.clone();
    Router::new()
        .merge(api)
        .merge(files)
        .layer(DefaultBodyLimit::max(app.config.max_body_bytes))
        .layer(timeout)
        .layer(CatchPanicLayer::custom(panic_response))
        .layer(from_fn(move |request, next| request_layer(outer.clone(), request, next)))
        .layer(CompressionLayer::new())
}

#[expect(clippy::needless_pass_by_value, reason = "the layer hands it over")]
pub(super) fn panic_response(panic: Box<dyn std::any::Any + Send>) -> Response {
    let message = pipeline::panic_message(panic.as_ref());
    Problem::internal(format!("a handler panicked: {message}")).into_response()
}

/// The outermost layer of every request and response.
async fn request_layer(app: App, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = request_id(request.headers());
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
    let peer = peer.unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into());
    let address = client::client_address(peer, request.headers(), &app.config.trusted_proxies);
    request.extensions_mut().insert(ClientAddress(address));
    let ServerConfig { trusted_proxies, is_tls, .. } = &app.config;
    let is_secure = client::is_secure(peer, request.headers(), trusted_proxies, *is_tls);
    request.extensions_mut().insert(IsSecure(is_secure));
    let origin = allowed_origin(&app, request.headers());
    let asked = RequestLog::of(&request);
    let is_known = request.extensions().get::<MatchedPath>().is_some();
    let is_from_proxy = client::is_trusted(peer, &app.config.trusted_proxies);
    let response = match host::check_host(&request, &app.config.hosts, is_from_proxy) {
        Err(problem) => problem.into_response(),
        Ok(()) => match preflight(&request, origin.as_ref()) {
            Some(response) => response,
            None => next.run(request).await,
        },
    };
    let caller = response.extensions().get::<Caller>().cloned();
    let (mut response, problem) = render_problem(response, &id);
    let headers = response.headers_mut();
    headers.extend(answer_headers(&app, headers, &id, origin));
    // Unknown paths share one label, because clients can invent any number of them.
    let route = if is_known { &*asked.path } else { "other" };
    let (method, status) = (method_label(&asked.method), response.status().as_u16());
    let took = began.elapsed();
    app.config.metrics.record_request(route, method, status, took);
    if let Some(timings) = response.extensions().get::<Timings>() {
        let elsewhere = timings.embed + timings.store + timings.rerank;
        app.config.metrics.record_overhead(took.saturating_sub(elsewhere));
    }
    asked.log(&id, address, caller.as_ref(), response.status(), problem.as_ref(), began);
    response
}

/// The method as a metric label; unknown ones share a label.
fn method_label(method: &Method) -> &str {
    match *method {
        Method::GET | Method::POST | Method::PUT | Method::PATCH | Method::DELETE => {
            method.as_str()
        }
        _ => "other",
    }
}

/// The request id of the client if it is well-formed, otherwise a new one. Keeping it lets a
/// request be traced across servers.
pub(super) fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        (1..=64).contains(&id.len()) && id.bytes().all(is_plain)
    });
    given.map_or_else(|| Uuid::new_v4().to_string(), str::to_owned)
}

/// The loggable part of a request. Query and headers are excluded, because they may contain
/// confidential text.
pub(super) struct RequestLog {
    method: Method,
    path: Arc<str>,
}

impl RequestLog {
    pub(super) fn of(request: &Request) -> Self {
        let path = match request.extensions().get::<MatchedPath>() {
            Some(matched) => matched.as_str().into(),
            None => log_text::sanitized(request.uri().path(), log_text::MAX_PATH).into(),
        };
        Self { method: request.method().clone(), path }
    }

    pub(super) fn log(
        &self,
        id: &str,
        address: std::net::IpAddr,
        caller: Option<&Caller>,
        status: StatusCode,
        problem: Option<&Problem>,
        began: Instant,
    ) {
        let method = log_text::sanitized(self.method.as_str(), log_text::MAX_METHOD);
        let (path, status) = (&*self.path, status.as_u16());
        let by = caller.and_then(|caller| match &caller.identity {
            Identity::Anonymous => None,
            Identity::Local => Some("the local command".to_owned()),
            Identity::User { username, .. } => Some(username.clone()),
            Identity::Key { key, username, .. } => Some(format!("{username} by key {key}")),
        });
        let code = problem.map(|it| it.code.name());
        let cause = problem.and_then(|problem| problem.cause.as_deref());
        let cause = cause.map(|cause| log_text::sanitized(cause, log_text::MAX_CAUSE));
        let ms = began.elapsed().as_secs_f64() * 1000.0;
        if status >= 500 {
            tracing::error!(request_id = id, %address, by, method, path, status, code, ms, cause, "failed");
        } else {
            tracing::info!(request_id = id, %address, by, method, path, status, code, ms, cause, "answered");
        }
    }
}

fn answer_headers(
    app: &App,
    already: &HeaderMap,
    id: &str,
    origin: Option<HeaderValue>,
) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let is_page =
        already.get(CONTENT_TYPE).is_some_and(|it| it.as_bytes().starts_with(b"text/html"));
    let policy = if is_page { PAGE_CSP } else { API_CSP };
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // A response with a stricter policy sets the header itself.
    if !already.contains_key(CONTENT_SECURITY_POLICY) {
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    }
    if !already.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if app.config.is_tls {
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    headers.insert(REQUEST_ID, HeaderValue::from_str(id).expect("request ids are ASCII"));
    if !app.config.origins.is_empty() {
        headers.insert(VARY, HeaderValue::from_name(ORIGIN));
    }
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("location, retry-after, x-request-id"),
        );
    }
    headers
}

/// The `Origin` of the request, if it may use the API (CORS protocol, fetch.spec.whatwg.org).
fn allowed_origin(app: &App, headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = headers.get(ORIGIN)?;
    let is_allowed =
        app.config.origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes());
    is_allowed.then(|| origin.clone())
}

/// The response to a CORS preflight request.
fn preflight(request: &Request, origin: Option<&HeaderValue>) -> Option<Response> {
    let is_one = request.method() == Method::OPTIONS
        && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    origin.filter(|_| is_one)?;
    let headers = [
        // Without `x-semantik-csrf`: only this server's own page may use the session cookie
        // (`browser.rs`).
        (ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PUT, PATCH, DELETE"),
        (ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type, x-request-id"),
        (ACCESS_CONTROL_MAX_AGE, "600"),
    ];
    Some((StatusCode::NO_CONTENT, headers).into_response())
}
