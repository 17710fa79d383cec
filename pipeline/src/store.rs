//! The ports to the stores: metadata of documents (Postgres) and their vectors (Qdrant).
//!
//! The metadata store is the source of truth; vectors are derived from it. A sink writes vectors
//! first, makes them durable, and then commits the metadata in one transaction. Ids are derived
//! from content, so the next run repairs the state after a crash between these steps.

use std::collections::HashSet;
use std::fmt;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{BoxError, ContentHash, Location, Rejection, SparseVector};

/// An error of a store call.
///
/// ```
/// use pipeline::{Remedy, StoreError};
///
/// let error = StoreError {
///     doing: "open the vector collection",
///     remedy: Remedy::Conflict,
///     source: "process 4711 has it open".into(),
/// };
/// assert_eq!(error.to_string(), "could not open the vector collection");
/// ```
#[derive(Debug, thiserror::Error)]
#[error("could not {doing}")]
pub struct StoreError {
    /// The failed operation, such as `upsert points`.
    pub doing: &'static str,
    /// Possible reaction of the caller.
    pub remedy: Remedy,
    /// Error of the store.
    pub source: BoxError,
}

/// Possible reaction of the caller to a [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// The same call may succeed later: the store is unavailable or busy.
    Retry,
    /// Another process holds the resource or has changed it.
    Conflict,
    /// A repeated call fails again.
    GiveUp,
}

/// Source of a [`StoreError`] if the store currently accepts no writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the database is read-only (a standby, or default_transaction_read_only is on); only reads work"
)]
pub struct ReadOnly;

/// Identifies the settings that made the rows of a document: SHA-256 over the nodes before the
/// sink; see [`crate::Plan::fingerprint`].
///
/// ```
/// use pipeline::Fingerprint;
///
/// assert_eq!(Fingerprint([0xab; 32]).to_string(), "ab".repeat(32));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fingerprint(#[serde(with = "crate::hex")] pub [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::hex::write(&self.0, f)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Content hashes of documents that are stored with the current settings.
pub type KnownHashes = HashSet<ContentHash>;

/// State of a location after an earlier run.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownLocation {
    /// The location as recorded.
    pub location: Location,
    /// Hash of the content; `None` if it was not read.
    pub content_hash: Option<ContentHash>,
    /// Result of the location.
    pub state: KnownState,
}

/// Result of a location in an earlier run.
#[derive(Clone, Debug, PartialEq)]
pub enum KnownState {
    /// Stored with the current settings.
    Stored,
    /// Set aside with the current settings.
    Rejected {
        /// Node that set it aside.
        node: String,
        /// Reason code; see [`crate::RejectReason::code`].
        reason: String,
        /// Message of the rejection.
        message: String,
        /// Start of this state; `None` if it was not recorded.
        since: Option<DateTime<Utc>>,
    },
    /// Unreadable with the current settings. Every run tries again, because the file can become
    /// readable without any change of its metadata.
    Unreadable {
        /// Node that could not read it.
        node: String,
        /// Message of the rejection.
        message: String,
        /// Start of this state; `None` if it was not recorded.
        since: Option<DateTime<Utc>>,
    },
    /// A user deleted the document; the location stays excluded until its content changes.
    Withheld {
        /// User and time of the deletion, as text.
        message: String,
    },
    /// Stored or set aside with other settings, or unfinished: it must be read again.
    Stale,
}

/// A document to be stored.
#[derive(Clone, Debug, PartialEq)]
pub struct IncomingDocument {
    /// Location of the document.
    pub location: Location,
    /// Hash of its content.
    pub content_hash: ContentHash,
}

/// Identity that the metadata store assigns to an incoming document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DocumentIdentity {
    /// Id of the document; its points derive from it ([`point_id`]).
    pub document: Uuid,
    /// Number of chunks that the vector store may hold from before.
    pub previous_chunks: u32,
    /// [`StoredDocument::digest`] of these chunks, if they are exactly those of the last commit.
    pub previous_digest: Option<[u8; 32]>,
}

/// A document whose vectors are durable.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredDocument {
    /// Location and content hash.
    pub incoming: IncomingDocument,
    /// Id from [`MetadataStore::assign_ids`].
    pub document: Uuid,
    /// Media type.
    pub mime_type: String,
    /// Title of the document.
    pub title: Option<String>,
    /// ISO 639-1 code of the language; `None` if unknown.
    pub language: Option<String>,
    /// Metadata from the document: a JSON object.
    pub metadata: Value,
    /// Number of chunks, each with a vector.
    pub chunks: u32,
    /// SHA-256 over the content of all points.
    pub digest: [u8; 32],
}

/// Metadata of the documents of one collection. A value belongs to one run of one pipeline: it
/// knows the collection, the operation and the current [`Fingerprint`].
#[async_trait]
pub trait MetadataStore: Send + Sync {
    /// States of these locations, in input order; `None` for an unknown location.
    ///
    /// # Errors
    /// If the store cannot be reached.
    async fn lookup_locations(
        &self,
        uris: &[String],
    ) -> Result<Vec<Option<KnownLocation>>, StoreError>;

    /// Content hashes that are stored with the current settings.
    ///
    /// # Errors
    /// If the store cannot be reached.
    async fn known_hashes(&self) -> Result<KnownHashes, StoreError>;

    /// The ids under which these documents are to be stored, in input order. The store may record
    /// that they are about to be written. Repeated calls return the same ids until a commit, so
    /// that a run that was killed between vectors and metadata writes the same points again.
    ///
    /// A document with known content keeps its id, and a deleted one is restored under its id.
    /// Otherwise a location that is the only one of a document is an edit and keeps the id of that
    /// document. Otherwise the id is derived from collection and content.
    ///
    /// # Errors
    /// If the store cannot be reached.
    async fn assign_ids(
        &self,
        incoming: &[IncomingDocument],
    ) -> Result<Vec<DocumentIdentity>, StoreError>;

