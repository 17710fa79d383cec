//! Notifications about operations (LISTEN), sent by the triggers of migration 0007 whichever client
//! makes the change.

use std::time::Duration;

use futures::Stream;
use pipeline::StoreError;
use serde::Deserialize;
use sqlx::PgPool;
use sqlx::postgres::{PgListener, PgNotification, PgPoolOptions};
use uuid::Uuid;

use super::failure::Failure;
use super::operations::OperationStatus;
use super::{Postgres, attempt};

/// Delay between attempts to reconnect.
const AWAY: Duration = Duration::from_secs(1);

const OPERATION: &str = "semantik_operation";
const PROGRESS: &str = "semantik_progress";

/// A notification from the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// An operation was requested, started or ended.
    Operation {
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
    Missed,
}

/// Notifications from now on, received on a separate connection that reconnects after a failure.
pub struct Changes {
    pool: PgPool,
    listener: Option<PgListener>,
}

impl Postgres {
    /// Subscribes to changes of operations.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn listen(&self) -> Result<Changes, StoreError> {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_lazy_with(self.options.clone());
        let listener = attempt(&pool, "listen to changes", || async {
            listen(&pool).await.map_err(Failure::from)
        });
        let listener = Some(listener.await?);
        Ok(Changes { pool, listener })
    }
}

async fn listen(pool: &PgPool) -> Result<PgListener, sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen_all([OPERATION, PROGRESS]).await?;
    Ok(listener)
}

impl Changes {
    /// The next change. Waits while the database is unreachable.
    ///
    /// # Cancellation
    /// Cancel safe: dropping the future loses no change.
    pub async fn next(&mut self) -> Change {
        loop {
            let Some(listener) = &mut self.listener else {
                match listen(&self.pool).await {
                    Ok(listener) => self.listener = Some(listener),
                    Err(error) => {
                        tracing::debug!(%error, "the database is unreachable");
                        tokio::time::sleep(AWAY).await;
                        continue;
                    }
                }
                return Change::Missed;
            };
            match listener.try_recv().await {
                Ok(Some(said)) => {
                    if let Some(change) = read(&said) {
                        return change;
                    }
                }
                Ok(None) => return Change::Missed,
                Err(error) => {
                    tracing::debug!(%error, "the database is unreachable");
                    self.listener = None;
                    tokio::time::sleep(AWAY).await;
                }
            }
        }
    }

    /// The changes as a stream that never ends.
    pub fn into_stream(self) -> impl Stream<Item = Change> + Send {
        futures::stream::unfold(self, |mut changes| async {
            let change = changes.next().await;
            Some((change, changes))
        })
    }
}

/// Parses the payload of a trigger; `None` if it is invalid.
fn read(said: &PgNotification) -> Option<Change> {
    #[derive(Deserialize)]
    struct Told {
        id: Uuid,
        collection_id: Uuid,
        status: OperationStatus,
    }
    if said.channel() == PROGRESS {
        return said.payload().parse().ok().map(Change::Progress);
    }
    let Told { id, collection_id, status } = serde_json::from_str(said.payload()).ok()?;
    Some(Change::Operation { id, collection: collection_id, status })
}
