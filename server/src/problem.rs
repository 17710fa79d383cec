//! Error responses: problem details (RFC 9457) with stable codes.
//!
//! A [`Problem`] is a value until the outermost layer serialises it, because only that layer knows
//! the request id. Messages of stores are logged under that id and never returned.

use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use pipeline::{ReadOnly, Remedy, StoreError};
use serde::Serialize;
use utoipa::ToSchema;

/// Media type of a problem response.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// Stable codes of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProblemCode {
    /// The request is malformed in another way than the codes below: its path, headers or encoding.
    BadRequest,
    /// The body is not JSON.
    InvalidJson,
    /// A query parameter is unknown or has an invalid value.
    InvalidQuery,
    /// The request deletes data and lacks `confirm` with the name of the collection.
    ConfirmationRequired,
    /// The endpoint requires credentials, and the request has none.
    Unauthenticated,
    /// User name, password, token or key is wrong, expired or revoked.
    InvalidCredentials,
    /// The caller may see the resource and lacks the right.
    Forbidden,
    /// The scope of the API key excludes the request.
    InsufficientScope,
    /// The endpoint accepts no API key.
    SessionRequired,
    /// The resource does not exist, or the caller may not see it.
    NotFound,
    /// The path exists with other methods, which `Allow` lists.
    MethodNotAllowed,
    /// The body did not arrive in time ([`crate::ServerConfig::body_timeout`]).
    Timeout,
    /// The resource is in a state that excludes the change.
    Conflict,
    /// The change would exceed a limit of the collection.
    LimitReached,
    /// The collection exists in the database, and this server has no pipeline file for it.
    NotServed,
    /// The body exceeds [`crate::ServerConfig::max_body_bytes`].
    TooLarge,
    /// `Content-Type` is not JSON.
    UnsupportedMediaType,
    /// `Host` is not a name of this server ([`crate::ServerConfig::hosts`]).
    Misdirected,
    /// The body is JSON, and a field is missing, unknown or invalid.
    InvalidBody,
    /// The search costs more than [`search::COST_BUDGET`].
    TooCostly,
    /// The client exceeds a rate; `Retry-After` has the time to wait.
    RateLimited,
    /// An error of the server, which is in its log under the request id.
    Internal,
    /// A store cannot be reached, or too many requests wait.
    Unavailable,
}

/// Each code with its name, status and title; `docs/api.md` documents them.
pub const PROBLEM_CODES: &[(ProblemCode, &str, StatusCode, &str)] = &[
    (ProblemCode::BadRequest, "bad_request", StatusCode::BAD_REQUEST, "Bad request"),
    (ProblemCode::InvalidJson, "invalid_json", StatusCode::BAD_REQUEST, "Invalid JSON"),
    (
        ProblemCode::InvalidQuery,
        "invalid_query",
        StatusCode::BAD_REQUEST,
        "Invalid query parameter",
    ),
    (
        ProblemCode::ConfirmationRequired,
        "confirmation_required",
        StatusCode::BAD_REQUEST,
        "Confirmation required",
    ),
    (
        ProblemCode::Unauthenticated,
        "unauthenticated",
        StatusCode::UNAUTHORIZED,
        "Authentication required",
    ),
    (
        ProblemCode::InvalidCredentials,
        "invalid_credentials",
        StatusCode::UNAUTHORIZED,
        "Invalid credentials",
    ),
    (ProblemCode::Forbidden, "forbidden", StatusCode::FORBIDDEN, "Forbidden"),
    (
        ProblemCode::InsufficientScope,
        "insufficient_scope",
        StatusCode::FORBIDDEN,
        "Insufficient scope",
    ),
    (ProblemCode::SessionRequired, "session_required", StatusCode::FORBIDDEN, "Session required"),
    (ProblemCode::NotFound, "not_found", StatusCode::NOT_FOUND, "Not found"),
    (
        ProblemCode::MethodNotAllowed,
        "method_not_allowed",
        StatusCode::METHOD_NOT_ALLOWED,
        "Method not allowed",
    ),
    (ProblemCode::Timeout, "timeout", StatusCode::REQUEST_TIMEOUT, "Request timeout"),
    (ProblemCode::Conflict, "conflict", StatusCode::CONFLICT, "Conflict"),
    (ProblemCode::LimitReached, "limit_reached", StatusCode::CONFLICT, "Limit reached"),
    (ProblemCode::NotServed, "not_served", StatusCode::CONFLICT, "Collection not served"),
    (ProblemCode::TooLarge, "too_large", StatusCode::PAYLOAD_TOO_LARGE, "Content too large"),
    (
        ProblemCode::UnsupportedMediaType,
        "unsupported_media_type",
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "Unsupported media type",
    ),
    (
        ProblemCode::Misdirected,
        "misdirected",
        StatusCode::MISDIRECTED_REQUEST,
        "Misdirected request",
    ),
    (
        ProblemCode::InvalidBody,
        "invalid_body",
        StatusCode::UNPROCESSABLE_ENTITY,
        "Invalid request body",
    ),
    (ProblemCode::TooCostly, "too_costly", StatusCode::UNPROCESSABLE_ENTITY, "Search too costly"),
    (ProblemCode::RateLimited, "rate_limited", StatusCode::TOO_MANY_REQUESTS, "Too many requests"),
    (ProblemCode::Internal, "internal", StatusCode::INTERNAL_SERVER_ERROR, "Internal server error"),
    (
        ProblemCode::Unavailable,
        "unavailable",
        StatusCode::SERVICE_UNAVAILABLE,
        "Service unavailable",
    ),
];

