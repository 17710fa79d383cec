//! Requests for operations by clients that do not wait: checked against the limits of the
//! collection, attributed to an account, and audited. A worker of the collection executes them
//! (`queue.rs`).

use pipeline::StoreError;
use serde_json::json;
use uuid::Uuid;

use super::attempt;
use super::audit::{By, of_collection};
use super::limits::{Reached, reached};
use super::operations::Operations;
use super::queue::{HandedOver, hand_over};

/// Result of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// The id of the queued operation.
    For(Uuid),
    /// The request is refused because a limit of the collection is reached.
    Limit {
        /// `documents`, `gigabytes`, `sources`, or `operations within an hour`.
        of: &'static str,
        /// Value of the limit.
        most: f64,
        /// Seconds until a request is allowed again, for the limit of operations; `None` for
        /// others.
        retry_after: Option<i64>,
    },
}

impl Operations<'_> {
    /// Requests an operation. With `takes_in`, it is refused if any limit of the collection is
    /// reached; an operation that only removes documents is not, because it leads back below the
    /// limit.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn ask(
        &self,
        what: &HandedOver<'_>,
        takes_in: bool,
        by: &By,
    ) -> Result<Asked, StoreError> {
        attempt(self.0, "request the operation", || async {
            let mut transaction = self.0.begin().await?;
            let collection = what.collection.id;
            // Serialises concurrent requests, so that each sees the count of the previous one.
            sqlx::query("SELECT id FROM collections WHERE id = $1 FOR NO KEY UPDATE")
                .bind(collection)
                .execute(&mut *transaction)
                .await?;
            let limit = reached(&mut transaction, collection, takes_in).await?;
            if let Some(Reached { of, most, retry_after }) = limit {
                return Ok(Asked::Limit { of, most, retry_after });
            }
            let id = hand_over(&mut transaction, what, None).await?;
            sqlx::query("UPDATE operations SET user_id = coalesce($2, user_id) WHERE id = $1")
                .bind(id)
                .bind(by.user)
                .execute(&mut *transaction)
                .await?;
            let details = json!({ "operation": id });
            let action = "operation_requested";
            of_collection(&mut transaction, collection, Some(id), by, action, &details).await?;
            transaction.commit().await?;
            Ok(Asked::For(id))
        })
        .await
    }

    /// Records the requester of a cancellation.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn note_cancelled(
        &self,
        collection: Uuid,
        operation: Uuid,
        by: &By,
    ) -> Result<(), StoreError> {
        attempt(self.0, "record the cancellation request", || async {
            let mut connection = self.0.acquire().await?;
            let details = json!({ "operation": operation });
            let action = "operation_cancel_requested";
            of_collection(&mut connection, collection, Some(operation), by, action, &details)
                .await?;
            Ok(())
        })
        .await
    }
}
