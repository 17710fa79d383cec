//! The handlers, one file for each kind of thing. Who may call them is decided before (`table.rs`, `guard.rs`).

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

use super::problem::{Answer, Code, Problem};
use super::table::BASE;

/// An operation that was asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Accepted {
    /// Its id.
    operation: Uuid,
    /// Where it can be looked at.
    href: String,
    /// Where it can be followed.
    events: String,
}

type AcceptedAnswer = (StatusCode, [(HeaderName, String); 1], Json<Accepted>);

fn accepted(operation: Uuid) -> AcceptedAnswer {
    let href = format!("{BASE}/operations/{operation}");
    let events = format!("{href}/events");
    (StatusCode::ACCEPTED, [(LOCATION, href.clone())], Json(Accepted { operation, href, events }))
}

/// A text that people read in a line: some characters, none of which moves the cursor.
fn line(what: &str, text: &str, longest: usize) -> Answer<()> {
    let length = text.chars().count();
    if (1..=longest).contains(&length) && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Problem::new(
        Code::InvalidBody,
        format!("`{what}` has 1 to {longest} characters, all of them visible"),
    ))
}
