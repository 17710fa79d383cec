//! Collections, their sources, generations, grants and limits, as JSON.

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
    /// The user name of its owner.
    pub owner: String,
    /// What it is about.
    pub description: Option<String>,
    /// `pending`, `ready`, `processing`, `error` or `degraded`.
    pub status: String,
    /// Why it is so.
    pub status_message: Option<String>,
    /// The embedding model of the live generation.
    pub model: String,
    /// How vectors are stored: `float32`, `float16` or `int8`.
    pub quantization: String,
    pub chunk_size: i32,
    pub chunk_overlap: i32,
    /// Completed documents, when the last operation ended.
    pub document_count: i64,
    /// Chunks of those.
    pub chunk_count: i64,
    /// Bytes of those.
    pub size_bytes: i64,
    /// Whether everybody may read it.
    pub is_public: bool,
    /// Whether its deletion has begun.
    pub is_being_deleted: bool,
    /// Whether this server searches it and works on it; of others it knows the metadata only.
    pub is_served: bool,
    /// The most that who asks may do to it: `read`, `write`, `admin` or `owner`.
    pub right: &'static str,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// What is to change of a collection.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeCollection {
    pub description: Option<String>,
    /// Public is readable by everybody, and writable by nobody more.
    pub is_public: Option<bool>,
    /// The user name of a new owner; only the owner can say so. A pipeline file that fills the collection has to
    /// name the new owner, too.
    pub owner: Option<String>,
}

/// A whole set of vectors of a collection.
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

/// Where documents come from.
#[derive(Debug, Serialize, ToSchema)]
pub struct Source {
    pub id: Uuid,
    /// The path or URL.
    pub source: String,
    /// `directory`, `url`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// Completed documents from it, when the last operation ended.
    pub document_count: i64,
    pub size_bytes: i64,
    /// When an operation read it last.
    pub last_indexed_at: Option<DateTime<Utc>>,
}

/// What somebody was given.
#[derive(Debug, Serialize, ToSchema)]
pub struct Grant {
    pub id: Uuid,
    /// The user name of who has it.
    pub user: Option<String>,
    /// The key that has it.
    pub key: Option<Uuid>,
    /// By which a person recognises that.
    pub key_prefix: Option<String>,
    /// `read`, `write` or `admin`.
    pub permission: String,
    pub created_at: DateTime<Utc>,
}

/// What a grant can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Permission {
    /// Find it, and look at everything in it.
    Read,
    /// Change what is in it.
    Write,
    /// Change who may use it.
    Admin,
}

/// Gives somebody something; replaces what they had. One of `user` and `key`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Give {
    /// A user name.
    pub user: Option<String>,
    /// The id of a key.
    pub key: Option<Uuid>,
    pub permission: Permission,
}

/// How large a collection may grow, and how much may be done to it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    #[schema(minimum = 1)]
    pub max_documents: i64,
    /// 10⁹ bytes of documents.
    #[schema(exclusive_minimum = 0.0)]
    pub max_storage_gb: f64,
    #[schema(minimum = 1)]
    pub max_operations_per_hour: i64,
    #[schema(minimum = 1)]
    pub max_sources: i64,
}

/// Limits, and how much of them is used.
#[derive(Debug, Serialize, ToSchema)]
pub struct LimitsAndUsage {
    pub limits: Limits,
    /// Whether they hold: collections of the built-in account `local` have none.
    pub are_enforced: bool,
    pub documents: i64,
    pub size_bytes: i64,
    pub operations_within_the_hour: i64,
    pub sources: i64,
}
