//! How things stand in the whole store, for whoever draws it over time.

use chrono::{DateTime, Utc};
use pipeline::StoreError;
use sqlx::FromRow;

use super::operations::OperationStatus;
use super::{Postgres, attempt};

/// How things stand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// Operations that have not ended, by status.
    pub operations: Vec<(OperationStatus, i64)>,
    /// When each pipeline has last brought its collection up to date.
    pub last_success: Vec<(String, DateTime<Utc>)>,
    /// When each schedule that is not paused is due next; in the past if nobody has fired it.
    pub next_runs: Vec<(String, DateTime<Utc>)>,
    /// Each collection.
    pub collections: Vec<CollectionStanding>,
}

/// What a collection held when its last operation ended.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct CollectionStanding {
    /// User name of its owner.
    pub owner: String,
    /// Unique among the owner's.
    pub name: String,
    /// Documents that are stored.
    pub documents: i64,
    /// Points of those.
    pub points: i64,
    /// Bytes of those, as they were read.
    pub bytes: i64,
}

impl Postgres {
    /// How things stand in the whole store.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn standing(&self) -> Result<Standing, StoreError> {
        attempt("see how things stand", || async {
            let operations = sqlx::query_as(
                "SELECT status, count(*) FROM operations WHERE status IN ('pending', 'processing') GROUP BY status",
            );
            let last_success = sqlx::query_as(
                "SELECT config->>'pipeline', max(completed_at) FROM operations
                 WHERE status = 'completed' AND type IN ('index', 'append', 'reindex')
                   AND config->>'pipeline' IS NOT NULL
                 GROUP BY 1",
            );
            let next_runs = sqlx::query_as(
                "SELECT pipeline, next_due_at FROM schedules
                 WHERE next_due_at IS NOT NULL AND paused_at IS NULL
                   AND NOT coalesce((spec ->> 'paused')::boolean, FALSE)",
            );
            let collections = sqlx::query_as(
                "SELECT u.username AS owner, c.name, c.document_count AS documents, c.vector_count AS points,
                        c.total_size_bytes AS bytes
                 FROM collections c JOIN users u ON u.id = c.owner_id WHERE c.deleting_since IS NULL",
            );
            Ok(Standing {
                operations: operations.fetch_all(&self.pool).await?,
                last_success: last_success.fetch_all(&self.pool).await?,
                next_runs: next_runs.fetch_all(&self.pool).await?,
                collections: collections.fetch_all(&self.pool).await?,
            })
        })
        .await
    }
}
