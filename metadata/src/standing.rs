//! How things stand in the whole store, for whoever draws it over time.

use chrono::{DateTime, Utc};
use pipeline::StoreError;
use sqlx::FromRow;

use super::operations::{OperationStatus, OperationType};
use super::{Postgres, attempt};

/// How things stand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// Operations that have not ended, by type and status.
    pub operations: Vec<(OperationType, OperationStatus, i64)>,
    /// When each pipeline has last brought its collection up to date.
    pub last_success: Vec<(String, DateTime<Utc>)>,
    /// Each schedule that is in a file and not paused.
    pub schedules: Vec<ScheduleStanding>,
    /// Each collection.
    pub collections: Vec<CollectionStanding>,
}

/// When runs of a schedule are, or should have been.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct ScheduleStanding {
    /// The pipeline that it runs.
    pub pipeline: String,
    /// Since when there has been one.
    pub created_at: DateTime<Utc>,
    /// When it is due next, as far as that is foreseen; in the past if nobody has fired it.
    pub next_due_at: Option<DateTime<Utc>>,
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
        attempt(&self.pool, "see how things stand", || async {
            let operations = sqlx::query_as(
                "SELECT type, status, count(*) FROM operations WHERE status IN ('pending', 'processing')
                 GROUP BY type, status",
            );
            let last_success = sqlx::query_as(
                "SELECT config->>'pipeline', max(completed_at) FROM operations
                 WHERE status = 'completed' AND type IN ('index', 'append', 'reindex')
                   AND config->>'pipeline' IS NOT NULL
                   AND EXISTS (SELECT FROM collections c WHERE c.id = collection_id)
                 GROUP BY 1",
            );
            let schedules = sqlx::query_as(
                "SELECT pipeline, created_at, next_due_at FROM schedules
                 WHERE spec <> 'null' AND paused_at IS NULL AND NOT coalesce((spec ->> 'paused')::boolean, FALSE)",
            );
            let collections = sqlx::query_as(
                "SELECT u.username AS owner, c.name, c.document_count AS documents, c.vector_count AS points,
                        c.total_size_bytes AS bytes
                 FROM collections c JOIN users u ON u.id = c.owner_id WHERE c.deleting_since IS NULL",
            );
            Ok(Standing {
                operations: operations.fetch_all(&self.pool).await?,
                last_success: last_success.fetch_all(&self.pool).await?,
                schedules: schedules.fetch_all(&self.pool).await?,
                collections: collections.fetch_all(&self.pool).await?,
            })
        })
        .await
    }
}
