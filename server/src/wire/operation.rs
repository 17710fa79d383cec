//! JSON types of operations.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

/// A change of a collection.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Operation {
    /// Id of the operation.
    pub id: Uuid,
    /// Id of the collection that it changes.
    pub collection_id: Uuid,
    /// Name of the collection.
    pub collection: String,
    /// `index`, `append`, `reindex`, `remove_source` or `delete`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `pending`, `processing`, `completed`, `failed` or `cancelled`.
    pub status: String,
    /// User name of the requester.
    pub by: String,
    /// Options of the request.
    #[schema(value_type = Object)]
    pub config: Value,
    /// Cause of the failure.
    pub error: Option<String>,
    /// Time of the request.
    pub created_at: DateTime<Utc>,
    /// Start of the execution; missing before that.
    pub started_at: Option<DateTime<Utc>>,
    /// Time of the end, successful or not; missing before that.
    pub completed_at: Option<DateTime<Utc>>,
    /// Progress: documents, chunks, tokens, and each node; missing before the operation has
    /// started.
    #[schema(value_type = Option<Object>)]
    pub progress: Option<Value>,
    /// Result of a completed operation.
    #[schema(value_type = Option<Object>)]
    pub report: Option<Value>,
}

/// Types of operations that can be requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequestedOperation {
    /// Add new and changed documents, and delete missing ones. Builds a new generation if the
    /// pipeline file requires other vectors than the live ones.
    Append,
    /// Build a new generation, which then replaces the live one.
    Reindex,
}

/// A requested operation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartOperation {
    /// The operation to start.
    #[serde(rename = "type")]
    pub kind: RequestedOperation,
    /// Delete missing documents, whatever their number.
    #[serde(default)]
    pub allow_deletes: bool,
    /// Retry failed documents whose delay has passed.
    #[serde(default)]
    pub retry_failed: bool,
}
