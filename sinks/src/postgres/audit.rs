//! The audit log of collections: who did what, when. Rows are written in the transaction of the deed.

use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

/// One entry. The address and the browser of a request come with the HTTP front end.
pub(super) struct Entry<'a> {
    pub(super) collection: Uuid,
    pub(super) operation: Option<Uuid>,
    pub(super) user: Uuid,
    /// What was done: `collection_created`, `operation_completed`, …
    pub(super) action: &'a str,
    pub(super) details: Value,
}

impl Entry<'_> {
    pub(super) async fn write(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO collection_audit_log (collection_id, operation_id, user_id, action, details)
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(self.collection)
        .bind(self.operation)
        .bind(self.user)
        .bind(self.action)
        .bind(&self.details)
        .execute(connection)
        .await
        .map(drop)
    }
}
