//! Collections: created on first use, found by owner and name, listed by page.

pub(crate) mod create;
pub(crate) mod generations;
pub(crate) mod grants;
pub(crate) mod limits;
pub(crate) mod sources;

use chrono::{DateTime, Utc};
use pipeline::StoreError;
use serde::Serialize;
use serde_json::json;
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

use crate::audit::{Actor, record_collection_event, without_nulls};
use crate::{LOCAL_ACCOUNT, Postgres, retry_call};

/// State of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type, Serialize)]
#[sqlx(type_name = "collection_status", rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum CollectionStatus {
    /// Nothing has been stored in it yet.
    Pending,
    /// Searchable; the last operation succeeded.
    Ready,
    /// An operation writes to it; searches see the earlier content.
    Processing,
    /// The last operation failed and the collection has no documents.
    Error,
    /// Searchable, but the last operation failed; `status_message` has the cause.
    Degraded,
}

impl CollectionStatus {
    /// All values.
    pub const ALL: [Self; 5] =
        [Self::Pending, Self::Ready, Self::Processing, Self::Error, Self::Degraded];
}

/// Changes to a collection; `None` keeps a field.
#[derive(Clone, Debug, Default)]
pub struct CollectionUpdate {
    /// The new description.
    pub description: Option<String>,
    /// `true` if all clients may read it.
    pub is_public: Option<bool>,
    /// Id of the new owner.
    pub owner: Option<Uuid>,
}

/// A collection, as stored.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct Collection {
    /// Id of the collection.
    pub id: Uuid,
    /// Unique among the collections of the owner.
    pub name: String,
    /// Id of the owner.
    pub owner_id: Uuid,
    /// Its description.
    pub description: Option<String>,
    /// The vector collection of the live generation.
    pub vector_store_name: String,
    /// Name of the embedding model.
    pub embedding_model: String,
    /// `float32`, `float16` or `int8`.
    pub quantization: String,
    /// Maximum size of a chunk.
    pub chunk_size: i32,
    /// Overlap of neighbouring chunks.
    pub chunk_overlap: i32,
    /// `true` if all clients may read it.
    pub is_public: bool,
    /// State of the collection.
    pub status: CollectionStatus,
    /// Cause of the state, after a failure.
    pub status_message: Option<String>,
    /// Completed documents at the end of the last operation.
    pub document_count: i64,
    /// Chunks of these documents.
    pub vector_count: i64,
    /// Total size of these documents in bytes.
    pub total_size_bytes: i64,
    /// Time at which its deletion started; `None` if it is not being deleted.
    pub deleting_since: Option<DateTime<Utc>>,
    /// Time of creation.
    pub created_at: DateTime<Utc>,
    /// Time of the last change.
    pub updated_at: DateTime<Utc>,
}

/// A deleted collection.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, Serialize)]
pub struct DeletedCollection {
    /// Its id; operations and audit log refer to it.
    pub id: Uuid,
    /// Name at deletion.
    pub name: String,
    /// User name of the owner at deletion.
    pub owner: String,
    /// Number of documents at deletion.
    pub document_count: i64,
    /// Time of creation.
    pub created_at: DateTime<Utc>,
    /// Time of deletion.
    pub deleted_at: DateTime<Utc>,
}

/// A query with the columns of [`Collection`] and, if given, more columns.
macro_rules! select {
    ($rest:literal) => {
        select!("", "", $rest)
    };
    ($columns:literal, $joins:literal, $rest:literal) => {
        concat!(
            "SELECT c.id, c.name, c.owner_id, c.description, c.vector_store_name, c.embedding_model, c.quantization,
                    c.chunk_size, c.chunk_overlap, c.is_public, c.status, c.status_message,
                    c.document_count, c.vector_count, c.total_size_bytes, c.deleting_since, c.created_at,
                    c.updated_at",
            $columns,
            " FROM collections c ",
            $joins,
            $rest
        )
    };
}
pub(super) use select as select_collection;

/// The collections of the metadata store, with their sources, grants and limits.
///
/// # Errors
/// Every method fails if the store cannot be reached; methods with further errors list them.
pub struct Collections<'a>(&'a PgPool);

impl Postgres {
    /// The collections, with their sources, grants and limits.
    pub fn collections(&self) -> Collections<'_> {
        Collections(&self.pool)
    }
}

