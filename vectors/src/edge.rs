//! Qdrant Edge: an embedded vector store in a folder, with the query language of the server.
//!
//! It is not a service. One process at a time can write to a shard, and it excludes all readers; a
//! second process gets an error ([`pipeline::Remedy::Conflict`]).
//!
//! An [`EdgeStore`] opens its shard on demand: for reading without changing a file
//! (`edge/view.rs`), for writing if the volume has space (`edge/disk_space.rs`, `edge/handle.rs`).
//! When a shard that was written to is closed, the checksums of its files are recorded
//! (`edge/manifest.rs`).
//!
//! Three properties of version 0.7.2 determine this design:
//! - Opening a shard does not replay the write-ahead log, so only data that
//!   [`pipeline::VectorStore::flush`] made durable survives a crash.
//! - A flush that runs at the same time as an update panics, so one thread, the owner, executes
//!   updates, flushes and index builds (`edge/threads.rs`). Searches run concurrently on other
//!   threads.
//! - The log is never shortened, so its closed parts, which are not read again, are deleted when a
//!   shard is opened for writing.

use std::path::Path;
use std::sync::atomic::AtomicUsize;

use pipeline::{Quantization, StoreError, VectorsConfig};
use qdrant_edge::EdgeShard;

use crate::edge::access::LockMode;
use crate::edge::handle::ShardHandle;
use crate::edge::manifest::CheckDepth;
use crate::shape::VectorLayout;

pub use self::damage::is_damage_error;
pub use self::damaged_file::{DamagedFile, FileFault};

mod access;
mod config;
mod damage;
mod damaged_file;
mod disk_space;
mod files;
mod filter;
mod handle;
mod holder;
mod indexing;
mod inspect;
mod manifest;
mod panics;
mod read;
mod record;
mod scratch;
mod search;
mod shard;
mod threads;
mod view;
mod write;

/// An embedded vector store. The shard is opened on demand.
pub struct EdgeStore {
    shard: ShardHandle,
    shape: VectorLayout,
    quantization: Quantization,
    /// Points written since the open segment was closed.
    written: AtomicUsize,
}

impl EdgeStore {
    /// The shard in `folder`; a missing one is created. An existing one is opened by the first call
    /// that reads or writes, which takes seconds for a million points; this function reads only its
    /// configuration, its small files and the lengths of the others.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] if another process writes to the shard; otherwise if its
    /// vectors have another shape than `config`, it is damaged, or the volume has no space to
    /// create it.
    pub fn open(folder: &Path, config: &VectorsConfig) -> Result<Self, StoreError> {
        let (session, shape) = if access::exists(folder) {
            let shape = shard::shape_of(folder, config)?;
            (ShardHandle::new(folder, config, shape), shape)
        } else {
            let shape = VectorLayout { dim: config.dim, sparse: config.sparse };
            (ShardHandle::create(folder, config, shape)?, shape)
        };
        let (quantization, written) = (config.quantization, AtomicUsize::new(0));
        Ok(Self { shard: session, shape, quantization, written })
    }

    /// Fails if another process has the shard open, before work starts whose result could not be
    /// stored.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] in this case.
    pub async fn ensure_writable(&self) -> Result<(), StoreError> {
        self.shard.ensure_writable().await
    }

    /// Files of the shard in `folder` that differ from the record of its last close. Reads all of
    /// them without opening the shard. Empty for a shard without record, which an earlier version
    /// closed.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] if another process writes to the shard; otherwise if its log
    /// is missing.
    pub fn damaged_files(folder: &Path) -> Result<Vec<DamagedFile>, StoreError> {
        let doing = "check the files of the vector collection";
        let _lock = access::lock(folder, doing, LockMode::Shared)?;
        Ok(manifest::damaged_files(folder, CheckDepth::AllFiles))
    }

    /// Returns true if `folder` contains a shard.
    pub fn exists(folder: &Path) -> bool {
        access::exists(folder)
    }

    /// Deletes the shard in `folder`; a missing one is ignored.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] if a process has it open; otherwise if files cannot be
    /// deleted.
    pub fn delete(folder: &Path) -> Result<(), StoreError> {
        shard::delete(folder)
    }

    /// Builds HNSW graphs for segments above the threshold and drops deleted points; returns
    /// `false` if there was nothing to do. Takes minutes of one core for 100,000 points; writes
    /// wait for it, searches do not. Postponed with a warning if the volume lacks the space.
    ///
    /// # Errors
    /// If files cannot be written.
    pub async fn optimize(&self) -> Result<bool, StoreError> {
        let doing = "index the vector collection";
        if !self.shard.is_writing().await && !self.shard.is_index_stale() {
            return Ok(false);
        }
        let folder = self.shard.folder();
        // Each segment may be rewritten before the one that it replaces is deleted.
        let needed = disk_space::used_bytes(&folder.join("segments"));
        let room = match self.shard.check_space(doing, needed) {
            Ok(room) => room,
            Err(error) => {
                tracing::warn!(
                    error = %error.source,
                    "postponed the index build: no space on the volume; searches are exact and \
                     slower until then"
                );
                return Ok(false);
            }
        };
        let sizes = self.shard.sizes();
        let build = move |shard: &EdgeShard| {
            let built = indexing::build(shard, sizes)?;
            Ok((built, sizes.is_small(shard.info().points_count)))
        };
        let (built, is_bare) = self.shard.write(doing, room, build).await?;
        self.shard.mark_index_built(is_bare)?;
        Ok(built)
    }

    /// Closes a shard that is open for writing, at the end of an operation, and records the
    /// checksums of its files.
    pub async fn end_writing(&self) {
        self.shard.end_writing().await;
    }
}
