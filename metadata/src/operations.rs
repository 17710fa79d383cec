//! Operations: what is being done to a collection, by whom, and how it ended. Which moves between states
//! are allowed is the database's to say (migration 0003); who may work on one is `claim.rs`.

use chrono::{DateTime, Utc};
use pipeline::StoreError;
use serde_json::{Value, json};
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

use super::audit::Entry;
use super::failure::Failure;
use super::takeover::end_transactions;
use super::{attempt, collections, sources};

/// What is done to a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "operation_type", rename_all = "snake_case")]
pub enum OperationType {
    /// Indexes it for the first time.
    Index,
    /// Brings it up to date with its sources.
    Append,
    /// Builds it anew with other settings.
    Reindex,
    /// Removes what one source gave.
    RemoveSource,
    /// Removes it.
    Delete,
}

impl OperationType {
    /// Each of them.
    pub const ALL: [Self; 5] =
        [Self::Index, Self::Append, Self::Reindex, Self::RemoveSource, Self::Delete];
}

/// Where an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type, serde::Deserialize)]
#[sqlx(type_name = "operation_status", rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum OperationStatus {
    /// Waits for a worker.
    Pending,
    /// A worker has it.
    Processing,
    /// Ended well.
    Completed,
    /// Ended with an error.
    Failed,
    /// Somebody stopped it.
    Cancelled,
}

impl OperationStatus {
    /// Of one that has not ended.
    pub const OPEN: [Self; 2] = [Self::Pending, Self::Processing];
    /// Of one that has.
    pub const ENDED: [Self; 3] = [Self::Completed, Self::Failed, Self::Cancelled];
}

/// How an operation ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It did what it was to do.
    Completed,
    /// It could not go on, for this reason.
    Failed(String),
    /// Somebody stopped it.
    Cancelled,
}

/// An operation in a list.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct OperationSummary {
    /// Its id.
    pub id: Uuid,
    /// The collection it is done to.
    pub collection_id: Uuid,
    /// What it does.
    #[sqlx(rename = "type")]
    pub kind: OperationType,
    /// Where it stands.
    pub status: OperationStatus,
    /// Who works on it: host and process.
    pub worker: Option<String>,
    /// What it was asked to do, in detail.
    pub config: Value,
    /// Why it failed.
    pub error_message: Option<String>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When a worker began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub completed_at: Option<DateTime<Utc>>,
    /// Until when it is its worker's without a sign of life.
    pub lease_expires_at: Option<DateTime<Utc>>,
    /// Whether it is for whoever serves the collection, and nobody waits for it.
    pub handed_over: bool,
    /// Which try it is, from 1.
    pub attempt: i32,
    /// The operation that it goes on with, which ended before its time.
    pub continues: Option<Uuid>,
    /// The run of a schedule that it is.
    pub schedule_run_id: Option<Uuid>,
}

/// How quickly the last runs of a collection went.
#[derive(Clone, Copy, Debug, Default, PartialEq, FromRow)]
pub struct Rates {
    /// Of runs that embedded something, everything else that they did included.
    pub tokens_per_second: Option<f64>,
    /// Of runs that embedded nothing.
    pub documents_per_second: Option<f64>,
    /// How many runs these figures are of.
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

/// The operations of a store.
pub struct Operations<'a>(pub(super) &'a PgPool);