impl ProblemCode {
    fn row(self) -> &'static (Self, &'static str, StatusCode, &'static str) {
        PROBLEM_CODES
            .iter()
            .find(|row| row.0 == self)
            .expect("every code has its row; a test counts them")
    }

    /// Name in responses.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// HTTP status of the response.
    pub fn status(self) -> StatusCode {
        self.row().2
    }

    /// The code for an error status set by a library.
    fn from_status(status: StatusCode) -> Self {
        match status {
            StatusCode::UNAUTHORIZED => Self::Unauthenticated,
            StatusCode::FORBIDDEN => Self::Forbidden,
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Self::MethodNotAllowed,
            StatusCode::REQUEST_TIMEOUT => Self::Timeout,
            StatusCode::PAYLOAD_TOO_LARGE => Self::TooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::UnsupportedMediaType,
            StatusCode::TOO_MANY_REQUESTS => Self::RateLimited,
            StatusCode::SERVICE_UNAVAILABLE => Self::Unavailable,
            status if status.is_server_error() => Self::Internal,
            _ => Self::BadRequest,
        }
    }
}

/// A failed request.
///
/// ```
/// use server::problem::{Problem, ProblemCode};
///
/// let problem = Problem::retry_later(ProblemCode::Unavailable, 0);
/// assert_eq!((problem.code.name(), problem.code.status().as_u16()), ("unavailable", 503));
/// assert_eq!(problem.retry_after, Some(1));
/// assert_eq!(Problem::internal("disk full").detail, None, "causes are only logged");
/// ```
#[derive(Clone, Debug)]
pub struct Problem {
    /// Kind of the problem.
    pub code: ProblemCode,
    /// Details of this occurrence, for the client.
    pub detail: Option<String>,
    /// Cause for the log; never returned to the client.
    pub cause: Option<String>,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u64>,
}

/// Result of a handler.
pub type HandlerResult<T> = Result<T, Problem>;

impl Problem {
    /// A problem without details.
    pub fn from_code(code: ProblemCode) -> Self {
        Self { code, detail: None, cause: None, retry_after: None }
    }

    /// A problem with details of this occurrence.
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..Self::from_code(code) }
    }

    /// A resource that does not exist, or that the caller may not see.
    pub fn not_found(what: &str) -> Self {
        Self::new(ProblemCode::NotFound, format!("{what} not found, or no right to see it"))
    }

    /// An error of the server, with its cause for the log.
    pub fn internal(cause: impl Into<String>) -> Self {
        Self { cause: Some(cause.into()), ..Self::from_code(ProblemCode::Internal) }
    }

    /// A temporary problem; the client may retry after `seconds`.
    pub fn retry_later(code: ProblemCode, seconds: u64) -> Self {
        Self { retry_after: Some(seconds.max(1)), ..Self::from_code(code) }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.source.is::<ReadOnly>() {
            let detail =
                "the database is read-only: searches work, changes are refused; try again later";
            let cause = Some(pipeline::error_chain(&error));
            return Self {
                detail: Some(detail.to_owned()),
                cause,
                ..Self::retry_later(ProblemCode::Unavailable, 30)
            };
        }
        let code = match error.remedy {
            Remedy::Retry => ProblemCode::Unavailable,
            Remedy::Conflict => ProblemCode::Conflict,
            Remedy::GiveUp => ProblemCode::Internal,
        };
        let retry_after = (error.remedy == Remedy::Retry).then_some(5);
        Self { cause: Some(pipeline::error_chain(&error)), retry_after, ..Self::from_code(code) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Problem details as sent to the client.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Problem")]
pub struct ProblemDetails {
    /// `urn:semantik:problem:` followed by the code.
    #[serde(rename = "type")]
    #[schema(example = "urn:semantik:problem:not_found")]
    kind: String,
    /// Short description, the same for all problems of a code.
    title: &'static str,
    /// The HTTP status of the response.
    status: u16,
    /// Stable identifier of the kind of problem.
    #[schema(example = "not_found")]
    code: &'static str,
    /// Details of this occurrence.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// Identifies the request in the log of the server.
    request_id: String,
}

/// Serialises a problem, and converts error responses of libraries to problems. Also returns the
/// problem, for the log.
pub(super) fn render_problem(response: Response, request_id: &str) -> (Response, Option<Problem>) {
    let status = response.status();
    // A browser that requested an unknown path got an HTML page.
    let is_one = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|it| it == MEDIA_TYPE || it.as_bytes().starts_with(b"text/html"));
    let problem = match response.extensions().get::<Problem>() {
        Some(problem) => problem.clone(),
        None if is_one || !(status.is_client_error() || status.is_server_error()) => {
            return (response, None);
        }
        None => Problem::from_code(ProblemCode::from_status(status)),
    };
    let (_, name, status, title) = *problem.code.row();
    let details = ProblemDetails {
        kind: format!("urn:semantik:problem:{name}"),
        title,
        status: status.as_u16(),
        code: name,
        detail: problem.detail.clone(),
        request_id: request_id.to_owned(),
    };
    let body = serde_json::to_vec(&details).expect("strings and a number are JSON");
    let mut written = (status, body).into_response();
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    if let Some(seconds) = problem.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(allowed) = response.headers().get(ALLOW) {
        headers.insert(ALLOW, allowed.clone());
    }
    written.headers_mut().extend(headers);
    (written, Some(problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_one_row_and_is_documented() {
        let docs = include_str!("../../docs/api.md");
        for (at, (code, name, status, _)) in PROBLEM_CODES.iter().enumerate() {
            assert_eq!(*code as usize, at, "the rows are in the order of the codes");
            let row = format!("| `{name}` | {} |", status.as_u16());
            assert!(docs.contains(&row), "docs/api.md lacks `{row}`");
        }
    }
}
