//! Operations, as JSON.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

/// Something that is or was done to a collection.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Operation {
    pub id: Uuid,
    pub collection_id: Uuid,
    /// The name of the collection.
    pub collection: String,
    /// `index`, `append`, `reindex`, `remove_source` or `delete`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `pending`, `processing`, `completed`, `failed` or `cancelled`.
    pub status: String,
    /// The user name of who asked for it.
    pub by: String,
    /// What it was asked to do, in detail.
    #[schema(value_type = Object)]
    pub config: Value,
    /// Why it failed.
    pub error: Option<String>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub completed_at: Option<DateTime<Utc>>,
    /// How far it is: documents, chunks, tokens, and each node; missing before it has begun.
    #[schema(value_type = Option<Object>)]
    pub progress: Option<Value>,
    /// What it has done, when it has ended well.
    #[schema(value_type = Option<Object>)]
    pub report: Option<Value>,
}

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// Take in what is new or changed, take out what is gone. Builds a new generation where the file asks for other
    /// vectors than there are.
    Append,
    /// Build a new generation beside the live one, and put it in its place.
    Reindex,
}

/// An operation that is to be started.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Start {
    #[serde(rename = "type")]
    pub kind: Wanted,
    /// Deletes the documents that are gone, however many they are.
    #[serde(default)]
    pub allow_deletes: bool,
    /// Tries documents again that failed, those whose time has come.
    #[serde(default)]
    pub retry_failed: bool,
}
