//! JSON types of collections, sources, generations, grants and limits.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// A collection.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Collection {
    pub id: Uuid,
    /// Unique among the collections of its owner.
    pub name: String,
    /// User name of the owner.
    pub owner: String,
    /// Description for users.
    pub description: Option<String>,
    /// `pending`, `ready`, `processing`, `error` or `degraded`.
    pub status: String,
    /// Reason of the status.
    pub status_message: Option<String>,
    /// The embedding model of the live generation.
    pub model: String,
    /// Precision of stored vectors: `float32`, `float16` or `int8`.
    pub quantization: String,
    pub chunk_size: i32,
    pub chunk_overlap: i32,
    /// Completed documents at the end of the last operation.
    pub document_count: i64,
    /// Chunks of these documents.
    pub chunk_count: i64,
    /// Bytes of these documents.
    pub size_bytes: i64,
    /// `true` if every caller may read it.
    pub is_public: bool,
    /// `true` once its deletion has begun.
    pub is_being_deleted: bool,
    /// `true` if this server searches and changes it; for other collections it has only metadata.
    pub is_served: bool,
    /// The caller's permission: `read`, `write`, `admin` or `owner`.
    pub right: &'static str,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// Changes of a collection.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeCollection {
    pub description: Option<String>,
    /// Every caller may read a public collection; write access is unchanged.
    pub is_public: Option<bool>,
    /// User name of a new owner; only the owner may set it. A pipeline file that fills the
    /// collection must also name the new owner.
    pub owner: Option<String>,
}

/// A complete set of vectors of a collection.
#[derive(Debug, Serialize, ToSchema)]
pub struct Generation {
    pub number: i32,
    /// `building`, `live` or `retired`.
    pub status: String,
    pub model: String,
    pub dim: i32,
    pub quantization: String,
    pub chunk_size: i32,
    pub chunk_overlap: i32,
    pub created_at: DateTime<Utc>,
    pub live_at: Option<DateTime<Utc>>,
    pub retired_at: Option<DateTime<Utc>>,
    pub rolled_back_at: Option<DateTime<Utc>>,
}

/// A source of documents.
#[derive(Debug, Serialize, ToSchema)]
pub struct Source {
    pub id: Uuid,
    /// Path or URL of the source root.
    pub source: String,
    /// `directory`, `url`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// Completed documents of the source at the end of the last operation.
    pub document_count: i64,
    pub size_bytes: i64,
    /// Time of the last operation that read it.
    pub last_indexed_at: Option<DateTime<Utc>>,
}

/// A permission on a collection, granted to a user or key.
#[derive(Debug, Serialize, ToSchema)]
pub struct Grant {
    pub id: Uuid,
    /// User name of the recipient.
    pub user: Option<String>,
    /// Id of the key that received it.
    pub key: Option<Uuid>,
    /// The first characters of that key, for recognition.
    pub key_prefix: Option<String>,
    /// `read`, `write` or `admin`.
    pub permission: String,
    pub created_at: DateTime<Utc>,
}

/// Permission of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Permission {
    /// Find the collection and read everything in it.
    Read,
    /// Change its content.
    Write,
    /// Change its grants.
    Admin,
}

/// A new grant, which replaces the previous one of the recipient. Exactly one of `user` and `key`
/// is required.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateGrant {
    /// User name of the recipient.
    pub user: Option<String>,
    /// Id of the key that receives it.
    pub key: Option<Uuid>,
    pub permission: Permission,
}

/// Limits on the size and operations of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    #[schema(minimum = 1)]
    pub max_documents: i64,
    /// Size of all documents in units of 10⁹ bytes.
    #[schema(exclusive_minimum = 0.0)]
    pub max_storage_gb: f64,
    #[schema(minimum = 1)]
    pub max_operations_per_hour: i64,
    #[schema(minimum = 1)]
    pub max_sources: i64,
}

/// Limits with current usage.
#[derive(Debug, Serialize, ToSchema)]
pub struct LimitsAndUsage {
    pub limits: Limits,
    /// `false` for collections of the built-in account `local`, which have no limits.
    pub are_enforced: bool,
    pub documents: i64,
    pub size_bytes: i64,
    pub operations_within_the_hour: i64,
    pub sources: i64,
}
