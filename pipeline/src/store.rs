//! The ports to the stores: what is known of documents (Postgres) and their vectors (Qdrant).
//!
//! Truth and order: the metadata store is the truth, the vectors are derived from it. A sink writes
//! vectors first, makes them durable, and then commits the metadata in one transaction; whatever a
//! crash leaves between the two is repaired by the next run, because ids are derived from content.

use std::collections::HashSet;
use std::fmt;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::{BoxError, ContentHash, Location, SetAside, SparseVector};

/// A store that did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[error("could not {doing}")]
pub struct StoreError {
    /// What was being done: `upsert points`.
    pub doing: &'static str,
    /// What the caller can do about it.
    pub remedy: Remedy,
    /// What the store said.
    pub source: BoxError,
}

/// What can be done about a [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// The same call may succeed later: the store is away or busy.
    Retry,
    /// Somebody else holds what is needed, or changed it meanwhile.
    Conflict,
    /// It will not succeed by itself.
    GiveUp,
}

/// The source of a [`StoreError`] where nothing can be written to the store at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the database is read-only: a standby, or one whose default_transaction_read_only is on; what only reads works"
)]
pub struct ReadOnly;

/// Identifies the settings that made a document's rows: SHA-256 over the chain of nodes before the
/// sink, as [`crate::Plan::fingerprint`] gives it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ContentHash(self.0).fmt(f)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The content hashes of documents that are stored as the present settings would store them.
pub type KnownHashes = HashSet<ContentHash>;

/// What an earlier run knew of a location.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownLocation {
    /// As it was found then.
    pub location: Location,
    /// Content of then, if it was read.
    pub content_hash: Option<ContentHash>,
    /// What became of it.
    pub state: KnownState,
}

/// What became of a location that an earlier run saw.
#[derive(Clone, Debug, PartialEq)]
pub enum KnownState {
    /// Stored, by the present settings.
    Stored,
    /// Set aside, by the present settings.
    SetAside {
        /// The node that set it aside.
        node: String,
        /// [`crate::Why::reason`] of then.
        reason: String,
        /// The message of then.
        message: String,
        /// Since when, if that was noted.
        since: Option<DateTime<Utc>>,
    },
    /// It could not be read, by the present settings. It is tried at every run, since nothing about the file need
    /// change for it to be readable.
    Unreadable {
        /// The node that tried.
        node: String,
        /// The message of then.
        message: String,
        /// Since when, if that was noted.
        since: Option<DateTime<Utc>>,
    },
    /// Somebody has deleted its document; it stays out while it holds the content that it held.
    Withheld {
        /// Who and when, in words.
        message: String,
    },
    /// Stored or set aside by other settings, or not finished: it has to be read again.
    Stale,
}

/// A document on its way into the stores.
#[derive(Clone, Debug, PartialEq)]
pub struct Incoming {
    /// Where it was seen.
    pub location: Location,
    /// Its content.
    pub content_hash: ContentHash,
}

/// The place that the metadata store gives to an incoming document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Id of the document; its points derive from it ([`point_id`]).
    pub document: Uuid,
    /// How many chunks the vector store may hold of it from before.
    pub chunks_before: u32,
    /// [`StoredDocument::digest`] of those, if they are just what was stored then.
    pub digest: Option<[u8; 32]>,
}

/// A document whose vectors are stored and durable.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredDocument {
    /// What came in.
    pub incoming: Incoming,
    /// The id that [`MetadataStore::identify`] gave.
    pub document: Uuid,
    /// Media type.
    pub mime_type: String,
    /// Title, if it has one.
    pub title: Option<String>,
    /// ISO 639-1 code, if it is known.
    pub language: Option<String>,
    /// What the document says of itself: a JSON object.
    pub metadata: Value,
    /// Number of chunks, each with a vector.
    pub chunks: u32,
    /// SHA-256 over everything that its points hold.
    pub digest: [u8; 32],
}

/// What is known of the documents of one collection. A value stands for one run of one pipeline: it
/// knows the collection, the operation and the present [`Fingerprint`].
#[async_trait]
pub trait MetadataStore: Send + Sync {
    /// What is known of these locations, in the order asked.
    ///
    /// # Errors
    /// If the store cannot be reached.
    async fn locate(&self, uris: &[String]) -> Result<Vec<Option<KnownLocation>>, StoreError>;

    /// The contents that are stored as the present settings would store them.
    ///
    /// # Errors
    /// If the store cannot be reached.
    async fn known_hashes(&self) -> Result<KnownHashes, StoreError>;

