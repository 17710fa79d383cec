//! Operations that people ask for and do not wait for: within the limits of the collection, in their name, and on
//! record. Whoever serves the collection takes them up (`queue.rs`).

use pipeline::StoreError;
use serde_json::json;
use uuid::Uuid;

use super::attempt;
use super::audit::{By, of_collection};
use super::limits::{Reached, reached};
use super::operations::Operations;
use super::queue::{HandedOver, hand_over};

/// What came of asking.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// The operation.
    For(Uuid),
    /// The collection has as much as it may have: what, how much of it, and in how many seconds that changes by itself.
    Limit {
        /// `documents`, `gigabytes`, `sources`, or `operations within an hour`.
        of: &'static str,
        /// How many there may be.
        most: f64,
        /// For operations.
        retry_after: Option<i64>,
    },
}

impl Operations<'_> {
    /// Asks for an operation. One that takes documents in is refused where a limit of the collection is reached; one
    /// that takes them out is not, since that is the way back below it.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn ask(
        &self,
        what: &HandedOver<'_>,
        takes_in: bool,
        by: &By,
    ) -> Result<Asked, StoreError> {
        attempt(self.0, "ask for the operation", || async {
            let mut transaction = self.0.begin().await?;
            let collection = what.collection.id;
            // Two who ask at once are counted one after the other.
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

    /// Notes who has stopped an operation.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn note_cancelled(
        &self,
        collection: Uuid,
        operation: Uuid,
        by: &By,
    ) -> Result<(), StoreError> {
        attempt(self.0, "note who has stopped the operation", || async {
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
