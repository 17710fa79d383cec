//! Operations that people ask for and do not wait for: within the limits of the collection, in their name, and on
//! record. Whoever serves the collection takes them up (`queue.rs`).

use pipeline::StoreError;
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::audit::{By, of_collection};
use super::failure::Failure;
use super::limits::{Hourly, hourly};
use super::operations::Operations;
use super::queue::{HandedOver, hand_over};
use super::{LOCAL_ACCOUNT, attempt};

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
        attempt("ask for the operation", || async {
            let mut transaction = self.0.begin().await?;
            let collection = what.collection.id;
            // Two who ask at once are counted one after the other.
            sqlx::query("SELECT id FROM collections WHERE id = $1 FOR NO KEY UPDATE")
                .bind(collection)
                .execute(&mut *transaction)
                .await?;
            if let Some(limit) = reached(&mut transaction, collection, takes_in).await? {
                return Ok(limit);
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
        attempt("note who has stopped the operation", || async {
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

/// A limit that a collection has reached. Those of the command have none.
async fn reached(
    connection: &mut PgConnection,
    collection: Uuid,
    takes_in: bool,
) -> Result<Option<Asked>, Failure> {
    if let Some(Hourly { most, wait, .. }) =
        hourly(connection, collection).await?.filter(Hourly::is_reached)
    {
        let of = "operations within an hour";
        return Ok(Some(Asked::Limit { of, most: number(most), retry_after: Some(wait) }));
    }
    if !takes_in {
        return Ok(None);
    }
    let found: Option<(f64, f64, i64, i64, i64, i64)> = sqlx::query_as(
        "SELECT c.total_size_bytes / 1e9::float8, l.max_storage_gb, c.document_count, l.max_documents,
                (SELECT count(*) FROM collection_sources s WHERE s.collection_id = c.id), l.max_sources
         FROM collections c JOIN users u ON u.id = c.owner_id
         JOIN collection_resource_limits l ON l.collection_id = c.id
         WHERE c.id = $1 AND u.username <> $2",
    )
    .bind(collection)
    .bind(LOCAL_ACCOUNT)
    .fetch_optional(connection)
    .await?;
    let Some((gigabytes, most_gigabytes, documents, most_documents, sources, most_sources)) = found
    else {
        return Ok(None);
    };
    let full = [
        ("documents", number(documents) >= number(most_documents), number(most_documents)),
        ("gigabytes", gigabytes >= most_gigabytes, most_gigabytes),
        // As many as there may be are no fault; more can only be from before the limit was lowered, or from the file.
        ("sources", sources > most_sources, number(most_sources)),
    ];
    let reached = full.into_iter().find(|(_, is_reached, _)| *is_reached);
    Ok(reached.map(|(of, _, most)| Asked::Limit { of, most, retry_after: None }))
}

#[expect(clippy::cast_precision_loss, reason = "for people, and limits are not that large")]
fn number(count: i64) -> f64 {
    count as f64
}
