//! Notifications about operations (LISTEN), sent by the triggers of migration 0007 whichever client
//! makes the change.

use std::time::Duration;

use pipeline::StoreError;
use serde::Deserialize;
use sqlx::PgPool;
use sqlx::postgres::{PgListener, PgNotification, PgPoolOptions};
use uuid::Uuid;

use crate::operations::OperationStatus;
use crate::query_error::QueryError;
use crate::{Postgres, retry_call};

/// Delay between attempts to reconnect.
const RECONNECT_DELAY: Duration = Duration::from_secs(1);

const OPERATION_CHANNEL: &str = "semantik_operation";
const PROGRESS_CHANNEL: &str = "semantik_progress";

/// A notification from the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationEvent {
    /// An operation was requested, started or ended.
    StatusChanged {
        /// The operation.
        id: Uuid,
        /// Its collection.
        collection: Uuid,
        /// Its new status.
        status: OperationStatus,
    },
    /// The progress of this operation was updated.
    Progress(Uuid),
    /// The connection was lost: notifications are missing, and the caller must read the current
    /// state.
    Lagged,
}

/// Notifications from now on, received on a separate connection that reconnects after a failure.
pub struct OperationEvents {
    pool: PgPool,
    listener: Option<PgListener>,
}

impl Postgres {
    /// Subscribes to changes of operations.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn listen(&self) -> Result<OperationEvents, StoreError> {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_lazy_with(self.options.clone());
        let listener = retry_call(&pool, "listen to changes", || async {
            listen(&pool).await.map_err(QueryError::from)
        });
        let listener = Some(listener.await?);
        Ok(OperationEvents { pool, listener })
    }
}

async fn listen(pool: &PgPool) -> Result<PgListener, sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen_all([OPERATION_CHANNEL, PROGRESS_CHANNEL]).await?;
    Ok(listener)
}

impl OperationEvents {
    /// The next change. Waits while the database is unreachable.
    ///
    /// # Cancellation
    /// Cancel safe: dropping the future loses no change.
    pub async fn next(&mut self) -> OperationEvent {
        loop {
            let Some(listener) = &mut self.listener else {
                match listen(&self.pool).await {
                    Ok(listener) => self.listener = Some(listener),
                    Err(error) => {
                        tracing::debug!(%error, "the database is unreachable");
                        tokio::time::sleep(RECONNECT_DELAY).await;
                        continue;
                    }
                }
                return OperationEvent::Lagged;
            };
            match listener.try_recv().await {
                Ok(Some(said)) => {
                    if let Some(change) = parse_notification(&said) {
                        return change;
                    }
                }
                Ok(None) => return OperationEvent::Lagged,
                Err(error) => {
                    tracing::debug!(%error, "the database is unreachable");
                    self.listener = None;
                    tokio::time::sleep(RECONNECT_DELAY).await;
                }
            }
        }
    }
}

/// Parses the payload of a trigger; `None` if it is invalid.
fn parse_notification(said: &PgNotification) -> Option<OperationEvent> {
    #[derive(Deserialize)]
    struct Told {
        id: Uuid,
        collection_id: Uuid,
        status: OperationStatus,
    }
    if said.channel() == PROGRESS_CHANNEL {
        return said.payload().parse().ok().map(OperationEvent::Progress);
    }
    let Told { id, collection_id, status } = serde_json::from_str(said.payload()).ok()?;
    Some(OperationEvent::StatusChanged { id, collection: collection_id, status })
}
