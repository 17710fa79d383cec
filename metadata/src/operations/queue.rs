//! The queue of operations: a client requests one and does not wait; a worker of the collection
//! executes it. Postgres assigns it (docs/adr/0017-queue-and-schedules.md).
//!
//! A queued operation outlives its worker: if the worker dies or stops, another operation is
//! inserted that names the one it continues. A row that has ended stays ended, as the state machine
//! requires.

use chrono::{DateTime, Utc};
use pipeline::{Progress, StoreError};
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{Connection as _, FromRow, PgConnection, PgPool};
use uuid::Uuid;

use crate::collections::Collection;
use crate::collections::limits::check_operation_rate;
use crate::operations::collection_lock::{WaitPolicy, at_work, is_lock_of, lock_collection};
use crate::operations::lease::OperationLease;
use crate::operations::lease_rows::{mark_started, worker_name};
use crate::operations::takeover::fail_orphaned_operations;
use crate::operations::{
    OperationOutcome, OperationStatus, OperationSummary, OperationType, Operations, finish_within,
    summary,
};
use crate::query_error::QueryError;
use crate::{Postgres, retry_call};

/// Maximum number of attempts when the worker dies: the operation may be the cause.
const MAX_ATTEMPTS: i32 = 3;

/// Time without a heartbeat after which a worker is considered dead, as a Postgres interval.
const WORKER_TIMEOUT: &str = "15 seconds";

/// An operation to queue.
#[derive(Clone, Debug)]
pub struct QueuedOperation<'a> {
    /// The collection of the operation.
    pub collection: &'a Collection,
    /// Type of the operation; the worker may change it when it starts.
    pub kind: OperationType,
    /// Options of the operation. Never contains a secret.
    pub config: &'a Value,
}

/// Those of these collections with a pending operation or an orphaned one, on which no live process
/// with a valid lease works. Oldest operation first.
pub(crate) const WAITING: &str = concat!(
    "
    SELECT o.collection_id FROM unnest($1::uuid[]) AS c (id)
    CROSS JOIN LATERAL (
        SELECT o.id, o.collection_id, o.status, o.handed_over, o.not_before, o.created_at FROM operations o
        WHERE uuid_send(o.collection_id) = uuid_send(c.id) AND o.status IN ('pending', 'processing') OFFSET 0) o
    WHERE o.handed_over
      AND (o.status = 'processing'
           OR (coalesce(o.not_before, '-infinity') <= now()
               AND NOT EXISTS (SELECT FROM operation_leases e WHERE e.operation_id = o.id OFFSET 0)))
      AND NOT ",
    at_work!("o.collection_id"),
    " GROUP BY o.collection_id ORDER BY min(o.created_at)"
);

impl Operations<'_> {
    /// Queues an operation for the workers of the collection and returns its id.
    ///
    /// # Errors
    /// If the limit of operations is reached, or the store cannot be reached.
    pub async fn enqueue(&self, what: &QueuedOperation<'_>) -> Result<Uuid, StoreError> {
        retry_call(self.0, "queue the operation", || async {
            let mut transaction = self.0.begin().await?;
            check_operation_rate(&mut transaction, what.collection).await?;
            let id = enqueue(&mut transaction, what, None).await?;
            transaction.commit().await?;
            Ok(id)
        })
        .await
    }

    /// The last stored progress of an operation.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn progress(&self, operation: Uuid) -> Result<Option<Progress>, StoreError> {
        retry_call(self.0, "read the progress of the operation", || async {
            let found: Option<Option<Json<Progress>>> =
                sqlx::query_scalar(
                    "SELECT coalesce(e.progress, o.progress)
                     FROM operations o LEFT JOIN operation_leases e ON e.operation_id = o.id WHERE o.id = $1",
                )
                .bind(operation)
                .fetch_optional(self.0)
                .await?;
            Ok(found.flatten().map(|progress| progress.0))
        })
        .await
    }

    /// The stored result of an operation: `report` and other keys, depending on its type.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn result(&self, operation: Uuid) -> Result<Value, StoreError> {
        retry_call(self.0, "read the result of the operation", || async {
            let found: Option<Value> =
                sqlx::query_scalar("SELECT meta FROM operations WHERE id = $1")
                    .bind(operation)
                    .fetch_optional(self.0)
                    .await?;
            Ok(found.unwrap_or_default())
        })
        .await
    }

    /// The operation that continues an interrupted one.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn continuation(
        &self,
        operation: Uuid,
    ) -> Result<Option<OperationSummary>, StoreError> {
        retry_call(self.0, "find the continuing operation", || async {
            let id: Option<Uuid> =
                sqlx::query_scalar("SELECT id FROM operations WHERE continues = $1")
                    .bind(operation)
                    .fetch_optional(self.0)
                    .await?;
            match id {
                Some(id) => self.try_find(id).await,
                None => Ok(None),
            }
        })
        .await
    }

    /// Interrupts an operation and queues one that continues it; returns the id of the latter.
    /// `None` if it is not running, which leaves it unchanged, or was not queued, which cancels it
    /// without a continuation.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn return_to_queue(
        &self,
        operation: Uuid,
        not_before: Option<DateTime<Utc>>,
    ) -> Result<Option<Uuid>, StoreError> {
        retry_call(self.0, "requeue the operation", || async {
            let mut transaction = self.0.begin().await?;
            let status = summary(&mut transaction, operation).await?.map(|it| it.status);
            if !matches!(status, Some(OperationStatus::Processing)) {
                return Ok(None);
            }
            finish_within(&mut transaction, operation, &OperationOutcome::Cancelled, &[]).await?;
            let next = resume(&mut transaction, operation, Attempt::Same, not_before).await?;
            transaction.commit().await?;
            Ok(next)
        })
        .await
    }

    /// Queues another attempt of a failed operation; `None` if it was not queued.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn retry_later(
        &self,
        operation: Uuid,
        not_before: DateTime<Utc>,
    ) -> Result<Option<Uuid>, StoreError> {
        retry_call(self.0, "retry the operation", || async {
            let mut connection = self.0.acquire().await?;
            Ok(resume(&mut connection, operation, Attempt::Next(i32::MAX), Some(not_before))
                .await?)
        })
        .await
    }
}

