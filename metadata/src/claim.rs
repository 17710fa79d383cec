//! The right to write to a collection, which one process has at a time.
//!
//! Three things see to it: a lock of the session on a connection of its own, which the server releases
//! when the process dies, so that whoever comes next knows at once; a unique index, so that no two
//! operations can be `processing`; and each transaction of a run checks that its operation still is
//! ([`hold`]), so that a run that was given up for dead writes nothing more. A process that lives and does
//! nothing, because its machine sleeps, say, loses its lease, and with it the lock.
//!
//! The lease is a row of its own (`operation_leases`), which no transaction of a run locks: the heartbeat never waits
//! for one, however long it takes. Each transaction of a run holds a shared advisory lock with the key of its operation,
//! so that a takeover finds and ends those that a stopped process has left open, instead of waiting for them
//! (docs/adr/0025-query-plans-leases-and-retention.md).

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use pipeline::{Fingerprint, Progress, StoreError};
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::collections::Collection;
use super::failure::Failure;
use super::limits::within_limits;
use super::operations::{Ending, OperationStatus, OperationType};
use super::run::{RunMetadata, Side};
use super::takeover::{bury_the_dead, evict};
use super::{Postgres, attempt};

/// Whether a row `l` of `pg_locks` is an advisory lock with the key of the id that this expression gives: seed 0 is the
/// lock of the session that works on a collection, seed 1 that of each transaction of an operation. The locks of every
/// database of a server are in there.
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

/// Whether a process that lives works on the collection with the id that this expression gives: its operation has its
/// lease, and its session the lock.
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

/// The target of the events that say that an operation has ended.
pub const OPERATIONS: &str = "semantik::operation";

/// How long an operation is its worker's without a sign of life, as an interval of Postgres.
const LEASE: &str = "60 seconds";

/// How often an operation that waits for another looks whether its turn has come.
const WAIT: Duration = Duration::from_millis(500);

/// What a session calls itself that keeps operations away and has none: it has no lease to lose.
pub(super) const READER: &str = "semantik reader";

/// What to do when somebody else works on the collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Say who.
    Now,
    /// Wait until they have ended.
    Wait,
}

/// The right to write to a collection. While it lives, no other process can start an operation on it.
/// When it is dropped without [`Operation::finish`], or the process dies, the next one to start marks
/// the operation as failed.
#[derive(Debug)]
pub struct Operation {
    pub(super) postgres: Postgres,
    pub(super) collection: Uuid,
    pub(super) id: Uuid,
    pub(super) started_at: DateTime<Utc>,
    pub(super) recovered: Vec<Uuid>,
    /// Holds the session's lock until it is closed.
    pub(super) lock: PgConnection,
}

/// What is to be done to which collection.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    collection: &'a Collection,
    kind: OperationType,
    config: &'a Value,
}

/// How far a claim has come.
enum Claim {
    Begun(Box<Operation>),
    /// Somebody else works on the collection; this is asked for.
    Waits(Uuid),
}

impl Operation {
    pub(super) async fn start(
        postgres: &Postgres,
        collection: &Collection,
        kind: OperationType,
        config: &Value,
        turn: Turn,
    ) -> Result<Self, StoreError> {
        let wanted = Wanted { collection, kind, config };
        let mut waiting = None;
        loop {
            let claim = || Self::try_claim(postgres, wanted, waiting, turn);
            match attempt(&postgres.pool, "start the operation", claim).await? {
                Claim::Begun(operation) => return Ok(*operation),
                Claim::Waits(id) => waiting = Some(id),
            }
            tokio::time::sleep(WAIT).await;
        }
    }

