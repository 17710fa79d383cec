//! Sources: the paths and URLs of the documents of a collection, with counts for each.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use pipeline::StoreError;
use serde::Serialize;
use sqlx::{FromRow, PgConnection};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::collections::Collections;
use crate::retry_call;

pub(crate) const ENSURE: &str = "
    INSERT INTO collection_sources (collection_id, source_path, source_type)
    SELECT $1, i.path, i.type FROM unnest($2::text[], $3::text[]) AS i (path, type)
    ON CONFLICT (collection_id, source_path) DO NOTHING";

/// Inserts a row for each of these sources that has none.
pub(crate) async fn ensure(
    connection: &mut PgConnection,
    collection: Uuid,
    sources: &BTreeSet<&str>,
) -> Result<(), sqlx::Error> {
    let (paths, types): (Vec<&str>, Vec<&str>) =
        sources.iter().map(|path| (*path, kind(path))).unzip();
    sqlx::query(ENSURE).bind(collection).bind(paths).bind(types).execute(connection).await.map(drop)
}

/// A path may be that of a file; this is not checked, because the file may be deleted by now.
fn kind(path: &str) -> &'static str {
    if path.contains("://") && !path.starts_with("file://") { "url" } else { "directory" }
}

/// Recounts the documents of each source of a collection, and records which sources the operation
/// has read.
pub(crate) async fn refresh(
    connection: &mut PgConnection,
    collection: Uuid,
    operation: Uuid,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE collection_sources s
         SET document_count = c.documents, size_bytes = c.bytes,
             last_indexed_at = CASE WHEN c.seen THEN now() ELSE s.last_indexed_at END
         FROM (SELECT o.id, count(d.id) AS documents, coalesce(sum(d.file_size), 0) AS bytes,
                      coalesce(bool_or(l.seen), FALSE) AS seen
               FROM collection_sources o
               LEFT JOIN (SELECT source_id, document_id,
                                 max(last_seen_at) >= (SELECT started_at FROM operations WHERE id = $2) AS seen
                          FROM document_locations WHERE collection_id = $1
                          GROUP BY source_id, document_id) l ON l.source_id = o.id
               LEFT JOIN documents d ON d.id = l.document_id AND d.status = 'completed'
               WHERE o.collection_id = $1
               GROUP BY o.id) c
         WHERE s.id = c.id",
    )
    .bind(collection)
    .bind(operation)
    .execute(connection)
    .await
    .map(drop)
}

/// A source of documents.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, Serialize, ToSchema)]
#[schema(as = Source)]
pub struct SourceSummary {
    /// Id of the source.
    pub id: Uuid,
    /// Path or URL of the source root.
    #[serde(rename = "source")]
    pub source_path: String,
    /// `directory`, `url`, …
    #[serde(rename = "type")]
    pub source_type: String,
    /// Completed documents of the source at the end of the last operation.
    pub document_count: i64,
    /// Bytes of these documents.
    pub size_bytes: i64,
    /// Time of the last operation that read it.
    pub last_indexed_at: Option<DateTime<Utc>>,
}

impl Collections<'_> {
    /// The sources of a collection, in order of path.
    pub async fn sources(&self, collection: Uuid) -> Result<Vec<SourceSummary>, StoreError> {
        retry_call(self.0, "list sources", || async {
            Ok(sqlx::query_as(
                "SELECT id, source_path, source_type, document_count, size_bytes, last_indexed_at
                 FROM collection_sources WHERE collection_id = $1 ORDER BY source_path",
            )
            .bind(collection)
            .fetch_all(self.0)
            .await?)
        })
        .await
    }
}
