//! Grants: permissions of users and keys on a collection.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use uuid::Uuid;

use super::collections::DONE;
use crate::App;
use crate::extract::{InBody, InPath};
use crate::guard::{Caller, Target};
use crate::ports::Grantee;
use crate::problem::{Answer, Code, Problem};
use crate::wire::{Give, Grant, Permission};

/// List the grants of a collection
///
/// Oldest first.
#[utoipa::path(get, path = "/collections/{collection}/grants", tag = "grants",
    params(("collection" = Uuid, Path)), responses((status = OK, body = Vec<Grant>)))]
pub(crate) async fn list(State(app): State<App>, target: Target) -> Answer<Json<Vec<Grant>>> {
    Ok(Json(app.catalogue.grants(target.collection.id).await?))
}

/// Grant a permission
///
/// Replaces the previous permission of the user or key.
#[utoipa::path(post, path = "/collections/{collection}/grants", tag = "grants",
    params(("collection" = Uuid, Path)), request_body = Give, responses((status = CREATED, body = Grant)))]
pub(crate) async fn give(
    State(app): State<App>,
    caller: Caller,
    target: Target,
    InBody(wanted): InBody<Give>,
) -> Answer<(StatusCode, Json<Grant>)> {
    let nobody = || Problem::new(Code::InvalidBody, "unknown or inactive user or key");
    let to = match (wanted.user, wanted.key) {
        (Some(name), None) => {
            Grantee::User(app.accounts.user_named(&name).await?.ok_or_else(nobody)?.id)
        }
        (None, Some(key)) => Grantee::Key(key),
        (Some(_), Some(_)) | (None, None) => {
            return Err(Problem::new(
                Code::InvalidBody,
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
    let grant = app.catalogue.give(id, to, permission, &caller.by()).await?.ok_or_else(nobody)?;
    app.caches.forget_collections();
    let grants = app.catalogue.grants(id).await?;
    let given = grants.into_iter().find(|it| it.id == grant);
    given.map(|grant| (StatusCode::CREATED, Json(grant))).ok_or_else(|| Problem::not_found("grant"))
}

/// Revoke a grant
#[utoipa::path(delete, path = "/collections/{collection}/grants/{grant}", tag = "grants",
    params(("collection" = Uuid, Path), ("grant" = Uuid, Path)), responses((status = NO_CONTENT)))]
pub(crate) async fn take(
    State(app): State<App>,
    caller: Caller,
    target: Target,
    InPath(ids): InPath<(Uuid, Uuid)>,
) -> Answer<StatusCode> {
    if !app.catalogue.take(target.collection.id, ids.1, &caller.by()).await? {
        return Err(Problem::not_found("grant"));
    }
    app.caches.forget_collections();
    Ok(DONE)
}
