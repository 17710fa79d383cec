//! What goes wrong, as a client reads it: problem details (RFC 9457) with stable codes.
//!
//! A [`Problem`] is a value until the outermost layer writes it down, since only that layer knows the id of the
//! request. What a store said goes into the log under that id and never into an answer.

use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use pipeline::{ReadOnly, Remedy, StoreError};
use serde::Serialize;
use utoipa::ToSchema;

/// The media type of an answer that is a problem.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// What a request may come to, but for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    BadRequest,
    InvalidJson,
    InvalidQuery,
    ConfirmationRequired,
    Unauthenticated,
    InvalidCredentials,
    Forbidden,
    InsufficientScope,
    SessionRequired,
    NotFound,
    MethodNotAllowed,
    Timeout,
    Conflict,
    LimitReached,
    NotServed,
    TooLarge,
    UnsupportedMediaType,
    Misdirected,
    InvalidBody,
    TooCostly,
    RateLimited,
    Internal,
    Unavailable,
}

/// Each code with its name, its status and its title; `docs/api.md` says the same to users.
pub const CODES: &[(Code, &str, StatusCode, &str)] = &[
    (Code::BadRequest, "bad_request", StatusCode::BAD_REQUEST, "The request cannot be understood"),
    (Code::InvalidJson, "invalid_json", StatusCode::BAD_REQUEST, "The body is not JSON"),
    (Code::InvalidQuery, "invalid_query", StatusCode::BAD_REQUEST, "A query parameter is wrong"),
    (
        Code::ConfirmationRequired,
        "confirmation_required",
        StatusCode::BAD_REQUEST,
        "This has to be confirmed",
    ),
    (Code::Unauthenticated, "unauthenticated", StatusCode::UNAUTHORIZED, "Log in first"),
    (
        Code::InvalidCredentials,
        "invalid_credentials",
        StatusCode::UNAUTHORIZED,
        "These credentials are not valid",
    ),
    (Code::Forbidden, "forbidden", StatusCode::FORBIDDEN, "This is not yours to do"),
    (
        Code::InsufficientScope,
        "insufficient_scope",
        StatusCode::FORBIDDEN,
        "The scopes of the key do not reach so far",
    ),
    (
        Code::SessionRequired,
        "session_required",
        StatusCode::FORBIDDEN,
        "This takes a person who is logged in, not a key",
    ),
    (Code::NotFound, "not_found", StatusCode::NOT_FOUND, "There is nothing here"),
    (
        Code::MethodNotAllowed,
        "method_not_allowed",
        StatusCode::METHOD_NOT_ALLOWED,
        "This cannot be done here",
    ),
    (Code::Timeout, "timeout", StatusCode::REQUEST_TIMEOUT, "This took too long"),
    (Code::Conflict, "conflict", StatusCode::CONFLICT, "Something else stands against it"),
    (Code::LimitReached, "limit_reached", StatusCode::CONFLICT, "A limit is reached"),
    (
        Code::NotServed,
        "not_served",
        StatusCode::CONFLICT,
        "This server does not serve the collection",
    ),
    (Code::TooLarge, "too_large", StatusCode::PAYLOAD_TOO_LARGE, "The body is too large"),
    (
        Code::UnsupportedMediaType,
        "unsupported_media_type",
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "The body has to be application/json",
    ),
    (Code::Misdirected, "misdirected", StatusCode::MISDIRECTED_REQUEST, "Misdirected request"),
    (
        Code::InvalidBody,
        "invalid_body",
        StatusCode::UNPROCESSABLE_ENTITY,
        "The body does not say what it should",
    ),
    (
        Code::TooCostly,
        "too_costly",
        StatusCode::UNPROCESSABLE_ENTITY,
        "The search costs more than a request may",
    ),
    (Code::RateLimited, "rate_limited", StatusCode::TOO_MANY_REQUESTS, "Too many requests"),
    (Code::Internal, "internal", StatusCode::INTERNAL_SERVER_ERROR, "The server failed"),
    (
        Code::Unavailable,
        "unavailable",
        StatusCode::SERVICE_UNAVAILABLE,
        "Something that the server needs is away",
    ),
];

