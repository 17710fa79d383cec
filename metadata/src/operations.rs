//! Operations: type, requester, status and result. The database enforces the transitions of the
//! status (migration 0003); `operations/lease.rs` assigns operations to workers.

pub(crate) mod collection_lock;
pub(crate) mod enqueue;
pub(crate) mod events;
pub(crate) mod lease;
pub(crate) mod lease_rows;
pub(crate) mod notifications;
pub(crate) mod ownership;
pub(crate) mod queue;
pub(crate) mod records;
pub(crate) mod removal;
pub(crate) mod takeover;

use chrono::{DateTime, Utc};
use pipeline::{OperationRequest, RunRequest, StoreError};
use serde_json::{Value, json};
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

use crate::audit::CollectionEvent;
use crate::collections::sources;
use crate::operations::takeover::end_transactions;
use crate::query_error::QueryError;
use crate::{collections, retry_call};

/// Type of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type, serde::Serialize)]
#[sqlx(type_name = "operation_type", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum OperationType {
    /// Indexes a collection for the first time.
    Index,
    /// Synchronises a collection with its sources.
    Append,
    /// Builds a collection again with other settings.
    Reindex,
    /// Removes the documents of one source.
    RemoveSource,
    /// Deletes a collection.
    Delete,
}

impl OperationType {
    /// All types.
    pub const ALL: [Self; 5] =
        [Self::Index, Self::Append, Self::Reindex, Self::RemoveSource, Self::Delete];

    /// The type of a requested operation. A run may turn out to be of another type when it starts.
    pub fn of(request: &OperationRequest) -> Self {
        match request {
            OperationRequest::Run(RunRequest { rebuild: true, .. })
            | OperationRequest::RollBack => Self::Reindex,
            OperationRequest::Run(_)
            | OperationRequest::UndeleteDocuments { .. }
            | OperationRequest::Repair => Self::Append,
            OperationRequest::DeleteDocuments { .. } | OperationRequest::DeleteCollection => {
                Self::Delete
            }
            OperationRequest::RemoveSource { .. } => Self::RemoveSource,
        }
    }
}

/// Status of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type, serde::Serialize, serde::Deserialize)]
#[sqlx(type_name = "operation_status", rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum OperationStatus {
    /// Waits for a worker.
    Pending,
    /// A worker executes it.
    Processing,
    /// Ended successfully.
    Completed,
    /// Ended with an error.
    Failed,
    /// Cancelled by a client or requeued.
    Cancelled,
}

impl OperationStatus {
    /// Status of operations that have not ended.
    pub const UNFINISHED: [Self; 2] = [Self::Pending, Self::Processing];
    /// Status of operations that have ended.
    pub const FINISHED: [Self; 3] = [Self::Completed, Self::Failed, Self::Cancelled];
}

/// Result of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperationOutcome {
    /// It succeeded.
    Completed,
    /// It failed with this error message.
    Failed(String),
    /// It was cancelled.
    Cancelled,
}

/// An operation, as lists return it.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct OperationSummary {
    /// Id of the operation.
    pub id: Uuid,
    /// Id of its collection.
    pub collection_id: Uuid,
    /// Type of the operation.
    #[sqlx(rename = "type")]
    pub kind: OperationType,
    /// Status of the operation.
    pub status: OperationStatus,
    /// Host and process of the worker.
    pub worker: Option<String>,
    /// Options of the operation.
    pub config: Value,
    /// Cause of the failure.
    pub error_message: Option<String>,
    /// Time of the request.
    pub created_at: DateTime<Utc>,
    /// Time at which a worker started it.
    pub started_at: Option<DateTime<Utc>>,
    /// Time at which it ended.
    pub completed_at: Option<DateTime<Utc>>,
    /// Expiry of the lease without a further heartbeat.
    pub lease_expires_at: Option<DateTime<Utc>>,
    /// `true` if it is queued for the workers of the collection; no process waits for it.
    pub handed_over: bool,
    /// Number of the attempt, counted from 1.
    pub attempt: i32,
    /// The interrupted operation that it continues.
    pub continues: Option<Uuid>,
    /// The run of a schedule that it executes.
    pub schedule_run_id: Option<Uuid>,
}

/// Throughput of the last runs of a collection.
#[derive(Clone, Copy, Debug, Default, PartialEq, FromRow)]
pub struct Throughput {
    /// Average over runs that embedded tokens, including their other work.
    pub tokens_per_second: Option<f64>,
    /// Average over runs that embedded nothing.
    pub documents_per_second: Option<f64>,
    /// Number of runs behind these averages.
    pub operations: i64,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, collection_id, type, status, worker, config, error_message, created_at, started_at,
                    completed_at, e.expires_at AS lease_expires_at, handed_over, attempt, continues,
                    schedule_run_id
             FROM operations LEFT JOIN operation_leases e ON e.operation_id = id ",
            $rest
        )
    };
}

/// The operations of the metadata store.
pub struct Operations<'a>(pub(super) &'a PgPool);

