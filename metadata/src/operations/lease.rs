//! The lease on a collection: the right to write to it, held by one process at a time.
//!
//! Three mechanisms protect it. A session lock on a separate connection, which the server releases
//! when the process dies, shows the next process immediately that the collection is free. A unique
//! index allows only one operation in `processing`. Each transaction of a run checks that its
//! operation is still `processing` ([`assert_owned`]), so a run that was declared dead writes
//! nothing more. A live process that makes no progress, for example because its machine sleeps,
//! loses its lease and with it the lock.
//!
//! The lease is a separate row (`operation_leases`) that no transaction of a run locks, so the
//! heartbeat never waits for one. Each transaction of a run holds a shared advisory lock with the
//! key of its operation, so a takeover finds and ends the transactions that a stopped process left
//! open instead of waiting for them (docs/adr/0025-query-plans-leases-and-retention.md).

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use pipeline::{Fingerprint, Progress, StoreError};
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::collections::Collection;
use crate::collections::limits::check_operation_rate;
use crate::documents::run::{GenerationSlot, RunMetadata};
use crate::operations::takeover::{evict_expired_owner, fail_orphaned_operations};
use crate::operations::{OperationOutcome, OperationStatus, OperationType};
use crate::query_error::QueryError;
use crate::{Postgres, retry_call};

