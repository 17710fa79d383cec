//! In-memory metadata of a collection: exact and small, for experiments with pipelines and for
//! tests.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use pipeline::{
    ContentHash, DocumentIdentity, IncomingDocument, KnownHashes, KnownLocation, KnownState,
    Location, MetadataStore, Rejection, StoreError, StoredDocument,
};
use uuid::Uuid;

/// The metadata of one collection in memory. All runs have the same settings, so no document
/// becomes stale.
pub struct MemoryMetadata {
    collection: Uuid,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    documents: BTreeMap<Uuid, Document>,
    locations: HashMap<String, KnownLocation>,
}

/// A document, deleted or not.
struct Document {
    content_hash: ContentHash,
    locations: BTreeSet<String>,
    chunks: u32,
    deleted: bool,
    /// `true` if its points are known to be removed. A chunk count of 0 does not imply that: a
    /// killed run may have written some.
    purged: bool,
}

impl MemoryMetadata {
    /// Metadata of a collection without documents.
    pub fn new(collection: Uuid) -> Self {
        Self { collection, state: Mutex::default() }
    }

    /// The documents that are not deleted, in order of id.
    pub fn documents(&self) -> Vec<MemoryDocument> {
        let state = locked(&self.state);
        let stored = state.documents.iter().filter(|(_, document)| !document.deleted);
        let stored = stored.map(|(id, document)| MemoryDocument {
            id: *id,
            content_hash: document.content_hash,
            chunks: document.chunks,
            locations: document.locations.clone(),
        });
        stored.collect()
    }
}

/// A document in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryDocument {
    /// Id of the document.
    pub id: Uuid,
    /// Hash of its content.
    pub content_hash: ContentHash,
    /// Number of its chunks.
    pub chunks: u32,
    /// URIs of its locations.
    pub locations: BTreeSet<String>,
}

impl State {
    /// The document with this content; documents that are not deleted come first.
    fn with_content(&self, hash: ContentHash) -> Option<Uuid> {
        let mut holders: Vec<_> =
            self.documents.iter().filter(|(_, it)| it.content_hash == hash).collect();
        holders.sort_by_key(|(_, document)| document.deleted);
        holders.first().map(|(id, _)| **id)
    }

    /// The document with this location as its only one.
    fn sole_document_at(&self, uri: &str) -> Option<Uuid> {
        let alone = |it: &Document| it.locations.len() == 1 && it.locations.contains(uri);
        self.documents.iter().find(|(_, it)| alone(it)).map(|(id, _)| *id)
    }

    /// An unused id derived from the content. The first candidate may belong to a document that had
    /// this content and was edited since.
    fn derived_id(&self, collection: Uuid, hash: ContentHash) -> Uuid {
        let derive = |salt: u32| {
            let name = [hash.0.as_slice(), &salt.to_be_bytes()].concat();
            Uuid::new_v5(&collection, &name)
        };
        let free = |id: &Uuid| !self.documents.contains_key(id);
        (0..).map(derive).find(free).expect("one of 2^32 candidates is unused")
    }

    /// Replaces the state of a location and detaches it from its document.
    fn place(&mut self, location: Location, hash: Option<ContentHash>, state: KnownState) {
        for document in self.documents.values_mut() {
            document.locations.remove(&location.uri);
        }
        let uri = location.uri.clone();
        self.locations.insert(uri, KnownLocation { location, content_hash: hash, state });
    }

    /// Marks documents without a location as deleted. Returns every deleted document whose points
    /// are not known to be removed, including those of earlier calls, because a run may have died
    /// before the removal.
    fn sweep(&mut self) -> Vec<Uuid> {
        for document in self.documents.values_mut().filter(|it| it.locations.is_empty()) {
            document.deleted = true;
        }
        let unpurged = self.documents.iter().filter(|(_, it)| it.deleted && !it.purged);
        unpurged.map(|(id, _)| *id).collect()
    }
}

#[async_trait]
impl MetadataStore for MemoryMetadata {
    async fn lookup_locations(
        &self,
        uris: &[String],
    ) -> Result<Vec<Option<KnownLocation>>, StoreError> {
        let state = locked(&self.state);
        Ok(uris.iter().map(|uri| state.locations.get(uri).cloned()).collect())
    }

    async fn known_hashes(&self) -> Result<KnownHashes, StoreError> {
        Ok(self.documents().into_iter().map(|it| it.content_hash).collect())
    }

    async fn assign_ids(
        &self,
        incoming: &[IncomingDocument],
    ) -> Result<Vec<DocumentIdentity>, StoreError> {
        let state = locked(&self.state);
        let coming: BTreeSet<ContentHash> = incoming.iter().map(|it| it.content_hash).collect();
        // The document of an edited file is in use if its old content comes from another location.
        let edited = |id: &Uuid| !coming.contains(&state.documents[id].content_hash);
        let mut given: HashMap<ContentHash, Uuid> = HashMap::new();
        let identify = |it: &IncomingDocument| {
            let document = *given.entry(it.content_hash).or_insert_with(|| {
                state
                    .with_content(it.content_hash)
                    .or_else(|| state.sole_document_at(&it.location.uri).filter(edited))
                    .unwrap_or_else(|| state.derived_id(self.collection, it.content_hash))
            });
            let chunks_before = state.documents.get(&document).map_or(0, |it| it.chunks);
            DocumentIdentity { document, previous_chunks: chunks_before, previous_digest: None }
        };
        Ok(incoming.iter().map(identify).collect())
    }

    async fn commit(&self, documents: &[StoredDocument]) -> Result<Vec<Uuid>, StoreError> {
        let mut state = locked(&self.state);
        for stored in documents {
            let IncomingDocument { location, content_hash } = stored.incoming.clone();
            let uri = location.uri.clone();
            state.place(location, Some(content_hash), KnownState::Stored);
            let document = state.documents.entry(stored.document).or_insert_with(|| Document {
                content_hash,
                locations: BTreeSet::new(),
                chunks: 0,
                deleted: false,
                purged: false,
            });
            document.content_hash = content_hash;
            document.chunks = stored.chunks;
            document.deleted = false;
            document.purged = false;
            document.locations.insert(uri);
        }
        Ok(state.sweep())
    }

    async fn record_rejections(
        &self,
        set_aside: &[(String, Rejection)],
    ) -> Result<Vec<Uuid>, StoreError> {
        let mut state = locked(&self.state);
        for (node, Rejection { location, content_hash, reason: why }) in set_aside {
            let uri = location.uri.clone();
            let known = match content_hash {
                Some(hash) => state.with_content(*hash).filter(|id| !state.documents[id].deleted),
                None => None,
            };
            let (reason, message) = (why.code().to_owned(), why.to_string());
            let since = None;
            let known_state = KnownState::Rejected { node: node.clone(), reason, message, since };
            let known_state = if known.is_some() { KnownState::Stored } else { known_state };
            state.place(location.clone(), *content_hash, known_state);
            if let Some(document) = known.and_then(|id| state.documents.get_mut(&id)) {
                document.locations.insert(uri);
            }
        }
        Ok(state.sweep())
    }

    async fn mark_purged(&self, documents: &[Uuid]) -> Result<(), StoreError> {
        let mut state = locked(&self.state);
        for id in documents {
            if let Some(document) = state.documents.get_mut(id) {
                document.chunks = 0;
                document.purged = true;
            }
        }
        Ok(())
    }
}

/// The test that panicked reports the failure; other tests may continue with the store.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
