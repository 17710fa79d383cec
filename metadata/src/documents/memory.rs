//! In-memory metadata of a collection: exact and small, for experiments with pipelines and for
//! tests.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;

use async_trait::async_trait;
use chrono::DateTime;
use pipeline::{
    ContentHash, DocumentIdentity, DocumentLocation, FAILED_REASON, ForgottenBatch,
    IncomingDocument, KnownHashes, KnownLocation, KnownState, Lifecycle, Location, MetadataStore,
    MissingDocuments, RejectReason, Rejection, Relocation, StoreError, StoredDocument,
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
    /// By URI.
    locations: BTreeMap<String, KnownLocation>,
    /// Number of the pass over the sources.
    pass: u64,
    /// The pass that saw a location last, by URI.
    seen: HashMap<String, u64>,
    /// Locations with a content that no document had when they were seen.
    unattached: BTreeSet<String>,
    /// Every source that has provided a location, with its device.
    sources: BTreeMap<String, Option<i64>>,
}

/// A document, deleted or not.
struct Document {
    content_hash: ContentHash,
    locations: BTreeSet<String>,
    /// Path of the location in its points.
    path: String,
    /// URI and source of that location; `None` if they are unreliable.
    recorded: Option<(String, String)>,
    title: Option<String>,
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

    /// Begins another pass over the sources: only locations recorded from now on count as seen.
    pub fn begin_pass(&self) {
        pipeline::lock(&self.state).pass += 1;
    }

    /// The documents that are not deleted, in order of id.
    pub fn documents(&self) -> Vec<MemoryDocument> {
        let state = pipeline::lock(&self.state);
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
        self.detach(&location.uri);
        self.see(&location);
        let uri = location.uri.clone();
        self.locations.insert(uri, KnownLocation { location, content_hash: hash, state });
    }

    fn detach(&mut self, uri: &str) {
        self.unattached.remove(uri);
        for document in self.documents.values_mut() {
            document.locations.remove(uri);
        }
    }

    fn see(&mut self, location: &Location) {
        self.seen.insert(location.uri.clone(), self.pass);
        self.sources.entry(location.source.clone()).or_default();
    }

    fn is_seen(&self, uri: &str) -> bool {
        self.seen.get(uri).is_some_and(|pass| *pass >= self.pass)
    }

    /// The locations of these sources that this pass has not seen, except below an unreadable
    /// folder, which has no time of modification.
    fn missing(&self, sources: &[String]) -> Vec<&Location> {
        let is_unreadable = |it: &&KnownLocation| {
            let is_failed = matches!(&it.state, KnownState::Rejected { reason, .. }
                if reason == FAILED_REASON);
            is_failed && it.location.mtime.is_none() && self.is_seen(&it.location.uri)
        };
        let folders = self.locations.values().filter(is_unreadable);
        let folders: Vec<_> = folders.map(|it| format!("{}/", it.location.uri)).collect();
        let locations = self.locations.values().map(|it| &it.location);
        locations
            .filter(|it| sources.contains(&it.source) && !self.is_seen(&it.uri))
            .filter(|it| !folders.iter().any(|folder| it.uri.starts_with(folder)))
            .collect()
    }

    /// The document that has a location.
    fn document_at(&self, uri: &str) -> Option<Uuid> {
        self.documents.iter().find(|(_, it)| it.locations.contains(uri)).map(|(id, _)| *id)
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
        let state = pipeline::lock(&self.state);
        Ok(uris.iter().map(|uri| state.locations.get(uri).cloned()).collect())
    }

    async fn known_hashes(&self) -> Result<KnownHashes, StoreError> {
        Ok(self.documents().into_iter().map(|it| it.content_hash).collect())
    }

