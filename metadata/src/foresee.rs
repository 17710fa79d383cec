//! What a run would find, for telling it before it is done: everything is read, and nothing is written.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::Utc;
use pipeline::{ContentHash, Fingerprint, StoreError};
use sqlx::FromRow;
use uuid::Uuid;

use super::documents::DocumentStatus;
use super::run::{RunMetadata, Side};
use super::{Postgres, attempt};

/// The document that a content would lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub struct Prospect {
    /// What became of the document that holds it, if one does.
    pub status: Option<DocumentStatus>,
    /// Whether the present settings made that one.
    pub is_current: bool,
    /// Whether a document that was deleted held it.
    pub was_deleted: bool,
}

/// A place as it is known.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct KnownPlace {
    /// Where.
    pub uri: String,
    /// The source that gave it.
    pub source: Option<String>,
    /// What it held, if that led to a document.
    pub content_hash: Option<Vec<u8>>,
    /// The key that the next page begins behind.
    pub key: Vec<u8>,
}

pub(super) const PROSPECTS: &str = "
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

pub(super) const PLACES: &str = "
    SELECT l.uri, s.source_path AS source, l.uri_hash AS key,
           CASE WHEN l.document_id IS NOT NULL THEN l.content_hash END AS content_hash
    FROM document_locations l
    LEFT JOIN LATERAL (SELECT s.source_path FROM collection_sources s WHERE s.id = l.source_id OFFSET 0) s ON TRUE
    WHERE l.collection_id = $1 AND l.uri_hash > $2 ORDER BY l.uri_hash LIMIT $3";

impl Postgres {
    /// What a run under these settings would know, without the run: nothing can be written by it, since it
    /// belongs to no operation.
    pub fn foresee(&self, collection: Uuid, side: Side, fingerprint: Fingerprint) -> RunMetadata {
        RunMetadata {
            pool: match side {
                Side::Live => self.pool.clone(),
                Side::Building => self.building.clone(),
            },
            collection,
            operation: Uuid::nil(),
            started_at: Utc::now(),
            fingerprint,
            retry_failed: false,
            growth: Arc::default(),
        }
    }
}

impl RunMetadata {
    /// The documents that these contents would lead to, in the order asked.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn prospects(&self, contents: &[ContentHash]) -> Result<Vec<Prospect>, StoreError> {
        attempt(&self.pool, "look up contents", || async {
            let contents: Vec<_> = contents.iter().map(|hash| hash.0.to_vec()).collect();
            Ok(sqlx::query_as(PROSPECTS)
                .bind(self.collection)
                .bind(&self.fingerprint.0[..])
                .bind(contents)
                .fetch_all(&self.pool)
                .await?)
        })
        .await
    }

    /// The devices that sources were on when they were read last, as far as they were noted.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn devices(&self) -> Result<HashMap<String, i64>, StoreError> {
        attempt(&self.pool, "read the devices of sources", || async {
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

    /// Every place that is known, by pages.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn places(
        &self,
        after: Option<&KnownPlace>,
        limit: u32,
    ) -> Result<Vec<KnownPlace>, StoreError> {
        attempt(&self.pool, "list locations", || async {
            Ok(sqlx::query_as(PLACES)
                .bind(self.collection)
                .bind(after.map_or(&[][..], |after| &after.key))
                .bind(i64::from(limit))
                .fetch_all(&self.pool)
                .await?)
        })
        .await
    }
}