/// SQL condition: row `l` of `pg_locks` is an advisory lock with the key of the id that the
/// expression yields. Seed 0 is the session lock on a collection, seed 1 the lock of each
/// transaction of an operation. `pg_locks` lists the locks of every database of a server.
macro_rules! is_lock_of {
    ($id:literal) => {
        is_lock_of!($id, 0)
    };
    ($id:literal, $seed:literal) => {
        concat!(
            "l.locktype = 'advisory' AND l.objsubid = 1
             AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
             AND (l.classid::bigint << 32) | l.objid::bigint = hashtextextended((",
            $id,
            ")::text, ",
            $seed,
            ")"
        )
    };
}
pub(super) use is_lock_of;

/// SQL condition: a live process works on the collection with the id that the expression yields.
/// Its operation has a valid lease and its session holds the lock.
macro_rules! at_work {
    ($collection:literal) => {
        concat!(
            "EXISTS (SELECT FROM operations p WHERE uuid_send(p.collection_id) = uuid_send(",
            $collection,
            ") AND p.status = 'processing'
                AND EXISTS (SELECT FROM operation_leases e WHERE e.operation_id = p.id AND e.expires_at > now() OFFSET 0)
                AND EXISTS (SELECT FROM pg_locks l WHERE l.granted AND ",
            is_lock_of!($collection),
            ") OFFSET 0)"
        )
    };
}
pub(super) use at_work;

/// The target of the events about ended operations.
pub const OPERATION_EVENTS: &str = "semantik::operation";

/// The name of the event about an ended operation.
pub const OPERATION_ENDED: &str = "operation_ended";

/// Duration of a lease without a heartbeat, as a Postgres interval.
const LEASE_DURATION: &str = "60 seconds";

/// Polling interval of an operation that waits for the collection.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Application name of a session that excludes operations without being one: it has no lease to
/// lose.
pub(super) const LOCK_SESSION_NAME: &str = "semantik reader";

/// Behaviour while another operation works on the collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitPolicy {
    /// Fail with a conflict that names the other operation.
    FailIfBusy,
    /// Wait until it has ended.
    Wait,
}

/// The right to write to a collection. While the value lives, no other process can start an
/// operation on the collection. If the value is dropped without [`OperationLease::finish`], or the
/// process dies, the next operation to start marks this one as failed.
#[derive(Debug)]
pub struct OperationLease {
    pub(crate) postgres: Postgres,
    pub(crate) collection: Uuid,
    pub(crate) id: Uuid,
    pub(crate) started_at: DateTime<Utc>,
    pub(super) recovered: Vec<Uuid>,
    /// Holds the session lock until it is closed.
    pub(crate) lock: PgConnection,
}

/// A requested operation.
#[derive(Clone, Copy)]
struct LeaseRequest<'a> {
    collection: &'a Collection,
    kind: OperationType,
    config: &'a Value,
}

/// Result of an attempt to obtain the lease.
enum LeaseAttempt {
    Acquired(Box<OperationLease>),
    /// Another operation works on the collection; the request with this id is pending.
    Waiting(Uuid),
}

impl OperationLease {
    pub(crate) async fn acquire(
        postgres: &Postgres,
        collection: &Collection,
        kind: OperationType,
        config: &Value,
        turn: WaitPolicy,
    ) -> Result<Self, StoreError> {
        let wanted = LeaseRequest { collection, kind, config };
        let mut waiting = None;
        loop {
            let claim = || Self::try_acquire(postgres, wanted, waiting, turn);
            match retry_call(&postgres.pool, "start the operation", claim).await? {
                LeaseAttempt::Acquired(operation) => return Ok(*operation),
                LeaseAttempt::Waiting(id) => waiting = Some(id),
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Starts an operation if the collection is free. Requests and starts it in one transaction, so
    /// a process that dies leaves no pending request; a request that has to wait is inserted
    /// beforehand.
    async fn try_acquire(
        postgres: &Postgres,
        wanted: LeaseRequest<'_>,
        waiting: Option<Uuid>,
        turn: WaitPolicy,
    ) -> Result<LeaseAttempt, QueryError> {
        let collection = wanted.collection;
        let mut lock = PgConnection::connect_with(&postgres.options).await?;
        if !lock_collection(&mut lock, collection.id, turn).await? {
            return match (turn, waiting) {
                (WaitPolicy::FailIfBusy, _) => Err(in_use_error(&mut lock, collection).await?),
                (WaitPolicy::Wait, None) => {
                    Ok(LeaseAttempt::Waiting(insert_pending(&mut lock, wanted).await?))
                }
                // Renews the lease of the pending request.
                (WaitPolicy::Wait, Some(id)) => {
                    let renewed = renew(&mut lock, id, None).await?;
                    if renewed { Ok(LeaseAttempt::Waiting(id)) } else { Err(cancelled_error(id)) }
                }
            };
        }
        let mut transaction = lock.begin().await?;
        let recovered = fail_orphaned_operations(&mut transaction, collection.id).await?;
        let id = match waiting {
            Some(id) => {
                find_pending(&mut transaction, id).await?.ok_or_else(|| cancelled_error(id))?
            }
            None => insert_pending(&mut transaction, wanted).await?,
        };
        let started_at = mark_started(&mut transaction, collection.id, id).await?;
        transaction.commit().await?;
        let (postgres, collection) = (postgres.clone(), collection.id);
        Ok(LeaseAttempt::Acquired(Box::new(Self {
            postgres,
            collection,
            id,
            started_at,
            recovered,
            lock,
        })))
    }

    /// Id of the operation.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Id of its collection.
    pub fn collection(&self) -> Uuid {
        self.collection
    }

    pub(crate) fn postgres(&self) -> &Postgres {
        &self.postgres
    }

    /// Orphaned operations found when this one started; they are marked as failed.
    pub fn recovered(&self) -> &[Uuid] {
        &self.recovered
    }

    /// The metadata port for a run of this operation with these settings.
    pub fn metadata(&self, side: GenerationSlot, fingerprint: Fingerprint) -> RunMetadata {
        RunMetadata {
            pool: match side {
                GenerationSlot::Live => self.postgres.pool.clone(),
                GenerationSlot::Building => self.postgres.building_pool.clone(),
            },
            collection: self.collection,
            operation: self.id,
            started_at: self.started_at,
            fingerprint,
            retry_failed: false,
            statistics: Arc::default(),
        }
    }

    /// Renews the lease every second and returns when another client cancelled the operation or
    /// took it over. Connection errors are ignored here; the next query reports them.
    pub async fn lost(&self) {
        self.lost_while_reporting(|| None).await;
    }

    /// Like [`OperationLease::lost`]; also stores the progress at each renewal, for clients that
    /// follow it.
    pub async fn lost_while_reporting(
        &self,
        mut progress: impl FnMut() -> Option<Progress> + Send,
    ) {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let progress = progress();
            let renewed = async {
                let mut connection = self.postgres.pool.acquire().await?;
                renew(&mut connection, self.id, progress).await
            };
            match renewed.await {
                Ok(false) if self.has_ended().await => return,
                // A regular end; the task that executes the operation reports it.
                Ok(false) => std::future::pending().await,
                Ok(true) => {}
                Err(error) => tracing::debug!(%error, "failed to renew the lease"),
            }
        }
    }

    /// `true` if the operation ended with a status other than `completed`.
    async fn has_ended(&self) -> bool {
        let status = self.postgres.operations().find(self.id).await;
        matches!(status, Ok(Some(it)) if it.status != OperationStatus::Completed)
    }

    /// Checks that a transaction may write to the collection; see [`assert_owned`].
    pub(crate) async fn assert_owned(
        &self,
        connection: &mut PgConnection,
    ) -> Result<(), QueryError> {
        assert_owned(connection, self.id).await
    }

    /// Stores the result of the operation and its last progress. Existing keys of the result are
    /// kept. Does nothing if the operation is no longer `processing`.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn record_result(
        &self,
        result: &Value,
        progress: Option<&Progress>,
    ) -> Result<(), StoreError> {
        retry_call(&self.postgres.pool, "store the result of the operation", || async {
            sqlx::query(
                "UPDATE operations SET meta = meta || $2, progress = coalesce($3, progress)
                 WHERE id = $1 AND status = 'processing'",
            )
            .bind(self.id)
            .bind(result)
            .bind(progress.map(Json))
            .execute(&self.postgres.pool)
            .await?;
            Ok(())
        })
        .await
    }

    /// Changes the type of the operation because the run found a different situation than the
    /// request assumed. Does nothing if the operation is no longer `processing`.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn change_type(&self, kind: OperationType) -> Result<(), StoreError> {
        retry_call(&self.postgres.pool, "change the type of the operation", || async {
            sqlx::query("UPDATE operations SET type = $2 WHERE id = $1 AND status = 'processing'")
                .bind(self.id)
                .bind(kind)
                .execute(&self.postgres.pool)
                .await?;
            Ok(())
        })
        .await
    }

    /// Ends the operation as [`crate::Operations::finish`] does, and releases the collection.
    ///
    /// # Errors
    /// As [`crate::Operations::finish`].
    pub async fn finish(
        self,
        ending: &OperationOutcome,
        metrics: &[(String, f64)],
    ) -> Result<(), StoreError> {
        self.postgres.operations().finish(self.id, ending, metrics).await?;
        self.release().await;
        Ok(())
    }

    /// Emits an event about the ended operation: target [`crate::OPERATION_EVENTS`], name
    /// [`crate::OPERATION_ENDED`], fields `kind` and `status`, strings, and `seconds` since the
    /// start.
    async fn log_end(&self) {
        let (kind, status) = match self.postgres.operations().find(self.id).await {
            Ok(Some(it)) => (it.kind.to_string(), it.status.to_string()),
            Ok(None) => return tracing::debug!("the ended operation does not exist any more"),
            Err(error) => return tracing::debug!(%error, "failed to read how the operation ended"),
        };
        let seconds = (Utc::now() - self.started_at).as_seconds_f64().max(0.0);
        tracing::debug!(
            name: OPERATION_ENDED, target: OPERATION_EVENTS,
            operation = %self.id, kind, status, seconds, "operation ended"
        );
    }

    /// Releases the collection after the operation has ended.
    pub async fn release(self) {
        self.log_end().await;
        if let Err(error) = self.lock.close().await {
            tracing::debug!(%error, "the connection with the lock was closed before");
        }
    }
}

impl Postgres {
    /// Checks that no live process works on a collection.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] if one does.
    pub async fn ensure_idle(&self, collection: &Collection) -> Result<(), StoreError> {
        retry_call(&self.pool, "start the operation", || async {
            let mut connection = self.pool.acquire().await?;
            let at_work: bool = sqlx::query_scalar(concat!("SELECT ", at_work!("$1::uuid")))
                .bind(collection.id)
                .fetch_one(&mut *connection)
                .await?;
            if at_work { Err(in_use_error(&mut connection, collection).await?) } else { Ok(()) }
        })
        .await
    }
}

/// An exclusive lock that excludes operations from a collection while it lives, without being an
/// operation: a comparison of the stores needs an unchanged collection and writes nothing.
#[derive(Debug)]
pub struct ExclusiveLock(#[expect(dead_code, reason = "holds the session's lock")] PgConnection);

impl Postgres {
    /// Waits until no operation works on a collection, or fails, and excludes others from then on.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] if another process works on the collection.
    pub async fn lock_exclusive(
        &self,
        collection: &Collection,
        turn: WaitPolicy,
    ) -> Result<ExclusiveLock, StoreError> {
        loop {
            let asked = retry_call(&self.pool, "lock the collection", || async {
                let mut lock = PgConnection::connect_with(&self.options).await?;
                if lock_collection(&mut lock, collection.id, turn).await? {
                    sqlx::query("SELECT set_config('application_name', $1, FALSE)")
                        .bind(LOCK_SESSION_NAME)
                        .execute(&mut lock)
                        .await?;
                    return Ok(Some(ExclusiveLock(lock)));
                }
                match turn {
                    WaitPolicy::FailIfBusy => Err(in_use_error(&mut lock, collection).await?),
                    WaitPolicy::Wait => Ok(None),
                }
            });
            if let Some(stillness) = asked.await? {
                return Ok(stillness);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

/// The advisory lock precedes the row lock, so a takeover also finds transactions that wait for the
/// row.
pub(crate) const ASSERT_OWNED: &str = "
    SELECT o.status::text, pg_advisory_xact_lock_shared(hashtextextended(o.id::text, 1))
    FROM operations o WHERE o.id = $1 FOR NO KEY UPDATE";

/// Checks that a transaction may write to the collection of an operation: its status is
/// `processing`, and stays so until the transaction ends.
pub(crate) async fn assert_owned(
    connection: &mut PgConnection,
    operation: Uuid,
) -> Result<(), QueryError> {
    let status: Option<String> =
        sqlx::query_scalar(ASSERT_OWNED).bind(operation).fetch_optional(connection).await?;
    match status.as_deref() {
        Some("processing") => Ok(()),
        Some(status) => Err(QueryError::Conflict(format!(
            "operation {operation} is {status}: another client ended it"
        ))),
        None => Err(QueryError::Conflict(format!("operation {operation} does not exist any more"))),
    }
}

/// Inserts a pending operation with a lease: if the process dies before the start, it is cancelled.
async fn insert_pending(
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
async fn find_pending(
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
async fn renew(
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

/// Locks a collection until the connection closes. With [`WaitPolicy::FailIfBusy`] it retries for
/// 1.5 s, because the server may need a moment to notice a killed process.
pub(super) async fn lock_collection(
    connection: &mut PgConnection,
    collection: Uuid,
    turn: WaitPolicy,
) -> Result<bool, QueryError> {
    let waits: &[u64] =
        if turn == WaitPolicy::FailIfBusy { &[50, 100, 200, 400, 800, 0] } else { &[0] };
    for wait in waits {
        let locked: bool =
            sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtextextended($1::text, 0))")
                .bind(collection)
                .fetch_one(&mut *connection)
                .await?;
        if locked {
            return Ok(true);
        }
        evict_expired_owner(connection, collection).await?;
        tokio::time::sleep(Duration::from_millis(*wait)).await;
    }
    Ok(false)
}

fn cancelled_error(id: Uuid) -> QueryError {
    QueryError::Conflict(format!("operation {id} was cancelled before it began"))
}

async fn in_use_error(
    connection: &mut PgConnection,
    collection: &Collection,
) -> Result<QueryError, QueryError> {
    let other: Option<String> = sqlx::query_scalar(
        "SELECT 'operation ' || id || ' (' || type || ')' || coalesce(', ' || worker, '')
                || to_char(started_at AT TIME ZONE 'UTC', '\", since \"YYYY-MM-DD HH24:MI:SS\" UTC\"')
         FROM operations WHERE collection_id = $1 AND status = 'processing'",
    )
    .bind(collection.id)
    .fetch_optional(connection)
    .await?;
    let other = other.map(|other| format!(": {other}")).unwrap_or_default();
    let name = &collection.name;
    Ok(QueryError::Conflict(format!("another process works on collection `{name}`{other}")))
}

/// This process, as text that helps an administrator to find it.
pub(crate) fn worker_name() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("process {} on {host}", std::process::id())
}
