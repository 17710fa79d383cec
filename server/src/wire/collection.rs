//! JSON types of collections, sources, generations, grants and limits.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// A collection.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Collection {
    /// Id of the collection; it never changes.
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
    /// Maximum size of a chunk, in the unit of the pipeline file.
    pub chunk_size: i32,
    /// Maximum overlap of two chunks, in the same unit.
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
    /// Time of creation.
    pub created_at: DateTime<Utc>,
    /// Time of the last change of the collection or its content.
    pub updated_at: DateTime<Utc>,
}

/// Changes of a collection.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeCollection {
    /// New description for users.
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
    /// Number of the generation, from 1; a later one has a larger number.
    pub number: i32,
    /// `building`, `live` or `retired`.
    pub status: String,
    /// The embedding model.
    pub model: String,
    /// Dimension of the vectors.
    pub dim: i32,
    /// Precision of stored vectors: `float32`, `float16` or `int8`.
    pub quantization: String,
    /// Maximum size of a chunk, in the unit of the pipeline file.
    pub chunk_size: i32,
    /// Maximum overlap of two chunks, in the same unit.
    pub chunk_overlap: i32,
    /// Time at which its build started.
    pub created_at: DateTime<Utc>,
    /// Time at which it last became live; missing before that.
    pub live_at: Option<DateTime<Utc>>,
    /// Time at which another generation replaced it; missing for others.
    pub retired_at: Option<DateTime<Utc>>,
    /// Time at which a rollback replaced it; missing for others.
    pub rolled_back_at: Option<DateTime<Utc>>,
}

/// A source of documents.
#[derive(Debug, Serialize, ToSchema)]
pub struct Source {
    /// Id of the source.
    pub id: Uuid,
    /// Path or URL of the source root.
    pub source: String,
    /// `directory`, `url`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// Completed documents of the source at the end of the last operation.
    pub document_count: i64,
    /// Bytes of these documents.
    pub size_bytes: i64,
    /// Time of the last operation that read it.
    pub last_indexed_at: Option<DateTime<Utc>>,
}

/// A permission on a collection, granted to a user or key.
#[derive(Debug, Serialize, ToSchema)]
pub struct Grant {
    /// Id of the grant, for its revocation.
    pub id: Uuid,
    /// User name of the recipient.
    pub user: Option<String>,
    /// Id of the key that received it.
    pub key: Option<Uuid>,
    /// The first characters of that key, for recognition.
    pub key_prefix: Option<String>,
    /// `read`, `write` or `admin`.
    pub permission: String,
    /// Time at which it was granted.
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
    /// The granted permission; it includes lower ones.
    pub permission: Permission,
}

/// Limits on the size and operations of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
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
#[derive(Debug, Serialize, ToSchema)]
pub struct LimitsAndUsage {
    /// The limits in force.
    pub limits: Limits,
    /// `false` for collections of the built-in account `local`, which have no limits.
    pub are_enforced: bool,
    /// Number of documents, in the unit of `max_documents`.
    pub documents: i64,
    /// Bytes of these documents.
    pub size_bytes: i64,
    /// Operations requested within the last hour.
    pub operations_within_the_hour: i64,
    /// Number of sources.
    pub sources: i64,
}
