//! JSON types of documents and chunks.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// A document.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Document {
    /// Id of the document; it survives edits and moves.
    pub id: Uuid,
    /// Location at the last write.
    pub path: String,
    /// Last segment of the path.
    pub name: String,
    /// `pending`, `processing`, `completed`, `failed` or `deleted`.
    pub status: String,
    /// Size of the file in bytes.
    pub size_bytes: i64,
    /// Media type, such as `text/html`; missing if it was not determined.
    pub mime_type: Option<String>,
    /// Number of chunks; 0 for a document that was set aside.
    pub chunk_count: i64,
    /// Title from the metadata or the first heading; missing if it is a placeholder of a program.
    pub title: Option<String>,
    /// ISO 639-1.
    pub language: Option<String>,
    /// Metadata of the document: author, dates.
    #[schema(value_type = Object)]
    pub metadata: Value,
    /// Reason of the rejection: `failed`, `unsupported`, `empty`, `too_large` or `unrouted`.
    pub reason: Option<String>,
    /// Message of the rejection.
    pub message: Option<String>,
    /// Time of the last write of the document.
    pub updated_at: DateTime<Utc>,
}

/// Status of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DocumentStatus {
    /// Known, and not yet processed.
    Pending,
    /// An operation is storing it.
    Processing,
    /// Stored and found by searches.
    Completed,
    /// Set aside; `reason` and `message` say why.
    Failed,
    /// Deleted; its id is kept for a while.
    Deleted,
}

/// A chunk of a document, as embedded.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Chunk {
    /// Index among the chunks of the document, from 0.
    pub index: u32,
    /// Text of the chunk.
    pub text: String,
    /// Headings above the chunk.
    pub headings: Option<String>,
    /// Page number, from 1.
    pub page: Option<u32>,
    /// Byte offset of the start in the text of the document.
    pub start: u64,
    /// Byte offset of the end, exclusive.
    pub end: u64,
}

/// Range of chunks to return.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ChunksQuery {
    /// Index of the first chunk.
    #[serde(default)]
    #[param(default = 0)]
    pub from: u32,
    /// Maximum number of chunks.
    #[serde(default = "super::fifty")]
    #[param(minimum = 1, maximum = 1000, default = 50)]
    pub limit: u32,
}

/// Chunks of a document.
#[derive(Debug, Serialize, ToSchema)]
pub struct Chunks {
    /// In order of their index.
    pub items: Vec<Chunk>,
    /// Number of chunks of the document.
    pub total: u32,
}

/// Document to explain.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DocumentQuery {
    /// Path, URL or id of a document.
    #[param(min_length = 1)]
    pub document: String,
}