/// Number of the attempt of a continuing operation.
#[derive(Clone, Copy)]
pub(super) enum Attempt {
    /// The same attempt, after an interruption.
    Same,
    /// The next attempt, if fewer than this number were made.
    Next(i32),
}

/// Inserts an operation that continues another one; `None` if that one was not queued or had too
/// many attempts.
pub(super) async fn resume(
    connection: &mut PgConnection,
    operation: Uuid,
    which: Attempt,
    not_before: Option<DateTime<Utc>>,
) -> Result<Option<Uuid>, sqlx::Error> {
    let (more, below) = match which {
        Attempt::Same => (0, i32::MAX),
        Attempt::Next(below) => (1, below),
    };
    sqlx::query_scalar(
        "INSERT INTO operations (collection_id, user_id, type, config, handed_over, attempt, continues,
                                 schedule_run_id, not_before)
         SELECT collection_id, user_id, type, config, TRUE, attempt + $2, id, schedule_run_id, $4
         FROM operations o
         WHERE id = $1 AND handed_over AND attempt < $3
           AND NOT EXISTS (SELECT FROM operations n WHERE n.continues = o.id)
         RETURNING id",
    )
    .bind(operation)
    .bind(more)
    .bind(below)
    .bind(not_before)
    .fetch_optional(connection)
    .await
}

/// Continues an operation whose worker died.
pub(super) async fn requeue(
    connection: &mut PgConnection,
    operation: Uuid,
) -> Result<(), sqlx::Error> {
    if let Some(next) = resume(connection, operation, Attempt::Next(MAX_ATTEMPTS), None).await? {
        tracing::info!(%operation, %next, "queued an operation that continues an orphaned one");
    }
    Ok(())
}

/// Inserts a queued operation. The caller checks the limits of the collection.
pub(crate) async fn enqueue(
    connection: &mut PgConnection,
    what: &QueuedOperation<'_>,
    for_run: Option<(Uuid, DateTime<Utc>)>,
) -> Result<Uuid, sqlx::Error> {
    let QueuedOperation { collection, kind, config } = what;
    let (run, not_before) = for_run.unzip();
    sqlx::query_scalar(
        "INSERT INTO operations (collection_id, user_id, type, config, handed_over, schedule_run_id, not_before)
         VALUES ($1, $2, $3, $4, TRUE, $5, $6) RETURNING id",
    )
    .bind(collection.id)
    .bind(collection.owner_id)
    .bind(kind)
    .bind(config)
    .bind(run)
    .bind(not_before)
    .fetch_one(connection)
    .await
}

