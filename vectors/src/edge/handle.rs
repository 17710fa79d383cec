//! The state of a shard: closed, open for reading or open for writing.
//!
//! A run without changes opens no shard. A read opens the shard without changing a file, so it
//! needs no space on the volume. The first write closes it and opens it for writing, until the
//! session ends.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pipeline::{Remedy, StoreError};
use qdrant_edge::{EdgeShard, OperationResult};
use tokio::sync::RwLock;

use crate::edge::access::{self, LockMode};
use crate::edge::damage::OPENING;
use crate::edge::disk_space::SpaceCheck;
use crate::edge::indexing::IndexThresholds;
use crate::edge::manifest::CheckDepth;
use crate::edge::shard;
use crate::edge::threads::{ShardOpener, ShardThreads};
use crate::edge::view::View;
use crate::edge::{disk_space, indexing, manifest};
use crate::shape::{VectorLayout, permanent_error};
use pipeline::VectorsConfig;

/// How long to wait for another process that briefly has the shard open.
const LOCK_TIMEOUT: Duration = Duration::from_secs(15);

const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// A shard and its state.
pub(super) struct ShardHandle {
    folder: PathBuf,
    config: VectorsConfig,
    shape: VectorLayout,
    /// Locked shared by calls, exclusively while the shard is opened or closed.
    state: RwLock<OpenState>,
    /// Set if the shard had no graph when it was opened for writing and none was built since.
    lacks_graph: Arc<AtomicBool>,
    /// Set if points were written since the index was built.
    index_stale: AtomicBool,
}

enum OpenState {
    Closed,
    Reading(ShardThreads),
    Writing(ShardThreads),
}

impl ShardHandle {
    /// An existing shard, closed.
    pub(super) fn new(folder: &Path, config: &VectorsConfig, shape: VectorLayout) -> Self {
        let (folder, config) = (folder.to_owned(), config.clone());
        Self {
            folder,
            config,
            shape,
            state: RwLock::new(OpenState::Closed),
            lacks_graph: Arc::default(),
            index_stale: AtomicBool::new(false),
        }
    }

    /// Creates a shard and opens it for writing.
    pub(super) fn create(
        folder: &Path,
        config: &VectorsConfig,
        shape: VectorLayout,
    ) -> Result<Self, StoreError> {
        let session = Self::new(folder, config, shape);
        let (made, settings) = (folder.to_owned(), config.clone());
        let owner =
            ShardThreads::open(session.write_access(move || shard::create(&made, &settings)))?;
        Ok(Self { state: RwLock::new(OpenState::Writing(owner)), ..session })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn sizes(&self) -> IndexThresholds {
        IndexThresholds::of(&self.config, self.shape)
    }

    /// Returns true if no segment has a graph. Valid only after the shard was opened for writing.
    pub(super) fn lacks_any_graph(&self) -> bool {
        self.lacks_graph.load(Ordering::Relaxed)
    }

    pub(super) async fn is_writing(&self) -> bool {
        matches!(&*self.state.read().await, OpenState::Writing(_))
    }

    /// Records in memory and on disk that the index lacks written points; the next process that
    /// opens the shard reads it.
    fn mark_index_stale(&self) -> Result<(), StoreError> {
        if self.index_stale.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        shard::mark_index_stale(&self.folder)
            .map_err(|e| permanent_error("note what is to be indexed", e))
    }

    /// Records that the index was built; `bare` if it still has no graph.
    pub(super) fn mark_index_built(&self, bare: bool) -> Result<(), StoreError> {
        self.lacks_graph.store(bare, Ordering::Relaxed);
        self.index_stale.store(false, Ordering::Relaxed);
        let noted = shard::mark_index_built(&self.folder);
        noted.map_err(|e| permanent_error("note what was indexed", e))
    }

    /// Returns true if the index may be out of date.
    pub(super) fn is_index_stale(&self) -> bool {
        shard::is_index_stale(&self.folder, &self.config, self.shape)
    }

    /// Fails if another process has the shard open, before work starts that could not be stored.
    pub(super) async fn ensure_writable(&self) -> Result<(), StoreError> {
        let mut state = self.state.write().await;
        if matches!(&*state, OpenState::Writing(_)) {
            return Ok(());
        }
        // The shared lock of this process would block the exclusive one.
        *state = OpenState::Closed;
        access::lock(&self.folder, OPENING, LockMode::Exclusive).map(drop)
    }

    /// Closes the shard if it is open for writing, which records its files. The next call opens it
    /// again.
    pub(super) async fn end_writing(&self) {
        let mut state = self.state.write().await;
        if matches!(&*state, OpenState::Writing(_))
            && let OpenState::Writing(owner) = std::mem::replace(&mut *state, OpenState::Closed)
        {
            owner.close().await;
        }
    }

    /// Reads from the shard; opens it if it is closed.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        doing: &'static str,
        job: impl FnOnce(&EdgeShard) -> OperationResult<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let state = self.state.read().await;
        if let OpenState::Reading(owner) | OpenState::Writing(owner) = &*state {
            return owner.read(doing, job).await;
        }
        drop(state);
        let mut state = self.state.write().await;
        if matches!(&*state, OpenState::Closed) {
            *state = self.open_for_reading().await?;
        }
        let state = state.downgrade();
        let (OpenState::Reading(owner) | OpenState::Writing(owner)) = &*state else {
            unreachable!("opened above");
        };
        owner.read(doing, job).await
    }

