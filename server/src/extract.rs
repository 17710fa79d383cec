//! Extractors of handlers for path, query and body, with errors as [`Problem`].

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::App;
use super::problem::{Problem, ProblemCode};

/// The ids in a path. A malformed id is 404.
pub(super) struct PathParams<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for PathParams<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(ids) = Path::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::new(ProblemCode::NotFound, "the path contains a malformed id"))?;
        Ok(Self(ids))
    }
}

/// The query parameters.
pub(super) struct QueryParams<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for QueryParams<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        if parts.uri.query().is_some_and(|query| query.contains("%00")) {
            return Err(Problem::new(ProblemCode::InvalidQuery, NO_NUL));
        }
        let Query(query) = Query::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Problem::new(ProblemCode::InvalidQuery, rejection.body_text()))?;
        Ok(Self(query))
    }
}

/// A JSON body.
pub(super) struct JsonBody<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<App> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        check_media_type(&request)?;
        // Refused before it arrives if `Content-Length` exceeds the limit.
        let announced = request.headers().get(CONTENT_LENGTH).and_then(|it| it.to_str().ok());
        let announced = announced.and_then(|it| it.parse::<usize>().ok());
        if announced.is_some_and(|bytes| bytes > app.config.max_body_bytes) {
            return Err(Problem::from_code(ProblemCode::TooLarge));
        }
        let arriving = Bytes::from_request(request, app);
        let bytes = tokio::time::timeout(app.config.body_timeout, arriving)
            .await
            .map_err(|_| Problem::from_code(ProblemCode::Timeout))?
            .map_err(|rejection| body_problem(&rejection))?;
        let value: Value = serde_json::from_slice(&bytes)
            .map_err(|error| Problem::new(ProblemCode::InvalidJson, error.to_string()))?;
        if contains_nul(&value) {
            return Err(Problem::new(ProblemCode::InvalidBody, NO_NUL));
        }
        // The error may quote the body; only the sender gets it.
        let body = serde_json::from_value(value)
            .map_err(|error| Problem::new(ProblemCode::InvalidBody, error.to_string()))?;
        Ok(Self(body))
    }
}

/// Postgres cannot store NUL in text.
const NO_NUL: &str = "text must not contain the character NUL";

/// JSON is UTF-8 (RFC 8259, 8.1); a body with another `charset` would be misread.
fn check_media_type(request: &Request) -> Result<(), Problem> {
    let media = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let mut parts = media.unwrap_or_default().split(';').map(str::trim);
    if !parts.next().unwrap_or_default().eq_ignore_ascii_case("application/json") {
        return Err(Problem::from_code(ProblemCode::UnsupportedMediaType));
    }
    let mut parameters = parts.filter_map(|part| part.split_once('='));
    let is_utf8 = |charset: &str| charset.trim_matches('"').eq_ignore_ascii_case("utf-8");
    if parameters.any(|(name, value)| name.eq_ignore_ascii_case("charset") && !is_utf8(value)) {
        return Err(Problem::new(
            ProblemCode::UnsupportedMediaType,
            "unsupported charset: expected UTF-8",
        ));
    }
    Ok(())
}

fn body_problem(rejection: &BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return Problem::from_code(ProblemCode::TooLarge);
    }
    Problem::new(ProblemCode::BadRequest, "the body ended early")
}

fn contains_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(contains_nul),
        Value::Object(fields) => {
            fields.iter().any(|(key, value)| key.contains('\0') || contains_nul(value))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
