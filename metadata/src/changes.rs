//! What happens to operations, told by the database as it happens (LISTEN): the triggers of migration 0007 say
//! it, whoever did it.

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

/// How long to wait before the database is asked again that was away.
const AWAY: Duration = Duration::from_secs(1);

const OPERATION: &str = "semantik_operation";
const PROGRESS: &str = "semantik_progress";

/// Something that has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// An operation was asked for, begun, or ended.
    Operation {
        /// The operation.
        id: Uuid,
        /// Its collection.
        collection: Uuid,
        /// Where it stands now.
        status: OperationStatus,
    },
    /// It was written down how far an operation is.
    Progress(Uuid),
    /// The connection was away: whatever happened meanwhile was not told, and has to be looked up.
    Missed,
}

/// What happens from now on; on a connection of its own, which is made again when it is lost.
pub struct Changes {
    pool: PgPool,
    listener: Option<PgListener>,
}

impl Postgres {
    /// Listens to what happens to operations.
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
    /// The next change. A database that is away is waited for.
    ///
    /// # Cancellation
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Change {
        loop {
            let Some(listener) = &mut self.listener else {
                match listen(&self.pool).await {
                    Ok(listener) => self.listener = Some(listener),
                    Err(error) => {
                        tracing::debug!(%error, "the database is away");
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
                    tracing::debug!(%error, "the database is away");
                    self.listener = None;
                    tokio::time::sleep(AWAY).await;
                }
            }
        }
    }

    /// The changes one after the other; it never ends.
    pub fn into_stream(self) -> impl Stream<Item = Change> + Send {
        futures::stream::unfold(self, |mut changes| async {
            let change = changes.next().await;
            Some((change, changes))
        })
    }
}

/// What a trigger said.
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