    /// Fails if the volume has fewer free bytes than `bytes` plus the reserve.
    pub(super) fn check_space(
        &self,
        doing: &'static str,
        bytes: u64,
    ) -> Result<SpaceCheck, StoreError> {
        disk_space::ensure_free_space(&self.folder, doing, bytes)
    }

    /// Changes points, which makes the index out of date; otherwise like [`ShardHandle::write`].
    pub(super) async fn update_points<T: Send + 'static>(
        &self,
        doing: &'static str,
        room: SpaceCheck,
        job: impl FnOnce(&EdgeShard) -> OperationResult<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.mark_index_stale()?;
        self.write(doing, room, job).await
    }

    /// Changes the shard; opens it for writing if necessary.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        doing: &'static str,
        room: SpaceCheck,
        job: impl FnOnce(&EdgeShard) -> OperationResult<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let state = self.state.read().await;
        if let OpenState::Writing(owner) = &*state {
            return owner.write(doing, job).await;
        }
        drop(state);
        let mut state = self.state.write().await;
        if !matches!(&*state, OpenState::Writing(_)) {
            // The shared lock of the reader would block opening for writing.
            *state = OpenState::Closed;
            *state = OpenState::Writing(self.open_for_writing(room).await?);
        }
        let state = state.downgrade();
        let OpenState::Writing(owner) = &*state else {
            unreachable!("opened above");
        };
        owner.write(doing, job).await
    }

    /// Opens the shard for reading. A shard whose process was killed is repaired first, if the
    /// volume has space.
    async fn open_for_reading(&self) -> Result<OpenState, StoreError> {
        let was_killed =
            manifest::is_unsealed(&self.folder) || indexing::was_interrupted(&self.folder);
        if was_killed
            && !access::is_read_only(&self.folder)
            && let Ok(room) = self.check_space(OPENING, 0)
        {
            return Ok(OpenState::Writing(self.open_for_writing(room).await?));
        }
        open_when_unlocked(|| {
            let view = View::of(&self.folder)?;
            shard::ensure_undamaged(&self.folder, CheckDepth::BeforeReading)?;
            let config = shard::stored_config(&self.folder)?;
            let view = Arc::new(view);
            let kept = Arc::clone(&view);
            Ok(ShardOpener {
                folder: self.folder.clone(),
                open: Box::new(move || view.open(config)),
                on_closed: Box::new(move |_| drop(kept)),
            })
        })
        .await
        .map(OpenState::Reading)
    }

    async fn open_for_writing(&self, room: SpaceCheck) -> Result<ShardThreads, StoreError> {
        open_when_unlocked(|| {
            let (folder, config, shape) = (self.folder.clone(), self.config.clone(), self.shape);
            Ok(self.write_access(move || shard::open(&folder, &config, shape, room)))
        })
        .await
    }

    /// Access for writing; records the files when the shard is closed.
    fn write_access(
        &self,
        open: impl FnOnce() -> Result<EdgeShard, StoreError> + Send + 'static,
    ) -> ShardOpener {
        let (folder, bare, sizes) =
            (self.folder.clone(), Arc::clone(&self.lacks_graph), self.sizes());
        ShardOpener {
            folder: self.folder.clone(),
            open: Box::new(move || {
                let shard = open()?;
                bare.store(sizes.is_small(shard.info().points_count), Ordering::Relaxed);
                Ok(shard)
            }),
            on_closed: Box::new(move |well| {
                if well && let Err(error) = manifest::seal(&folder) {
                    let shard = folder.display();
                    tracing::warn!(%shard, %error, "cannot record the checksums of a shard");
                }
            }),
        }
    }
}

/// Opens a shard, retrying up to [`LOCK_TIMEOUT`] while another process has it open: a search holds
/// it only briefly.
async fn open_when_unlocked(
    access: impl Fn() -> Result<ShardOpener, StoreError>,
) -> Result<ShardThreads, StoreError> {
    let asked = Instant::now();
    loop {
        let opened = match access() {
            Ok(access) => ShardThreads::open_async(access).await,
            Err(error) => Err(error),
        };
        match opened {
            Err(error) if error.remedy == Remedy::Conflict && asked.elapsed() < LOCK_TIMEOUT => {
                tokio::time::sleep(LOCK_RETRY_INTERVAL).await;
            }
            done => return done,
        }
    }
}
