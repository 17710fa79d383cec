//! JSON types of collections, generations and grants.

use chrono::{DateTime, Utc};
use metadata::{CollectionStatus, GenerationStatus, VisibleCollection};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::right::AccessLevel;

/// A collection.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Collection {
    /// Id of the collection; it never changes.
    pub id: Uuid,
    /// Unique among the collections of its owner.
    pub name: String,
    /// User name of the owner.
    owner: String,
    /// Description for users.
    description: Option<String>,
    /// `pending`, `ready`, `processing`, `error` or `degraded`.
    #[schema(value_type = String)]
    status: CollectionStatus,
    /// Reason of the status.
    status_message: Option<String>,
    /// The embedding model of the live generation.
    model: String,
    /// Precision of stored vectors: `float32`, `float16` or `int8`.
    quantization: String,
    chunk_size: i32,
    chunk_overlap: i32,
    /// Completed documents at the end of the last operation.
    document_count: i64,
    /// Chunks of these documents.
    chunk_count: i64,
    /// Bytes of these documents.
    size_bytes: i64,
    /// `true` if every caller may read it.
    is_public: bool,
    /// `true` once its deletion has begun.
    pub is_being_deleted: bool,
    /// `true` if this server searches and changes it; for other collections it has only metadata.
    pub is_served: bool,
    /// The caller's permission: `read`, `write`, `admin` or `owner`.
    right: &'static str,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl Collection {
    /// The collection for a caller with this right.
    pub(crate) fn new(seen: VisibleCollection, is_served: bool, right: AccessLevel) -> Self {
        let VisibleCollection { collection, owner, .. } = seen;
        Self {
            id: collection.id,
            name: collection.name,
            owner,
            description: collection.description,
            status: collection.status,
            status_message: collection.status_message,
            model: collection.embedding_model,
            quantization: collection.quantization,
            chunk_size: collection.chunk_size,
            chunk_overlap: collection.chunk_overlap,
            document_count: collection.document_count,
            chunk_count: collection.vector_count,
            size_bytes: collection.total_size_bytes,
            is_public: collection.is_public,
            is_being_deleted: collection.deleting_since.is_some(),
            is_served,
            right: right.name(),
            created_at: collection.created_at,
            updated_at: collection.updated_at,
        }
    }
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
    number: i32,
    /// `building`, `live` or `retired`.
    #[schema(value_type = String)]
    status: GenerationStatus,
    model: String,
    dim: i32,
    quantization: String,
    chunk_size: i32,
    chunk_overlap: i32,
    created_at: DateTime<Utc>,
    live_at: Option<DateTime<Utc>>,
    retired_at: Option<DateTime<Utc>>,
    rolled_back_at: Option<DateTime<Utc>>,
}

/// Without the folder of the model and the name of the vectors, which are internal.
impl From<metadata::Generation> for Generation {
    fn from(generation: metadata::Generation) -> Self {
        Self {
            number: generation.number,
            status: generation.status,
            model: generation.embedding_model,
            dim: generation.dim,
            quantization: generation.quantization,
            chunk_size: generation.chunk_size,
            chunk_overlap: generation.chunk_overlap,
            created_at: generation.created_at,
            live_at: generation.live_at,
            retired_at: generation.retired_at,
            rolled_back_at: generation.rolled_back_at,
        }
    }
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
