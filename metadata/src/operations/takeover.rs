//! Takeover of an operation whose process is dead or hangs: its transactions and its row are
//! ended by the next process that works on the collection (`lease.rs`).

use sqlx::PgConnection;
use uuid::Uuid;

use crate::operations::collection_lock::is_lock_of;
use crate::operations::queue::requeue;
use crate::operations::{OperationOutcome, OperationStatus, record_end};
use crate::query_error::QueryError;

/// Terminates the transactions left open by orphaned operations of a collection. Otherwise the
/// holder of the lock waits until the server detects the dead client, which takes two minutes if
/// the process was suspended.
async fn end_orphaned_transactions(
    connection: &mut PgConnection,
    collection: Uuid,
) -> Result<(), sqlx::Error> {
    sqlx::query(concat!(
        "SELECT pg_terminate_backend(l.pid) FROM operations o
         JOIN pg_locks l ON l.pid <> pg_backend_pid() AND ",
        is_lock_of!("o.id", 1),
        " WHERE uuid_send(o.collection_id) = uuid_send($1) AND o.status = 'processing'",
    ))
    .bind(collection)
    .execute(connection)
    .await
    .map(drop)
}

/// Terminates the transactions of one operation.
pub(super) async fn end_transactions(
    connection: &mut PgConnection,
    operation: Uuid,
) -> Result<(), sqlx::Error> {
    sqlx::query(concat!(
        "SELECT pg_terminate_backend(l.pid) FROM pg_locks l WHERE l.pid <> pg_backend_pid() AND ",
        is_lock_of!("$1::uuid", 1),
    ))
    .bind(operation)
    .execute(connection)
    .await
    .map(drop)
}

pub(crate) const ORPHANED_OPERATIONS: &str = "
    SELECT o.id, o.user_id, o.status FROM operations o
    WHERE uuid_send(o.collection_id) = uuid_send($1) AND o.status IN ('pending', 'processing')
      AND (o.status = 'processing'
           OR EXISTS (SELECT FROM operation_leases e
                      WHERE e.operation_id = o.id AND e.expires_at < now() OFFSET 0))
    FOR NO KEY UPDATE";

/// Marks orphaned operations as failed, and cancels pending ones whose requester no longer renews
/// the lease. Returns the failed ones.
pub(super) async fn fail_orphaned_operations(
    connection: &mut PgConnection,
    collection: Uuid,
) -> Result<Vec<Uuid>, QueryError> {
    end_orphaned_transactions(connection, collection).await?;
    let dead: Vec<(Uuid, Uuid, OperationStatus)> =
        sqlx::query_as(ORPHANED_OPERATIONS).bind(collection).fetch_all(&mut *connection).await?;
    let mut recovered = Vec::new();
    for (id, user, status) in dead {
        let ending = if status == OperationStatus::Processing {
            tracing::warn!(operation = %id, %collection, "the process of an operation died");
            recovered.push(id);
            OperationOutcome::Failed("the process that worked on it died".to_owned())
        } else {
            OperationOutcome::Cancelled
        };
        record_end(connection, id, collection, user, status, &ending).await?;
        requeue(connection, id).await?;
    }
    Ok(recovered)
}
