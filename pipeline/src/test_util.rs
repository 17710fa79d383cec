//! Test support for several crates: resources without stores, and child processes to kill.

#![expect(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

mod child;
mod rows;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use uuid::Uuid;

pub use self::child::KillableChild;
pub use self::rows::{document_rows, payload};
use crate::{
    Cache, CacheKey, DocumentIdentity, DocumentLocation, IncomingDocument, KnownHashes,
    KnownLocation, MetadataStore, Point, Rejection, Resources, StoreError, StoredDocument,
    VectorStore,
};

/// Resources for a node that uses none of them: models fail, and every call to a store panics.
pub fn no_resources() -> Resources {
    Resources {
        metadata: Arc::new(KnownLocations::default()),
        vectors: Arc::new(NoVectors),
        ..Resources::without_collection()
    }
}

/// Resources with a metadata store that knows these locations.
pub fn resources_knowing(known: Vec<KnownLocation>) -> Resources {
    let known = known.into_iter().map(|known| (known.location.uri.clone(), known)).collect();
    let metadata = KnownLocations { known, ..KnownLocations::default() };
    Resources { metadata: Arc::new(metadata), ..no_resources() }
}

/// File name and reason of each document that was set aside, sorted.
pub fn reasons(set_aside: &[Rejection]) -> Vec<(String, String)> {
    let mut all: Vec<_> = set_aside
        .iter()
        .map(|document| {
            let name = document.location.uri.rsplit('/').next().unwrap();
            (name.to_owned(), format!("{}: {}", document.reason.code(), document.reason))
        })
        .collect();
    all.sort();
    all
}

/// A metadata store that only implements `locate`.
#[derive(Default)]
pub struct KnownLocations {
    /// By URI.
    pub known: HashMap<String, KnownLocation>,
    /// Number of locations in each call of `locate`.
    pub asked: Mutex<Vec<usize>>,
}

#[async_trait]
impl MetadataStore for KnownLocations {
    async fn lookup_locations(
        &self,
        uris: &[String],
    ) -> Result<Vec<Option<KnownLocation>>, StoreError> {
        self.asked.lock().unwrap().push(uris.len());
        Ok(uris.iter().map(|uri| self.known.get(uri).cloned()).collect())
    }

    async fn known_hashes(&self) -> Result<KnownHashes, StoreError> {
        unreachable!("stages get the known hashes before the run")
    }

    async fn assign_ids(
        &self,
        _: &[IncomingDocument],
    ) -> Result<Vec<DocumentIdentity>, StoreError> {
        unreachable!("only sinks do this")
    }

    async fn commit(&self, _: &[StoredDocument]) -> Result<Vec<Uuid>, StoreError> {
        unreachable!("only sinks do this")
    }

    async fn record_rejections(&self, _: &[(String, Rejection)]) -> Result<Vec<Uuid>, StoreError> {
        unreachable!("only the runtime does this")
    }

    async fn mark_purged(&self, _: &[Uuid]) -> Result<(), StoreError> {
        unreachable!("only sinks do this")
    }
}

/// A vector store that panics on every call.
pub struct NoVectors;

#[async_trait]
impl VectorStore for NoVectors {
    async fn upsert(&self, _: Vec<Point>) -> Result<(), StoreError> {
        unreachable!("only sinks do this")
    }

    async fn update_location(&self, _: Uuid, _: &DocumentLocation) -> Result<(), StoreError> {
        unreachable!("only sinks do this")
    }

    async fn truncate(&self, _: Uuid, _: u32) -> Result<(), StoreError> {
        unreachable!("only sinks do this")
    }

    async fn remove(&self, _: &[Uuid]) -> Result<(), StoreError> {
        unreachable!("only sinks do this")
    }

    async fn flush(&self) -> Result<(), StoreError> {
        unreachable!("only sinks do this")
    }
}

/// A cache in memory without eviction.
#[derive(Default)]
pub struct InMemoryCache(Mutex<HashMap<CacheKey, Vec<u8>>>);

impl InMemoryCache {
    /// The number of entries.
    pub fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Changes every value, as damage on disk would.
    pub fn damage(&self, change: impl FnMut(&mut Vec<u8>)) {
        self.0.lock().unwrap().values_mut().for_each(change);
    }
}

impl Cache for InMemoryCache {
    fn get(&self, keys: &[CacheKey]) -> Vec<Option<Vec<u8>>> {
        let values = self.0.lock().unwrap();
        keys.iter().map(|key| values.get(key).cloned()).collect()
    }

    fn put(&self, entries: &[(CacheKey, Vec<u8>)]) {
        self.0.lock().unwrap().extend(entries.iter().cloned());
    }
}
