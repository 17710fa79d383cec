//! The audit logs: who did what, when, from where. Rows are written in the transaction of the deed.
//!
//! What is done to a collection stands in `collection_audit_log`, what is done to accounts in `account_audit_log`.

use chrono::{DateTime, Utc};
use pipeline::StoreError;
use serde_json::Value;
use sqlx::postgres::PgArguments;
use sqlx::query::QueryAs;
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

use super::attempt;

/// Who does something, and from where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct By {
    /// The account; `None` where nobody is logged in.
    pub user: Option<Uuid>,
    /// The address of the client.
    pub ip: Option<String>,
    /// What the client calls itself.
    pub agent: Option<String>,
}

/// One entry about a collection.
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
        let Self { collection, operation, user, action, details } = self;
        let by = By { user: Some(*user), ..By::default() };
        of_collection(connection, *collection, *operation, &by, action, details).await
    }
}

/// Notes what somebody has done to a collection.
pub(super) async fn of_collection(
    connection: &mut PgConnection,
    collection: Uuid,
    operation: Option<Uuid>,
    by: &By,
    action: &str,
    details: &Value,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO collection_audit_log (collection_id, operation_id, user_id, action, details, ip_address,
                                           user_agent)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(collection)
    .bind(operation)
    .bind(by.user)
    .bind(action)
    .bind(details)
    .bind(&by.ip)
    .bind(&by.agent)
    .execute(connection)
    .await
    .map(drop)
}

/// Notes what somebody has done to an account.
pub(super) async fn of_account(
    connection: &mut PgConnection,
    subject: Option<Uuid>,
    by: &By,
    action: &str,
    details: &Value,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO account_audit_log (user_id, subject_id, action, details, ip_address, user_agent)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(by.user)
    .bind(subject)
    .bind(action)
    .bind(details)
    .bind(&by.ip)
    .bind(&by.agent)
    .execute(connection)
    .await
    .map(drop)
}

/// An entry in a list.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct AuditEntry {
    /// Its id.
    pub id: Uuid,
    /// What was done.
    pub action: String,
    /// The user name of who did it.
    pub by: Option<String>,
    /// The user name of whom it was done to, where it was an account.
    pub subject: Option<String>,
    /// The operation that did it.
    pub operation_id: Option<Uuid>,
    /// More of it.
    pub details: Value,
    /// From where.
    pub ip_address: Option<String>,
    /// By what program.
    pub user_agent: Option<String>,
    /// When.
    pub created_at: DateTime<Utc>,
}

/// A place in a list that goes from new to old: time and id of the last row that was seen.
pub type Before = (DateTime<Utc>, Uuid);

pub(super) const OF_COLLECTION: &str = "
    SELECT a.id, a.action, u.username AS by, NULL AS subject, a.operation_id, a.details, a.ip_address, a.user_agent,
           a.created_at
    FROM collection_audit_log a
    LEFT JOIN LATERAL (SELECT u.username FROM users u WHERE u.id = a.user_id OFFSET 0) u ON TRUE
    WHERE a.collection_id = $1 AND (a.created_at, a.id) < ($2, $3)
    ORDER BY a.created_at DESC, a.id DESC LIMIT $4";

pub(super) const OF_ACCOUNTS: &str = "
    SELECT a.id, a.action, u.username AS by, s.username AS subject, NULL::uuid AS operation_id, a.details,
           a.ip_address, a.user_agent, a.created_at
    FROM account_audit_log a
    LEFT JOIN LATERAL (SELECT u.username FROM users u WHERE u.id = a.user_id OFFSET 0) u ON TRUE
    LEFT JOIN LATERAL (SELECT s.username FROM users s WHERE s.id = a.subject_id OFFSET 0) s ON TRUE
    WHERE (a.created_at, a.id) < ($1, $2)
    ORDER BY a.created_at DESC, a.id DESC LIMIT $3";

/// The audit logs of a store.
pub struct Audit<'a>(pub(super) &'a PgPool);

impl Audit<'_> {
    /// What was done to a collection, newest first.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn of_collection(
        &self,
        collection: Uuid,
        before: Option<Before>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        attempt(self.0, "read the audit log", || async {
            let entries = sqlx::query_as(OF_COLLECTION).bind(collection);
            Ok(newest(entries, before, limit).fetch_all(self.0).await?)
        })
        .await
    }

    /// What was done to accounts, newest first.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn of_accounts(
        &self,
        before: Option<Before>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        attempt(self.0, "read the audit log", || async {
            let entries = sqlx::query_as(OF_ACCOUNTS);
            Ok(newest(entries, before, limit).fetch_all(self.0).await?)
        })
        .await
    }
}

/// Details without what was not given.
pub(super) fn given(mut details: Value) -> Value {
    if let Value::Object(details) = &mut details {
        details.retain(|_, value| !value.is_null());
    }
    details
}

/// Gives a query for a page of rows, newest first, its last three parameters: time and id of the row before the page, and
/// how many rows.
pub(super) fn newest<T>(
    query: QueryAs<'static, sqlx::Postgres, T, PgArguments>,
    before: Option<Before>,
    limit: u32,
) -> QueryAs<'static, sqlx::Postgres, T, PgArguments> {
    let (at, id) = before.unwrap_or_else(end_of_time);
    query.bind(at).bind(id).bind(i64::from(limit))
}

/// Behind every row.
fn end_of_time() -> Before {
    let year_9999 = DateTime::from_timestamp(253_402_300_799, 0).expect("a valid time");
    (year_9999, Uuid::max())
}
