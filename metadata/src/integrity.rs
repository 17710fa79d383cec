//! What the metadata says should be in the vector store, and whether it agrees with itself; and what a repair
//! writes. Whoever asks sees to it that no operation works on the collection meanwhile.

use std::collections::HashMap;

use pipeline::StoreError;
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

use super::attempt;
use super::claim::Operation;
use super::documents::{DocumentStatus, Documents};

/// How many of each kind are named.
const NAMED: i32 = 20;

/// What the metadata says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, FromRow)]
pub struct Integrity {
    /// Documents that are stored.
    pub documents: i64,
    /// Their chunks.
    pub chunks: i64,
    /// Bytes of their files.
    pub bytes: i64,
    /// What the collection says of these three.
    pub noted: Vec<i64>,
    /// Places that hold a content which no document holds.
    pub homeless_locations: i64,
    /// Some of them.
    pub homeless_uris: Vec<String>,
    /// Documents that are not deleted, and have no place.
    pub placeless_documents: i64,
    /// Some of their paths.
    pub placeless_paths: Vec<String>,
    /// Documents whose points an operation was writing when it died.
    pub unfinished_documents: i64,
    /// Some of their ids.
    pub unfinished_ids: Vec<Uuid>,
}

/// Documents that are not deleted, and have no place.
const PLACELESS: &str = "collection_id = $1 AND status <> 'deleted'
    AND NOT EXISTS (SELECT FROM public.document_locations l WHERE l.document_id = d.id)";

impl Documents<'_> {
    /// The documents that have points, and how many.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn with_points(&self, collection: Uuid) -> Result<HashMap<Uuid, u64>, StoreError> {
        attempt(self.0, "list the documents with points", || async {
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

    /// What these documents of a collection are called, and what became of them; nothing of those that it does
    /// not know.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn names(
        &self,
        collection: Uuid,
        documents: &[Uuid],
    ) -> Result<HashMap<Uuid, (String, DocumentStatus)>, StoreError> {
        attempt(self.0, "find the names of documents", || async {
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

    /// Whether what the metadata says of a collection agrees with itself.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn integrity(&self, collection: Uuid) -> Result<Integrity, StoreError> {
        attempt(self.0, "compare the metadata with itself", || integrity(self.0, collection)).await
    }
}

async fn integrity(pool: &PgPool, collection: Uuid) -> Result<Integrity, super::failure::Failure> {
    let sql = format!(
        "WITH stored AS (
             SELECT count(*) AS documents, coalesce(sum(chunk_count), 0)::bigint AS chunks,
                    coalesce(sum(file_size), 0)::bigint AS bytes
             FROM documents WHERE collection_id = $1 AND status = 'completed'),
         homeless AS (
             SELECT count(*) AS n, coalesce((array_agg(l.uri ORDER BY l.uri))[1:{NAMED}], '{{}}') AS some
             FROM document_locations l LEFT JOIN documents d ON d.id = l.document_id
             WHERE l.collection_id = $1 AND l.set_aside IS NULL AND l.content_hash IS NOT NULL
               AND (d.id IS NULL OR d.status = 'deleted')),
         placeless AS (
             SELECT count(*) AS n,
                    coalesce((array_agg(file_path ORDER BY file_path))[1:{NAMED}], '{{}}') AS some
             FROM documents d WHERE {PLACELESS}),
         unfinished AS (
             SELECT count(DISTINCT document_id) AS n,
                    coalesce((array_agg(DISTINCT document_id))[1:{NAMED}], '{{}}') AS some
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
    /// Whether nothing is wrong.
    pub fn is_whole(&self) -> bool {
        self.counts_agree()
            && self.homeless_locations == 0
            && self.placeless_documents == 0
            && self.unfinished_documents == 0
    }

    /// Whether the collection says of itself what is so.
    pub fn counts_agree(&self) -> bool {
        self.noted == [self.documents, self.chunks, self.bytes]
    }
}

impl Operation {
    /// Has documents written again by the next run, whatever their settings.
    ///
    /// # Errors
    /// If the store cannot be reached, or the operation is not ours any more.
    pub async fn mark_stale(&self, documents: &[Uuid]) -> Result<(), StoreError> {
        attempt(&self.postgres().pool, "mark documents as stale", || async {
            let mut transaction = self.postgres().pool.begin().await?;
            self.hold(&mut transaction).await?;
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

    /// Marks documents as deleted that have no place. Their points are then to be removed; see
    /// [`super::RunMetadata::unpurged`].
    ///
    /// # Errors
    /// If the store cannot be reached, or the operation is not ours any more.
    pub async fn delete_placeless(&self) -> Result<(), StoreError> {
        attempt(&self.postgres().pool, "delete documents without a place", || async {
            let mut transaction = self.postgres().pool.begin().await?;
            self.hold(&mut transaction).await?;
            let delete = sqlx::AssertSqlSafe(format!(
                "UPDATE public.documents d SET status = 'deleted', deleted_at = now() WHERE {PLACELESS}"
            ));
            sqlx::query(delete).bind(self.collection()).execute(&mut *transaction).await?;
            Ok(transaction.commit().await?)
        })
        .await
    }
}
