//! The port `MetadataStore` on Postgres: the documents of a collection, as a run reads and writes
//! them.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;
use pipeline::{
    ContentHash, DocumentIdentity, Fingerprint, IncomingDocument, KnownHashes, KnownLocation,
    MetadataStore, RejectReason, Rejection, StoreError, StoredDocument,
};
use sqlx::{PgPool, Transaction};
use uuid::Uuid;

use crate::documents::{identify, locations, write};
use crate::operations::lease::assert_owned;
use crate::query_error::QueryError;
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

pub(crate) const PURGED: &str = "
    UPDATE documents SET chunk_count = 0
    WHERE ctid = ANY(ARRAY(
        SELECT d.ctid FROM unnest($2::uuid[]) AS i (id)
        CROSS JOIN LATERAL (SELECT d.ctid, d.collection_id, d.status FROM documents d
                            WHERE d.id = i.id OFFSET 0) d
        WHERE d.collection_id = $1 AND d.status IN ('deleted', 'failed')))";

pub(crate) const FORGET_WRITES: &str = "
    DELETE FROM document_writes
    WHERE ctid = ANY(ARRAY(
        SELECT w.ctid FROM unnest($2::uuid[]) AS i (id)
        CROSS JOIN LATERAL (SELECT w.ctid, w.collection_id, w.operation_id FROM document_writes w
                            WHERE w.document_id = i.id OFFSET 0) w
        LEFT JOIN LATERAL (SELECT d.status FROM documents d WHERE d.id = i.id OFFSET 0) d ON TRUE
        WHERE w.collection_id = $1 AND w.operation_id <> $3
          AND (d.status IS NULL OR d.status IN ('deleted', 'failed'))))";

pub(crate) const KNOWN_HASHES: &str = "
    SELECT content_hash FROM documents d
    WHERE collection_id = $1 AND fingerprint = $2 AND status = 'completed'
      AND NOT EXISTS (SELECT FROM document_writes w
                      WHERE w.document_id = d.id AND w.operation_id <> $3 OFFSET 0)";

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
    pub async fn recover(&self) -> Result<(), StoreError> {
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
    /// [`MetadataStore::mark_purged`], and repeat until the result is empty. Before the first and
    /// after the last batch of a run this repairs the effects of a crash and removes no point that
    /// a sink is writing.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn unpurged(&self, limit: u32) -> Result<Vec<Uuid>, StoreError> {
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
    pub async fn count_unattached(&self) -> Result<u64, StoreError> {
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

    /// A transaction that has checked the right to write to the collection.
    pub(super) async fn begin_transaction(
        &self,
    ) -> Result<Transaction<'static, sqlx::Postgres>, QueryError> {
        let mut transaction = self.pool.begin().await?;
        assert_owned(&mut transaction, self.operation).await?;
        Ok(transaction)
    }

    async fn try_known_hashes(&self) -> Result<KnownHashes, QueryError> {
        let mut rows = sqlx::query_scalar::<_, Vec<u8>>(KNOWN_HASHES)
            .bind(self.collection)
            .bind(&self.fingerprint.0[..])
            .bind(self.operation)
            .fetch(&self.pool);
        let mut known = KnownHashes::new();
        while let Some(hash) = rows.try_next().await? {
            known.extend(ContentHash::try_from(&*hash));
        }
        Ok(known)
    }

    async fn try_identify(
        &self,
        incoming: &[IncomingDocument],
    ) -> Result<Vec<DocumentIdentity>, QueryError> {
        let mut transaction = self.begin_transaction().await?;
        let found = identify::identify(&mut transaction, self, incoming).await?;
        identify::mark_writing(&mut transaction, self, &found).await?;
        transaction.commit().await?;
        Ok(found.into_iter().map(|found| found.identity).collect())
    }

    async fn try_commit(&self, documents: &[StoredDocument]) -> Result<Vec<Uuid>, QueryError> {
        let mut transaction = self.begin_transaction().await?;
        let lost = write::commit(&mut transaction, self, documents).await?;
        transaction.commit().await?;
        Ok(lost)
    }

    async fn try_record(&self, left: &[(String, Rejection)]) -> Result<Vec<Uuid>, QueryError> {
        let mut transaction = self.begin_transaction().await?;
        // Losing these rows in a crash is harmless: the next run determines them again.
        sqlx::query("SET LOCAL synchronous_commit TO off").execute(&mut *transaction).await?;
        let lost = write::record(&mut transaction, self, left).await?;
        transaction.commit().await?;
        Ok(lost)
    }

    async fn try_purged(&self, documents: &[Uuid]) -> Result<(), QueryError> {
        let mut transaction = self.begin_transaction().await?;
        sqlx::query(PURGED)
            .bind(self.collection)
            .bind(documents)
            .execute(&mut *transaction)
            .await?;
        sqlx::query(FORGET_WRITES)
            .bind(self.collection)
            .bind(documents)
            .bind(self.operation)
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }
}

#[async_trait]
impl MetadataStore for RunMetadata {
    async fn lookup_locations(
        &self,
        uris: &[String],
    ) -> Result<Vec<Option<KnownLocation>>, StoreError> {
        retry_call(&self.pool, "look up locations", || async {
            Ok(locations::locate(&self.pool, self, uris).await?)
        })
        .await
    }

    async fn known_hashes(&self) -> Result<KnownHashes, StoreError> {
        retry_call(&self.pool, "read the known contents", || self.try_known_hashes()).await
    }

    async fn assign_ids(
        &self,
        incoming: &[IncomingDocument],
    ) -> Result<Vec<DocumentIdentity>, StoreError> {
        retry_call(&self.pool, "identify documents", || self.try_identify(incoming)).await
    }

    async fn commit(&self, documents: &[StoredDocument]) -> Result<Vec<Uuid>, StoreError> {
        let lost =
            retry_call(&self.pool, "commit documents", || self.try_commit(documents)).await?;
        self.statistics.add_rows(&self.pool, documents.len()).await;
        Ok(lost)
    }

    async fn record_rejections(
        &self,
        set_aside: &[(String, Rejection)],
    ) -> Result<Vec<Uuid>, StoreError> {
        let lost = retry_call(&self.pool, "record documents that were set aside", || {
            self.try_record(set_aside)
        })
        .await?;
        let is_news = |why: &RejectReason| {
            !matches!(
                why,
                RejectReason::Unchanged
                    | RejectReason::MetadataChanged
                    | RejectReason::PreviouslyRejected { .. }
                    | RejectReason::Withheld { .. }
            )
        };
        let news = set_aside.iter().filter(|(_, one)| is_news(&one.reason)).count();
        self.statistics.add_rows(&self.pool, news).await;
        Ok(lost)
    }

    async fn mark_purged(&self, documents: &[Uuid]) -> Result<(), StoreError> {
        retry_call(&self.pool, "record that points are removed", || self.try_purged(documents))
            .await
    }
}
