//! Resource limits: size of a collection and number of operations on it.

use pipeline::StoreError;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::{FromRow, PgConnection};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::audit::{Actor, record_collection_event};
use crate::collections::{Collection, Collections};
use crate::query_error::QueryError;
use crate::{LOCAL_ACCOUNT, retry_call};

/// Limits on the size and operations of a collection.
#[derive(Clone, Copy, Debug, PartialEq, FromRow, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Limits)]
pub struct ResourceLimits {
    /// Maximum number of documents.
    #[schema(minimum = 1)]
    pub max_documents: i64,
    /// Size of all documents in units of 10⁹ bytes.
    #[schema(exclusive_minimum = 0.0)]
    pub max_storage_gb: f64,
    /// Maximum number of operations requested within an hour.
    #[schema(minimum = 1)]
    pub max_operations_per_hour: i64,
    /// Maximum number of sources.
    #[schema(minimum = 1)]
    pub max_sources: i64,
}

/// Limits with current usage.
#[derive(Clone, Copy, Debug, PartialEq, FromRow, Serialize, ToSchema)]
pub struct LimitsAndUsage {
    /// The limits in force.
    #[sqlx(flatten)]
    pub limits: ResourceLimits,
    /// `false` for collections of the built-in account `local`, which have no limits.
    are_enforced: bool,
    documents: i64,
    size_bytes: i64,
    operations_within_the_hour: i64,
    sources: i64,
}

impl Collections<'_> {
    /// The limits of a collection and their usage; `None` if it does not exist.
    pub async fn limits(&self, collection: Uuid) -> Result<Option<LimitsAndUsage>, StoreError> {
        retry_call(self.0, "read the limits", || async {
            let mut connection = self.0.acquire().await?;
            let found = limit_state(&mut connection, collection).await?;
            Ok(found.map(|it| it.state))
        })
        .await
    }

    /// Checks that no limit of the collection forbids an operation that adds documents.
    ///
    /// # Errors
    /// If a limit is reached, or the store cannot be reached.
    pub async fn check_quota(&self, collection: &Collection) -> Result<(), StoreError> {
        retry_call(self.0, "add documents", || async {
            let mut connection = self.0.acquire().await?;
            match find_reached_limit(&mut connection, collection.id, true).await? {
                Some(limit) => Err(limit.to_conflict(&collection.name)),
                None => Ok(()),
            }
        })
        .await
    }

    /// Replaces the limits of a collection.
    ///
    /// # Errors
    /// If the store cannot be reached, or a limit is not positive.
    pub async fn set_limits(
        &self,
        collection: Uuid,
        limits: &ResourceLimits,
        by: &Actor,
    ) -> Result<(), StoreError> {
        retry_call(self.0, "change the limits", || async {
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
            record_collection_event(&mut transaction, collection, None, by, "limits_changed", &details).await?;
            Ok(transaction.commit().await?)
        })
        .await
    }
}

/// A limit that a collection has reached.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LimitReached {
    /// `documents`, `gigabytes`, `sources`, or `operations within an hour`.
    pub(crate) resource: &'static str,
    /// Value of the limit.
    pub(crate) max: f64,
    /// Seconds until an operation is allowed again; `None` for other limits.
    pub(crate) retry_after: Option<i64>,
}

impl LimitReached {
    /// The message for users.
    pub(crate) fn message(&self, collection: &str) -> String {
        let Self { resource: of, max: most, .. } = self;
        format!("collection `{collection}` has reached its limit of {most} {of}")
    }

    /// The error for the refused request.
    pub(crate) fn to_conflict(&self, collection: &str) -> QueryError {
        QueryError::Permanent(self.message(collection))
    }
}

/// The first limit that a collection has reached: the limit of operations and, with `takes_in`,
/// every other limit. Collections of the built-in account have none.
pub(crate) async fn find_reached_limit(
    connection: &mut PgConnection,
    collection: Uuid,
    takes_in: bool,
) -> Result<Option<LimitReached>, sqlx::Error> {
    let found = limit_state(connection, collection).await?.filter(|it| it.state.are_enforced);
    let Some(LimitState { state, wait }) = found else { return Ok(None) };
    let limits = state.limits;
    if state.operations_within_the_hour >= limits.max_operations_per_hour {
        let (of, most) = ("operations within an hour", to_f64(limits.max_operations_per_hour));
        return Ok(Some(LimitReached { resource: of, max: most, retry_after: Some(wait) }));
    }
    if !takes_in {
        return Ok(None);
    }
    let ResourceLimits { max_documents, max_storage_gb, max_sources, .. } = limits;
    let full = [
        ("documents", state.documents >= max_documents, to_f64(max_documents)),
        ("gigabytes", to_f64(state.size_bytes) / 1e9 >= max_storage_gb, max_storage_gb),
        // A number of sources equal to the limit is allowed. More are possible only if the limit
        // was lowered later, or from the pipeline file.
        ("sources", state.sources > max_sources, to_f64(max_sources)),
    ];
    let reached = full.into_iter().find(|(_, is_reached, _)| *is_reached);
    Ok(reached.map(|(of, _, most)| LimitReached { resource: of, max: most, retry_after: None }))
}

#[expect(clippy::cast_precision_loss, reason = "for display, and limits are far below 2^53")]
fn to_f64(count: i64) -> f64 {
    count as f64
}

/// Limits and usage of a collection.
#[derive(FromRow)]
struct LimitState {
    #[sqlx(flatten)]
    state: LimitsAndUsage,
    /// Seconds until the oldest operation of the last hour is more than an hour old.
    wait: i64,
}

async fn limit_state(
    connection: &mut PgConnection,
    collection: Uuid,
) -> Result<Option<LimitState>, sqlx::Error> {
    sqlx::query_as(
        "SELECT l.max_documents, l.max_storage_gb, l.max_operations_per_hour, l.max_sources,
                c.document_count AS documents, c.total_size_bytes AS size_bytes,
                o.operations AS operations_within_the_hour,
                (SELECT count(*) FROM collection_sources s WHERE s.collection_id = c.id) AS sources,
                u.username <> $2 AS are_enforced,
                greatest(1, ceil(extract(epoch FROM o.oldest + interval '1 hour' - now())))::bigint AS wait
         FROM collections c JOIN users u ON u.id = c.owner_id
         JOIN collection_resource_limits l ON l.collection_id = c.id,
              LATERAL (SELECT count(*) AS operations, coalesce(min(created_at), now()) AS oldest
                       FROM operations
                       WHERE collection_id = c.id AND created_at > now() - interval '1 hour') o
         WHERE c.id = $1",
    )
    .bind(collection)
    .bind(LOCAL_ACCOUNT)
    .fetch_optional(connection)
    .await
}

/// Fails if the collection has reached its limit of operations within an hour.
pub(crate) async fn check_operation_rate(
    connection: &mut PgConnection,
    collection: &Collection,
) -> Result<(), QueryError> {
    match find_reached_limit(connection, collection.id, false).await? {
        Some(limit) => Err(limit.to_conflict(&collection.name)),
        None => Ok(()),
    }
}
