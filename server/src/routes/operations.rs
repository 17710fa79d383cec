//! Operations on collections: lists, requests, cancellation and events.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use metadata::OperationRecord;
use pipeline::Remedy;
use uuid::Uuid;

use super::collections::NO_CONTENT;
use super::{Accepted, AcceptedAnswer, accepted};
use crate::extract::{JsonBody, PathParams, QueryParams};
use crate::guard::{AuthorizedCollection, Caller};
use crate::problem::{HandlerResult, Problem, ProblemCode};
use crate::wire::{Page, Paging, StartOperation, time_cursor};
use crate::{App, events};

/// List operations
///
/// Of all collections that the caller may read, newest first.
#[utoipa::path(get, path = "/operations", tag = "operations", params(Paging),
    responses((status = OK, body = Page<OperationRecord>)))]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    QueryParams(paging): QueryParams<Paging>,
) -> HandlerResult<Json<Page<OperationRecord>>> {
    let limit = paging.limit()?;
    let before = paging.before()?;
    let found =
        app.metadata.operations().readable_by(caller.principal(), before, limit + 1).await?;
    Ok(Json(page(found, limit)))
}

fn page(operations: Vec<OperationRecord>, limit: u32) -> Page<OperationRecord> {
    Page::new(operations, limit, |it| time_cursor(it.created_at, it.id))
}

/// Follow operations
///
/// Server-sent events of the operations of all collections that the caller may read, from now on.
/// Each event is named `operation`, and its data is the operation as in `GET
/// /operations/{operation}`. An event `end` means that the caller has lost its credentials or
/// rights.
#[utoipa::path(get, path = "/operations/events", tag = "operations",
    responses((status = OK, body = OperationRecord, content_type = "text/event-stream")))]
pub(crate) async fn events(
    State(app): State<App>,
    caller: Caller,
) -> HandlerResult<impl IntoResponse> {
    events::all_events(&app, &caller)
}

/// List the operations of a collection
///
/// Newest first.
#[utoipa::path(get, path = "/collections/{collection}/operations", tag = "operations",
    params(("collection" = Uuid, Path), Paging), responses((status = OK, body = Page<OperationRecord>)))]
pub(crate) async fn of_collection(
    State(app): State<App>,
    target: AuthorizedCollection,
    QueryParams(paging): QueryParams<Paging>,
) -> HandlerResult<Json<Page<OperationRecord>>> {
    let limit = paging.limit()?;
    let (id, before) = (target.collection.id, paging.before()?);
    let found = app.metadata.operations().for_collection(id, before, limit + 1).await?;
    Ok(Json(page(found, limit)))
}

/// Request an operation
///
/// Updates the collection, or builds a new generation. The operation starts when no other is
/// running on the collection.
#[utoipa::path(post, path = "/collections/{collection}/operations", tag = "operations",
    params(("collection" = Uuid, Path)), request_body = StartOperation,
    responses((status = ACCEPTED, body = Accepted)))]
pub(crate) async fn start(
    State(app): State<App>,
    caller: Caller,
    target: AuthorizedCollection,
    JsonBody(wanted): JsonBody<StartOperation>,
) -> HandlerResult<AcceptedAnswer> {
    let (collection, by) = (target.collection.id, caller.actor());
    Ok(accepted(app.service.start_operation(collection, wanted.into(), &by).await?))
}

/// Get an operation
///
/// After the deletion of its collection, the last owner of the collection and administrators of the
/// server may still read it.
#[utoipa::path(get, path = "/operations/{operation}", tag = "operations",
    params(("operation" = Uuid, Path)), responses((status = OK, body = OperationRecord)))]
pub(crate) async fn show(
    State(app): State<App>,
    PathParams(operation): PathParams<Uuid>,
) -> HandlerResult<Json<OperationRecord>> {
    let found = app.metadata.operations().find_record(operation).await?;
    let found = found.ok_or_else(|| Problem::not_found("operation"))?;
    app.note_operation_end(&found);
    Ok(Json(found))
}

/// Follow an operation
///
/// Server-sent events until the operation ends. Each event is named `operation`, and its data is
/// the operation as in `GET /operations/{operation}`. An event `gone` means that it was deleted
/// with its collection; `end` means that the caller has lost its credentials or rights.
#[utoipa::path(get, path = "/operations/{operation}/events", tag = "operations",
    params(("operation" = Uuid, Path)),
    responses((status = OK, body = OperationRecord, content_type = "text/event-stream")))]
pub(crate) async fn events_of_one(
    State(app): State<App>,
    caller: Caller,
    target: AuthorizedCollection,
    PathParams(operation): PathParams<Uuid>,
) -> HandlerResult<impl IntoResponse> {
    events::operation_events(&app, &caller, target.collection.id, operation)
}

/// Cancel an operation
///
/// In whichever process it runs.
#[utoipa::path(post, path = "/operations/{operation}/cancel", tag = "operations",
    params(("operation" = Uuid, Path)),
    responses((status = NO_CONTENT), (status = CONFLICT, description = "The operation has ended")))]
pub(crate) async fn cancel(
    State(app): State<App>,
    caller: Caller,
    target: AuthorizedCollection,
    PathParams(operation): PathParams<Uuid>,
) -> HandlerResult<StatusCode> {
    let operations = app.metadata.operations();
    operations.cancel(operation).await.map_err(|error| match error.remedy {
        Remedy::Conflict => Problem::new(ProblemCode::Conflict, "the operation has ended"),
        Remedy::Retry | Remedy::GiveUp => error.into(),
    })?;
    operations.record_cancellation(target.collection.id, operation, &caller.actor()).await?;
    Ok(NO_CONTENT)
}
