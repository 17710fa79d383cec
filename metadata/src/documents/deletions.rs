//! Deletions: locations that a complete run over a source has not seen.
//!
//! Locations that could not be checked are not missing: an unreadable folder hides everything below
//! it. The caller decides whether so many documents may be deleted, because it knows the limit in
//! the pipeline file.

use pipeline::StoreError;
use sqlx::FromRow;
use uuid::Uuid;

use crate::documents::rows;
use crate::documents::run::RunMetadata;
use crate::query_error::QueryError;
use crate::retry_call;

/// Missing part of a source.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct MissingDocuments {
    /// Path or URL of the source.
    pub source: String,
    /// Documents that have lost their last location.
    pub documents: i64,
    /// Documents of the source, including those.
    pub of: i64,
    /// Missing locations, including those without a document.
    pub locations: i64,
    /// Device number of the source at its last run, if it was recorded.
    pub device: Option<i64>,
}

/// Result of one step of deleting missing locations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForgottenBatch {
    /// Number of documents deleted by it.
    pub documents: u64,
    /// Key of the last location, from which the next step continues.
    pub last: Vec<u8>,
}

/// Locations of the sources `$2` last seen before `$3`, except below a folder that was unreadable
/// since.
macro_rules! missing {
    ($rest:literal) => {
        concat!(
            "WITH hidden AS MATERIALIZED (
                 SELECT uri || '/' AS folder FROM document_locations
                 WHERE uuid_send(collection_id) = uuid_send($1) AND last_seen_at >= $3
                   AND set_aside ->> 'reason' = 'failed'
                   -- A file that cannot be read has a time; a folder that cannot be looked into has none.
                   AND mtime IS NULL),
             missing AS (
                 SELECT l.uri_hash, l.document_id, l.source_id, l.ctid AS place
                 FROM document_locations l
                 CROSS JOIN LATERAL (SELECT s.source_path FROM collection_sources s
                                     WHERE s.id = l.source_id OFFSET 0) s
                 WHERE l.collection_id = $1 AND s.source_path = ANY($2) AND l.last_seen_at < $3
                   AND NOT EXISTS (SELECT FROM hidden h WHERE starts_with(l.uri, h.folder)))",
            $rest
        )
    };
}

pub(crate) const FORGET: &str = missing!(
    " DELETE FROM document_locations WHERE ctid = ANY(ARRAY(
          SELECT place FROM missing WHERE uri_hash > $5 ORDER BY uri_hash LIMIT $4))
      RETURNING uri_hash, document_id"
);

impl RunMetadata {
    /// The missing locations of these sources after a complete run over them; complete sources are
    /// left out.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn missing_documents(
        &self,
        sources: &[String],
    ) -> Result<Vec<MissingDocuments>, StoreError> {
        retry_call(&self.pool, "find missing locations", || async {
            Ok(sqlx::query_as(missing!(
                ", lost AS (
                     SELECT document_id FROM missing WHERE document_id IS NOT NULL GROUP BY document_id
                     HAVING count(*) = (SELECT count(*) FROM document_locations o
                                        WHERE o.document_id = missing.document_id)),
                 given AS (
                     SELECT l.source_id, count(DISTINCT l.document_id) AS documents
                     FROM document_locations l WHERE l.collection_id = $1 GROUP BY l.source_id)
                 SELECT s.source_path AS source, count(DISTINCT lost.document_id) AS documents,
                        coalesce(min(given.documents), 0) AS of, count(*) AS locations,
                        (s.meta ->> 'device')::bigint AS device
                 FROM missing m
                 JOIN collection_sources s ON s.id = m.source_id
                 LEFT JOIN lost ON lost.document_id = m.document_id
                 LEFT JOIN given ON given.source_id = s.id
                 GROUP BY s.id, s.source_path, s.meta ORDER BY s.source_path"
            ))
            .bind(self.collection)
            .bind(sources)
            .bind(self.started_at)
            .fetch_all(&self.pool)
            .await?)
        })
        .await
    }

    /// Deletes at most `limit` missing locations after the key `after`, and marks documents without
    /// a remaining location as deleted; `None` when no location is missing any more. Points of
    /// these documents are then to be removed; see [`RunMetadata::unpurged`].
    ///
    /// # Errors
    /// If the store cannot be reached; another call continues from there.
    pub async fn forget_missing(
        &self,
        sources: &[String],
        after: &[u8],
        limit: u32,
    ) -> Result<Option<ForgottenBatch>, StoreError> {
        retry_call(&self.pool, "delete missing locations", || {
            self.try_forget_missing(sources, after, limit)
        })
        .await
    }

    /// Those of these sources that have never delivered a document to the collection.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn unknown_sources(&self, sources: &[String]) -> Result<Vec<String>, StoreError> {
        retry_call(&self.pool, "look up sources", || async {
            Ok(sqlx::query_scalar(
                "SELECT i.source FROM unnest($2::text[]) WITH ORDINALITY AS i (source, n)
                 WHERE NOT EXISTS (SELECT FROM collection_sources s
                                   WHERE s.collection_id = $1 AND s.source_path = i.source)
                 ORDER BY i.n",
            )
            .bind(self.collection)
            .bind(sources)
            .fetch_all(&self.pool)
            .await?)
        })
        .await
    }

    /// Records the devices of sources, to detect later that one was unmounted.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn record_devices(&self, devices: &[(String, i64)]) -> Result<(), StoreError> {
        let (sources, devices): (Vec<&str>, Vec<i64>) =
            devices.iter().map(|(source, device)| (source.as_str(), *device)).unzip();
        retry_call(&self.pool, "record the devices of sources", || async {
            sqlx::query(
                "UPDATE collection_sources s SET meta = s.meta || jsonb_build_object('device', i.device)
                 FROM unnest($2::text[], $3::bigint[]) AS i (source, device)
                 WHERE s.collection_id = $1 AND s.source_path = i.source
                   AND s.meta -> 'device' IS DISTINCT FROM to_jsonb(i.device)",
            )
            .bind(self.collection)
            .bind(&sources)
            .bind(&devices)
            .execute(&self.pool)
            .await?;
            Ok(())
        })
        .await
    }

    async fn try_forget_missing(
        &self,
        sources: &[String],
        after: &[u8],
        limit: u32,
    ) -> Result<Option<ForgottenBatch>, QueryError> {
        let mut transaction = self.begin_transaction().await?;
        let gone: Vec<(Vec<u8>, Option<Uuid>)> = sqlx::query_as(FORGET)
            .bind(self.collection)
            .bind(sources)
            .bind(self.started_at)
            .bind(i64::from(limit))
            .bind(after)
            .fetch_all(&mut *transaction)
            .await?;
        let Some(last) = gone.iter().map(|(key, _)| key.clone()).max() else { return Ok(None) };
        let owners: Vec<Uuid> = gone.into_iter().filter_map(|(_, owner)| owner).collect();
        let deleted = rows::delete_without_location(&mut transaction, self, &owners).await?;
        transaction.commit().await?;
        Ok(Some(ForgottenBatch { documents: deleted.len() as u64, last }))
    }
}
