//! The port to what a run changes besides its documents: repair after a crash, deletions, moved
//! documents.
//!
//! A run calls [`Lifecycle::recover`] and purges, passes over its sources, and then deletes missing
//! documents, updates the points of moved ones, and purges again.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{DocumentLocation, MetadataStore, StoreError};

/// Missing part of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingDocuments {
    /// Path or URL of the source.
    pub source: String,
    /// Documents that have lost their last location.
    pub documents: i64,
    /// Documents of the source, including those.
    pub of: i64,
    /// Missing locations, including those without a document.
    pub locations: i64,
    /// Device number of the source at its last run, if it was recorded.
    pub device: Option<i64>,
}

/// Result of one step of deleting missing locations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForgottenBatch {
    /// Number of documents deleted by it.
    pub documents: u64,
    /// Key of the last location, from which the next step continues.
    pub last: Vec<u8>,
}

/// A document with a location that differs from the one in its points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relocation {
    /// Id of the document.
    pub document: Uuid,
    /// The path in its points.
    pub before: String,
    /// Its current location, the first in order of URI.
    pub uri: String,
    /// The source of that location.
    pub source: Option<String>,
    /// Title of the document.
    pub title: Option<String>,
    /// Modification time of the file.
    pub mtime: Option<DateTime<Utc>>,
}

/// A metadata store during one pass over the sources: a location is seen if it was stored or
/// rejected since the pass began.
///
/// # Errors
/// Every method fails if the store cannot be reached, or if the run has lost the right to write.
#[async_trait]
pub trait Lifecycle: MetadataStore {
    /// Marks documents as deleted whose points a run was writing when it died and that have no
    /// location, because no run will write them again. Precedes the first pass of a run.
    async fn recover(&self) -> Result<(), StoreError>;

    /// At most `limit` documents whose points are to be removed: deleted ones, failed ones, and
    /// those that a run was writing when it died and never committed. The caller removes the
    /// points, calls [`MetadataStore::mark_purged`], and repeats until the result is empty; no sink
    /// may be writing meanwhile.
    async fn unpurged(&self, limit: u32) -> Result<Vec<Uuid>, StoreError>;

    /// Number of seen locations with a content that no document has. It is not 0 after a pass if a
    /// file was edited and a copy of its old content was seen only later: the copy counted as a
    /// duplicate of content that is gone now. Another pass over the sources reads only these.
    async fn count_unattached(&self) -> Result<u64, StoreError>;

    /// The locations of these completely listed sources that were not seen, by source; sources
    /// without one are left out. Locations below an unreadable folder do not count.
    async fn missing_documents(
        &self,
        sources: &[String],
    ) -> Result<Vec<MissingDocuments>, StoreError>;

    /// Deletes at most `limit` missing locations after the key `after`, and marks documents without
    /// a remaining location as deleted; `None` when no location is missing any more. After an error
    /// another call continues.
    async fn forget_missing(
        &self,
        sources: &[String],
        after: &[u8],
        limit: u32,
    ) -> Result<Option<ForgottenBatch>, StoreError>;

    /// Those of these sources that have never delivered a document to the collection.
    async fn unknown_sources(&self, sources: &[String]) -> Result<Vec<String>, StoreError>;

    /// Records the devices of sources, to detect later that one was unmounted.
    async fn record_devices(&self, devices: &[(String, i64)]) -> Result<(), StoreError>;

    /// At most `limit` moved documents, in order of id, after `after`.
    async fn pending_relocations(
        &self,
        after: Uuid,
        limit: u32,
    ) -> Result<Vec<Relocation>, StoreError>;

    /// Records that the location in the points of these documents is unreliable until
    /// [`Lifecycle::mark_relocated`].
    async fn mark_relocating(&self, documents: &[Uuid]) -> Result<(), StoreError>;

    /// Records that the points of these documents have their current location.
    async fn mark_relocated(&self, places: &[(Uuid, DocumentLocation)]) -> Result<(), StoreError>;
}
