//! The handlers, one file per kind of resource. `table.rs` and `guard.rs` decide beforehand which
//! callers reach them.

pub(super) mod accounts;
pub(super) mod browser;
pub(super) mod collections;
pub(super) mod documents;
pub(super) mod facets;
pub(super) mod grants;
pub(super) mod keys;
pub(super) mod operations;
pub(super) mod search;
pub(super) mod sessions;
pub(super) mod system;

use axum::Json;
use axum::http::header::LOCATION;
use axum::http::{HeaderName, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::endpoints::BASE_PATH;
use super::problem::{HandlerResult, Problem, ProblemCode};

/// A requested operation.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Accepted {
    /// Id of the operation.
    operation: Uuid,
    /// URL of its state.
    href: String,
    /// URL of its events.
    events: String,
}

type AcceptedAnswer = (StatusCode, [(HeaderName, String); 1], Json<Accepted>);

fn accepted(operation: Uuid) -> AcceptedAnswer {
    let href = format!("{BASE_PATH}/operations/{operation}");
    let events = format!("{href}/events");
    (StatusCode::ACCEPTED, [(LOCATION, href.clone())], Json(Accepted { operation, href, events }))
}

/// Checks a single-line text: 1 to `longest` characters, no control characters.
fn check_line(what: &str, text: &str, longest: usize) -> HandlerResult<()> {
    let length = text.chars().count();
    if (1..=longest).contains(&length) && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Problem::new(
        ProblemCode::InvalidBody,
        format!("invalid `{what}`: expected 1 to {longest} characters without control characters"),
    ))
}