    /// Begins an operation if the collection is free. It is asked for and begun in one transaction, so that a
    /// process that dies leaves none that nobody has begun; one that has to wait is asked for before.
    async fn try_claim(
        postgres: &Postgres,
        wanted: Wanted<'_>,
        waiting: Option<Uuid>,
        turn: Turn,
    ) -> Result<Claim, Failure> {
        let collection = wanted.collection;
        let mut lock = PgConnection::connect_with(&postgres.options).await?;
        if !lock_collection(&mut lock, collection.id, turn).await? {
            return match (turn, waiting) {
                (Turn::Now, _) => Err(in_use(&mut lock, collection).await?),
                (Turn::Wait, None) => Ok(Claim::Waits(ask(&mut lock, wanted).await?)),
                // Says that somebody still waits for it.
                (Turn::Wait, Some(id)) => {
                    let renewed = renew(&mut lock, id, None).await?;
                    if renewed { Ok(Claim::Waits(id)) } else { Err(cancelled(id)) }
                }
            };
        }
        let mut transaction = lock.begin().await?;
        let recovered = bury_the_dead(&mut transaction, collection.id).await?;
        let id = match waiting {
            Some(id) => pending(&mut transaction, id).await?.ok_or_else(|| cancelled(id))?,
            None => ask(&mut transaction, wanted).await?,
        };
        let started_at = begin(&mut transaction, collection.id, id).await?;
        transaction.commit().await?;
        let (postgres, collection) = (postgres.clone(), collection.id);
        Ok(Claim::Begun(Box::new(Self { postgres, collection, id, started_at, recovered, lock })))
    }

    /// Its id.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The collection that it works on.
    pub fn collection(&self) -> Uuid {
        self.collection
    }

    pub(super) fn postgres(&self) -> &Postgres {
        &self.postgres
    }

    /// Operations that were found dead when this one started, and are marked as failed now.
    pub fn recovered(&self) -> &[Uuid] {
        &self.recovered
    }

    /// What the operation knows and writes of documents, as these settings make them.
    pub fn metadata(&self, side: Side, fingerprint: Fingerprint) -> RunMetadata {
        RunMetadata {
            pool: match side {
                Side::Live => self.postgres.pool.clone(),
                Side::Building => self.postgres.building.clone(),
            },
            collection: self.collection,
            operation: self.id,
            started_at: self.started_at,
            fingerprint,
            retry_failed: false,
            growth: Arc::default(),
        }
    }

    /// Returns when the operation is ours no more, because somebody has cancelled it or taken it over;
    /// until then it renews its lease. That the store cannot be reached is for others to say.
    pub async fn lost(&self) {
        self.lost_while_telling(|| None).await;
    }

