//! The lease on a collection: the right to write to it, held by one process at a time.
//!
//! Three mechanisms protect it. A session lock on a separate connection, which the server releases
//! when the process dies, shows the next process immediately that the collection is free
//! (`collection_lock.rs`). A unique index allows only one operation in `processing`. Each
//! transaction of a run checks that its operation is still `processing` ([`assert_owned`]), so a
//! run that was declared dead writes nothing more. A live process that makes no progress, for
//! example because its machine sleeps, loses its lease and with it the lock.
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
use crate::documents::run::{GenerationSlot, RunMetadata};
use crate::operations::collection_lock::{
    POLL_INTERVAL, WaitPolicy, in_use_error, lock_collection,
};
use crate::operations::lease_rows::{
    LeaseRequest, find_pending, insert_pending, mark_started, renew,
};
use crate::operations::ownership::assert_owned;
use crate::operations::takeover::fail_orphaned_operations;
use crate::operations::{OperationOutcome, OperationStatus, OperationType};
use crate::query_error::QueryError;
use crate::{Postgres, retry_call};

/// The target of the events about ended operations.
pub const OPERATION_EVENTS: &str = "semantik::operation";

/// The name of the event about an ended operation.
pub const OPERATION_ENDED: &str = "operation_ended";

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

fn cancelled_error(id: Uuid) -> QueryError {
    QueryError::Conflict(format!("operation {id} was cancelled before it began"))
}