impl Operations<'_> {
    /// The last operations on a collection, newest first; those requested before `before`, if
    /// given.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn recent(
        &self,
        collection: Uuid,
        before: Option<DateTime<Utc>>,
        limit: u32,
    ) -> Result<Vec<OperationSummary>, StoreError> {
        retry_call(self.0, "list operations", || async {
            Ok(sqlx::query_as(select!(
                "WHERE collection_id = $1 AND created_at < coalesce($2, 'infinity')
                 ORDER BY created_at DESC LIMIT $3"
            ))
            .bind(collection)
            .bind(before)
            .bind(i64::from(limit))
            .fetch_all(self.0)
            .await?)
        })
        .await
    }

    /// Ends an operation: status, metrics, counts of the collection and its sources, and audit
    /// entry, in one transaction. Idempotent for the same result.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] if it does not exist, or its status does not permit this
    /// result.
    pub async fn finish(
        &self,
        operation: Uuid,
        ending: &OperationOutcome,
        metrics: &[(String, f64)],
    ) -> Result<(), StoreError> {
        retry_call(self.0, "end the operation", || self.try_finish(operation, ending, metrics))
            .await
    }

    async fn try_finish(
        &self,
        operation: Uuid,
        ending: &OperationOutcome,
        metrics: &[(String, f64)],
    ) -> Result<(), QueryError> {
        let mut transaction = self.0.begin().await?;
        finish_within(&mut transaction, operation, ending, metrics).await?;
        Ok(transaction.commit().await?)
    }

    /// Cancels an operation. A pending one never starts; a running one writes nothing more, and its
    /// worker notices within seconds. A transaction that it keeps open for more than 3 s is
    /// terminated.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] if it has ended or does not exist.
    pub async fn cancel(&self, operation: Uuid) -> Result<OperationSummary, StoreError> {
        retry_call(self.0, "cancel the operation", || async {
            let found = self
                .try_find(operation)
                .await?
                .ok_or_else(|| QueryError::Conflict(format!("unknown operation {operation}")))?;
            let mut transaction = self.0.begin().await?;
            // A transaction of the operation may be long, or its process may be suspended in it.
            sqlx::query("SET LOCAL lock_timeout = '3s'").execute(&mut *transaction).await?;
            let row = sqlx::query("SELECT FROM operations WHERE id = $1 FOR NO KEY UPDATE");
            if let Err(error) = row.bind(operation).execute(&mut *transaction).await {
                transaction.rollback().await?;
                end_transactions(&mut *self.0.acquire().await?, operation).await?;
                return Err(error.into());
            }
            finish_within(&mut transaction, operation, &OperationOutcome::Cancelled, &[]).await?;
            transaction.commit().await?;
            Ok(found)
        })
        .await
    }

    /// One operation; `None` if it does not exist.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn find(&self, operation: Uuid) -> Result<Option<OperationSummary>, StoreError> {
        retry_call(self.0, "find the operation", || self.try_find(operation)).await
    }

    /// The operations on these collections with an id from `first` to `last`, newest first; at most
    /// ten.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn between(
        &self,
        collections: &[Uuid],
        first: Uuid,
        last: Uuid,
    ) -> Result<Vec<OperationSummary>, StoreError> {
        retry_call(self.0, "find operations", || async {
            Ok(sqlx::query_as(select!(
                "WHERE id BETWEEN $2 AND $3 AND collection_id = ANY($1) ORDER BY created_at DESC LIMIT 10"
            ))
            .bind(collections)
            .bind(first)
            .bind(last)
            .fetch_all(self.0)
            .await?)
        })
        .await
    }

    pub(super) async fn try_find(
        &self,
        operation: Uuid,
    ) -> Result<Option<OperationSummary>, QueryError> {
        Ok(sqlx::query_as(select!("WHERE id = $1")).bind(operation).fetch_optional(self.0).await?)
    }

    /// Throughput of the last runs, from their metrics.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn throughput(&self, collection: Uuid) -> Result<Throughput, StoreError> {
        retry_call(self.0, "read the metrics of operations", || async {
            Ok(sqlx::query_as(
                "WITH run AS (
                     SELECT o.id, o.completed_at,
                            max(m.metric_value) FILTER (WHERE m.metric_name = 'seconds') AS seconds,
                            max(m.metric_value) FILTER (WHERE m.metric_name = 'tokens') AS tokens,
                            max(m.metric_value) FILTER (WHERE m.metric_name = 'documents_seen') AS seen
                     FROM (SELECT id, completed_at FROM operations
                           WHERE collection_id = $1 AND status = 'completed'
                           ORDER BY created_at DESC LIMIT 50) o
                     JOIN operation_metrics m ON m.operation_id = o.id
                     GROUP BY o.id, o.completed_at),
                 embedded AS (SELECT * FROM run WHERE tokens > 0 AND seconds > 0
                              ORDER BY completed_at DESC LIMIT 5),
                 looked AS (SELECT * FROM run WHERE tokens = 0 AND seen > 0 AND seconds > 0
                            ORDER BY completed_at DESC LIMIT 5)
                 SELECT (SELECT sum(tokens) / sum(seconds) FROM embedded) AS tokens_per_second,
                        (SELECT sum(seen) / sum(seconds) FROM looked) AS documents_per_second,
                        (SELECT count(*) FROM embedded) + (SELECT count(*) FROM looked) AS operations",
            )
            .bind(collection)
            .fetch_one(self.0)
            .await?)
        })
        .await
    }

    /// The metrics stored at the end of an operation, in order of name.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn metrics(&self, operation: Uuid) -> Result<Vec<(String, f64)>, StoreError> {
        retry_call(self.0, "read the metrics of the operation", || async {
            Ok(sqlx::query_as(
                "SELECT metric_name, metric_value FROM operation_metrics WHERE operation_id = $1
                 ORDER BY metric_name",
            )
            .bind(operation)
            .fetch_all(self.0)
            .await?)
        })
        .await
    }
}

