//! Requested deletions: single documents, a source, or the collection.
//!
//! A deleted document stays deleted while its file is unchanged: the location records that it is
//! withheld. Its content at another location, or changed content, is indexed as usual. Deletions
//! apply to every generation, so a rollback does not restore a document.

use std::time::Duration;

use pipeline::StoreError;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use uuid::Uuid;

use crate::audit::CollectionEvent;
use crate::documents::locations::WITHHELD;
use crate::operations::lease::OperationLease;
use crate::operations::{OperationOutcome, OperationStatus, finish_within, summary};
use crate::query_error::QueryError;
use crate::retry_call;

/// Schemas with tables of documents.
const SCHEMAS: [&str; 3] = ["public", "building", "retired"];

/// Maximum number of rows that one transaction deletes.
const ROWS_PER_TRANSACTION: i64 = 5_000;

/// Result of one step of removing a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemovedSource {
    /// Number of documents deleted because they have no location left.
    pub documents: u64,
    /// Number of deleted locations.
    pub locations: u64,
}

impl OperationLease {
    /// Deletes documents until [`OperationLease::readmit`] and returns the ones that existed. Their
    /// points are to be removed; see [`pipeline::Lifecycle::unpurged`].
    ///
    /// # Errors
    /// If the store cannot be reached, or the operation was taken over or has ended.
    pub async fn withhold(&self, documents: &[Uuid], by: &str) -> Result<Vec<Uuid>, StoreError> {
        retry_call(&self.postgres().pool, "delete documents", || async {
            let mut transaction = self.postgres().pool.begin().await?;
            self.assert_owned(&mut transaction).await?;
            let mut deleted = Vec::new();
            for schema in SCHEMAS {
                let withhold = sqlx::query(AssertSqlSafe(format!(
                    "UPDATE {schema}.document_locations
                     SET document_id = NULL, fingerprint = NULL, set_aside = jsonb_build_object(
                         'node', 'delete', 'reason', '{WITHHELD}', 'message',
                         'was deleted by ' || $3 || to_char(now() AT TIME ZONE 'UTC', '\" on \"YYYY-MM-DD'))
                     WHERE collection_id = $1 AND document_id = ANY($2)"
                )));
                withhold
                    .bind(self.collection())
                    .bind(documents)
                    .bind(by)
                    .execute(&mut *transaction)
                    .await?;
                let delete = sqlx::query_scalar(AssertSqlSafe(format!(
                    "UPDATE {schema}.documents
                     SET status = 'deleted', deleted_at = now()
                     WHERE collection_id = $1 AND id = ANY($2) AND status <> 'deleted' RETURNING id"
                )));
                let ids: Vec<Uuid> = delete
                    .bind(self.collection())
                    .bind(documents)
                    .fetch_all(&mut *transaction)
                    .await?;
                if schema == "public" {
                    deleted = ids;
                }
            }
            self.write_audit_entry(&mut transaction, "documents_deleted", json!({ "documents": deleted }))
                .await?;
            transaction.commit().await?;
            Ok(deleted)
        })
        .await
    }

    /// Reverts the deletion of documents; the next run indexes them. Returns the affected
    /// documents: those whose files still existed.
    ///
    /// # Errors
    /// If the store cannot be reached, or the operation was taken over or has ended.
    pub async fn readmit(&self, documents: &[Uuid]) -> Result<Vec<Uuid>, StoreError> {
        retry_call(&self.postgres().pool, "undelete documents", || async {
            let mut transaction = self.postgres().pool.begin().await?;
            self.assert_owned(&mut transaction).await?;
            let mut readmitted = Vec::new();
            for schema in SCHEMAS {
                let readmit = sqlx::query_scalar(AssertSqlSafe(format!(
                    "UPDATE {schema}.document_locations l SET set_aside = NULL
                     FROM public.documents d
                     WHERE l.collection_id = $1 AND d.collection_id = $1 AND d.id = ANY($2)
                       AND l.content_hash = d.content_hash AND l.set_aside ->> 'reason' = '{WITHHELD}'
                     RETURNING d.id"
                )));
                let ids: Vec<Uuid> = readmit
                    .bind(self.collection())
                    .bind(documents)
                    .fetch_all(&mut *transaction)
                    .await?;
                if schema == "public" {
                    readmitted = ids;
                }
            }
            readmitted.sort_unstable();
            readmitted.dedup();
            let details = json!({ "documents": readmitted });
            self.write_audit_entry(&mut transaction, "documents_undeleted", details).await?;
            transaction.commit().await?;
            Ok(readmitted)
        })
        .await
    }