impl Postgres {
    /// Starts the oldest queued operation that may start, on one of these collections. Ends
    /// orphaned operations first. `None` if no operation can start.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn dequeue(
        &self,
        collections: &[Uuid],
    ) -> Result<Option<(OperationLease, OperationSummary)>, StoreError> {
        retry_call(&self.pool, "start a queued operation", || self.try_dequeue(collections)).await
    }

    async fn try_dequeue(
        &self,
        collections: &[Uuid],
    ) -> Result<Option<(OperationLease, OperationSummary)>, QueryError> {
        let waiting: Vec<Uuid> =
            sqlx::query_scalar(WAITING).bind(collections).fetch_all(&self.pool).await?;
        for collection in waiting {
            if let Some(taken) = self.dequeue_from(collection).await? {
                return Ok(Some(taken));
            }
        }
        Ok(None)
    }

    /// Starts the oldest queued operation of one collection, unless another process works on it.
    async fn dequeue_from(
        &self,
        collection: Uuid,
    ) -> Result<Option<(OperationLease, OperationSummary)>, QueryError> {
        let mut lock = PgConnection::connect_with(&self.options).await?;
        if !lock_collection(&mut lock, collection, WaitPolicy::Wait).await? {
            return Ok(None);
        }
        let mut transaction = lock.begin().await?;
        let recovered = fail_orphaned_operations(&mut transaction, collection).await?;
        let id: Option<Uuid> = sqlx::query_scalar(
            "SELECT o.id FROM operations o
             WHERE uuid_send(o.collection_id) = uuid_send($1) AND o.handed_over AND o.status = 'pending'
               AND NOT EXISTS (SELECT FROM operation_leases e WHERE e.operation_id = o.id OFFSET 0)
               AND coalesce(o.not_before, '-infinity') <= now()
             ORDER BY o.created_at, o.id LIMIT 1 FOR UPDATE SKIP LOCKED",
        )
        .bind(collection)
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(id) = id else {
            transaction.commit().await?;
            return Ok(None);
        };
        let started_at = mark_started(&mut transaction, collection, id).await?;
        let summary = summary(&mut transaction, id).await?;
        transaction.commit().await?;
        let operation =
            OperationLease { postgres: self.clone(), collection, id, started_at, recovered, lock };
        Ok(summary.map(|summary| (operation, summary)))
    }

    /// The workers that execute queued operations.
    pub fn workers(&self) -> Workers<'_> {
        Workers(&self.pool)
    }
}

/// A worker that executes queued operations.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct WorkerSummary {
    /// Id of the worker.
    pub id: Uuid,
    /// Host and process.
    pub worker: String,
    /// Ids of its collections.
    pub collections: Vec<Uuid>,
    /// Time at which it started.
    pub started_at: DateTime<Utc>,
    /// Time of the last heartbeat.
    pub seen_at: DateTime<Utc>,
    /// Its pipeline files, as a JSON array of `{ file, pipeline, fault }`.
    pub files: Value,
}

/// The workers of the metadata store.
pub struct Workers<'a>(&'a PgPool);

impl Workers<'_> {
    /// Writes the heartbeat of a worker with its collections and files. Deletes workers that have
    /// been dead for a day.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn heartbeat(
        &self,
        id: Uuid,
        collections: &[Uuid],
        files: &Value,
    ) -> Result<(), StoreError> {
        retry_call(self.0, "send the heartbeat", || async {
            sqlx::query(
                "WITH dead AS (DELETE FROM executors WHERE seen_at < now() - interval '1 day')
                 INSERT INTO executors (id, worker, collections, files) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (id) DO UPDATE
                 SET seen_at = now(), collections = EXCLUDED.collections, files = EXCLUDED.files",
            )
            .bind(id)
            .bind(worker_name())
            .bind(collections)
            .bind(files)
            .execute(self.0)
            .await?;
            Ok(())
        })
        .await
    }

    /// Unregisters a worker.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn remove(&self, id: Uuid) -> Result<(), StoreError> {
        retry_call(self.0, "unregister the worker", || async {
            sqlx::query("DELETE FROM executors WHERE id = $1").bind(id).execute(self.0).await?;
            Ok(())
        })
        .await
    }

    /// Live workers in order of their start; if given, only those of this collection.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn list_alive(
        &self,
        collection: Option<Uuid>,
    ) -> Result<Vec<WorkerSummary>, StoreError> {
        retry_call(self.0, "list workers", || async {
            Ok(sqlx::query_as(
                "SELECT id, worker, collections, started_at, seen_at, files FROM executors
                 WHERE seen_at > now() - $1::interval AND ($2::uuid IS NULL OR $2 = ANY(collections))
                 ORDER BY started_at",
            )
            .bind(WORKER_TIMEOUT)
            .bind(collection)
            .fetch_all(self.0)
            .await?)
        })
        .await
    }
}
