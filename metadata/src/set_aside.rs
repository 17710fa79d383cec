//! What was set aside, by reason: documents that hold a content, and places that never led to one.

use chrono::{DateTime, Utc};
use pipeline::StoreError;
use sqlx::FromRow;
use uuid::Uuid;

use super::attempt;
use super::documents::Documents;

/// A place that was set aside by itself: nothing was read there, or somebody has deleted what was.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct PlaceSetAside {
    /// Where.
    pub uri: String,
    /// Bytes.
    pub size: i64,
    /// Why, in one word.
    pub reason: String,
    /// Why, in words.
    pub message: Option<String>,
    /// When it was seen last.
    pub last_seen_at: DateTime<Utc>,
}

impl Documents<'_> {
    /// How many places of a collection are set aside, by reason, as the report of a run counts them.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn count_set_aside(
        &self,
        collection: Uuid,
    ) -> Result<Vec<(String, i64)>, StoreError> {
        attempt(self.0, "count what is set aside", || async {
            Ok(sqlx::query_as(
                "SELECT reason, count(*) FROM (
                     SELECT set_aside ->> 'reason' AS reason FROM document_locations
                     WHERE collection_id = $1 AND set_aside ->> 'reason' IS NOT NULL
                   UNION ALL
                     SELECT d.set_aside ->> 'reason' FROM documents d
                     JOIN document_locations l ON l.document_id = d.id AND l.set_aside IS NULL
                     WHERE d.collection_id = $1 AND d.status = 'failed' AND d.set_aside ->> 'reason' IS NOT NULL
                 ) AS set_aside GROUP BY reason ORDER BY reason",
            )
            .bind(collection)
            .fetch_all(self.0)
            .await?)
        })
        .await
    }

    /// The places of a collection that were set aside by themselves, for this reason or for any, in order of their
    /// URIs, from behind `after` on.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn places_set_aside(
        &self,
        collection: Uuid,
        reason: Option<&str>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<PlaceSetAside>, StoreError> {
        attempt(self.0, "list what is set aside", || async {
            Ok(sqlx::query_as(
                r#"SELECT uri, size, set_aside ->> 'reason' AS reason, set_aside ->> 'message' AS message, last_seen_at
                   FROM document_locations
                   WHERE collection_id = $1 AND set_aside ->> 'reason' = coalesce($2, set_aside ->> 'reason')
                     AND uri COLLATE "C" > coalesce($3, '') ORDER BY uri COLLATE "C" LIMIT $4"#,
            )
            .bind(collection)
            .bind(reason)
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(self.0)
            .await?)
        })
        .await
    }
}