impl Collections<'_> {
    /// The collection of this owner (`None`: the built-in account) and name.
    pub async fn find(
        &self,
        owner: Option<&str>,
        name: &str,
    ) -> Result<Option<Collection>, StoreError> {
        retry_call(self.0, "find the collection", || async {
            Ok(sqlx::query_as(select!(
                "JOIN users u ON u.id = c.owner_id WHERE u.username = $1 AND c.name = $2"
            ))
            .bind(owner.unwrap_or(LOCAL_ACCOUNT))
            .bind(name)
            .fetch_optional(self.0)
            .await?)
        })
        .await
    }

    /// Collections in order of id, after `after`.
    pub async fn list(
        &self,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<Collection>, StoreError> {
        retry_call(self.0, "list collections", || async {
            Ok(sqlx::query_as(select!("WHERE c.id > $1 ORDER BY c.id LIMIT $2"))
                .bind(after.unwrap_or(Uuid::nil()))
                .bind(i64::from(limit))
                .fetch_all(self.0)
                .await?)
        })
        .await
    }

    /// Deleted collections, most recent first, optionally of one owner and name.
    pub async fn deleted(
        &self,
        of: Option<(&str, &str)>,
        limit: u32,
    ) -> Result<Vec<DeletedCollection>, StoreError> {
        let (owner, name) = of.unzip();
        retry_call(self.0, "list deleted collections", || async {
            Ok(sqlx::query_as(
                "SELECT x.id, x.name, u.username AS owner, x.document_count, x.created_at, x.deleted_at
                 FROM deleted_collections x JOIN users u ON u.id = x.owner_id
                 WHERE ($1::text IS NULL OR u.username = $1) AND ($2::text IS NULL OR x.name = $2)
                 ORDER BY x.deleted_at DESC, x.id LIMIT $3",
            )
            .bind(owner)
            .bind(name)
            .bind(i64::from(limit))
            .fetch_all(self.0)
            .await?)
        })
        .await
    }

    /// The owner of a deleted collection at its deletion; `None` if no collection with this id was
    /// deleted.
    pub async fn owner_of_deleted(&self, id: Uuid) -> Result<Option<Uuid>, StoreError> {
        retry_call(self.0, "find the deleted collection", || async {
            Ok(sqlx::query_scalar("SELECT owner_id FROM deleted_collections WHERE id = $1")
                .bind(id)
                .fetch_optional(self.0)
                .await?)
        })
        .await
    }

    /// Changes description, visibility or owner of a collection; `false` if it does not exist.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] if the new owner has a collection of this name.
    pub async fn update(
        &self,
        id: Uuid,
        change: &CollectionUpdate,
        by: &Actor,
    ) -> Result<bool, StoreError> {
        retry_call(self.0, "change the collection", || async {
            let mut transaction = self.0.begin().await?;
            let changed = sqlx::query(
                "UPDATE collections SET description = coalesce($2, description),
                        is_public = coalesce($3, is_public), owner_id = coalesce($4, owner_id)
                 WHERE id = $1",
            )
            .bind(id)
            .bind(&change.description)
            .bind(change.is_public)
            .bind(change.owner)
            .execute(&mut *transaction)
            .await?
            .rows_affected();
            if changed > 0 {
                let details = without_nulls(json!({
                    "description": change.description, "is_public": change.is_public, "owner": change.owner,
                }));
                let what = "collection_changed";
                record_collection_event(&mut transaction, id, None, by, what, &details).await?;
            }
            transaction.commit().await?;
            Ok(changed > 0)
        })
        .await
    }
}

/// Recounts documents, chunks and bytes of a collection and sets its state at the end of an
/// operation.
pub(super) async fn refresh_counts(
    connection: &mut PgConnection,
    collection: Uuid,
    failure: Option<&str>,
    cancelled: bool,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE collections c
         SET document_count = d.documents, vector_count = d.vectors, total_size_bytes = d.bytes,
             status_message = $2,
             status = (CASE
                 WHEN $2 IS NOT NULL AND d.documents > 0 THEN 'degraded'
                 WHEN $2 IS NOT NULL THEN 'error'
                 WHEN $3 AND d.documents = 0 THEN 'pending'
                 ELSE 'ready' END)::collection_status
         FROM (SELECT count(*) AS documents, coalesce(sum(chunk_count), 0) AS vectors,
                      coalesce(sum(file_size), 0) AS bytes
               FROM documents WHERE collection_id = $1 AND status = 'completed') d
         WHERE c.id = $1",
    )
    .bind(collection)
    .bind(failure)
    .bind(cancelled)
    .execute(connection)
    .await
    .map(drop)
}