    /// Deletes some locations of a source, and documents without a remaining location; `None` when
    /// no location is left and the source is deleted. Points are to be removed; see
    /// [`pipeline::Lifecycle::unpurged`].
    ///
    /// # Errors
    /// If the store cannot be reached, or the operation was taken over or has ended.
    pub async fn remove_source(&self, source: &str) -> Result<Option<RemovedSource>, StoreError> {
        retry_call(&self.postgres().pool, "remove the source", || async {
            let mut transaction = self.postgres().pool.begin().await?;
            self.assert_owned(&mut transaction).await?;
            let mut removed = RemovedSource::default();
            for schema in SCHEMAS {
                let some =
                    remove_batch(&mut transaction, schema, self.collection(), source).await?;
                if schema == "public" {
                    removed.documents += some.documents;
                }
                removed.locations += some.locations;
            }
            if removed.locations == 0 {
                sqlx::query(
                    "DELETE FROM collection_sources WHERE collection_id = $1 AND source_path = $2",
                )
                .bind(self.collection())
                .bind(source)
                .execute(&mut *transaction)
                .await?;
                self.write_audit_entry(
                    &mut transaction,
                    "source_removed",
                    json!({ "source": source }),
                )
                .await?;
            }
            transaction.commit().await?;
            Ok((removed.locations > 0).then_some(removed))
        })
        .await
    }

    /// Records the start of the deletion, so that an interrupted one is never mistaken for a
    /// complete collection.
    ///
    /// # Errors
    /// If the store cannot be reached, or the operation was taken over or has ended.
    pub async fn begin_deletion(&self) -> Result<(), StoreError> {
        retry_call(&self.postgres().pool, "start the deletion of the collection", || async {
            let mut transaction = self.postgres().pool.begin().await?;
            self.assert_owned(&mut transaction).await?;
            sqlx::query(
                "UPDATE collections SET deleting_since = coalesce(deleting_since, now()) WHERE id = $1",
            )
            .bind(self.collection())
            .execute(&mut *transaction)
            .await?;
            Ok(transaction.commit().await?)
        })
        .await
    }

    /// Deletes all metadata of the documents and the collection itself, and ends the operation in
    /// the same transaction. Operations, their metrics and the audit log are kept (migration 0012).
    ///
    /// # Errors
    /// If the store cannot be reached; another call continues from there.
    pub async fn delete_collection(&self, metrics: &[(String, f64)]) -> Result<(), StoreError> {
        retry_call(&self.postgres().pool, "delete the collection", || {
            self.try_delete_collection(metrics)
        })
        .await
    }

    async fn try_delete_collection(&self, metrics: &[(String, f64)]) -> Result<(), QueryError> {
        let mut connection = self.postgres().connect_without_timeouts().await?;
        delete_documents(&mut connection, self.collection()).await?;
        let mut transaction = connection.begin().await?;
        let found = summary(&mut transaction, self.id()).await?;
        if found.is_some_and(|it| it.status == OperationStatus::Completed) {
            // The response to the commit was lost.
            return Ok(());
        }
        self.assert_owned(&mut transaction).await?;
        let name: Option<String> =
            sqlx::query_scalar("DELETE FROM collections WHERE id = $1 RETURNING name")
                .bind(self.collection())
                .fetch_optional(&mut *transaction)
                .await?;
        self.write_audit_entry(&mut transaction, "collection_deleted", json!({ "name": name }))
            .await?;
        finish_within(&mut transaction, self.id(), &OperationOutcome::Completed, metrics).await?;
        transaction.commit().await?;
        Ok(connection.close().await?)
    }

