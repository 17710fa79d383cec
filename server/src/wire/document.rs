//! Documents, their chunks and their story, as JSON.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// A document.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Document {
    pub id: Uuid,
    /// Where it was when it was last written.
    pub path: String,
    /// The last part of that.
    pub name: String,
    /// `pending`, `processing`, `completed`, `failed` or `deleted`.
    pub status: String,
    pub size_bytes: i64,
    pub mime_type: Option<String>,
    pub chunk_count: i64,
    /// What it is called in its metadata or its first heading; missing where that is a placeholder of a program.
    pub title: Option<String>,
    /// ISO 639-1.
    pub language: Option<String>,
    /// What it says of itself: author, dates.
    #[schema(value_type = Object)]
    pub metadata: Value,
    /// Why it was set aside, in one word: `failed`, `unsupported`, `empty`, `too_large` or `unrouted`.
    pub reason: Option<String>,
    /// Why it was set aside.
    pub message: Option<String>,
    pub updated_at: DateTime<Utc>,
}

/// What became of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DocumentStatus {
    Pending,
    Processing,
    Completed,
    Failed,
    Deleted,
}

/// A part of a document, as it was embedded.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Chunk {
    /// Its place among the chunks of the document, from 0.
    pub index: u32,
    pub text: String,
    /// The headings above it.
    pub headings: Option<String>,
    /// From 1.
    pub page: Option<u32>,
    /// Its first byte in the text of the document.
    pub start: u64,
    /// The byte behind it.
    pub end: u64,
}

/// Which chunks.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct WhichChunks {
    /// The first one.
    #[serde(default)]
    #[param(default = 0)]
    pub from: u32,
    /// How many at most.
    #[serde(default = "super::fifty")]
    #[param(minimum = 1, maximum = 1000, default = 50)]
    pub limit: u32,
}

/// Some chunks of a document.
#[derive(Debug, Serialize, ToSchema)]
pub struct Chunks {
    pub items: Vec<Chunk>,
    /// How many the document has.
    pub total: u32,
}

/// What is asked about.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// The path, the URL or the id of a document.
    #[param(min_length = 1)]
    pub document: String,
}