    async fn assign_ids(
        &self,
        incoming: &[IncomingDocument],
    ) -> Result<Vec<DocumentIdentity>, StoreError> {
        let state = pipeline::lock(&self.state);
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
        let mut state = pipeline::lock(&self.state);
        for stored in documents {
            let IncomingDocument { location, content_hash } = stored.incoming.clone();
            let (uri, source) = (location.uri.clone(), location.source.clone());
            state.place(location, Some(content_hash), KnownState::Stored);
            let document = state.documents.entry(stored.document).or_insert_with(|| Document {
                content_hash,
                locations: BTreeSet::new(),
                path: String::new(),
                recorded: None,
                title: None,
                chunks: 0,
                deleted: false,
                purged: false,
            });
            document.content_hash = content_hash;
            document.path = path_of(&uri);
            document.recorded = Some((uri.clone(), source));
            document.title.clone_from(&stored.title);
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
        let mut state = pipeline::lock(&self.state);
        for (node, Rejection { location, content_hash, reason: why }) in set_aside {
            let uri = location.uri.clone();
            if let RejectReason::Unchanged
            | RejectReason::PreviouslyRejected { .. }
            | RejectReason::Withheld { .. } = why
            {
                state.see(location);
                continue;
            }
            let known = match content_hash {
                Some(hash) => state.with_content(*hash).filter(|id| !state.documents[id].deleted),
                None => None,
            };
            let (reason, message) = (why.code().to_owned(), why.to_string());
            let since = None;
            let known_state = KnownState::Rejected { node: node.clone(), reason, message, since };
            // The document of a duplicate may have been edited since; the location is read again.
            let is_unattached = known.is_none() && matches!(why, RejectReason::Duplicate);
            let known_state = match known {
                Some(_) => KnownState::Stored,
                None if is_unattached => KnownState::Stale,
                None => known_state,
            };
            state.place(location.clone(), *content_hash, known_state);
            if is_unattached {
                state.unattached.insert(uri.clone());
            }
            if let Some(document) = known.and_then(|id| state.documents.get_mut(&id)) {
                document.locations.insert(uri);
            }
        }
        Ok(state.sweep())
    }

    async fn mark_purged(&self, documents: &[Uuid]) -> Result<(), StoreError> {
        let mut state = pipeline::lock(&self.state);
        for id in documents {
            if let Some(document) = state.documents.get_mut(id) {
                document.chunks = 0;
                document.purged = true;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Lifecycle for MemoryMetadata {
    /// A process that dies loses this store, too, so no document is left half written.
    async fn recover(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn unpurged(&self, limit: u32) -> Result<Vec<Uuid>, StoreError> {
        let mut documents = pipeline::lock(&self.state).sweep();
        documents.truncate(limit as usize);
        Ok(documents)
    }

    async fn count_unattached(&self) -> Result<u64, StoreError> {
        let state = pipeline::lock(&self.state);
        Ok(state.unattached.iter().filter(|uri| state.is_seen(uri)).count() as u64)
    }

    async fn missing_documents(
        &self,
        sources: &[String],
    ) -> Result<Vec<MissingDocuments>, StoreError> {
        let state = pipeline::lock(&self.state);
        let missing = state.missing(sources);
        let uris: BTreeSet<&str> = missing.iter().map(|it| it.uri.as_str()).collect();
        let is_lost =
            |id: &Uuid| state.documents[id].locations.iter().all(|uri| uris.contains(uri.as_str()));
        let documents_at = |locations: &[&Location]| -> BTreeSet<Uuid> {
            locations.iter().filter_map(|it| state.document_at(&it.uri)).collect()
        };
        let mut by_source: BTreeMap<&str, Vec<&Location>> = BTreeMap::new();
        for location in missing {
            by_source.entry(&location.source).or_default().push(location);
        }
        let missing = by_source.into_iter().map(|(source, locations)| {
            let all = state.locations.values().map(|it| &it.location);
            let all: Vec<_> = all.filter(|it| it.source == source).collect();
            MissingDocuments {
                source: source.to_owned(),
                documents: count(documents_at(&locations).iter().filter(|id| is_lost(id)).count()),
                of: count(documents_at(&all).len()),
                locations: count(locations.len()),
                device: state.sources.get(source).copied().flatten(),
            }
        });
        Ok(missing.collect())
    }

    async fn forget_missing(
        &self,
        sources: &[String],
        after: &[u8],
        limit: u32,
    ) -> Result<Option<ForgottenBatch>, StoreError> {
        let mut state = pipeline::lock(&self.state);
        let missing = state.missing(sources).into_iter().map(|it| it.uri.clone());
        let gone: Vec<_> =
            missing.filter(|uri| uri.as_bytes() > after).take(limit as usize).collect();
        let Some(last) = gone.last().cloned() else { return Ok(None) };
        let present = |state: &State| state.documents.values().filter(|it| !it.deleted).count();
        let before = present(&state);
        for uri in gone {
            state.detach(&uri);
            state.locations.remove(&uri);
        }
        state.sweep();
        let documents = (before - present(&state)) as u64;
        Ok(Some(ForgottenBatch { documents, last: last.into_bytes() }))
    }

    async fn unknown_sources(&self, sources: &[String]) -> Result<Vec<String>, StoreError> {
        let state = pipeline::lock(&self.state);
        Ok(sources.iter().filter(|it| !state.sources.contains_key(*it)).cloned().collect())
    }

    async fn record_devices(&self, devices: &[(String, i64)]) -> Result<(), StoreError> {
        let mut state = pipeline::lock(&self.state);
        for (source, device) in devices {
            if let Some(known) = state.sources.get_mut(source) {
                *known = Some(*device);
            }
        }
        Ok(())
    }

    async fn pending_relocations(
        &self,
        after: Uuid,
        limit: u32,
    ) -> Result<Vec<Relocation>, StoreError> {
        let state = pipeline::lock(&self.state);
        let moved = state.documents.range(after..).filter(|(id, it)| **id > after && !it.deleted);
        let moved = moved.filter_map(|(id, it)| {
            let locations = it.locations.iter().filter_map(|uri| state.locations.get(uri));
            let is_recorded = |(uri, source): &(String, String)| {
                locations.clone().any(|at| (&at.location.uri, &at.location.source) == (uri, source))
            };
            if it.recorded.as_ref().is_some_and(is_recorded) {
                return None;
            }
            let first = &locations.clone().next()?.location;
            Some(Relocation {
                document: *id,
                before: it.path.clone(),
                uri: first.uri.clone(),
                source: Some(first.source.clone()),
                title: it.title.clone(),
                mtime: first.mtime.and_then(DateTime::from_timestamp_micros),
            })
        });
        Ok(moved.take(limit as usize).collect())
    }

    async fn mark_relocating(&self, documents: &[Uuid]) -> Result<(), StoreError> {
        let mut state = pipeline::lock(&self.state);
        for id in documents {
            if let Some(document) = state.documents.get_mut(id) {
                document.recorded = None;
            }
        }
        Ok(())
    }

    async fn mark_relocated(&self, places: &[(Uuid, DocumentLocation)]) -> Result<(), StoreError> {
        let mut state = pipeline::lock(&self.state);
        for (id, place) in places {
            if let Some(document) = state.documents.get_mut(id) {
                document.path = path_of(&place.uri);
                document.recorded = Some((place.uri.clone(), place.source.clone()));
                document.title = place.title.clone().or(document.title.take());
            }
        }
        Ok(())
    }
}

fn path_of(uri: &str) -> String {
    let path = pipeline::uri::to_path(uri);
    path.map_or_else(|| uri.to_owned(), |path| path.to_string_lossy().into_owned())
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
