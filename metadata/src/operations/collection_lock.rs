//! The lock on a collection: a session lock on a separate connection, which the server releases
//! when the process dies. A session whose operation has lost its lease is terminated.

use std::time::Duration;

use pipeline::StoreError;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::collections::Collection;
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

/// Polling interval of an operation that waits for the collection.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Application name of a session that excludes operations without being one: it has no lease to
/// lose.
const LOCK_SESSION_NAME: &str = "semantik reader";

/// Behaviour while another operation works on the collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitPolicy {
    /// Fail with a conflict that names the other operation.
    FailIfBusy,
    /// Wait until it has ended.
    Wait,
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

/// Terminates the session that holds the lock of a collection, if its operation has lost its lease.
async fn evict_expired_owner(
    connection: &mut PgConnection,
    collection: Uuid,
) -> Result<(), sqlx::Error> {
    sqlx::query(concat!(
        "SELECT pg_terminate_backend(l.pid) FROM pg_locks l
         WHERE l.granted AND ",
        is_lock_of!("$1::uuid"),
        "  AND NOT EXISTS (SELECT FROM pg_stat_activity a
                           WHERE a.pid = l.pid AND a.application_name = $2)
           AND EXISTS (SELECT FROM operations o LEFT JOIN operation_leases e ON e.operation_id = o.id
                       WHERE uuid_send(o.collection_id) = uuid_send($1) AND o.status = 'processing'
                         AND coalesce(e.expires_at < now(), TRUE))",
    ))
    .bind(collection)
    .bind(LOCK_SESSION_NAME)
    .execute(connection)
    .await
    .map(drop)
}

pub(super) async fn in_use_error(
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
