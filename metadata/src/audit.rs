//! Audit logs: actor, action, time and client address. A row is written in the transaction of the
//! action.
//!
//! Actions on collections are in `collection_audit_log`, actions on accounts in
//! `account_audit_log`.

use chrono::{DateTime, Utc};
use pipeline::StoreError;
use serde::Serialize;
use serde_json::Value;
use sqlx::postgres::PgArguments;
use sqlx::query::QueryAs;
use sqlx::{FromRow, PgConnection, PgPool};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{Postgres, retry_call};

/// The actor of an action and its client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actor {
    /// The account; `None` for an unauthenticated client.
    pub user: Option<Uuid>,
    /// IP address of the client.
    pub ip: Option<String>,
    /// The client's `User-Agent` header.
    pub user_agent: Option<String>,
}

/// One entry of the audit log of a collection.
pub(super) struct CollectionEvent<'a> {
    pub(super) collection: Uuid,
    pub(super) operation: Option<Uuid>,
    pub(super) user: Uuid,
    /// The action, such as `collection_created` or `operation_completed`.
    pub(super) action: &'a str,
    pub(super) details: Value,
}

impl CollectionEvent<'_> {
    pub(super) async fn insert(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let Self { collection, operation, user, action, details } = self;
        let by = Actor { user: Some(*user), ..Actor::default() };
        record_collection_event(connection, *collection, *operation, &by, action, details).await
    }
}

/// Records an action on a collection.
pub(super) async fn record_collection_event(
    connection: &mut PgConnection,
    collection: Uuid,
    operation: Option<Uuid>,
    by: &Actor,
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
    .bind(&by.user_agent)
    .execute(connection)
    .await
    .map(drop)
}

/// Records an action on an account.
pub(super) async fn record_account_event(
    connection: &mut PgConnection,
    subject: Option<Uuid>,
    by: &Actor,
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
    .bind(&by.user_agent)
    .execute(connection)
    .await
    .map(drop)
}

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, FromRow, Serialize, ToSchema)]
pub struct AuditEntry {
    /// Id of the entry.
    pub id: Uuid,
    /// The action: `collection_changed`, `grant_given`, `login`, …
    pub action: String,
    /// User name of the actor.
    pub by: Option<String>,
    /// User name of the affected account.
    subject: Option<String>,
    /// The operation that made the change.
    pub operation_id: Option<Uuid>,
    /// Values of the change; the keys depend on the action.
    #[schema(value_type = Object)]
    pub details: Value,
    /// Address of the client, if it is known.
    pub ip_address: Option<String>,
    /// `User-Agent` of the client.
    pub user_agent: Option<String>,
    /// Time of the change.
    pub created_at: DateTime<Utc>,
}

/// Position in a list ordered from new to old: time and id of the last row of the previous page.
pub type ListCursor = (DateTime<Utc>, Uuid);

pub(super) const COLLECTION_EVENTS: &str = "
    SELECT a.id, a.action, u.username AS by, NULL AS subject, a.operation_id, a.details, a.ip_address, a.user_agent,
           a.created_at
    FROM collection_audit_log a
    LEFT JOIN LATERAL (SELECT u.username FROM users u WHERE u.id = a.user_id OFFSET 0) u ON TRUE
    WHERE a.collection_id = $1 AND (a.created_at, a.id) < ($2, $3)
    ORDER BY a.created_at DESC, a.id DESC LIMIT $4";

pub(super) const ACCOUNT_EVENTS: &str = "
    SELECT a.id, a.action, u.username AS by, s.username AS subject, NULL::uuid AS operation_id, a.details,
           a.ip_address, a.user_agent, a.created_at
    FROM account_audit_log a
    LEFT JOIN LATERAL (SELECT u.username FROM users u WHERE u.id = a.user_id OFFSET 0) u ON TRUE
    LEFT JOIN LATERAL (SELECT s.username FROM users s WHERE s.id = a.subject_id OFFSET 0) s ON TRUE
    WHERE (a.created_at, a.id) < ($1, $2)
    ORDER BY a.created_at DESC, a.id DESC LIMIT $3";

/// The audit logs of the metadata store.
///
/// # Errors
/// Every method fails if the store cannot be reached.
pub struct AuditLog<'a>(&'a PgPool);

impl Postgres {
    /// The audit logs.
    pub fn audit_log(&self) -> AuditLog<'_> {
        AuditLog(&self.pool)
    }
}

impl AuditLog<'_> {
    /// Actions on a collection, newest first.
    pub async fn for_collection(
        &self,
        collection: Uuid,
        before: Option<ListCursor>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        retry_call(self.0, "read the audit log", || async {
            let entries = sqlx::query_as(COLLECTION_EVENTS).bind(collection);
            Ok(newest_page(entries, before, limit).fetch_all(self.0).await?)
        })
        .await
    }

    /// Actions on accounts, newest first.
    pub async fn for_accounts(
        &self,
        before: Option<ListCursor>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        retry_call(self.0, "read the audit log", || async {
            let entries = sqlx::query_as(ACCOUNT_EVENTS);
            Ok(newest_page(entries, before, limit).fetch_all(self.0).await?)
        })
        .await
    }
}

/// Removes keys with the value `null`.
pub(super) fn without_nulls(mut details: Value) -> Value {
    if let Value::Object(details) = &mut details {
        details.retain(|_, value| !value.is_null());
    }
    details
}

/// Binds the last three parameters of a page query, newest first: time and id of the row before the
/// page, and the row limit.
pub(super) fn newest_page<T>(
    query: QueryAs<'static, sqlx::Postgres, T, PgArguments>,
    before: Option<ListCursor>,
    limit: u32,
) -> QueryAs<'static, sqlx::Postgres, T, PgArguments> {
    let (at, id) = before.unwrap_or_else(first_page_cursor);
    query.bind(at).bind(id).bind(i64::from(limit))
}

/// A position after every row.
fn first_page_cursor() -> ListCursor {
    let year_9999 = DateTime::from_timestamp(253_402_300_799, 0).expect("a valid time");
    (year_9999, Uuid::max())
}
