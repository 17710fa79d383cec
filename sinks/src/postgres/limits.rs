//! Resource limits: how large a collection may grow, and how much may be done to it.

use pipeline::StoreError;
use serde_json::json;
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

use super::audit::{By, of_collection};
use super::collections::Collection;
use super::failure::Failure;
use super::{LOCAL_ACCOUNT, attempt};

/// The limits of a collection.
#[derive(Clone, Copy, Debug, PartialEq, FromRow)]
pub struct ResourceLimits {
    /// The most documents.
    pub max_documents: i64,
    /// The most gigabytes (10⁹ bytes) of documents.
    pub max_storage_gb: f64,
    /// The most operations that may be asked for within an hour.
    pub max_operations_per_hour: i64,
    /// The most sources.
    pub max_sources: i64,
}

/// How much of its limits a collection has used.
#[derive(Clone, Copy, Debug, PartialEq, FromRow)]
pub struct Usage {
    /// Completed documents, when the last operation ended.
    pub documents: i64,
    /// Bytes of those.
    pub bytes: i64,
    /// Operations that were asked for within the last hour.
    pub operations: i64,
    /// Sources.
    pub sources: i64,
    /// Whether the limits hold: the collections of the command have none.
    pub is_limited: bool,
}

/// The limits of a store's collections.
pub struct Limits<'a>(pub(super) &'a PgPool);

impl Limits<'_> {
    /// The limits of a collection, and how much of them is used.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn of(
        &self,
        collection: Uuid,
    ) -> Result<Option<(ResourceLimits, Usage)>, StoreError> {
        attempt("read the limits", || async {
            let limits: Option<ResourceLimits> = sqlx::query_as(
                "SELECT max_documents, max_storage_gb, max_operations_per_hour, max_sources
                 FROM collection_resource_limits WHERE collection_id = $1",
            )
            .bind(collection)
            .fetch_optional(self.0)
            .await?;
            let Some(limits) = limits else { return Ok(None) };
            let usage: Usage = sqlx::query_as(
                "SELECT c.document_count AS documents, c.total_size_bytes AS bytes,
                        u.username <> $2 AS is_limited,
                        (SELECT count(*) FROM operations o
                         WHERE o.collection_id = $1 AND o.created_at > now() - interval '1 hour') AS operations,
                        (SELECT count(*) FROM collection_sources s WHERE s.collection_id = $1) AS sources
                 FROM collections c JOIN users u ON u.id = c.owner_id
                 WHERE c.id = $1",
            )
            .bind(collection)
            .bind(LOCAL_ACCOUNT)
            .fetch_one(self.0)
            .await?;
            Ok(Some((limits, usage)))
        })
        .await
    }

    /// Gives a collection other limits.
    ///
    /// # Errors
    /// If the store cannot be reached, or a limit is not positive.
    pub async fn set(
        &self,
        collection: Uuid,
        limits: &ResourceLimits,
        by: &By,
    ) -> Result<(), StoreError> {
        attempt("change the limits", || async {
            let mut transaction = self.0.begin().await?;
            sqlx::query(
                "INSERT INTO collection_resource_limits
                     (collection_id, max_documents, max_storage_gb, max_operations_per_hour, max_sources)
                 VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (collection_id) DO UPDATE SET max_documents = excluded.max_documents,
                     max_storage_gb = excluded.max_storage_gb, max_sources = excluded.max_sources,
                     max_operations_per_hour = excluded.max_operations_per_hour",
            )
            .bind(collection)
            .bind(limits.max_documents)
            .bind(limits.max_storage_gb)
            .bind(limits.max_operations_per_hour)
            .bind(limits.max_sources)
            .execute(&mut *transaction)
            .await?;
            let details = json!({
                "max_documents": limits.max_documents, "max_storage_gb": limits.max_storage_gb,
                "max_operations_per_hour": limits.max_operations_per_hour, "max_sources": limits.max_sources,
            });
            of_collection(&mut transaction, collection, None, by, "limits_changed", &details).await?;
            Ok(transaction.commit().await?)
        })
        .await
    }
}

/// Operations that a collection may have within an hour.
#[derive(Clone, Copy, Debug, FromRow)]
pub(super) struct Hourly {
    /// How many it may have.
    pub(super) most: i64,
    /// How many it has had within the last hour.
    pub(super) had: i64,
    /// In how many seconds the oldest of those is older than an hour.
    pub(super) wait: i64,
}

impl Hourly {
    pub(super) fn is_reached(&self) -> bool {
        self.had >= self.most
    }
}

/// Counts the operations of the last hour; `None` for the collections of the command, which may have any number.
pub(super) async fn hourly(
    connection: &mut PgConnection,
    collection: Uuid,
) -> Result<Option<Hourly>, sqlx::Error> {
    sqlx::query_as(
        "SELECT l.max_operations_per_hour AS most, o.had,
                greatest(1, ceil(extract(epoch FROM o.oldest + interval '1 hour' - now())))::bigint AS wait
         FROM collections c JOIN users u ON u.id = c.owner_id
         JOIN collection_resource_limits l ON l.collection_id = c.id,
              LATERAL (SELECT count(*) AS had, coalesce(min(created_at), now()) AS oldest FROM operations
                       WHERE collection_id = c.id AND created_at > now() - interval '1 hour') o
         WHERE c.id = $1 AND u.username <> $2",
    )
    .bind(collection)
    .bind(LOCAL_ACCOUNT)
    .fetch_optional(connection)
    .await
}

/// Refuses an operation on a collection that has had as many within an hour as it may.
pub(super) async fn within_limits(
    connection: &mut PgConnection,
    collection: &Collection,
) -> Result<(), Failure> {
    match hourly(connection, collection.id).await? {
        Some(hourly) if hourly.is_reached() => Err(Failure::GiveUp(format!(
            "the collection `{}` has had {} operations within an hour, which is its limit",
            collection.name, hourly.most
        ))),
        Some(_) | None => Ok(()),
    }
}
