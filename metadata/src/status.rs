//! Status of the whole metadata store, for monitoring.

use chrono::{DateTime, Utc};
use pipeline::StoreError;
use sqlx::FromRow;

use crate::operations::{OperationStatus, OperationType};
use crate::{Postgres, retry_call};

/// Status of the whole metadata store.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoreStatus {
    /// Number of operations that have not ended, by type and status.
    pub operations: Vec<(OperationType, OperationStatus, i64)>,
    /// Time of the last successful run of each pipeline.
    pub last_success: Vec<(String, DateTime<Utc>)>,
    /// Active schedules: in a pipeline file and not paused.
    pub schedules: Vec<ScheduleStatus>,
    /// All collections.
    pub collections: Vec<CollectionFigures>,
}

/// Next run of a schedule.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct ScheduleStatus {
    /// Name of its pipeline.
    pub pipeline: String,
    /// Time of creation.
    pub created_at: DateTime<Utc>,
    /// Due time of the next run, if calculated; in the past if no worker has started it.
    pub next_due_at: Option<DateTime<Utc>>,
}

/// Size of a collection at the end of its last operation.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct CollectionFigures {
    /// User name of the owner.
    pub owner: String,
    /// Unique among the collections of the owner.
    pub name: String,
    /// Number of completed documents.
    pub documents: i64,
    /// Number of their points.
    pub points: i64,
    /// Total size of their files in bytes.
    pub bytes: i64,
}

impl Postgres {
    /// Reads the status of the whole metadata store.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn status(&self) -> Result<StoreStatus, StoreError> {
        retry_call(&self.pool, "read the status of the metadata store", || async {
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
            Ok(StoreStatus {
                operations: operations.fetch_all(&self.pool).await?,
                last_success: last_success.fetch_all(&self.pool).await?,
                schedules: schedules.fetch_all(&self.pool).await?,
                collections: collections.fetch_all(&self.pool).await?,
            })
        })
        .await
    }
}
