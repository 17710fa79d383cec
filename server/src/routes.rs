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

use std::sync::Arc;

use axum::Json;
use axum::http::header::LOCATION;
use axum::http::{HeaderName, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::App;
use super::guard::AuthorizedCollection;
use super::openapi::BASE_PATH;
use super::problem::{HandlerResult, Problem, ProblemCode};
use ::search::Target;

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

/// The live generation of the collection of the path.
async fn live_target(app: &App, target: &AuthorizedCollection) -> HandlerResult<Arc<Target>> {
    if !target.collection.is_served {
        return Err(Problem::from_code(ProblemCode::NotServed));
    }
    // The cause is logged for the operator of the server and not sent to the client.
    app.service.search_target(target.collection.id).await.map_err(|error| Problem {
        cause: Some(pipeline::error_chain(error.as_ref())),
        ..Problem::retry_later(ProblemCode::Unavailable, 5)
    })
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