impl Code {
    fn row(self) -> &'static (Self, &'static str, StatusCode, &'static str) {
        CODES.iter().find(|row| row.0 == self).expect("every code has its row; a test counts them")
    }

    /// Its name in answers.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The status that it comes with.
    pub fn status(self) -> StatusCode {
        self.row().2
    }

    /// The code for a status that a library answers with.
    fn of(status: StatusCode) -> Self {
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

/// A request that came to nothing.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Which kind.
    pub code: Code,
    /// What is the matter this time, for the person who asked.
    pub detail: Option<String>,
    /// For the log alone.
    pub cause: Option<String>,
    /// Seconds after which it makes sense to come again.
    pub retry_after: Option<u64>,
}

/// What handlers give.
pub type Answer<T> = Result<T, Problem>;

impl Problem {
    /// A problem of which nothing more is to be said.
    pub fn of(code: Code) -> Self {
        Self { code, detail: None, cause: None, retry_after: None }
    }

    /// A problem, and what is the matter this time.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..Self::of(code) }
    }

    /// Something that is not there, or that nobody is to know of.
    pub fn not_found(what: &str) -> Self {
        Self::new(Code::NotFound, format!("there is no such {what}, or it is not yours to see"))
    }

    /// A server that cannot do it, for a reason that is the operator's to read.
    pub fn internal(cause: impl Into<String>) -> Self {
        Self { cause: Some(cause.into()), ..Self::of(Code::Internal) }
    }

    /// Too much at once; come again in so many seconds.
    pub fn later(code: Code, seconds: u64) -> Self {
        Self { retry_after: Some(seconds.max(1)), ..Self::of(code) }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.source.is::<ReadOnly>() {
            let detail = "the database is read-only at the moment: searching works, changes do not";
            let cause = Some(pipeline::chain(&error));
            return Self {
                detail: Some(detail.to_owned()),
                cause,
                ..Self::later(Code::Unavailable, 30)
            };
        }
        let code = match error.remedy {
            Remedy::Retry => Code::Unavailable,
            Remedy::Conflict => Code::Conflict,
            Remedy::GiveUp => Code::Internal,
        };
        let retry_after = (error.remedy == Remedy::Retry).then_some(5);
        Self { cause: Some(pipeline::chain(&error)), retry_after, ..Self::of(code) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Problem details as they are sent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Problem")]
pub struct ProblemDetails {
    /// `urn:semantik:problem:` and the code.
    #[serde(rename = "type")]
    #[schema(example = "urn:semantik:problem:not_found")]
    kind: String,
    /// The same for every problem of this code.
    title: &'static str,
    /// The status of the answer.
    status: u16,
    /// A word that stays the same.
    #[schema(example = "not_found")]
    code: &'static str,
    /// What is the matter this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// By which the operator finds the request in the log.
    request_id: String,
}

/// The answer as it is sent: a problem is written down, and what a library answered with becomes one. Gives the
/// problem too, for the log.
pub(super) fn written(response: Response, request_id: &str) -> (Response, Option<Problem>) {
    let status = response.status();
    // A browser that asked for an address that is nothing's was given a page.
    let is_one = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|it| it == MEDIA_TYPE || it.as_bytes().starts_with(b"text/html"));
    let problem = match response.extensions().get::<Problem>() {
        Some(problem) => problem.clone(),
        None if is_one || !(status.is_client_error() || status.is_server_error()) => {
            return (response, None);
        }
        None => Problem::of(Code::of(status)),
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
        for (at, (code, name, status, _)) in CODES.iter().enumerate() {
            assert_eq!(*code as usize, at, "the rows are in the order of the codes");
            let row = format!("| `{name}` | {} |", status.as_u16());
            assert!(docs.contains(&row), "docs/api.md lacks `{row}`");
        }
    }
}