    /// The ids under which these documents are to be stored, in the order given. The store may note that
    /// they are about to be written; asking twice gives the same answer until something is committed, so that a run which was killed between
    /// vectors and metadata writes the same points again.
    ///
    /// A document with this content keeps its id (a deleted one comes back under it); else a location
    /// that alone belongs to a document is an edit, and keeps that document's id; else the id derives
    /// from collection and content.
    ///
    /// # Errors
    /// If the store cannot be reached.
    async fn identify(&self, incoming: &[Incoming]) -> Result<Vec<Identity>, StoreError>;

    /// Records that these documents are stored, with their locations, in one transaction. A document
    /// that has lost its last location by this is marked deleted; the ids of those are returned, and
    /// their points are the caller's to remove.
    ///
    /// # Errors
    /// If the transaction could not be carried out; then nothing of it was.
    async fn commit(&self, documents: &[StoredDocument]) -> Result<Vec<Uuid>, StoreError>;

    /// Records documents that left the pipeline early, each with the node that set it aside, in one
    /// transaction. Returns ids of documents that lost their last location. Their points are not to be
    /// removed while a sink writes: it may be bringing one of them back.
    ///
    /// # Errors
    /// If the transaction could not be carried out; then nothing of it was.
    async fn record(&self, set_aside: &[(String, SetAside)]) -> Result<Vec<Uuid>, StoreError>;

    /// Says that the points of these deleted documents are gone.
    ///
    /// # Errors
    /// If the store cannot be reached.
    async fn purged(&self, documents: &[Uuid]) -> Result<(), StoreError>;
}

/// One chunk in the vector store.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// See [`point_id`].
    pub id: Uuid,
    /// The vector; its length is the collection's dimension.
    pub vector: Vec<f32>,
    /// Its words, in a collection that keeps them; a chunk without a word has none.
    pub sparse: Option<SparseVector>,
    /// What a search gives back, and filters on.
    pub payload: Payload,
}

/// What stands beside a vector. Field names in the stores are those of the source specification:
/// `document_id`, `collection_id`, `chunk_index`, `content` at the top, the rest below `metadata`.
#[derive(Clone, Debug, PartialEq)]
pub struct Payload {
    /// The collection.
    pub collection: Uuid,
    /// The document.
    pub document: Uuid,
    /// Position of the chunk in the document, from 0.
    pub chunk_index: u32,
    /// The text of the chunk.
    pub content: String,
    /// Where the document was seen when it was stored (`metadata.source_path`).
    pub uri: String,
    /// The source that found it (`metadata.source`).
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
    /// First byte of the chunk in the document's text (`metadata.start`).
    pub start: u64,
    /// The byte behind the chunk (`metadata.end`).
    pub end: u64,
    /// Time of last modification of the file, microseconds since 1970-01-01 UTC
    /// (`metadata.modified_at`, RFC 3339).
    pub modified_at: Option<i64>,
    /// What the document says of itself, as `key=value`, for filters (`metadata.facts`).
    pub facts: Vec<String>,
}

/// What the points of a document say of the place where it is; see [`Payload`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where it is.
    pub uri: String,
    /// What gave it.
    pub source: String,
    /// Its title, if that changes with the place.
    pub title: Option<String>,
    /// Microseconds since 1970-01-01 UTC.
    pub modified_at: Option<i64>,
}

/// The id of a chunk's point: a name-based UUID (RFC 9562, version 5) of the chunk's index in the
/// namespace of its document, so that writing a chunk again replaces it.
pub fn point_id(document: Uuid, chunk_index: u32) -> Uuid {
    Uuid::new_v5(&document, &chunk_index.to_be_bytes())
}

/// What a document says of itself, as it stands in [`Payload::facts`].
pub fn fact(key: &str, value: &str) -> String {
    format!("{key}={value}")
}

/// The writing half of the vectors of one collection and generation.
#[async_trait]
pub trait VectorStore: Send + Sync {
    /// Writes points, replacing those of the same id. Points of a document stand together, and become
    /// visible together as far as the store can.
    ///
    /// # Errors
    /// If not all of them could be written; writing them again is safe.
    async fn upsert(&self, points: Vec<Point>) -> Result<(), StoreError>;

    /// Removes the points of a document from this chunk index on.
    ///
    /// # Errors
    /// If they could not be removed; doing it again is safe.
    async fn truncate(&self, document: Uuid, from_chunk: u32) -> Result<(), StoreError>;

    /// Has the points of a document say that it is at another place.
    ///
    /// # Errors
    /// If they could not be changed; doing it again is safe.
    async fn relocate(&self, document: Uuid, place: &Place) -> Result<(), StoreError>;

    /// Removes every point of these documents.
    ///
    /// # Errors
    /// If they could not be removed; doing it again is safe.
    async fn remove(&self, documents: &[Uuid]) -> Result<(), StoreError>;

    /// Returns when everything that was written survives a crash.
    ///
    /// # Errors
    /// If the store cannot be reached.
    async fn flush(&self) -> Result<(), StoreError>;
}
