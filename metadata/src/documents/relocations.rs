//! Documents whose points have an outdated location: their file was renamed, or they had several
//! locations and the recorded one is gone.

use chrono::{DateTime, Utc};
use pipeline::{DocumentLocation, StoreError};
use serde_json::json;
use sqlx::FromRow;
use uuid::Uuid;

use crate::documents::encoding::{file_path, without_nul};
use crate::documents::run::RunMetadata;
use crate::retry_call;

/// A document with a location that differs from the one in its points.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Relocation {
    /// Id of the document.
    pub document: Uuid,
    /// The path in its points.
    pub before: String,
    /// Its current location, the first in order of URI.
    pub uri: String,
    /// The source of that location.
    pub source: Option<String>,
    /// Title of the document.
    pub title: Option<String>,
    /// Modification time of the file.
    pub mtime: Option<DateTime<Utc>>,
}

pub(crate) const PENDING_RELOCATIONS: &str = "
    SELECT d.id AS document, d.file_path AS before, l.uri, s.source_path AS source, d.meta ->> 'title' AS title,
           l.mtime
    FROM documents d
    JOIN LATERAL (SELECT uri, source_id, mtime FROM document_locations
                  WHERE document_id = d.id ORDER BY uri LIMIT 1) l ON TRUE
    LEFT JOIN LATERAL (SELECT s.source_path FROM collection_sources s WHERE s.id = l.source_id OFFSET 0) s ON TRUE
    WHERE uuid_send(d.collection_id) || uuid_send(d.id) > uuid_send($1) || uuid_send($3)
      AND uuid_send(d.collection_id) || uuid_send(d.id)
          <= uuid_send($1) || uuid_send('ffffffff-ffff-ffff-ffff-ffffffffffff')
      AND d.status = 'completed'
      AND NOT EXISTS (SELECT FROM document_locations o
                      WHERE o.document_id = d.id AND o.uri = d.uri
                        AND o.source_id IS NOT DISTINCT FROM d.source_id OFFSET 0)
    ORDER BY uuid_send(d.collection_id) || uuid_send(d.id) LIMIT $2";

pub(crate) const MARK_RELOCATING: &str = "
    UPDATE documents SET uri = NULL, points_digest = NULL
    WHERE ctid = ANY(ARRAY(
        SELECT d.ctid FROM unnest($2::uuid[]) AS i (id)
        CROSS JOIN LATERAL (SELECT d.ctid, d.collection_id FROM documents d WHERE d.id = i.id OFFSET 0) d
        WHERE d.collection_id = $1))";

pub(crate) const MARK_RELOCATED: &str = "
    UPDATE documents d
    SET uri = f.uri, file_path = f.path, file_name = regexp_replace(rtrim(f.path, '/'), '^.*/', ''),
        source_id = f.source_id, meta = d.meta || f.title, points_digest = NULL
    FROM (SELECT o.place, i.uri, i.path, i.title, s.id AS source_id
          FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::jsonb[])
               AS i (id, uri, path, source, title)
          CROSS JOIN LATERAL (SELECT o.ctid AS place, o.collection_id FROM documents o
                              WHERE o.id = i.id OFFSET 0) o
          LEFT JOIN LATERAL (SELECT s.id FROM collection_sources s
                             WHERE s.collection_id = $1 AND s.source_path = i.source OFFSET 0) s ON TRUE
          WHERE o.collection_id = $1) f
    WHERE d.ctid = f.place";

impl RunMetadata {
    /// At most `limit` moved documents, in order of id, after `after`.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn pending_relocations(
        &self,
        after: Uuid,
        limit: u32,
    ) -> Result<Vec<Relocation>, StoreError> {
        retry_call(&self.pool, "find moved documents", || async {
            Ok(sqlx::query_as(PENDING_RELOCATIONS)
                .bind(self.collection)
                .bind(i64::from(limit))
                .bind(after)
                .fetch_all(&self.pool)
                .await?)
        })
        .await
    }

    /// Records that the location in the points of these documents is unreliable until
    /// [`RunMetadata::mark_relocated`].
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn mark_relocating(&self, documents: &[Uuid]) -> Result<(), StoreError> {
        retry_call(&self.pool, "record that documents have moved", || async {
            let mut transaction = self.begin_transaction().await?;
            sqlx::query(MARK_RELOCATING)
                .bind(self.collection)
                .bind(documents)
                .execute(&mut *transaction)
                .await?;
            Ok(transaction.commit().await?)
        })
        .await
    }

    /// Records that the points of these documents have their current location.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn mark_relocated(
        &self,
        places: &[(Uuid, DocumentLocation)],
    ) -> Result<(), StoreError> {
        let ids: Vec<Uuid> = places.iter().map(|(id, _)| *id).collect();
        let places = || places.iter().map(|(_, place)| place);
        let uris: Vec<&str> = places().map(|place| place.uri.as_str()).collect();
        let sources: Vec<&str> = places().map(|place| place.source.as_str()).collect();
        let paths: Vec<String> =
            uris.iter().map(|uri| without_nul(&file_path(uri)).into_owned()).collect();
        let titles: Vec<_> = places()
            .map(|place| {
                place.title.as_deref().map_or(json!({}), |it| json!({ "title": without_nul(it) }))
            })
            .collect();
        retry_call(&self.pool, "record the locations of documents", || async {
            let mut transaction = self.begin_transaction().await?;
            sqlx::query(MARK_RELOCATED)
                .bind(self.collection)
                .bind(&ids)
                .bind(&uris)
                .bind(&paths)
                .bind(&sources)
                .bind(&titles)
                .execute(&mut *transaction)
                .await?;
            Ok(transaction.commit().await?)
        })
        .await
    }
}
