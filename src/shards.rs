//! The embedded shards that this process has open: each once, for everybody in it who needs it.
//!
//! Qdrant Edge lets a shard be open once, in this process or another. Whoever opens one here shares it with those
//! who have it open already; it is closed when the last of them lets go. There is no global: a server has one
//! value for its searches and its operations, a command has its own.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use pipeline::StoreError;
use pipeline::VectorsConfig;
use vectors::EdgeStore;

/// Open shards, by folder. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Shards(Arc<Mutex<HashMap<PathBuf, Weak<EdgeStore>>>>);

impl Shards {
    /// The shard in a folder: the one that is open, or opened now. Reads files.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] if another process has it open; otherwise as [`EdgeStore::open`].
    pub(crate) fn open(
        &self,
        folder: &Path,
        config: &VectorsConfig,
    ) -> Result<Arc<EdgeStore>, StoreError> {
        // Held while the shard is opened, so that two who ask at once get the same one.
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, shard| shard.strong_count() > 0);
        if let Some(shard) = open.get(folder).and_then(Weak::upgrade) {
            return Ok(shard);
        }
        let shard = Arc::new(EdgeStore::open(folder, config)?);
        open.insert(folder.to_owned(), Arc::downgrade(&shard));
        Ok(shard)
    }
}