    /// Records that these documents are stored, with their locations, in one transaction. A
    /// document that loses its last location is marked deleted. Returns the ids of these documents;
    /// the caller removes their points.
    ///
    /// # Errors
    /// If the transaction failed; it then has no effect.
    async fn commit(&self, documents: &[StoredDocument]) -> Result<Vec<Uuid>, StoreError>;

    /// Records rejections, each with the id of its node, in one transaction. Returns the ids of
    /// documents that lost their last location. Their points must not be removed while a sink
    /// writes, because it may be restoring one of them.
    ///
    /// # Errors
    /// If the transaction failed; it then has no effect.
    async fn record_rejections(
        &self,
        set_aside: &[(String, Rejection)],
    ) -> Result<Vec<Uuid>, StoreError>;

    /// Records that the points of these deleted documents are removed.
    ///
    /// # Errors
    /// If the store cannot be reached.
    async fn mark_purged(&self, documents: &[Uuid]) -> Result<(), StoreError>;
}

/// A chunk in the vector store.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// See [`point_id`].
    pub id: Uuid,
    /// Dense vector; its length is the dimension of the collection.
    pub vector: Vec<f32>,
    /// Sparse vector, in a collection with sparse vectors; `None` for a chunk without terms.
    pub sparse: Option<SparseVector>,
    /// Fields for results and filters of a search.
    pub payload: Payload,
}

/// Fields stored with a vector. Their names in the stores are those of the source specification:
/// `document_id`, `collection_id`, `chunk_index`, `content` at the top level, the rest below
/// `metadata`.
#[derive(Clone, Debug, PartialEq)]
pub struct Payload {
    /// Id of the collection.
    pub collection: Uuid,
    /// Id of the document.
    pub document: Uuid,
    /// Position of the chunk in the document, from 0.
    pub chunk_index: u32,
    /// Text of the chunk.
    pub content: String,
    /// URI of the document when it was stored (`metadata.source_path`).
    pub uri: String,
    /// Source root of the document (`metadata.source`).
    pub source: String,
    /// Media type (`metadata.mime_type`).
    pub mime_type: String,
    /// Title of the document (`metadata.title`).
    pub title: Option<String>,
    /// Language of the document (`metadata.language`).
    pub language: Option<String>,
    /// Heading path (`metadata.headings`).
    pub headings: Option<String>,
    /// Page, from 1 (`metadata.page`).
    pub page: Option<u32>,
    /// Start of the chunk in the text of the document, in bytes (`metadata.start`).
    pub start: u64,
    /// End of the chunk in bytes, exclusive (`metadata.end`).
    pub end: u64,
    /// Time of last modification of the file, microseconds since 1970-01-01 UTC
    /// (`metadata.modified_at`, RFC 3339).
    pub modified_at: Option<i64>,
    /// Metadata of the document as `key=value`, for filters (`metadata.facts`).
    pub facts: Vec<String>,
}

/// Fields of a [`Payload`] that depend on the location of the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentLocation {
    /// URI of the document.
    pub uri: String,
    /// Source root of the document.
    pub source: String,
    /// Title; `None` if it does not depend on the location.
    pub title: Option<String>,
    /// Time of last modification, microseconds since 1970-01-01 UTC.
    pub modified_at: Option<i64>,
}

/// The id of the point of a chunk: a name-based UUID (RFC 9562, version 5) of the chunk index in
/// the namespace of the document, so that a chunk written again replaces its point.
///
/// ```
/// use pipeline::point_id;
/// use uuid::Uuid;
///
/// let document = Uuid::from_u128(7);
/// assert_eq!(point_id(document, 0), point_id(document, 0));
/// assert_ne!(point_id(document, 0), point_id(document, 1));
/// assert_ne!(point_id(document, 0), point_id(Uuid::from_u128(8), 0));
/// ```
pub fn point_id(document: Uuid, chunk_index: u32) -> Uuid {
    Uuid::new_v5(&document, &chunk_index.to_be_bytes())
}

/// A metadata field in the form of [`Payload::facts`].
pub fn format_fact(key: &str, value: &str) -> String {
    format!("{key}={value}")
}

/// Write access to the vectors of one collection and generation. `vectors::MemoryVectors` has an
/// example.
#[async_trait]
pub trait VectorStore: Send + Sync {
    /// Writes points and replaces those with the same id. The points of a document are adjacent and
    /// become visible together as far as the store supports it.
    ///
    /// # Errors
    /// If some of them could not be written; a retry is safe.
    async fn upsert(&self, points: Vec<Point>) -> Result<(), StoreError>;

    /// Removes the points of a document from this chunk index on.
    ///
    /// # Errors
    /// If they could not be removed; a retry is safe.
    async fn truncate(&self, document: Uuid, from_chunk: u32) -> Result<(), StoreError>;

    /// Updates the location in the points of a document.
    ///
    /// # Errors
    /// If they could not be changed; a retry is safe.
    async fn update_location(
        &self,
        document: Uuid,
        place: &DocumentLocation,
    ) -> Result<(), StoreError>;

    /// Removes all points of these documents.
    ///
    /// # Errors
    /// If they could not be removed; a retry is safe.
    async fn remove(&self, documents: &[Uuid]) -> Result<(), StoreError>;

    /// Returns when all earlier writes are durable.
    ///
    /// # Errors
    /// If the store cannot be reached.
    async fn flush(&self) -> Result<(), StoreError>;
}
