//! Operations that are handed over: somebody asks for one and does not wait for it, and whoever serves its
//! collection takes it up. Postgres decides who does (docs/adr/0017-queue-and-schedules.md).
//!
//! A handed-over operation outlives its worker: when that dies, or stops, the operation goes on as another
//! one that says which it continues. A row that has ended stays ended, as the state machine demands.

use chrono::{DateTime, Utc};
use pipeline::{Progress, StoreError};
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{Connection as _, FromRow, PgConnection, PgPool};
use uuid::Uuid;

use super::claim::{Operation, Turn, at_work, begin, is_lock_of, lock_collection};
use super::collections::Collection;
use super::failure::Failure;
use super::limits::within_limits;
use super::operations::{
    Ending, OperationStatus, OperationSummary, OperationType, Operations, finish_within, summary,
};
use super::takeover::bury_the_dead;
use super::{Postgres, attempt};

/// An operation is not tried more often than this when its worker dies: it may be what kills them.
const MOST_ATTEMPTS: i32 = 3;

/// How long an executor is taken to live without a sign of life, as an interval of Postgres.
const ALIVE: &str = "15 seconds";

/// An operation that somebody else is to carry out.
#[derive(Clone, Debug)]
pub struct HandedOver<'a> {
    /// On which collection.
    pub collection: &'a Collection,
    /// What is done, as far as the type says it; who carries it out may find that it is another.
    pub kind: OperationType,
    /// What is done, in detail. Never a secret.
    pub config: &'a Value,
}

/// Collections of these where something is to be done: one waits, or the worker of one is dead; and nobody is at
/// it, or has lost its lease. Oldest first.
pub(super) const WAITING: &str = concat!(
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
    /// Hands an operation over to whoever serves the collection; gives its id.
    ///
    /// # Errors
    /// If the collection has had as many operations as it may, or the store cannot be reached.
    pub async fn hand_over(&self, what: &HandedOver<'_>) -> Result<Uuid, StoreError> {
        attempt(self.0, "hand the operation over", || async {
            let mut transaction = self.0.begin().await?;
            within_limits(&mut transaction, what.collection).await?;
            let id = hand_over(&mut transaction, what, None).await?;
            transaction.commit().await?;
            Ok(id)
        })
        .await
    }

    /// How far an operation is, as it was written down last.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn progress(&self, operation: Uuid) -> Result<Option<Progress>, StoreError> {
        attempt(self.0, "read how far the operation is", || async {
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

    /// What an operation has noted of itself: `report`, and whatever else came of it.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn result(&self, operation: Uuid) -> Result<Value, StoreError> {
        attempt(self.0, "read what came of the operation", || async {
            let found: Option<Value> =
                sqlx::query_scalar("SELECT meta FROM operations WHERE id = $1")
                    .bind(operation)
                    .fetch_optional(self.0)
                    .await?;
            Ok(found.unwrap_or_default())
        })
        .await
    }

    /// The operation that goes on where another one ended before its time.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn continued_by(
        &self,
        operation: Uuid,
    ) -> Result<Option<OperationSummary>, StoreError> {
        attempt(self.0, "find the operation that goes on", || async {
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

    /// Ends an operation before its time, and has another one go on later; gives that one's id. One that had
    /// ended meanwhile stays as it is, and so does one that was not handed over.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn hand_back(
        &self,
        operation: Uuid,
        not_before: Option<DateTime<Utc>>,
    ) -> Result<Option<Uuid>, StoreError> {
        attempt(self.0, "hand the operation back", || async {
            let mut transaction = self.0.begin().await?;
            let status = summary(&mut transaction, operation).await?.map(|it| it.status);
            if !matches!(status, Some(OperationStatus::Processing)) {
                return Ok(None);
            }
            finish_within(&mut transaction, operation, &Ending::Cancelled, &[]).await?;
            let next = go_on(&mut transaction, operation, Try::Same, not_before).await?;
            transaction.commit().await?;
            Ok(next)
        })
        .await
    }

    /// Has an operation that has failed tried again.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn try_again(
        &self,
        operation: Uuid,
        not_before: DateTime<Utc>,
    ) -> Result<Option<Uuid>, StoreError> {
        attempt(self.0, "have the operation tried again", || async {
            let mut connection = self.0.acquire().await?;
            Ok(go_on(&mut connection, operation, Try::Next(i32::MAX), Some(not_before)).await?)
        })
        .await
    }
}

/// Which try a continued operation is.
#[derive(Clone, Copy)]
pub(super) enum Try {
    /// The same one, which was handed back.
    Same,
    /// The next one, if there were fewer than so many.
    Next(i32),
}

/// Writes down an operation that goes on where another ended.
pub(super) async fn go_on(
    connection: &mut PgConnection,
    operation: Uuid,
    which: Try,
    not_before: Option<DateTime<Utc>>,
) -> Result<Option<Uuid>, sqlx::Error> {
    let (more, below) = match which {
        Try::Same => (0, i32::MAX),
        Try::Next(below) => (1, below),
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

/// The same for one whose worker has died.
pub(super) async fn survive(
    connection: &mut PgConnection,
    operation: Uuid,
) -> Result<(), sqlx::Error> {
    if let Some(next) = go_on(connection, operation, Try::Next(MOST_ATTEMPTS), None).await? {
        tracing::info!(%operation, %next, "the operation goes on");
    }
    Ok(())
}

/// Asks for an operation that nobody waits for. That the collection may have one more is for who calls to know.
pub(super) async fn hand_over(
    connection: &mut PgConnection,
    what: &HandedOver<'_>,
    for_run: Option<(Uuid, DateTime<Utc>)>,
) -> Result<Uuid, sqlx::Error> {
    let HandedOver { collection, kind, config } = what;
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
    /// Takes up the oldest operation that is handed over and can begin, on one of these collections; what the
    /// deaths of workers have left is put right first. `None` if there is none.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn take_up(
        &self,
        collections: &[Uuid],
    ) -> Result<Option<(Operation, OperationSummary)>, StoreError> {
        attempt(&self.pool, "take up an operation", || self.try_take_up(collections)).await
    }

    async fn try_take_up(
        &self,
        collections: &[Uuid],
    ) -> Result<Option<(Operation, OperationSummary)>, Failure> {
        let waiting: Vec<Uuid> =
            sqlx::query_scalar(WAITING).bind(collections).fetch_all(&self.pool).await?;
        for collection in waiting {
            if let Some(taken) = self.take_up_of(collection).await? {
                return Ok(Some(taken));
            }
        }
        Ok(None)
    }

    /// Takes up the oldest of one collection, unless somebody else works on it.
    async fn take_up_of(
        &self,
        collection: Uuid,
    ) -> Result<Option<(Operation, OperationSummary)>, Failure> {
        let mut lock = PgConnection::connect_with(&self.options).await?;
        if !lock_collection(&mut lock, collection, Turn::Wait).await? {
            return Ok(None);
        }
        let mut transaction = lock.begin().await?;
        let recovered = bury_the_dead(&mut transaction, collection).await?;
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
        let started_at = begin(&mut transaction, collection, id).await?;
        let summary = summary(&mut transaction, id).await?;
        transaction.commit().await?;
        let operation =
            Operation { postgres: self.clone(), collection, id, started_at, recovered, lock };
        Ok(summary.map(|summary| (operation, summary)))
    }

    /// Who carries out operations that are handed over.
    pub fn executors(&self) -> Executors<'_> {
        Executors(&self.pool)
    }
}

/// Somebody who carries out operations that are handed over.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct ExecutorSummary {
    /// Its id.
    pub id: Uuid,
    /// Host and process.
    pub worker: String,
    /// The collections that it serves.
    pub collections: Vec<Uuid>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it gave the last sign of life.
    pub seen_at: DateTime<Utc>,
    /// The files that it serves, as a JSON array of `{ file, pipeline, fault }`.
    pub files: Value,
}

