//! Requests for operations by clients that do not wait: checked against the limits of the
//! collection, attributed to an account, and audited. A worker of the collection executes them
//! (`queue.rs`).

use pipeline::StoreError;
use serde_json::json;
use uuid::Uuid;

use crate::audit::{Actor, record_collection_event};
use crate::collections::limits::{LimitReached, find_reached_limit};
use crate::operations::Operations;
use crate::operations::queue::{QueuedOperation, enqueue};
use crate::retry_call;

/// Result of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum EnqueueResult {
    /// The id of the queued operation.
    Queued(Uuid),
    /// The request is refused because a limit of the collection is reached.
    LimitReached {
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
    pub async fn enqueue_within_limits(
        &self,
        what: &QueuedOperation<'_>,
        takes_in: bool,
        by: &Actor,
    ) -> Result<EnqueueResult, StoreError> {
        retry_call(self.0, "request the operation", || async {
            let mut transaction = self.0.begin().await?;
            let collection = what.collection.id;
            // Serialises concurrent requests, so that each sees the count of the previous one.
            sqlx::query("SELECT id FROM collections WHERE id = $1 FOR NO KEY UPDATE")
                .bind(collection)
                .execute(&mut *transaction)
                .await?;
            let limit = find_reached_limit(&mut transaction, collection, takes_in).await?;
            if let Some(LimitReached { resource: of, max: most, retry_after }) = limit {
                return Ok(EnqueueResult::LimitReached { of, most, retry_after });
            }
            let id = enqueue(&mut transaction, what, None).await?;
            sqlx::query("UPDATE operations SET user_id = coalesce($2, user_id) WHERE id = $1")
                .bind(id)
                .bind(by.user)
                .execute(&mut *transaction)
                .await?;
            let details = json!({ "operation": id });
            let action = "operation_requested";
            record_collection_event(&mut transaction, collection, Some(id), by, action, &details)
                .await?;
            transaction.commit().await?;
            Ok(EnqueueResult::Queued(id))
        })
        .await
    }

    /// Records the requester of a cancellation.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn record_cancellation(
        &self,
        collection: Uuid,
        operation: Uuid,
        by: &Actor,
    ) -> Result<(), StoreError> {
        retry_call(self.0, "record the cancellation request", || async {
            let mut connection = self.0.acquire().await?;
            let details = json!({ "operation": operation });
            let action = "operation_cancel_requested";
            record_collection_event(
                &mut connection,
                collection,
                Some(operation),
                by,
                action,
                &details,
            )
            .await?;
            Ok(())
        })
        .await
    }
}
