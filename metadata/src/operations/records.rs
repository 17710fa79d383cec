//! Operations of one collection, or of all that a caller may read, newest first.

use chrono::{DateTime, Utc};
use pipeline::StoreError;
use serde::Serialize;
use serde_json::Value;
use sqlx::FromRow;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::audit::{ListCursor, newest_page};
use crate::collections::grants::Principal;
use crate::operations::{OperationStatus, OperationType, Operations};
use crate::retry_call;

/// A change of a collection.
#[derive(Clone, Debug, PartialEq, FromRow, Serialize, ToSchema)]
#[schema(as = Operation)]
pub struct OperationRecord {
    /// Id of the operation.
    pub id: Uuid,
    /// Id of the collection that it changes.
    pub collection_id: Uuid,
    /// Name of the collection.
    collection: String,
    /// `index`, `append`, `reindex`, `remove_source` or `delete`.
    #[sqlx(rename = "type")]
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    kind: OperationType,
    /// `pending`, `processing`, `completed`, `failed` or `cancelled`.
    #[schema(value_type = String)]
    status: OperationStatus,
    /// User name of the requester.
    by: String,
    /// Options of the request, without the webhooks to notify of the end.
    #[schema(value_type = Object)]
    config: Value,
    /// Cause of the failure.
    #[sqlx(rename = "error_message")]
    error: Option<String>,
    /// Time of the request.
    pub created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    /// Time of the end, successful or not; missing before that.
    pub completed_at: Option<DateTime<Utc>>,
    /// Progress: documents, chunks, tokens, and each node; missing before the operation has
    /// started.
    #[schema(value_type = Option<Object>)]
    progress: Option<Value>,
    /// Result of a completed operation.
    #[schema(value_type = Option<Object>)]
    report: Option<Value>,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT p.id, p.collection_id, coalesce(c.name, x.name, '') AS collection, p.type, p.status,
                    u.username AS by, p.config - 'notify' AS config, p.error_message, p.created_at, p.started_at, p.completed_at,
                    coalesce(e.progress, p.progress) AS progress, p.meta -> 'report' AS report
             FROM operations p
             LEFT JOIN LATERAL (SELECT u.username FROM users u WHERE u.id = p.user_id OFFSET 0) u ON TRUE
             LEFT JOIN LATERAL (SELECT c.id, c.name, c.is_public, c.owner_id FROM collections c
                                WHERE c.id = p.collection_id OFFSET 0) c ON TRUE
             LEFT JOIN LATERAL (SELECT x.name, x.owner_id FROM deleted_collections x
                                WHERE x.id = p.collection_id OFFSET 0) x ON TRUE
             LEFT JOIN LATERAL (SELECT e.progress FROM operation_leases e
                                WHERE e.operation_id = p.id OFFSET 0) e ON TRUE ",
            $rest
        )
    };
}

pub(super) const FIND_RECORD: &str = select!("WHERE p.id = $1");

pub(crate) const OF_COLLECTION: &str = select!(
    "WHERE p.collection_id = $1 AND (p.created_at, uuid_send(p.id)) < ($2, uuid_send($3))
     ORDER BY p.created_at DESC, uuid_send(p.id) DESC LIMIT $4"
);

pub(crate) const READABLE: &str = select!(
    "WHERE (p.created_at, uuid_send(p.id)) < ($4, uuid_send($5))
       AND ($3 OR c.is_public OR c.owner_id = $1 OR x.owner_id = $1
            OR EXISTS (SELECT FROM collection_permissions g
                       WHERE g.collection_id = c.id AND (g.user_id = $1 OR g.api_key_id = $2) OFFSET 0))
     ORDER BY p.created_at DESC, uuid_send(p.id) DESC LIMIT $6"
);

impl Operations<'_> {
    /// One operation; `None` if it does not exist.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn find_record(
        &self,
        operation: Uuid,
    ) -> Result<Option<OperationRecord>, StoreError> {
        retry_call(self.0, "find the operation", || async {
            Ok(sqlx::query_as(FIND_RECORD).bind(operation).fetch_optional(self.0).await?)
        })
        .await
    }

    /// The operations on a collection, newest first.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn for_collection(
        &self,
        collection: Uuid,
        before: Option<ListCursor>,
        limit: u32,
    ) -> Result<Vec<OperationRecord>, StoreError> {
        retry_call(self.0, "list operations", || async {
            let operations = sqlx::query_as(OF_COLLECTION).bind(collection);
            Ok(newest_page(operations, before, limit).fetch_all(self.0).await?)
        })
        .await
    }

    /// The operations on all collections that the caller may read, newest first. Operations on a
    /// deleted collection are visible to its owner and to superusers.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn readable_by(
        &self,
        reader: Principal,
        before: Option<ListCursor>,
        limit: u32,
    ) -> Result<Vec<OperationRecord>, StoreError> {
        retry_call(self.0, "list operations", || async {
            let operations = sqlx::query_as(READABLE)
                .bind(reader.user)
                .bind(reader.key)
                .bind(reader.is_superuser);
            Ok(newest_page(operations, before, limit).fetch_all(self.0).await?)
        })
        .await
    }
}
