//! API keys of the caller's account. All endpoints require a session: a key must not create another
//! key that outlives it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{Months, Utc};
use metadata::{ApiKey, NewKey};
use uuid::Uuid;

use super::check_line;
use crate::extract::{JsonBody, PathParams, QueryParams};
use crate::guard::Caller;
use crate::problem::{HandlerResult, Problem, ProblemCode};
use crate::wire::{CreateKey, CreatedKey, Page, Paging};
use crate::{App, secret};

/// Longest lifetime of a key with an expiry.
const MAX_LIFETIME: Months = Months::new(120);

/// List the caller's API keys
///
/// In order of id, including revoked ones.
#[utoipa::path(get, path = "/keys", tag = "keys", params(Paging),
    responses((status = OK, body = Page<ApiKey>)))]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    QueryParams(paging): QueryParams<Paging>,
) -> HandlerResult<Json<Page<ApiKey>>> {
    let limit = paging.limit()?;
    let keys = app.accounts().list_keys(caller.user()?, paging.after()?, limit + 1).await?;
    Ok(Json(Page::new(keys, limit, |key| key.id.to_string())))
}

/// Create an API key
///
/// The response is the only one that contains the complete key.
#[utoipa::path(post, path = "/keys", tag = "keys", request_body = CreateKey,
    responses((status = CREATED, body = CreatedKey)))]
pub(crate) async fn create(
    State(app): State<App>,
    caller: Caller,
    JsonBody(wanted): JsonBody<CreateKey>,
) -> HandlerResult<(StatusCode, Json<CreatedKey>)> {
    check_line("name", &wanted.name, 100)?;
    if wanted.scopes.is_empty() {
        return Err(Problem::new(
            ProblemCode::InvalidBody,
            "invalid `scopes`: expected at least one scope",
        ));
    }
    let now = Utc::now();
    let latest = now.checked_add_months(MAX_LIFETIME).unwrap_or(now);
    if wanted.expires_at.is_some_and(|at| !(now..=latest).contains(&at)) {
        let detail = "invalid `expires_at`: expected a time in the next ten years";
        return Err(Problem::new(ProblemCode::InvalidBody, detail));
    }
    let (secret, prefix) = secret::new_api_key();
    let mut scopes: Vec<String> = wanted.scopes.iter().map(|it| it.name().to_owned()).collect();
    scopes.dedup();
    let hash = secret::digest(&secret);
    let new = NewKey { name: wanted.name, prefix, hash, scopes, expires_at: wanted.expires_at };
    let key = app.accounts().create_key(caller.user()?, &new, &caller.actor()).await?;
    Ok((StatusCode::CREATED, Json(CreatedKey { key, secret })))
}

/// Revoke an API key
///
/// It is invalid immediately.
#[utoipa::path(delete, path = "/keys/{key}", tag = "keys", params(("key" = Uuid, Path)),
    responses((status = NO_CONTENT)))]
pub(crate) async fn revoke(
    State(app): State<App>,
    caller: Caller,
    PathParams(key): PathParams<Uuid>,
) -> HandlerResult<StatusCode> {
    if !app.accounts().revoke_key(caller.user()?, key, &caller.actor()).await? {
        return Err(Problem::not_found("key"));
    }
    app.caches.invalidate_accounts();
    Ok(StatusCode::NO_CONTENT)
}
