//! The documents of a collection as one operation sees them. `store.rs` implements the port of
//! runs on it; `relocations.rs`, `deletions.rs` and `dry_run.rs` the other steps of an operation.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use pipeline::{Fingerprint, StoreError};
use sqlx::PgPool;
use uuid::Uuid;

use crate::retry_call;
use crate::schema::table_statistics::StatisticsUpdater;

/// The documents of one collection, for one operation with one fingerprint. The search path of the
/// connections selects the live generation or the one being built; the queries are the same.
#[derive(Clone, Debug)]
pub struct RunMetadata {
    pub(crate) pool: PgPool,
    pub(crate) collection: Uuid,
    pub(crate) operation: Uuid,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) fingerprint: Fingerprint,
    /// `true` if failed documents are retried once their delay has passed.
    pub(crate) retry_failed: bool,
    /// Shared by clones.
    pub(crate) statistics: Arc<StatisticsUpdater>,
}

/// A generation of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GenerationSlot {
    /// The generation that searches read.
    Live,
    /// The generation being built.
    Building,
}

pub(crate) const UNPURGED: &str = "
    SELECT id FROM (
        (SELECT id FROM documents
         WHERE uuid_send(collection_id) = uuid_send($1) AND status IN ('deleted', 'failed') AND chunk_count > 0
         LIMIT $3)
        UNION
        (SELECT w.document_id FROM document_writes w
         LEFT JOIN LATERAL (SELECT d.id, d.status FROM documents d WHERE d.id = w.document_id OFFSET 0) d ON TRUE
         WHERE w.collection_id = $1 AND w.operation_id <> $2
           AND (d.id IS NULL OR d.status IN ('deleted', 'failed'))
         LIMIT $3)
        LIMIT $3) u
    ORDER BY id";

pub(crate) const RECOVER: &str = "
    UPDATE documents SET status = 'deleted', deleted_at = now()
    WHERE ctid = ANY(ARRAY(
        SELECT d.ctid FROM document_writes w
        CROSS JOIN LATERAL (SELECT d.ctid, d.status FROM documents d WHERE d.id = w.document_id OFFSET 0) d
        WHERE w.collection_id = $1 AND w.operation_id <> $2 AND d.status <> 'deleted'
          AND NOT EXISTS (SELECT FROM document_locations l WHERE l.document_id = w.document_id OFFSET 0)))";

impl RunMetadata {
    /// Retries failed documents whose delay has passed.
    #[must_use]
    pub fn with_retries(self) -> Self {
        Self { retry_failed: true, ..self }
    }

    /// Starts a new pass: only locations seen from now on count as seen. An operation may pass over
    /// its sources several times; a file deleted in between is missing.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn with_current_time(self) -> Result<Self, StoreError> {
        let started_at = retry_call(&self.pool, "start a pass", || async {
            Ok(sqlx::query_scalar("SELECT greatest(now(), $1)")
                .bind(self.started_at)
                .fetch_one(&self.pool)
                .await?)
        })
        .await?;
        Ok(Self { started_at, ..self })
    }

    /// Marks documents as deleted whose points a run was writing when it died and that have no
    /// location, because no run will write them again. Call it before the first pass of a run.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub(crate) async fn recover(&self) -> Result<(), StoreError> {
        retry_call(&self.pool, "recover from a run that died", || async {
            let mut transaction = self.begin_transaction().await?;
            sqlx::query(RECOVER)
                .bind(self.collection)
                .bind(self.operation)
                .execute(&mut *transaction)
                .await?;
            Ok(transaction.commit().await?)
        })
        .await
    }

    /// At most `limit` documents whose points are to be removed: deleted ones, failed ones, and
    /// those that a run was writing when it died and never committed. Remove the points, call
    /// [`pipeline::MetadataStore::mark_purged`], and repeat until the result is empty. Before the
    /// first and after the last batch of a run this repairs the effects of a crash and removes no
    /// point that a sink is writing.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub(crate) async fn unpurged(&self, limit: u32) -> Result<Vec<Uuid>, StoreError> {
        retry_call(&self.pool, "list documents with points to remove", || async {
            Ok(sqlx::query_scalar(UNPURGED)
                .bind(self.collection)
                .bind(self.operation)
                .bind(i64::from(limit))
                .fetch_all(&self.pool)
                .await?)
        })
        .await
    }

    /// Number of locations with a content that no document has. It is not 0 after a run if a file
    /// was edited and a copy of its old content was seen only later: the copy counted as a
    /// duplicate of content that is gone now. Another pass over the sources reads only these.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub(crate) async fn count_unattached(&self) -> Result<u64, StoreError> {
        retry_call(&self.pool, "count locations without a document", || async {
            let count: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM document_locations
                 WHERE collection_id = $1 AND document_id IS NULL AND content_hash IS NOT NULL
                   AND set_aside IS NULL AND last_seen_at >= $2",
            )
            .bind(self.collection)
            .bind(self.started_at)
            .fetch_one(&self.pool)
            .await?;
            Ok(count.cast_unsigned())
        })
        .await
    }

    /// Analyses the tables if rows were written since the last ANALYZE. Call it at the end of a
    /// run.
    pub async fn analyze(&self) {
        self.statistics.finish(&self.pool).await;
    }
}
