//! The server itself: health, metrics, and the audit log of accounts.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use metadata::AuditEntry;
use serde::Serialize;
use utoipa::ToSchema;

use crate::App;
use crate::extract::QueryParams;
use crate::problem::HandlerResult;
use crate::wire::{Page, Paging, time_cursor};

/// Health of the server.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok` or `failing`.
    status: &'static str,
    /// State of each dependency.
    dependencies: Vec<Dependency>,
}

/// A dependency of the server.
#[derive(Serialize, ToSchema)]
pub(crate) struct Dependency {
    name: String,
    /// `ok` or `failing`; the log has the cause.
    status: &'static str,
}

fn status_name(is_well: bool) -> &'static str {
    if is_well { "ok" } else { "failing" }
}

/// Check that the server runs
#[utoipa::path(get, path = "/health/live", tag = "system",
    responses((status = OK, body = Health)))]
pub(crate) async fn live() -> Json<Health> {
    Json(Health { status: "ok", dependencies: Vec::new() })
}

/// Check that the server is ready
///
/// It is ready if all its dependencies respond.
#[utoipa::path(get, path = "/health/ready", tag = "system",
    responses((status = OK, body = Health), (status = SERVICE_UNAVAILABLE, body = Health)))]
pub(crate) async fn ready(State(app): State<App>) -> impl IntoResponse {
    let health = app.service.health().await;
    let mut dependencies = Vec::with_capacity(health.len());
    for (name, state) in health {
        // The cause may contain host names, so only the operator sees it.
        if let Err(cause) = &state {
            tracing::warn!(dependency = name, cause, "a dependency does not respond");
        }
        dependencies.push(Dependency { name, status: status_name(state.is_ok()) });
    }
    let is_well = dependencies.iter().all(|it| it.status == "ok");
    let status = if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Health { status: status_name(is_well), dependencies }))
}

/// Get the metrics
///
/// In the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "system",
    responses((status = OK, body = String, content_type = "text/plain; version=0.0.4")))]
pub(crate) async fn metrics(State(app): State<App>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], app.service.metrics().await)
}

/// List the audit log of accounts
///
/// Changes of accounts, sessions and keys, newest first.
#[utoipa::path(get, path = "/audit", tag = "system", params(Paging),
    responses((status = OK, body = Page<AuditEntry>)))]
pub(crate) async fn audit(
    State(app): State<App>,
    QueryParams(paging): QueryParams<Paging>,
) -> HandlerResult<Json<Page<AuditEntry>>> {
    let limit = paging.limit()?;
    let entries = app.metadata.audit_log().for_accounts(paging.before()?, limit + 1).await?;
    Ok(Json(Page::new(entries, limit, |it| time_cursor(it.created_at, it.id))))
}
