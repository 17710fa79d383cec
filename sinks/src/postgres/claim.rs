//! The right to write to a collection, which one process has at a time.
//!
//! Three things see to it: a lock of the session on a connection of its own, which the server releases
//! when the process dies, so that whoever comes next knows at once; a unique index, so that no two
//! operations can be `processing`; and each transaction of a run checks that its operation still is
//! (`run.rs`), so that a run that was given up for dead writes nothing more.

use std::time::Duration;

use chrono::{DateTime, Utc};
use pipeline::{Fingerprint, StoreError};
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::collections::Collection;
use super::failure::Failure;
use super::operations::{Ending, OperationType, end};
use super::run::RunMetadata;
use super::{Postgres, attempt};

/// The right to write to a collection. While it lives, no other process can start an operation on it.
/// When it is dropped without [`Operation::finish`], or the process dies, the next one to start marks
/// the operation as failed.
#[derive(Debug)]
pub struct Operation {
    postgres: Postgres,
    collection: Uuid,
    id: Uuid,
    started_at: DateTime<Utc>,
    recovered: Vec<Uuid>,
    /// Holds the session's lock until it is closed.
    lock: PgConnection,
}

impl Operation {
    pub(super) async fn start(
        postgres: &Postgres,
        collection: &Collection,
        kind: OperationType,
        config: &Value,
    ) -> Result<Self, StoreError> {
        attempt("start the operation", || Self::try_start(postgres, collection, kind, config)).await
    }

    async fn try_start(
        postgres: &Postgres,
        collection: &Collection,
        kind: OperationType,
        config: &Value,
    ) -> Result<Self, Failure> {
        let mut lock = PgConnection::connect_with(&postgres.options).await?;
        if !lock_collection(&mut lock, collection.id).await? {
            return Err(in_use(&mut lock, collection).await?);
        }
        let mut transaction = lock.begin().await?;
        let recovered = bury_the_dead(&mut transaction, collection).await?;
        let id: Uuid = sqlx::query_scalar(
            "INSERT INTO operations (collection_id, user_id, type, config) VALUES ($1, $2, $3, $4) RETURNING id",
        )
        .bind(collection.id)
        .bind(collection.owner_id)
        .bind(kind)
        .bind(config)
        .fetch_one(&mut *transaction)
        .await?;
        let started_at: DateTime<Utc> = sqlx::query_scalar(
            "UPDATE operations SET status = 'processing', worker = $2 WHERE id = $1 RETURNING started_at",
        )
        .bind(id)
        .bind(worker())
        .fetch_one(&mut *transaction)
        .await?;
        sqlx::query(
            "UPDATE collections SET status = 'processing', status_message = NULL WHERE id = $1",
        )
        .bind(collection.id)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Self {
            postgres: postgres.clone(),
            collection: collection.id,
            id,
            started_at,
            recovered,
            lock,
        })
    }

    /// Its id.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Operations that were found dead when this one started, and are marked as failed now.
    pub fn recovered(&self) -> &[Uuid] {
        &self.recovered
    }

    /// What the operation knows and writes of documents, as these settings make them.
    pub fn metadata(&self, fingerprint: Fingerprint) -> RunMetadata {
        RunMetadata {
            pool: self.postgres.pool.clone(),
            collection: self.collection,
            operation: self.id,
            started_at: self.started_at,
            fingerprint,
        }
    }

    /// Ends it, as [`Operations::finish`] does, and lets go of the collection.
    ///
    /// # Errors
    /// As [`Operations::finish`].
    pub async fn finish(
        self,
        ending: &Ending,
        metrics: &[(String, f64)],
    ) -> Result<(), StoreError> {
        self.postgres.operations().finish(self.id, ending, metrics).await?;
        if let Err(error) = self.lock.close().await {
            tracing::debug!(%error, "the connection with the lock was gone already");
        }
        Ok(())
    }
}

/// Takes the lock of a collection for as long as the connection lives. The server may need a moment
/// to see that a process was killed, so this asks for a while.
async fn lock_collection(connection: &mut PgConnection, collection: Uuid) -> Result<bool, Failure> {
    for wait in [50, 100, 200, 400, 800, 0] {
        let locked: bool =
            sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtextextended($1::text, 0))")
                .bind(collection)
                .fetch_one(&mut *connection)
                .await?;
        if locked {
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
    Ok(false)
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

/// Marks the operation of a process that has died as failed. Documents that it was writing and that
/// have no location are deleted, so that their points are removed.
async fn bury_the_dead(
    connection: &mut PgConnection,
    collection: &Collection,
) -> Result<Vec<Uuid>, Failure> {
    let dead: Vec<(Uuid, Uuid)> = sqlx::query_as(
        "SELECT id, user_id FROM operations WHERE collection_id = $1 AND status = 'processing'
         ORDER BY id FOR NO KEY UPDATE",
    )
    .bind(collection.id)
    .fetch_all(&mut *connection)
    .await?;
    for (id, user) in &dead {
        tracing::warn!(operation = %id, collection = collection.name, "the process of an operation has died");
        let ending = Ending::Failed("the process that worked on it died".to_owned());
        end(connection, *id, collection.id, *user, &ending).await?;
    }
    sqlx::query(
        "UPDATE documents d SET status = 'deleted', deleted_at = now()
         FROM document_writes w
         WHERE w.collection_id = $1 AND d.id = w.document_id AND d.status <> 'deleted'
           AND NOT EXISTS (SELECT FROM document_locations l WHERE l.document_id = d.id)",
    )
    .bind(collection.id)
    .execute(connection)
    .await?;
    Ok(dead.into_iter().map(|(id, _)| id).collect())
}

/// This process, for the person who has to find it.
fn worker() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("process {} on {host}", std::process::id())
}
