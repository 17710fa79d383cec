//! The rows of an operation and its lease until it ends: inserted by the request, updated by the
//! start, and renewed by heartbeats.

use chrono::{DateTime, Utc};
use pipeline::Progress;
use serde_json::Value;
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use crate::collections::Collection;
use crate::collections::limits::check_operation_rate;
use crate::operations::OperationType;
use crate::query_error::QueryError;

/// Duration of a lease without a heartbeat, as a Postgres interval.
const LEASE_DURATION: &str = "60 seconds";

/// A requested operation.
#[derive(Clone, Copy)]
pub(super) struct LeaseRequest<'a> {
    pub(super) collection: &'a Collection,
    pub(super) kind: OperationType,
    pub(super) config: &'a Value,
}

/// Inserts a pending operation with a lease: if the process dies before the start, it is cancelled.
pub(super) async fn insert_pending(
    connection: &mut PgConnection,
    wanted: LeaseRequest<'_>,
) -> Result<Uuid, QueryError> {
    let LeaseRequest { collection, kind, config } = wanted;
    check_operation_rate(connection, collection).await?;
    Ok(sqlx::query_scalar(
        "WITH o AS (
             INSERT INTO operations (collection_id, user_id, type, config, worker)
             VALUES ($1, $2, $3, $4, $5) RETURNING id),
         e AS (
             INSERT INTO operation_leases (operation_id, expires_at) SELECT id, now() + $6::interval FROM o)
         SELECT id FROM o",
    )
    .bind(collection.id)
    .bind(collection.owner_id)
    .bind(kind)
    .bind(config)
    .bind(worker_name())
    .bind(LEASE_DURATION)
    .fetch_one(connection)
    .await?)
}

/// Starts a pending operation; the caller holds the lock of the collection.
pub(super) async fn mark_started(
    connection: &mut PgConnection,
    collection: Uuid,
    operation: Uuid,
) -> Result<DateTime<Utc>, sqlx::Error> {
    let started_at = sqlx::query_scalar(
        "UPDATE operations SET status = 'processing', worker = $2 WHERE id = $1 RETURNING started_at",
    )
    .bind(operation)
    .bind(worker_name())
    .fetch_one(&mut *connection)
    .await?;
    sqlx::query(
        "INSERT INTO operation_leases (operation_id, expires_at) VALUES ($1, now() + $2::interval)
         ON CONFLICT (operation_id) DO UPDATE SET expires_at = excluded.expires_at",
    )
    .bind(operation)
    .bind(LEASE_DURATION)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "UPDATE collections SET status = 'processing', status_message = NULL WHERE id = $1",
    )
    .bind(collection)
    .execute(connection)
    .await?;
    Ok(started_at)
}

/// The id if the operation is still pending; `None` if it was cancelled.
pub(super) async fn find_pending(
    connection: &mut PgConnection,
    id: Uuid,
) -> Result<Option<Uuid>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT id FROM operations WHERE id = $1 AND status = 'pending' FOR UPDATE SKIP LOCKED",
    )
    .bind(id)
    .fetch_optional(connection)
    .await
}

pub(crate) const RENEW: &str = "
    UPDATE operation_leases SET expires_at = now() + $2::interval, progress = coalesce($3, progress)
    WHERE operation_id = $1";

/// Renews the lease and stores the progress; `false` if the operation has ended and has no lease.
pub(super) async fn renew(
    connection: &mut PgConnection,
    operation: Uuid,
    progress: Option<Progress>,
) -> Result<bool, sqlx::Error> {
    let renewed = sqlx::query(RENEW)
        .bind(operation)
        .bind(LEASE_DURATION)
        .bind(progress.map(Json))
        .execute(connection)
        .await?;
    Ok(renewed.rows_affected() > 0)
}

/// This process, as text that helps an administrator to find it.
pub(crate) fn worker_name() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("process {} on {host}", std::process::id())
}
