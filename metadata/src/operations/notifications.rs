//! Outbox of notifications: written by the transaction that ends an operation (migration 0007),
//! delivered by a worker of its collection. Addresses and keys are only in the configuration files,
//! never here.

use std::time::Duration;

use chrono::{DateTime, Utc};
use pipeline::StoreError;
use serde_json::Value;
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

use crate::{Postgres, retry_call};

/// Number of attempts before a message is abandoned: two days, with the delays below.
const MAX_ATTEMPTS: i32 = 12;

/// A notification to deliver.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct Notification {
    /// Id of the message; the same in every attempt.
    pub id: Uuid,
    /// The collection of the operation.
    pub collection_id: Uuid,
    /// Name of the receiver in the configuration file.
    pub target: String,
    /// `failure`, `success` or `recovery`.
    pub event: String,
    /// Content of the notification.
    pub body: Value,
    /// Number of attempts, including the current one.
    pub attempts: i32,
    /// Time of creation.
    pub created_at: DateTime<Utc>,
}

/// The notifications of the metadata store.
pub struct NotificationOutbox<'a>(&'a PgPool);

impl Postgres {
    /// The outbox of notifications.
    pub fn notifications(&self) -> NotificationOutbox<'_> {
        NotificationOutbox(&self.pool)
    }
}

impl NotificationOutbox<'_> {
    /// Takes due messages about these collections; for the duration `hold` no other worker gets
    /// them.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn take_due(
        &self,
        collections: &[Uuid],
        hold: Duration,
        limit: u32,
    ) -> Result<Vec<Notification>, StoreError> {
        retry_call(self.0, "take messages", || async {
            Ok(sqlx::query_as(
                "UPDATE messages SET due_at = now() + make_interval(secs => $2), attempts = attempts + 1
                 WHERE id IN (SELECT id FROM messages
                              WHERE collection_id = ANY($1) AND due_at <= now()
                                AND delivered_at IS NULL AND given_up_at IS NULL
                              ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED)
                 RETURNING id, collection_id, target, event, body, attempts, created_at",
            )
            .bind(collections)
            .bind(hold.as_secs_f64())
            .bind(i64::from(limit))
            .fetch_all(self.0)
            .await?)
        })
        .await
    }

    /// Records that a message was delivered.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn mark_delivered(&self, message: Uuid) -> Result<(), StoreError> {
        retry_call(self.0, "record that a message was delivered", || async {
            sqlx::query("UPDATE messages SET delivered_at = now(), error = NULL WHERE id = $1")
                .bind(message)
                .execute(self.0)
                .await?;
            Ok(())
        })
        .await
    }

    /// Records a failed delivery. The next attempt follows after 10 s, 30 s, 90 s and so on, with
    /// at most twelve hours between attempts and twelve attempts in total. `for_good` abandons the
    /// message immediately.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn mark_failed(
        &self,
        message: Uuid,
        why: &str,
        for_good: bool,
    ) -> Result<(), StoreError> {
        retry_call(self.0, "record that a message was not delivered", || async {
            sqlx::query(
                "UPDATE messages
                 SET error = $2, given_up_at = CASE WHEN $3 OR attempts >= $4 THEN now() END,
                     due_at = now() + make_interval(secs => least(10 * power(3, attempts - 1), 43200))
                 WHERE id = $1",
            )
            .bind(message)
            .bind(why)
            .bind(for_good)
            .bind(MAX_ATTEMPTS)
            .execute(self.0)
            .await?;
            Ok(())
        })
        .await
    }
}
