//! Grants: permissions of users and keys on a collection.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use metadata::{Grant, Grantee};
use uuid::Uuid;

use super::collections::NO_CONTENT;
use crate::App;
use crate::extract::{JsonBody, PathParams};
use crate::guard::{AuthorizedCollection, Caller};
use crate::problem::{HandlerResult, Problem, ProblemCode};
use crate::wire::{CreateGrant, Permission};

/// List the grants of a collection
///
/// Oldest first.
#[utoipa::path(get, path = "/collections/{collection}/grants", tag = "grants",
    params(("collection" = Uuid, Path)), responses((status = OK, body = Vec<Grant>)))]
pub(crate) async fn list(
    State(app): State<App>,
    target: AuthorizedCollection,
) -> HandlerResult<Json<Vec<Grant>>> {
    Ok(Json(app.metadata.collections().grants(target.collection.id).await?))
}

/// Grant a permission
///
/// Replaces the previous permission of the user or key.
#[utoipa::path(post, path = "/collections/{collection}/grants", tag = "grants",
    params(("collection" = Uuid, Path)), request_body = CreateGrant, responses((status = CREATED, body = Grant)))]
pub(crate) async fn give(
    State(app): State<App>,
    caller: Caller,
    target: AuthorizedCollection,
    JsonBody(wanted): JsonBody<CreateGrant>,
) -> HandlerResult<(StatusCode, Json<Grant>)> {
    let unknown = || Problem::new(ProblemCode::InvalidBody, "unknown or inactive user or key");
    let to = match (wanted.user, wanted.key) {
        (Some(name), None) => {
            Grantee::User(app.accounts().find_user_by_name(&name).await?.ok_or_else(unknown)?.id)
        }
        (None, Some(key)) => Grantee::Key(key),
        (Some(_), Some(_)) | (None, None) => {
            return Err(Problem::new(
                ProblemCode::InvalidBody,
                "expected exactly one of `user` and `key`",
            ));
        }
    };
    let permission = match wanted.permission {
        Permission::Read => "read",
        Permission::Write => "write",
        Permission::Admin => "admin",
    };
    let id = target.collection.id;
    let collections = app.metadata.collections();
    let grant = collections.grant(id, to, permission, &caller.actor()).await?;
    let grant = grant.ok_or_else(unknown)?;
    app.caches.invalidate_collections();
    let grants = collections.grants(id).await?;
    let given = grants.into_iter().find(|it| it.id == grant);
    given.map(|grant| (StatusCode::CREATED, Json(grant))).ok_or_else(|| Problem::not_found("grant"))
}

/// Revoke a grant
#[utoipa::path(delete, path = "/collections/{collection}/grants/{grant}", tag = "grants",
    params(("collection" = Uuid, Path), ("grant" = Uuid, Path)), responses((status = NO_CONTENT)))]
pub(crate) async fn take(
    State(app): State<App>,
    caller: Caller,
    target: AuthorizedCollection,
    PathParams(ids): PathParams<(Uuid, Uuid)>,
) -> HandlerResult<StatusCode> {
    if !app
        .metadata
        .collections()
        .revoke_grant(target.collection.id, ids.1, &caller.actor())
        .await?
    {
        return Err(Problem::not_found("grant"));
    }
    app.caches.invalidate_collections();
    Ok(NO_CONTENT)
}