    /// As [`Operation::lost`], and writes down each time how far the operation is, for those who watch it.
    pub async fn lost_while_telling(&self, mut progress: impl FnMut() -> Option<Progress> + Send) {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let progress = progress();
            let renewed = async {
                let mut connection = self.postgres.pool.acquire().await?;
                renew(&mut connection, self.id, progress).await
            };
            match renewed.await {
                Ok(false) if self.is_over().await => return,
                // It ended as it should; that is for the work itself to say.
                Ok(false) => std::future::pending().await,
                Ok(true) => {}
                Err(error) => tracing::debug!(%error, "the lease was not renewed"),
            }
        }
    }

    /// Whether somebody else has ended it.
    async fn is_over(&self) -> bool {
        let status = self.postgres.operations().find(self.id).await;
        matches!(status, Ok(Some(it)) if it.status != OperationStatus::Completed)
    }

    /// Makes sure that a transaction may write to the collection.
    pub(super) async fn hold(&self, connection: &mut PgConnection) -> Result<(), Failure> {
        hold(connection, self.id).await
    }

    /// Notes what came of the operation, for whoever reads it later, and how far it was at last. Keys that were
    /// noted before stay. One that is not ours any more stays as it is.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn note(
        &self,
        result: &Value,
        progress: Option<&Progress>,
    ) -> Result<(), StoreError> {
        attempt(&self.postgres.pool, "note what came of the operation", || async {
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

    /// Says that the operation is another one than it was asked for as, since what it finds has changed. One that is not ours any more stays as it
    /// is.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn becomes(&self, kind: OperationType) -> Result<(), StoreError> {
        attempt(&self.postgres.pool, "say what the operation is", || async {
            sqlx::query("UPDATE operations SET type = $2 WHERE id = $1 AND status = 'processing'")
                .bind(self.id)
                .bind(kind)
                .execute(&self.postgres.pool)
                .await?;
            Ok(())
        })
        .await
    }

    /// Ends it, as [`super::Operations::finish`] does, and lets go of the collection.
    ///
    /// # Errors
    /// As [`super::Operations::finish`].
    pub async fn finish(
        self,
        ending: &Ending,
        metrics: &[(String, f64)],
    ) -> Result<(), StoreError> {
        self.postgres.operations().finish(self.id, ending, metrics).await?;
        self.let_go().await;
        Ok(())
    }

    /// Tells whoever listens to events that it has ended: with [`crate::OPERATIONS`] as target, `kind`, `status` and
    /// `seconds` since it began.
    async fn tell(&self) {
        let (kind, status) = match self.postgres.operations().find(self.id).await {
            Ok(Some(it)) => (it.kind, it.status),
            Ok(None) => return tracing::debug!("the operation is gone"),
            Err(error) => return tracing::debug!(%error, "how the operation ended is not known"),
        };
        let seconds = (Utc::now() - self.started_at).as_seconds_f64().max(0.0);
        tracing::debug!(
            target: OPERATIONS, operation = %self.id, ?kind, ?status, seconds, "an operation has ended"
        );
    }

    /// Lets go of the collection after the operation has ended, in whatever way.
    pub async fn let_go(self) {
        self.tell().await;
        if let Err(error) = self.lock.close().await {
            tracing::debug!(%error, "the connection with the lock was gone already");
        }
    }
}

impl Postgres {
    /// Says who works on a collection, if somebody does and lives.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] if somebody does.
    pub async fn nobody_works_on(&self, collection: &Collection) -> Result<(), StoreError> {
        attempt(&self.pool, "start the operation", || async {
            let mut connection = self.pool.acquire().await?;
            let at_work: bool = sqlx::query_scalar(concat!("SELECT ", at_work!("$1::uuid")))
                .bind(collection.id)
                .fetch_one(&mut *connection)
                .await?;
            if at_work { Err(in_use(&mut connection, collection).await?) } else { Ok(()) }
        })
        .await
    }
}

/// Keeps operations from a collection for as long as it lives, without being one: whoever compares the stores
/// needs them to stand still, and changes nothing.
#[derive(Debug)]
pub struct Stillness(#[expect(dead_code, reason = "holds the session's lock")] PgConnection);

impl Postgres {
    /// Waits until no operation works on a collection, or says which does, and keeps others away.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] if another process works on the collection.
    pub async fn keep_still(
        &self,
        collection: &Collection,
        turn: Turn,
    ) -> Result<Stillness, StoreError> {
        loop {
            let asked = attempt(&self.pool, "keep operations from the collection", || async {
                let mut lock = PgConnection::connect_with(&self.options).await?;
                if lock_collection(&mut lock, collection.id, turn).await? {
                    sqlx::query("SELECT set_config('application_name', $1, FALSE)")
                        .bind(READER)
                        .execute(&mut lock)
                        .await?;
                    return Ok(Some(Stillness(lock)));
                }
                match turn {
                    Turn::Now => Err(in_use(&mut lock, collection).await?),
                    Turn::Wait => Ok(None),
                }
            });
            if let Some(stillness) = asked.await? {
                return Ok(stillness);
            }
            tokio::time::sleep(WAIT).await;
        }
    }
}

/// The advisory lock comes before the lock of the row, so that whoever waits for the row is found as well.
pub(super) const HOLD: &str = "
    SELECT o.status::text, pg_advisory_xact_lock_shared(hashtextextended(o.id::text, 1))
    FROM operations o WHERE o.id = $1 FOR NO KEY UPDATE";

/// Makes sure that a transaction may write to the collection of an operation: it is being processed, and
/// stays so until the transaction ends.
pub(super) async fn hold(connection: &mut PgConnection, operation: Uuid) -> Result<(), Failure> {
    let status: Option<String> =
        sqlx::query_scalar(HOLD).bind(operation).fetch_optional(connection).await?;
    match status.as_deref() {
        Some("processing") => Ok(()),
        Some(status) => Err(Failure::Conflict(format!(
            "operation {operation} is {status}: somebody else has ended it"
        ))),
        None => Err(Failure::Conflict(format!("operation {operation} is gone"))),
    }
}

/// Asks for an operation. It waits with a lease: if the process dies before it begins, it is cancelled.
async fn ask(connection: &mut PgConnection, wanted: Wanted<'_>) -> Result<Uuid, Failure> {
    let Wanted { collection, kind, config } = wanted;
    within_limits(connection, collection).await?;
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
    .bind(worker())
    .bind(LEASE)
    .fetch_one(connection)
    .await?)
}

/// Begins an operation that waits; the collection's lock is held.
pub(super) async fn begin(
    connection: &mut PgConnection,
    collection: Uuid,
    operation: Uuid,
) -> Result<DateTime<Utc>, sqlx::Error> {
    let started_at = sqlx::query_scalar(
        "UPDATE operations SET status = 'processing', worker = $2 WHERE id = $1 RETURNING started_at",
    )
    .bind(operation)
    .bind(worker())
    .fetch_one(&mut *connection)
    .await?;
    sqlx::query(
        "INSERT INTO operation_leases (operation_id, expires_at) VALUES ($1, now() + $2::interval)
         ON CONFLICT (operation_id) DO UPDATE SET expires_at = excluded.expires_at",
    )
    .bind(operation)
    .bind(LEASE)
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

/// An operation that waits, if nobody has cancelled it.
async fn pending(connection: &mut PgConnection, id: Uuid) -> Result<Option<Uuid>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT id FROM operations WHERE id = $1 AND status = 'pending' FOR UPDATE SKIP LOCKED",
    )
    .bind(id)
    .fetch_optional(connection)
    .await
}

