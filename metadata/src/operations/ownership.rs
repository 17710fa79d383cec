//! The check of each transaction of a run that its operation is still `processing`, so an operation
//! that was declared dead writes nothing more.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::query_error::QueryError;

/// The advisory lock precedes the row lock, so a takeover also finds transactions that wait for the
/// row.
pub(crate) const ASSERT_OWNED: &str = "
    SELECT o.status::text, pg_advisory_xact_lock_shared(hashtextextended(o.id::text, 1))
    FROM operations o WHERE o.id = $1 FOR NO KEY UPDATE";

/// Checks that a transaction may write to the collection of an operation: its status is
/// `processing`, and stays so until the transaction ends.
pub(crate) async fn assert_owned(
    connection: &mut PgConnection,
    operation: Uuid,
) -> Result<(), QueryError> {
    let status: Option<String> =
        sqlx::query_scalar(ASSERT_OWNED).bind(operation).fetch_optional(connection).await?;
    match status.as_deref() {
        Some("processing") => Ok(()),
        Some(status) => Err(QueryError::Conflict(format!(
            "operation {operation} is {status}: another client ended it"
        ))),
        None => Err(QueryError::Conflict(format!("operation {operation} does not exist any more"))),
    }
}
