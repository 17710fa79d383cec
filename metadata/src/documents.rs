//! Documents: one row per content and collection, with its status.

pub(crate) mod deletions;
pub(crate) mod dry_run;
mod encoding;
pub(crate) mod history;
pub(crate) mod identify;
pub(crate) mod integrity;
pub(crate) mod list_queries;
pub(crate) mod listing;
pub(crate) mod locations;
pub(crate) mod lookup;
pub(crate) mod memory;
pub(crate) mod rejections;
pub(crate) mod relocations;
pub(crate) mod rows;
pub(crate) mod run;
pub(crate) mod status;
pub(crate) mod store;
mod write;

use pipeline::StoreError;
use sqlx::PgPool;
use uuid::Uuid;

use crate::documents::encoding::{uri_hash, without_nul};
use crate::documents::status::DocumentStatus;
use crate::{Postgres, retry_call};

/// The documents of the metadata store.
///
/// # Errors
/// Every method fails if the store cannot be reached; methods with further errors list them.
pub struct Documents<'a>(&'a PgPool);

impl Postgres {
    /// The documents.
    pub fn documents(&self) -> Documents<'_> {
        Documents(&self.pool)
    }
}

impl Documents<'_> {
    /// The document at a location, including a deleted one.
    pub async fn find_by_uri(
        &self,
        collection: Uuid,
        uri: &str,
    ) -> Result<Option<Uuid>, StoreError> {
        retry_call(self.0, "find the document", || async {
            Ok(sqlx::query_scalar(
                "SELECT d.id
                 FROM (SELECT content_hash FROM document_locations
                       WHERE collection_id = $1 AND uri_hash = $2 OFFSET 0) l
                 CROSS JOIN LATERAL (
                     SELECT d.id, d.collection_id, d.status, d.deleted_at FROM documents d
                     WHERE d.content_hash = l.content_hash OFFSET 0) d
                 WHERE d.collection_id = $1
                 ORDER BY d.status = 'deleted', d.deleted_at DESC LIMIT 1",
            )
            .bind(collection)
            .bind(uri_hash(uri))
            .fetch_optional(self.0)
            .await?)
        })
        .await
    }

    /// Documents that lists show under this path, without deleted ones; at most ten. Unlike a URI,
    /// a path can match several: every invalid UTF-8 byte is written as the same character.
    pub async fn find_by_listed_path(
        &self,
        collection: Uuid,
        path: &str,
    ) -> Result<Vec<Uuid>, StoreError> {
        retry_call(self.0, "find the document", || async {
            Ok(sqlx::query_scalar(
                "SELECT id FROM documents
                 WHERE collection_id = $1 AND file_path = $2 AND status <> 'deleted' ORDER BY id LIMIT 10",
            )
            .bind(collection)
            .bind(without_nul(path))
            .fetch_all(self.0)
            .await?)
        })
        .await
    }

    /// Number of documents of a collection by status.
    pub async fn count_by_status(
        &self,
        collection: Uuid,
    ) -> Result<Vec<(DocumentStatus, i64)>, StoreError> {
        retry_call(self.0, "count documents", || async {
            Ok(sqlx::query_as(
                "SELECT status, count(*) FROM documents WHERE collection_id = $1 GROUP BY status ORDER BY status",
            )
            .bind(collection)
            .fetch_all(self.0)
            .await?)
        })
        .await
    }
}
