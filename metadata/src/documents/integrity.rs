//! Consistency of the metadata: the points it expects in the vector store, contradictions within
//! it, and the writes of a repair. The caller must exclude operations on the collection.

use std::collections::{HashMap, HashSet};

use pipeline::StoreError;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

use crate::documents::Documents;
use crate::documents::status::DocumentStatus;
use crate::operations::lease::OperationLease;
use crate::retry_call;

/// Number of examples of each kind.
const MAX_EXAMPLES: i32 = 20;

/// Consistency of the metadata of a collection.
#[derive(Clone, Debug, Default, PartialEq, Eq, FromRow, Deserialize, Serialize)]
pub struct Integrity {
    /// Number of completed documents.
    pub documents: i64,
    /// Number of their chunks.
    pub chunks: i64,
    /// Total size of their files in bytes.
    pub bytes: i64,
    /// The same three counts, as stored in the collection.
    pub noted: Vec<i64>,
    /// Number of locations with a content that no document has.
    pub homeless_locations: i64,
    /// URIs of up to 20 of them.
    pub homeless_uris: Vec<String>,
    /// Number of documents that have no location and are not deleted.
    pub placeless_documents: i64,
    /// Paths of up to 20 of them.
    pub placeless_paths: Vec<String>,
    /// Number of documents whose points an orphaned operation was writing.
    pub unfinished_documents: i64,
    /// Ids of up to 20 of them.
    pub unfinished_ids: Vec<Uuid>,
}

/// Documents that have no location and are not deleted.
const WITHOUT_LOCATION: &str = "collection_id = $1 AND status <> 'deleted'
    AND NOT EXISTS (SELECT FROM public.document_locations l WHERE l.document_id = d.id)";

impl Documents<'_> {
    /// Number of points by document, for all documents with points.
    pub async fn point_counts(&self, collection: Uuid) -> Result<HashMap<Uuid, u64>, StoreError> {
        retry_call(self.0, "list the documents with points", || async {
            let rows: Vec<(Uuid, i64)> = sqlx::query_as(
                "SELECT id, chunk_count FROM documents WHERE collection_id = $1 AND status = 'completed'",
            )
            .bind(collection)
            .fetch_all(self.0)
            .await?;
            Ok(rows.into_iter().map(|(id, chunks)| (id, chunks.unsigned_abs())).collect())
        })
        .await
    }

    /// The documents whose points an operation is writing, or was writing when its process died.
    pub async fn writes_in_progress(&self, collection: Uuid) -> Result<HashSet<Uuid>, StoreError> {
        retry_call(self.0, "list the documents being written", || async {
            let rows: Vec<Uuid> = sqlx::query_scalar(
                "SELECT document_id FROM document_writes WHERE collection_id = $1",
            )
            .bind(collection)
            .fetch_all(self.0)
            .await?;
            Ok(rows.into_iter().collect())
        })
        .await
    }

    /// Path and status of these documents; unknown ids are missing in the result.
    pub async fn names_and_statuses(
        &self,
        collection: Uuid,
        documents: &[Uuid],
    ) -> Result<HashMap<Uuid, (String, DocumentStatus)>, StoreError> {
        retry_call(self.0, "find the names of documents", || async {
            let rows: Vec<(Uuid, String, DocumentStatus)> = sqlx::query_as(
                "SELECT id, file_path, status FROM documents WHERE collection_id = $1 AND id = ANY($2)",
            )
            .bind(collection)
            .bind(documents)
            .fetch_all(self.0)
            .await?;
            Ok(rows.into_iter().map(|(id, path, status)| (id, (path, status))).collect())
        })
        .await
    }

    /// Checks the metadata of a collection for contradictions.
    pub async fn integrity(&self, collection: Uuid) -> Result<Integrity, StoreError> {
        retry_call(self.0, "check the metadata", || integrity(self.0, collection)).await
    }
}

