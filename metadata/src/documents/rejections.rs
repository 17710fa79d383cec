//! Rejections by reason: documents with a content, and locations without a document.

use chrono::{DateTime, Utc};
use pipeline::StoreError;
use sqlx::FromRow;
use uuid::Uuid;

use crate::documents::Documents;
use crate::retry_call;

/// A location without a document: its content was not read, or its document was deleted by a
/// client.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct RejectedLocation {
    /// URI of the location.
    pub uri: String,
    /// Size in bytes.
    pub size: i64,
    /// Reason code.
    pub reason: String,
    /// Message of the rejection.
    pub message: Option<String>,
    /// Time at which a run saw it last.
    pub last_seen_at: DateTime<Utc>,
}

impl Documents<'_> {
    /// Number of rejected locations of a collection by reason, counted as in the report of a run.
    pub async fn count_rejected_locations(
        &self,
        collection: Uuid,
    ) -> Result<Vec<(String, i64)>, StoreError> {
        retry_call(self.0, "count rejected locations", || async {
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

    /// Rejected locations without a document, for one reason or all, in order of URI, after
    /// `after`.
    pub async fn rejected_locations(
        &self,
        collection: Uuid,
        reason: Option<&str>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<RejectedLocation>, StoreError> {
        retry_call(self.0, "list rejected locations", || async {
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
