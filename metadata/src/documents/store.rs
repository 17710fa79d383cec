//! The port `MetadataStore` on Postgres: a run reads and writes the documents of a collection.

use async_trait::async_trait;
use futures::TryStreamExt as _;
use pipeline::{
    ContentHash, DocumentIdentity, IncomingDocument, KnownHashes, KnownLocation, MetadataStore,
    RejectReason, Rejection, StoreError, StoredDocument,
};
use sqlx::Transaction;
use uuid::Uuid;

use crate::documents::run::RunMetadata;
use crate::documents::{identify, lookup, write};
use crate::operations::ownership::assert_owned;
use crate::query_error::QueryError;
use crate::retry_call;

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
            Ok(lookup::locate(&self.pool, self, uris).await?)
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
