//! JSON types of documents and chunks.

use chrono::{DateTime, Utc};
use metadata::{DocumentStatus, ListedDocument};
use search::title;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// A document.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Document {
    id: Uuid,
    /// Location at the last write.
    pub path: String,
    /// Last segment of the path.
    name: String,
    /// `pending`, `processing`, `completed`, `failed` or `deleted`.
    #[schema(value_type = String)]
    status: DocumentStatus,
    size_bytes: i64,
    mime_type: Option<String>,
    chunk_count: i64,
    /// Title from the metadata or the first heading; missing if it is a placeholder of a program.
    pub title: Option<String>,
    /// ISO 639-1.
    language: Option<String>,
    /// Metadata of the document: author, dates.
    #[schema(value_type = Object)]
    metadata: Value,
    /// Reason of the rejection: `failed`, `unsupported`, `empty`, `too_large` or `unrouted`.
    reason: Option<String>,
    /// Message of the rejection.
    pub message: Option<String>,
    updated_at: DateTime<Utc>,
}

impl From<ListedDocument> for Document {
    fn from(document: ListedDocument) -> Self {
        let text = |key: &str| document.meta[key].as_str();
        Self {
            id: document.id,
            title: title::meaningful(text("title")).map(str::to_owned),
            language: text("language").map(str::to_owned),
            metadata: document.meta.get("metadata").cloned().unwrap_or_else(|| json!({})),
            path: document.file_path,
            name: document.file_name,
            status: document.status,
            size_bytes: document.file_size,
            mime_type: document.mime_type,
            chunk_count: document.chunk_count,
            message: document.error_message,
            reason: document.reason,
            updated_at: document.updated_at,
        }
    }
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