impl Operations<'_> {
    /// The last operations on a collection, newest first; behind the one that was `before`, if given.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn recent(
        &self,
        collection: Uuid,
        before: Option<DateTime<Utc>>,
        limit: u32,
    ) -> Result<Vec<OperationSummary>, StoreError> {
        attempt(self.0, "list operations", || async {
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

    /// Ends an operation: its state, its metrics, what the collection and its sources hold now, and the
    /// audit entry, in one transaction. Ending it the same way again does nothing.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] if it is not being processed, or has ended in another way.
    pub async fn finish(
        &self,
        operation: Uuid,
        ending: &Ending,
        metrics: &[(String, f64)],
    ) -> Result<(), StoreError> {
        attempt(self.0, "end the operation", || self.try_finish(operation, ending, metrics)).await
    }

    async fn try_finish(
        &self,
        operation: Uuid,
        ending: &Ending,
        metrics: &[(String, f64)],
    ) -> Result<(), Failure> {
        let mut transaction = self.0.begin().await?;
        finish_within(&mut transaction, operation, ending, metrics).await?;
        Ok(transaction.commit().await?)
    }

    /// Stops an operation: one that waits never begins; one that is being worked on can write nothing more,
    /// and its worker notices within seconds. A transaction that it has open for longer than a moment is ended.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] if it has ended, or is not there.
    pub async fn cancel(&self, operation: Uuid) -> Result<OperationSummary, StoreError> {
        attempt(self.0, "cancel the operation", || async {
            let found = self
                .try_find(operation)
                .await?
                .ok_or_else(|| Failure::Conflict(format!("there is no operation {operation}")))?;
            let mut transaction = self.0.begin().await?;
            // A transaction of the operation may be long, or its process stopped in the middle of it.
            sqlx::query("SET LOCAL lock_timeout = '3s'").execute(&mut *transaction).await?;
            let row = sqlx::query("SELECT FROM operations WHERE id = $1 FOR NO KEY UPDATE");
            if let Err(error) = row.bind(operation).execute(&mut *transaction).await {
                transaction.rollback().await?;
                end_transactions(&mut *self.0.acquire().await?, operation).await?;
                return Err(error.into());
            }
            finish_within(&mut transaction, operation, &Ending::Cancelled, &[]).await?;
            transaction.commit().await?;
            Ok(found)
        })
        .await
    }

    /// One operation.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn find(&self, operation: Uuid) -> Result<Option<OperationSummary>, StoreError> {
        attempt(self.0, "find the operation", || self.try_find(operation)).await
    }

    /// The operations on these collections whose ids are in a range that includes `last`, newest first; ten of them at
    /// most.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn between(
        &self,
        collections: &[Uuid],
        first: Uuid,
        last: Uuid,
    ) -> Result<Vec<OperationSummary>, StoreError> {
        attempt(self.0, "find operations", || async {
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
    ) -> Result<Option<OperationSummary>, Failure> {
        Ok(sqlx::query_as(select!("WHERE id = $1")).bind(operation).fetch_optional(self.0).await?)
    }

    /// How quickly the last runs went, by what they noted.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn rates(&self, collection: Uuid) -> Result<Rates, StoreError> {
        attempt(self.0, "read the metrics of operations", || async {
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

    /// The metrics that were noted when an operation ended, in order of name.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn metrics(&self, operation: Uuid) -> Result<Vec<(String, f64)>, StoreError> {
        attempt(self.0, "read the metrics of the operation", || async {
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

/// One operation, as a transaction sees it.
pub(super) async fn summary(
    connection: &mut PgConnection,
    operation: Uuid,
) -> Result<Option<OperationSummary>, sqlx::Error> {
    sqlx::query_as(select!("WHERE id = $1")).bind(operation).fetch_optional(connection).await
}

/// Ends an operation within a transaction; gives the user who had asked for it. Ending it the same way
/// again does nothing.
pub(super) async fn finish_within(
    transaction: &mut PgConnection,
    operation: Uuid,
    ending: &Ending,
    metrics: &[(String, f64)],
) -> Result<Uuid, Failure> {
    let found: Option<(Uuid, Uuid, OperationStatus)> = sqlx::query_as(
        "SELECT collection_id, user_id, status FROM operations WHERE id = $1 FOR NO KEY UPDATE",
    )
    .bind(operation)
    .fetch_optional(&mut *transaction)
    .await?;
    let Some((collection, user, status)) = found else {
        return Err(Failure::Conflict(format!("there is no operation {operation}")));
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
    // Every operation says at least how long it took.
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
    end(transaction, operation, collection, user, status, ending).await?;
    Ok(user)
}

impl Ending {
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

/// Writes the end of an operation, and how its collection is by it.
pub(super) async fn end(
    connection: &mut PgConnection,
    operation: Uuid,
    collection: Uuid,
    user: Uuid,
    status: OperationStatus,
    ending: &Ending,
) -> Result<(), Failure> {
    sqlx::query("UPDATE operations SET status = $2, error_message = $3 WHERE id = $1")
        .bind(operation)
        .bind(ending.status())
        .bind(ending.reason())
        .execute(&mut *connection)
        .await?;
    let cancelled = *ending == Ending::Cancelled;
    // One that never began has changed nothing, and another may be going on.
    if status == OperationStatus::Processing {
        collections::refresh(connection, collection, ending.reason(), cancelled).await?;
    }
    let details = ending.reason().map_or_else(|| json!({}), |reason| json!({ "error": reason }));
    let action = ending.action();
    Ok(Entry { collection, operation: Some(operation), user, action, details }
        .write(connection)
        .await?)
}