    /// Deletes the tombstones of documents that were deleted longer ago than `retention` and have
    /// no points. Returns their number.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn purge_deleted(&self, retention: Duration) -> Result<u64, StoreError> {
        retry_call(&self.postgres().pool, "delete expired tombstones", || async {
            let mut transaction = self.postgres().pool.begin().await?;
            self.assert_owned(&mut transaction).await?;
            let forgotten = sqlx::query(
                "DELETE FROM documents d
                 WHERE d.collection_id = $1 AND d.status = 'deleted' AND d.chunk_count = 0
                   AND d.deleted_at < now() - make_interval(secs => $2)
                   -- One that somebody has deleted, and whose file is still there, can be undeleted for ever.
                   AND NOT EXISTS (SELECT FROM document_locations l
                                   WHERE num_nulls(l.document_id) = 1
                                     AND uuid_send(l.collection_id) || l.content_hash
                                         = uuid_send($1) || d.content_hash
                                     AND l.set_aside ->> 'reason' = 'withheld' OFFSET 0)",
            )
            .bind(self.collection())
            .bind(retention.as_secs_f64())
            .execute(&mut *transaction)
            .await?;
            transaction.commit().await?;
            Ok(forgotten.rows_affected())
        })
        .await
    }

    async fn write_audit_entry(
        &self,
        connection: &mut PgConnection,
        action: &str,
        details: serde_json::Value,
    ) -> Result<(), sqlx::Error> {
        let user = sqlx::query_scalar("SELECT user_id FROM operations WHERE id = $1")
            .bind(self.id())
            .fetch_one(&mut *connection)
            .await?;
        let (collection, operation) = (self.collection(), Some(self.id()));
        CollectionEvent { collection, operation, user, action, details }.insert(connection).await
    }
}

async fn remove_batch(
    connection: &mut PgConnection,
    schema: &'static str,
    collection: Uuid,
    source: &str,
) -> Result<RemovedSource, sqlx::Error> {
    // The key of a row in `retired` includes the generation.
    let key = if schema == "retired" { "generation_id, uri_hash" } else { "uri_hash" };
    let forget = sqlx::query_scalar(AssertSqlSafe(format!(
        "DELETE FROM {schema}.document_locations
         WHERE collection_id = $1 AND ({key}) IN (
             SELECT {key} FROM {schema}.document_locations
             WHERE collection_id = $1 AND source_id = (
                 SELECT id FROM public.collection_sources
                 WHERE collection_id = $1 AND source_path = $2)
             LIMIT {ROWS_PER_TRANSACTION})
         RETURNING document_id"
    )));
    let gone: Vec<Option<Uuid>> =
        forget.bind(collection).bind(source).fetch_all(&mut *connection).await?;
    let owners: Vec<Uuid> = gone.iter().copied().flatten().collect();
    let same = if schema == "retired" { "l.generation_id = d.generation_id" } else { "TRUE" };
    let delete = sqlx::query(AssertSqlSafe(format!(
        "UPDATE {schema}.documents d SET status = 'deleted', deleted_at = now()
         WHERE d.collection_id = $1 AND d.id = ANY($2) AND d.status <> 'deleted'
           AND NOT EXISTS (SELECT FROM {schema}.document_locations l
                           WHERE l.document_id = d.id AND {same})"
    )));
    let documents = delete.bind(collection).bind(owners).execute(connection).await?.rows_affected();
    Ok(RemovedSource { documents, locations: gone.len() as u64 })
}

/// Deletes in small steps, so that the final transaction with the cascade is short.
async fn delete_documents(
    connection: &mut PgConnection,
    collection: Uuid,
) -> Result<(), sqlx::Error> {
    for table in [
        "public.document_locations",
        "public.documents",
        "building.document_locations",
        "building.documents",
        "retired.document_locations",
        "retired.documents",
    ] {
        loop {
            let delete = sqlx::query(AssertSqlSafe(format!(
                "DELETE FROM {table} WHERE ctid = ANY(ARRAY(
                     SELECT ctid FROM {table} WHERE collection_id = $1 LIMIT {ROWS_PER_TRANSACTION}))"
            )));
            if delete.bind(collection).execute(&mut *connection).await?.rows_affected() == 0 {
                break;
            }
        }
    }
    Ok(())
}