/// One operation, read within a transaction.
pub(super) async fn summary(
    connection: &mut PgConnection,
    operation: Uuid,
) -> Result<Option<OperationSummary>, sqlx::Error> {
    sqlx::query_as(select!("WHERE id = $1")).bind(operation).fetch_optional(connection).await
}

/// Ends an operation within a transaction and returns the user who requested it. Idempotent for the
/// same result.
pub(super) async fn finish_within(
    transaction: &mut PgConnection,
    operation: Uuid,
    ending: &OperationOutcome,
    metrics: &[(String, f64)],
) -> Result<Uuid, QueryError> {
    let found: Option<(Uuid, Uuid, OperationStatus)> = sqlx::query_as(
        "SELECT collection_id, user_id, status FROM operations WHERE id = $1 FOR NO KEY UPDATE",
    )
    .bind(operation)
    .fetch_optional(&mut *transaction)
    .await?;
    let Some((collection, user, status)) = found else {
        return Err(QueryError::Conflict(format!("unknown operation {operation}")));
    };
    if status == ending.status() {
        return Ok(user);
    }
    let (names, values): (Vec<&str>, Vec<f64>) =
        metrics.iter().map(|(name, value)| (name.as_str(), *value)).unzip();
    sqlx::query(
        "INSERT INTO operation_metrics (operation_id, metric_name, metric_value)
         SELECT $1, i.name, i.value FROM unnest($2::text[], $3::float8[]) AS i (name, value)",
    )
    .bind(operation)
    .bind(names)
    .bind(values)
    .execute(&mut *transaction)
    .await?;
    // Every operation has at least the metric of its duration.
    sqlx::query(
        "INSERT INTO operation_metrics (operation_id, metric_name, metric_value)
         SELECT id, 'seconds', extract(epoch FROM clock_timestamp() - started_at) FROM operations
         WHERE id = $1 AND started_at IS NOT NULL
           AND NOT EXISTS (SELECT FROM operation_metrics m WHERE m.operation_id = $1 AND m.metric_name = 'seconds')",
    )
    .bind(operation)
    .execute(&mut *transaction)
    .await?;
    if status == OperationStatus::Processing {
        sources::refresh(transaction, collection, operation).await?;
    }
    record_end(transaction, operation, collection, user, status, ending).await?;
    Ok(user)
}

impl OperationOutcome {
    fn status(&self) -> OperationStatus {
        match self {
            Self::Completed => OperationStatus::Completed,
            Self::Failed(_) => OperationStatus::Failed,
            Self::Cancelled => OperationStatus::Cancelled,
        }
    }

    fn reason(&self) -> Option<&str> {
        match self {
            Self::Failed(reason) => Some(reason),
            Self::Completed | Self::Cancelled => None,
        }
    }

    fn action(&self) -> &'static str {
        match self {
            Self::Completed => "operation_completed",
            Self::Failed(_) => "operation_failed",
            Self::Cancelled => "operation_cancelled",
        }
    }
}

/// Writes the end of an operation and the resulting state of its collection.
pub(super) async fn record_end(
    connection: &mut PgConnection,
    operation: Uuid,
    collection: Uuid,
    user: Uuid,
    status: OperationStatus,
    ending: &OperationOutcome,
) -> Result<(), QueryError> {
    sqlx::query("UPDATE operations SET status = $2, error_message = $3 WHERE id = $1")
        .bind(operation)
        .bind(ending.status())
        .bind(ending.reason())
        .execute(&mut *connection)
        .await?;
    let cancelled = *ending == OperationOutcome::Cancelled;
    // An operation that never started has changed nothing, and another one may be running.
    if status == OperationStatus::Processing {
        collections::refresh_counts(connection, collection, ending.reason(), cancelled).await?;
    }
    let details = ending.reason().map_or_else(|| json!({}), |reason| json!({ "error": reason }));
    let action = ending.action();
    Ok(CollectionEvent { collection, operation: Some(operation), user, action, details }
        .insert(connection)
        .await?)
}
