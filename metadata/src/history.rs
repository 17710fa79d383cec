//! Operations as people look at them: of one collection or of all that somebody may read, newest first.

use chrono::{DateTime, Utc};
use pipeline::StoreError;
use serde_json::Value;
use sqlx::FromRow;
use uuid::Uuid;

use super::attempt;
use super::audit::{Before, newest};
use super::grants::Reader;
use super::operations::{OperationStatus, OperationType, Operations};

/// An operation with who asked for it and what it was done to.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct PastOperation {
    /// Its id.
    pub id: Uuid,
    /// The collection it is done to.
    pub collection_id: Uuid,
    /// The name of that, as it is or was.
    pub collection: String,
    /// What it does.
    #[sqlx(rename = "type")]
    pub kind: OperationType,
    /// Where it stands.
    pub status: OperationStatus,
    /// The user name of who asked for it.
    pub by: String,
    /// What it was asked to do, in detail.
    pub config: Value,
    /// Why it failed.
    pub error_message: Option<String>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When a worker began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub completed_at: Option<DateTime<Utc>>,
    /// How far it is, or was at last: a [`pipeline::Progress`].
    pub progress: Option<Value>,
    /// What a run has done: a [`pipeline::RunReport`].
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

pub(super) const ONE: &str = select!("WHERE p.id = $1");

pub(super) const OF_COLLECTION: &str = select!(
    "WHERE p.collection_id = $1 AND (p.created_at, uuid_send(p.id)) < ($2, uuid_send($3))
     ORDER BY p.created_at DESC, uuid_send(p.id) DESC LIMIT $4"
);

pub(super) const READABLE: &str = select!(
    "WHERE (p.created_at, uuid_send(p.id)) < ($4, uuid_send($5))
       AND ($3 OR c.is_public OR c.owner_id = $1 OR x.owner_id = $1
            OR EXISTS (SELECT FROM collection_permissions g
                       WHERE g.collection_id = c.id AND (g.user_id = $1 OR g.api_key_id = $2) OFFSET 0))
     ORDER BY p.created_at DESC, uuid_send(p.id) DESC LIMIT $6"
);

impl Operations<'_> {
    /// One operation.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn past(&self, operation: Uuid) -> Result<Option<PastOperation>, StoreError> {
        attempt(self.0, "find the operation", || async {
            Ok(sqlx::query_as(ONE).bind(operation).fetch_optional(self.0).await?)
        })
        .await
    }

    /// The operations on a collection, newest first.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn of_collection(
        &self,
        collection: Uuid,
        before: Option<Before>,
        limit: u32,
    ) -> Result<Vec<PastOperation>, StoreError> {
        attempt(self.0, "list operations", || async {
            let operations = sqlx::query_as(OF_COLLECTION).bind(collection);
            Ok(newest(operations, before, limit).fetch_all(self.0).await?)
        })
        .await
    }

    /// The operations on all collections that somebody may read, newest first; those on a collection that is deleted are
    /// its owner's to read, and the superusers'.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn readable(
        &self,
        reader: Reader,
        before: Option<Before>,
        limit: u32,
    ) -> Result<Vec<PastOperation>, StoreError> {
        attempt(self.0, "list operations", || async {
            let operations = sqlx::query_as(READABLE)
                .bind(reader.user)
                .bind(reader.key)
                .bind(reader.is_superuser);
            Ok(newest(operations, before, limit).fetch_all(self.0).await?)
        })
        .await
    }
}