pub(super) const RENEW: &str = "
    UPDATE operation_leases SET expires_at = now() + $2::interval, progress = coalesce($3, progress)
    WHERE operation_id = $1";

/// Says that an operation is still ours, and how far it is; `false` if it has ended: then it has no lease any more.
async fn renew(
    connection: &mut PgConnection,
    operation: Uuid,
    progress: Option<Progress>,
) -> Result<bool, sqlx::Error> {
    let renewed = sqlx::query(RENEW)
        .bind(operation)
        .bind(LEASE)
        .bind(progress.map(Json))
        .execute(connection)
        .await?;
    Ok(renewed.rows_affected() > 0)
}

/// Takes the lock of a collection for as long as the connection lives. The server may need a moment
/// to see that a process was killed, so this asks for a while.
pub(super) async fn lock_collection(
    connection: &mut PgConnection,
    collection: Uuid,
    turn: Turn,
) -> Result<bool, Failure> {
    let waits: &[u64] = if turn == Turn::Now { &[50, 100, 200, 400, 800, 0] } else { &[0] };
    for wait in waits {
        let locked: bool =
            sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtextextended($1::text, 0))")
                .bind(collection)
                .fetch_one(&mut *connection)
                .await?;
        if locked {
            return Ok(true);
        }
        evict(connection, collection).await?;
        tokio::time::sleep(Duration::from_millis(*wait)).await;
    }
    Ok(false)
}

fn cancelled(id: Uuid) -> Failure {
    Failure::Conflict(format!("operation {id} was cancelled before it began"))
}

async fn in_use(
    connection: &mut PgConnection,
    collection: &Collection,
) -> Result<Failure, Failure> {
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
    Ok(Failure::Conflict(format!("another process works on the collection `{name}`{other}")))
}

/// This process, for the person who has to find it.
pub(super) fn worker() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("process {} on {host}", std::process::id())
}
