//! What is still to be told to somebody: written by the transaction that ends an operation (migration 0007),
//! delivered by whoever serves its collection. Where to and with which key is in their files, and never here.

use std::time::Duration;

use chrono::{DateTime, Utc};
use pipeline::StoreError;
use serde_json::Value;
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

use super::{Postgres, attempt};

/// After so many attempts a message is given up: two days, with the waiting times below.
const MOST_ATTEMPTS: i32 = 12;

/// Something that is to be told.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct Message {
    /// Its id; the same in every attempt.
    pub id: Uuid,
    /// The collection of the operation.
    pub collection_id: Uuid,
    /// To whom, by the name in the file.
    pub target: String,
    /// `failure`, `success` or `recovery`.
    pub event: String,
    /// What is told.
    pub body: Value,
    /// How often it was tried.
    pub attempts: i32,
    /// When it was written.
    pub created_at: DateTime<Utc>,
}

/// The messages of a store.
pub struct Messages<'a>(&'a PgPool);

impl Postgres {
    /// The messages.
    pub fn messages(&self) -> Messages<'_> {
        Messages(&self.pool)
    }
}

impl Messages<'_> {
    /// Takes messages that are due, about these collections; for as long as `hold` they are nobody else's.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn take(
        &self,
        collections: &[Uuid],
        hold: Duration,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError> {
        attempt(self.0, "take messages", || async {
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

    /// Says that a message was delivered.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn delivered(&self, message: Uuid) -> Result<(), StoreError> {
        attempt(self.0, "note that a message was delivered", || async {
            sqlx::query("UPDATE messages SET delivered_at = now(), error = NULL WHERE id = $1")
                .bind(message)
                .execute(self.0)
                .await?;
            Ok(())
        })
        .await
    }

    /// Says that a message could not be delivered: it is tried again after 10 s, 30 s, 90 s and so on, up to twelve
    /// hours apart, twelve times in all. `for_good` gives it up at once.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn failed(&self, message: Uuid, why: &str, for_good: bool) -> Result<(), StoreError> {
        attempt(self.0, "note that a message was not delivered", || async {
            sqlx::query(
                "UPDATE messages
                 SET error = $2, given_up_at = CASE WHEN $3 OR attempts >= $4 THEN now() END,
                     due_at = now() + make_interval(secs => least(10 * power(3, attempts - 1), 43200))
                 WHERE id = $1",
            )
            .bind(message)
            .bind(why)
            .bind(for_good)
            .bind(MOST_ATTEMPTS)
            .execute(self.0)
            .await?;
            Ok(())
        })
        .await
    }
}
