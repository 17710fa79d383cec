//! Operations of one collection, or of all that a caller may read, newest first.

use chrono::{DateTime, Utc};
use pipeline::StoreError;
use serde_json::Value;
use sqlx::FromRow;
use uuid::Uuid;

use crate::audit::{ListCursor, newest_page};
use crate::collections::grants::Principal;
use crate::operations::{OperationStatus, OperationType, Operations};
use crate::retry_call;

/// An operation with its requester and its collection.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct OperationRecord {
    /// Id of the operation.
    pub id: Uuid,
    /// Id of its collection.
    pub collection_id: Uuid,
    /// Current or last name of the collection.
    pub collection: String,
    /// Type of the operation.
    #[sqlx(rename = "type")]
    pub kind: OperationType,
    /// Status of the operation.
    pub status: OperationStatus,
    /// User name of the requester.
    pub by: String,
    /// Options of the operation.
    pub config: Value,
    /// Cause of the failure.
    pub error_message: Option<String>,
    /// Time of the request.
    pub created_at: DateTime<Utc>,
    /// Time at which a worker started it.
    pub started_at: Option<DateTime<Utc>>,
    /// Time at which it ended.
    pub completed_at: Option<DateTime<Utc>>,
    /// Current or last progress: a [`pipeline::Progress`].
    pub progress: Option<Value>,
    /// Report of a run: a [`pipeline::RunReport`].
    pub report: Option<Value>,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT p.id, p.collection_id, coalesce(c.name, x.name, '') AS collection, p.type, p.status,
                    u.username AS by, p.config, p.error_message, p.created_at, p.started_at, p.completed_at,
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
