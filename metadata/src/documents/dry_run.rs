//! Read-only queries for a dry run: the decisions of a run without its writes.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::Utc;
use pipeline::{ContentHash, Fingerprint, StoreError};
use sqlx::FromRow;
use uuid::Uuid;

use crate::documents::run::{GenerationSlot, RunMetadata};
use crate::documents::status::DocumentStatus;
use crate::{Postgres, retry_call};

/// The document that a content would lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub struct ContentMatch {
    /// Status of the document with this content; `None` if no document has it.
    pub status: Option<DocumentStatus>,
    /// `true` if that document was stored with the current settings.
    pub is_current: bool,
    /// `true` if a deleted document had this content.
    pub was_deleted: bool,
}

/// A stored location.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct LocationEntry {
    /// URI of the location.
    pub uri: String,
    /// The source of the location.
    pub source: Option<String>,
    /// Hash of its content; `None` if it led to no document.
    pub content_hash: Option<Vec<u8>>,
    /// Sort key; the next page starts after it.
    pub key: Vec<u8>,
}

pub(crate) const CONTENT_MATCHES: &str = "
    SELECT d.status, coalesce(d.fingerprint = $2, FALSE) AS is_current,
           g.id IS NOT NULL AS was_deleted
    FROM unnest($3::bytea[]) WITH ORDINALITY AS i (content_hash, n)
    LEFT JOIN LATERAL (SELECT d.id, d.status, d.fingerprint FROM documents d
                       WHERE uuid_send(d.collection_id) || d.content_hash = uuid_send($1) || i.content_hash
                         AND d.status <> 'deleted' LIMIT 1) d ON TRUE
    LEFT JOIN LATERAL (SELECT g.id FROM documents g
                       WHERE d.id IS NULL AND g.status = 'deleted'
                         AND uuid_send(g.collection_id) || g.content_hash = uuid_send($1) || i.content_hash
                       ORDER BY g.deleted_at DESC, g.id LIMIT 1) g ON TRUE
    ORDER BY i.n";

pub(crate) const KNOWN_LOCATIONS: &str = "
    SELECT l.uri, s.source_path AS source, l.uri_hash AS key,
           CASE WHEN l.document_id IS NOT NULL THEN l.content_hash END AS content_hash
    FROM document_locations l
    LEFT JOIN LATERAL (SELECT s.source_path FROM collection_sources s WHERE s.id = l.source_id OFFSET 0) s ON TRUE
    WHERE l.collection_id = $1 AND l.uri_hash > $2 ORDER BY l.uri_hash LIMIT $3";

impl Postgres {
    /// The metadata of a run with these settings, without an operation: every write is refused.
    pub fn dry_run(
        &self,
        collection: Uuid,
        side: GenerationSlot,
        fingerprint: Fingerprint,
    ) -> RunMetadata {
        RunMetadata {
            pool: match side {
                GenerationSlot::Live => self.pool.clone(),
                GenerationSlot::Building => self.building_pool.clone(),
            },
            collection,
            operation: Uuid::nil(),
            started_at: Utc::now(),
            fingerprint,
            retry_failed: false,
            statistics: Arc::default(),
        }
    }
}

impl RunMetadata {
    /// The documents that these contents would lead to, in the order of `contents`.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn content_matches(
        &self,
        contents: &[ContentHash],
    ) -> Result<Vec<ContentMatch>, StoreError> {
        retry_call(&self.pool, "look up contents", || async {
            let contents: Vec<_> = contents.iter().map(|hash| hash.0.to_vec()).collect();
            Ok(sqlx::query_as(CONTENT_MATCHES)
                .bind(self.collection)
                .bind(&self.fingerprint.0[..])
                .bind(contents)
                .fetch_all(&self.pool)
                .await?)
        })
        .await
    }

    /// Device number by source at its last run, for sources with a recorded device.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn devices(&self) -> Result<HashMap<String, i64>, StoreError> {
        retry_call(&self.pool, "read the devices of sources", || async {
            let rows: Vec<(String, i64)> = sqlx::query_as(
                "SELECT source_path, (meta ->> 'device')::bigint FROM collection_sources
                 WHERE collection_id = $1 AND meta ? 'device'",
            )
            .bind(self.collection)
            .fetch_all(&self.pool)
            .await?;
            Ok(rows.into_iter().collect())
        })
        .await
    }

    /// All stored locations, by page, starting after `after`.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn known_locations(
        &self,
        after: Option<&LocationEntry>,
        limit: u32,
    ) -> Result<Vec<LocationEntry>, StoreError> {
        retry_call(&self.pool, "list locations", || async {
            Ok(sqlx::query_as(KNOWN_LOCATIONS)
                .bind(self.collection)
                .bind(after.map_or(&[][..], |after| &after.key))
                .bind(i64::from(limit))
                .fetch_all(&self.pool)
                .await?)
        })
        .await
    }
}
