//! Operations: what is and was done to collections, starting and stopping them, and following them live.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use uuid::Uuid;

use super::collections::DONE;
use super::{Accepted, AcceptedAnswer, accepted};
use crate::extract::{InBody, InPath, InQuery};
use crate::guard::{Caller, Target};
use crate::ports::Order;
use crate::problem::{Answer, Problem};
use crate::wire::{Operation, Page, Paging, Start, time_cursor};
use crate::{App, events};

/// Operations on every collection that who asks may read, newest first.
#[utoipa::path(get, path = "/operations", tag = "operations", params(Paging),
    responses((status = OK, body = Page<Operation>)))]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    InQuery(paging): InQuery<Paging>,
) -> Answer<Json<Page<Operation>>> {
    let limit = paging.limit()?;
    let before = paging.before()?;
    let found = app.catalogue.readable_operations(caller.reader(), before, limit + 1).await?;
    Ok(Json(page(found, limit)))
}

fn page(operations: Vec<Operation>, limit: u32) -> Page<Operation> {
    Page::new(operations, limit, |it| time_cursor(it.created_at, it.id))
}

/// Changes of operations on every collection that who asks may read, from now on, as server-sent events.
///
/// Each event is named `operation`, and its data is the operation as `GET /operations/{operation}` gives it. One named
/// `end` says that the credentials or rights with which the stream began are lost.
#[utoipa::path(get, path = "/operations/events", tag = "operations",
    responses((status = OK, body = Operation, content_type = "text/event-stream")))]
pub(crate) async fn events(State(app): State<App>, caller: Caller) -> Answer<impl IntoResponse> {
    events::of_all(&app, &caller)
}

/// Operations on one collection, newest first.
#[utoipa::path(get, path = "/collections/{collection}/operations", tag = "operations",
    params(("collection" = Uuid, Path), Paging), responses((status = OK, body = Page<Operation>)))]
pub(crate) async fn of_collection(
    State(app): State<App>,
    target: Target,
    InQuery(paging): InQuery<Paging>,
) -> Answer<Json<Page<Operation>>> {
    let limit = paging.limit()?;
    let (id, before) = (target.collection.id, paging.before()?);
    Ok(Json(page(app.catalogue.operations(id, before, limit + 1).await?, limit)))
}

/// Asks for an operation: bringing the collection up to date, or building it anew. It begins when the collection is
/// free.
#[utoipa::path(post, path = "/collections/{collection}/operations", tag = "operations",
    params(("collection" = Uuid, Path)), request_body = Start,
    responses((status = ACCEPTED, body = Accepted)))]
pub(crate) async fn start(
    State(app): State<App>,
    caller: Caller,
    target: Target,
    InBody(wanted): InBody<Start>,
) -> Answer<AcceptedAnswer> {
    let Start { kind, allow_deletes, retry_failed } = wanted;
    let order = Order::Run { kind, allow_deletes, retry_failed };
    Ok(accepted(app.work.start(target.collection.id, order, &caller.by()).await?))
}

/// One operation. After the deletion of its collection, the last owner of that and administrators of the server may still
/// read it.
#[utoipa::path(get, path = "/operations/{operation}", tag = "operations",
    params(("operation" = Uuid, Path)), responses((status = OK, body = Operation)))]
pub(crate) async fn show(
    State(app): State<App>,
    InPath(operation): InPath<Uuid>,
) -> Answer<Json<Operation>> {
    let found = app.catalogue.operation(operation).await?;
    let found = found.ok_or_else(|| Problem::not_found("operation"))?;
    app.tell_end(&found);
    Ok(Json(found))
}

/// How an operation gets on, as server-sent events, until it ends.
///
/// Each event is named `operation`, and its data is the operation as `GET /operations/{operation}` gives it; one named
/// `gone` says that it went with its collection, one named `end` that the credentials or rights with which the stream
/// began are lost.
#[utoipa::path(get, path = "/operations/{operation}/events", tag = "operations",
    params(("operation" = Uuid, Path)),
    responses((status = OK, body = Operation, content_type = "text/event-stream")))]
pub(crate) async fn events_of_one(
    State(app): State<App>,
    caller: Caller,
    target: Target,
    InPath(operation): InPath<Uuid>,
) -> Answer<impl IntoResponse> {
    events::of_one(&app, &caller, target.collection.id, operation)
}

/// Stops an operation, whoever works on it.
#[utoipa::path(post, path = "/operations/{operation}/cancel", tag = "operations",
    params(("operation" = Uuid, Path)),
    responses((status = NO_CONTENT), (status = CONFLICT, description = "It has ended",
        body = crate::problem::ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn cancel(
    State(app): State<App>,
    caller: Caller,
    InPath(operation): InPath<Uuid>,
) -> Answer<StatusCode> {
    app.work.cancel(operation, &caller.by()).await?;
    Ok(DONE)
}
