//! Collections with their generations, sources, limits and audit log.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use metadata::{
    AuditEntry, CollectionUpdate, LimitsAndUsage, ResourceLimits, SourceSummary, VisibleCollection,
};
use pipeline::{OperationRequest, Remedy};
use uuid::Uuid;

use super::{Accepted, AcceptedAnswer, accepted};
use crate::App;
use crate::extract::{JsonBody, PathParams, QueryParams};
use crate::guard::{AuthorizedCollection, Caller, visible_level};
use crate::problem::{HandlerResult, Problem, ProblemCode};
use crate::right::{AccessGrants, AccessLevel, effective_level};
use crate::wire::{ChangeCollection, Collection, Confirm, Generation, Page, Paging, time_cursor};

/// Largest length of a description, in characters.
const MAX_DESCRIPTION: usize = 10_000;

/// List collections
///
/// The collections that the caller may read, in order of id.
#[utoipa::path(get, path = "/collections", tag = "collections", params(Paging),
    responses((status = OK, body = Page<Collection>)))]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    QueryParams(paging): QueryParams<Paging>,
) -> HandlerResult<Json<Page<Collection>>> {
    let limit = paging.limit()?;
    let collections = app.metadata.collections();
    let found = collections.readable(caller.principal(), paging.after()?, limit + 1).await?;
    let seen = found.into_iter().filter_map(|seen| {
        let level = effective_level(&caller.identity, AccessGrants::of(&seen))?;
        Some(app.collection_view(seen, visible_level(level, &caller.identity)))
    });
    Ok(Json(Page::new(seen.collect(), limit, |it| it.id.to_string())))
}

/// Get a collection
#[utoipa::path(get, path = "/collections/{collection}", tag = "collections",
    params(("collection" = Uuid, Path)), responses((status = OK, body = Collection)))]
pub(crate) async fn show(target: AuthorizedCollection) -> Json<Collection> {
    Json(target.collection.as_ref().clone())
}

/// Change a collection
///
/// Changes description, visibility or owner.
#[utoipa::path(patch, path = "/collections/{collection}", tag = "collections",
    params(("collection" = Uuid, Path)), request_body = ChangeCollection,
    responses((status = OK, body = Collection)))]
pub(crate) async fn change(
    State(app): State<App>,
    caller: Caller,
    target: AuthorizedCollection,
    JsonBody(wanted): JsonBody<ChangeCollection>,
) -> HandlerResult<Json<Collection>> {
    let id = target.collection.id;
    let length = wanted.description.as_ref().map_or(0, |text| text.chars().count());
    if length > MAX_DESCRIPTION {
        let detail = format!("`description` is too long: at most {MAX_DESCRIPTION} characters");
        return Err(Problem::new(ProblemCode::InvalidBody, detail));
    }
    let owner = match &wanted.owner {
        None => None,
        Some(_) if target.level < AccessLevel::Owner => {
            return Err(Problem::from_code(ProblemCode::Forbidden));
        }
        Some(name) => {
            let owner = app.accounts().find_user_by_name(name).await?.filter(|user| user.is_active);
            let owner = owner
                .ok_or_else(|| Problem::new(ProblemCode::InvalidBody, "unknown user in `owner`"))?;
            Some(owner.id)
        }
    };
    let ChangeCollection { description, is_public, owner: _ } = wanted;
    let change = CollectionUpdate { description, is_public, owner };
    let changed = app.metadata.collections().update(id, &change, &caller.actor()).await;
    app.caches.invalidate_collections();
    let is_there = changed.map_err(|error| match error.remedy {
        Remedy::Conflict => Problem::new(
            ProblemCode::Conflict,
            "the new owner has a collection of this name already",
        ),
        Remedy::Retry | Remedy::GiveUp => error.into(),
    })?;
    let seen = if is_there {
        app.metadata.collections().visible(caller.principal(), id).await?
    } else {
        None
    };
    let seen: VisibleCollection = seen.ok_or_else(|| Problem::not_found("collection"))?;
    // The previous owner may no longer see the collection, and gets it one last time.
    let level = effective_level(&caller.identity, AccessGrants::of(&seen));
    let shown = visible_level(level.unwrap_or(AccessLevel::Read), &caller.identity);
    Ok(Json(app.collection_view(seen, shown)))
}

/// Delete a collection
///
/// Permanently deletes it from the metadata store and the vector store.
#[utoipa::path(delete, path = "/collections/{collection}", tag = "collections",
    params(("collection" = Uuid, Path), Confirm),
    responses((status = ACCEPTED, body = Accepted), (status = CONFLICT, description = "Collection not served, or limit reached")))]
pub(crate) async fn delete(
    State(app): State<App>,
    caller: Caller,
    target: AuthorizedCollection,
    QueryParams(confirm): QueryParams<Confirm>,
) -> HandlerResult<AcceptedAnswer> {
    confirm.ensure_names(&target.collection.name)?;
    let operation = app
        .service
        .start_operation(target.collection.id, OperationRequest::DeleteCollection, &caller.actor())
        .await?;
    app.caches.invalidate_collections();
    Ok(accepted(operation))
}