/// The executors of a store.
pub struct Executors<'a>(&'a PgPool);

impl Executors<'_> {
    /// Says that an executor lives, and what it serves. Forgets such as have been dead for a day.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn beat(
        &self,
        id: Uuid,
        collections: &[Uuid],
        files: &Value,
    ) -> Result<(), StoreError> {
        attempt(self.0, "say that the executor lives", || async {
            sqlx::query(
                "WITH dead AS (DELETE FROM executors WHERE seen_at < now() - interval '1 day')
                 INSERT INTO executors (id, worker, collections, files) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (id) DO UPDATE
                 SET seen_at = now(), collections = EXCLUDED.collections, files = EXCLUDED.files",
            )
            .bind(id)
            .bind(super::claim::worker())
            .bind(collections)
            .bind(files)
            .execute(self.0)
            .await?;
            Ok(())
        })
        .await
    }

    /// Says that an executor has ended.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn forget(&self, id: Uuid) -> Result<(), StoreError> {
        attempt(self.0, "say that the executor has ended", || async {
            sqlx::query("DELETE FROM executors WHERE id = $1").bind(id).execute(self.0).await?;
            Ok(())
        })
        .await
    }

    /// Those that live, the one that began first at the front; such as serve a collection, if one is given.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn alive(
        &self,
        collection: Option<Uuid>,
    ) -> Result<Vec<ExecutorSummary>, StoreError> {
        attempt(self.0, "list executors", || async {
            Ok(sqlx::query_as(
                "SELECT id, worker, collections, started_at, seen_at, files FROM executors
                 WHERE seen_at > now() - $1::interval AND ($2::uuid IS NULL OR $2 = ANY(collections))
                 ORDER BY started_at",
            )
            .bind(ALIVE)
            .bind(collection)
            .fetch_all(self.0)
            .await?)
        })
        .await
    }
}
