//! The embedded shards that this process has open, each opened once and shared.
//!
//! Qdrant Edge permits one open instance of a shard, across processes. Callers that open a shard
//! here share an instance that is already open; it is closed when the last reference is dropped.
//! There is no global state: a server has one value for searches and operations, a command has its
//! own.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use pipeline::StoreError;
use pipeline::VectorsConfig;
use vectors::EdgeStore;

/// Open shards by folder. Clones share them.
#[derive(Clone, Default)]
pub struct Shards(Arc<Mutex<HashMap<PathBuf, Weak<EdgeStore>>>>);

impl Shards {
    /// The shard in a folder: the open instance, or a new one. Blocks on file I/O.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] if another process has it open; otherwise as
    /// [`EdgeStore::open`].
    pub fn open(
        &self,
        folder: &Path,
        config: &VectorsConfig,
    ) -> Result<Arc<EdgeStore>, StoreError> {
        // Locked while the shard is opened, so that concurrent callers get the same instance.
        let mut open = pipeline::lock(&self.0);
        open.retain(|_, shard| shard.strong_count() > 0);
        if let Some(shard) = open.get(folder).and_then(Weak::upgrade) {
            return Ok(shard);
        }
        let shard = Arc::new(EdgeStore::open(folder, config)?);
        open.insert(folder.to_owned(), Arc::downgrade(&shard));
        Ok(shard)
    }
}