/// List the generations of a collection
///
/// A generation is a complete set of vectors; one of them is live.
#[utoipa::path(get, path = "/collections/{collection}/generations", tag = "collections",
    params(("collection" = Uuid, Path)), responses((status = OK, body = Vec<Generation>)))]
pub(crate) async fn generations(
    State(app): State<App>,
    target: AuthorizedCollection,
) -> HandlerResult<Json<Vec<Generation>>> {
    let generations = app.metadata.generations().list(target.collection.id).await?;
    Ok(Json(generations.into_iter().map(Generation::from).collect()))
}

/// List the sources of a collection
#[utoipa::path(get, path = "/collections/{collection}/sources", tag = "collections",
    params(("collection" = Uuid, Path)), responses((status = OK, body = Vec<SourceSummary>)))]
pub(crate) async fn sources(
    State(app): State<App>,
    target: AuthorizedCollection,
) -> HandlerResult<Json<Vec<SourceSummary>>> {
    Ok(Json(app.metadata.collections().sources(target.collection.id).await?))
}

/// Remove a source
///
/// Also deletes the documents that only this source contains. The next run adds them again while
/// the pipeline file names the source.
#[utoipa::path(delete, path = "/collections/{collection}/sources/{source}", tag = "collections",
    params(("collection" = Uuid, Path), ("source" = Uuid, Path), Confirm),
    responses((status = ACCEPTED, body = Accepted), (status = CONFLICT, description = "Collection not served, or limit reached")))]
pub(crate) async fn remove_source(
    State(app): State<App>,
    caller: Caller,
    target: AuthorizedCollection,
    PathParams(ids): PathParams<(Uuid, Uuid)>,
    QueryParams(confirm): QueryParams<Confirm>,
) -> HandlerResult<AcceptedAnswer> {
    let id = target.collection.id;
    let sources = app.metadata.collections().sources(id).await?;
    let source = sources.into_iter().find(|it| it.id == ids.1);
    let source = source.ok_or_else(|| Problem::not_found("source"))?.source_path;
    confirm.ensure_names(&target.collection.name)?;
    Ok(accepted(
        app.service
            .start_operation(id, OperationRequest::RemoveSource { source }, &caller.actor())
            .await?,
    ))
}

/// List the audit log of a collection
///
/// Newest first. After the deletion of the collection, its last owner and administrators of the
/// server may still read it.
#[utoipa::path(get, path = "/collections/{collection}/audit", tag = "collections",
    params(("collection" = Uuid, Path), Paging), responses((status = OK, body = Page<AuditEntry>)))]
pub(crate) async fn audit(
    State(app): State<App>,
    PathParams(collection): PathParams<Uuid>,
    QueryParams(paging): QueryParams<Paging>,
) -> HandlerResult<Json<Page<AuditEntry>>> {
    let limit = paging.limit()?;
    let entries =
        app.metadata.audit_log().for_collection(collection, paging.before()?, limit + 1).await?;
    Ok(Json(Page::new(entries, limit, |it| time_cursor(it.created_at, it.id))))
}

/// Get the limits of a collection
///
/// With the current usage.
#[utoipa::path(get, path = "/collections/{collection}/limits", tag = "collections",
    params(("collection" = Uuid, Path)), responses((status = OK, body = LimitsAndUsage)))]
pub(crate) async fn limits(
    State(app): State<App>,
    target: AuthorizedCollection,
) -> HandlerResult<Json<LimitsAndUsage>> {
    let limits = app.metadata.collections().limits(target.collection.id).await?;
    limits.map(Json).ok_or_else(|| Problem::not_found("collection"))
}

/// Set the limits of a collection
///
/// Requires an administrator of the server.
#[utoipa::path(put, path = "/collections/{collection}/limits", tag = "collections",
    params(("collection" = Uuid, Path)), request_body = ResourceLimits,
    responses((status = OK, body = LimitsAndUsage)))]
pub(crate) async fn set_limits(
    State(app): State<App>,
    caller: Caller,
    PathParams(collection): PathParams<Uuid>,
    JsonBody(wanted): JsonBody<ResourceLimits>,
) -> HandlerResult<Json<LimitsAndUsage>> {
    let counts = [wanted.max_documents, wanted.max_operations_per_hour, wanted.max_sources];
    let is_good = counts.iter().all(|count| *count > 0)
        && wanted.max_storage_gb.is_finite()
        && wanted.max_storage_gb > 0.0;
    if !is_good {
        return Err(Problem::new(
            ProblemCode::InvalidBody,
            "invalid limits: expected numbers greater than 0",
        ));
    }
    let is_there = app.metadata.collections().limits(collection).await?.is_some();
    if !is_there {
        return Err(Problem::not_found("collection"));
    }
    app.metadata.collections().set_limits(collection, &wanted, &caller.actor()).await?;
    let limits = app.metadata.collections().limits(collection).await?;
    limits.map(Json).ok_or_else(|| Problem::not_found("collection"))
}

/// Status of a change without a response body.
pub(super) const NO_CONTENT: StatusCode = StatusCode::NO_CONTENT;