async fn integrity(
    pool: &PgPool,
    collection: Uuid,
) -> Result<Integrity, crate::query_error::QueryError> {
    let sql = format!(
        "WITH stored AS (
             SELECT count(*) AS documents, coalesce(sum(chunk_count), 0)::bigint AS chunks,
                    coalesce(sum(file_size), 0)::bigint AS bytes
             FROM documents WHERE collection_id = $1 AND status = 'completed'),
         homeless AS (
             SELECT count(*) AS n, coalesce((array_agg(l.uri ORDER BY l.uri))[1:{MAX_EXAMPLES}], '{{}}') AS some
             FROM document_locations l LEFT JOIN documents d ON d.id = l.document_id
             WHERE l.collection_id = $1 AND l.set_aside IS NULL AND l.content_hash IS NOT NULL
               AND (d.id IS NULL OR d.status = 'deleted')),
         placeless AS (
             SELECT count(*) AS n,
                    coalesce((array_agg(file_path ORDER BY file_path))[1:{MAX_EXAMPLES}], '{{}}') AS some
             FROM documents d WHERE {WITHOUT_LOCATION}),
         unfinished AS (
             SELECT count(DISTINCT document_id) AS n,
                    coalesce((array_agg(DISTINCT document_id))[1:{MAX_EXAMPLES}], '{{}}') AS some
             FROM document_writes WHERE collection_id = $1)
         SELECT stored.documents, stored.chunks, stored.bytes,
                ARRAY[c.document_count, c.vector_count, c.total_size_bytes] AS noted,
                homeless.n AS homeless_locations, homeless.some AS homeless_uris,
                placeless.n AS placeless_documents, placeless.some AS placeless_paths,
                unfinished.n AS unfinished_documents, unfinished.some AS unfinished_ids
         FROM collections c, stored, homeless, placeless, unfinished WHERE c.id = $1"
    );
    Ok(sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(collection).fetch_one(pool).await?)
}

impl Integrity {
    /// `true` if no contradiction was found.
    pub fn is_consistent(&self) -> bool {
        self.counts_agree()
            && self.homeless_locations == 0
            && self.placeless_documents == 0
            && self.unfinished_documents == 0
    }

    /// `true` if the stored counts match the rows.
    pub fn counts_agree(&self) -> bool {
        self.noted == [self.documents, self.chunks, self.bytes]
    }
}

impl OperationLease {
    /// Marks documents as stale: the next run writes them again, whatever their settings.
    ///
    /// # Errors
    /// If the store cannot be reached, or the operation was taken over or has ended.
    pub async fn mark_stale(&self, documents: &[Uuid]) -> Result<(), StoreError> {
        retry_call(&self.postgres().pool, "mark documents as stale", || async {
            let mut transaction = self.postgres().pool.begin().await?;
            self.assert_owned(&mut transaction).await?;
            sqlx::query(
                "UPDATE documents SET fingerprint = NULL, points_digest = NULL
                 WHERE collection_id = $1 AND id = ANY($2)",
            )
            .bind(self.collection())
            .bind(documents)
            .execute(&mut *transaction)
            .await?;
            Ok(transaction.commit().await?)
        })
        .await
    }

    /// Marks documents without a location as deleted. Their points are then to be removed; see
    /// [`pipeline::Lifecycle::unpurged`].
    ///
    /// # Errors
    /// If the store cannot be reached, or the operation was taken over or has ended.
    pub async fn delete_unlocated(&self) -> Result<(), StoreError> {
        retry_call(&self.postgres().pool, "delete documents without a location", || async {
            let mut transaction = self.postgres().pool.begin().await?;
            self.assert_owned(&mut transaction).await?;
            let delete = sqlx::AssertSqlSafe(format!(
                "UPDATE public.documents d SET status = 'deleted', deleted_at = now() WHERE {WITHOUT_LOCATION}"
            ));
            sqlx::query(delete).bind(self.collection()).execute(&mut *transaction).await?;
            Ok(transaction.commit().await?)
        })
        .await
    }
}
