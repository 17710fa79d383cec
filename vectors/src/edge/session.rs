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

use crate::edge::indexing::Sizes;
use crate::edge::owner::{Access, Owner};
use crate::edge::room::Room;
use crate::edge::seal::Depth;
use crate::edge::shard::{self, Lock, OPENING};
use crate::edge::view::View;
use crate::edge::{indexing, room, seal};
use crate::shape::{Shape, gives_up};
use pipeline::VectorsConfig;

/// How long to wait for another process that briefly has the shard open.
const PATIENCE: Duration = Duration::from_secs(15);

const PAUSE: Duration = Duration::from_millis(50);

/// A shard and its state.
pub(super) struct Session {
    folder: PathBuf,
    config: VectorsConfig,
    shape: Shape,
    /// Locked shared by calls, exclusively while the shard is opened or closed.
    state: RwLock<State>,
    /// Set if the shard had no graph when it was opened for writing and none was built since.
    bare: Arc<AtomicBool>,
    /// Set if points were written since the index was built.
    index_due: AtomicBool,
}

enum State {
    Closed,
    Reading(Owner),
    Writing(Owner),
}

impl Session {
    /// An existing shard, closed.
    pub(super) fn of(folder: &Path, config: &VectorsConfig, shape: Shape) -> Self {
        let (folder, config) = (folder.to_owned(), config.clone());
        Self {
            folder,
            config,
            shape,
            state: RwLock::new(State::Closed),
            bare: Arc::default(),
            index_due: AtomicBool::new(false),
        }
    }

    /// Creates a shard and opens it for writing.
    pub(super) fn make(
        folder: &Path,
        config: &VectorsConfig,
        shape: Shape,
    ) -> Result<Self, StoreError> {
        let session = Self::of(folder, config, shape);
        let (made, settings) = (folder.to_owned(), config.clone());
        let owner = Owner::open(session.to_write(move || shard::make(&made, &settings)))?;
        Ok(Self { state: RwLock::new(State::Writing(owner)), ..session })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn sizes(&self) -> Sizes {
        Sizes::of(&self.config, self.shape)
    }

    /// Returns true if no segment has a graph. Valid only after the shard was opened for writing.
    pub(super) fn is_bare(&self) -> bool {
        self.bare.load(Ordering::Relaxed)
    }

    pub(super) async fn is_writing(&self) -> bool {
        matches!(&*self.state.read().await, State::Writing(_))
    }

    /// Records in memory and on disk that the index lacks written points; the next process that
    /// opens the shard reads it.
    fn note_change(&self) -> Result<(), StoreError> {
        if self.index_due.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        shard::note_index_due(&self.folder).map_err(|e| gives_up("note what is to be indexed", e))
    }

    /// Records that the index was built; `bare` if it still has no graph.
    pub(super) fn note_index(&self, bare: bool) -> Result<(), StoreError> {
        self.bare.store(bare, Ordering::Relaxed);
        self.index_due.store(false, Ordering::Relaxed);
        let noted = shard::note_index_built(&self.folder);
        noted.map_err(|e| gives_up("note what was indexed", e))
    }

    /// Returns true if the index may be out of date.
    pub(super) fn index_is_due(&self) -> bool {
        shard::index_is_due(&self.folder, &self.config, self.shape)
    }

    /// Fails if another process has the shard open, before work starts that could not be stored.
    pub(super) async fn may_be_written(&self) -> Result<(), StoreError> {
        let mut state = self.state.write().await;
        if matches!(&*state, State::Writing(_)) {
            return Ok(());
        }
        // The shared lock of this process would block the exclusive one.
        *state = State::Closed;
        shard::lock(&self.folder, OPENING, Lock::Exclusive).map(drop)
    }

    /// Closes the shard if it is open for writing, which records its files. The next call opens it
    /// again.
    pub(super) async fn end_writing(&self) {
        let mut state = self.state.write().await;
        if matches!(&*state, State::Writing(_))
            && let State::Writing(owner) = std::mem::replace(&mut *state, State::Closed)
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
        if let State::Reading(owner) | State::Writing(owner) = &*state {
            return owner.read(doing, job).await;
        }
        drop(state);
        let mut state = self.state.write().await;
        if matches!(&*state, State::Closed) {
            *state = self.opened().await?;
        }
        let state = state.downgrade();
        let (State::Reading(owner) | State::Writing(owner)) = &*state else {
            unreachable!("opened above");
        };
        owner.read(doing, job).await
    }

    /// Fails if the volume has fewer free bytes than `bytes` plus the reserve.
    pub(super) fn room(&self, doing: &'static str, bytes: u64) -> Result<Room, StoreError> {
        room::check(&self.folder, doing, bytes)
    }

    /// Changes points, which makes the index out of date; otherwise like [`Session::write`].
    pub(super) async fn change<T: Send + 'static>(
        &self,
        doing: &'static str,
        room: Room,
        job: impl FnOnce(&EdgeShard) -> OperationResult<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.note_change()?;
        self.write(doing, room, job).await
    }

    /// Changes the shard; opens it for writing if necessary.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        doing: &'static str,
        room: Room,
        job: impl FnOnce(&EdgeShard) -> OperationResult<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let state = self.state.read().await;
        if let State::Writing(owner) = &*state {
            return owner.write(doing, job).await;
        }
        drop(state);
        let mut state = self.state.write().await;
        if !matches!(&*state, State::Writing(_)) {
            // The shared lock of the reader would block opening for writing.
            *state = State::Closed;
            *state = State::Writing(self.opened_to_write(room).await?);
        }
        let state = state.downgrade();
        let State::Writing(owner) = &*state else {
            unreachable!("opened above");
        };
        owner.write(doing, job).await
    }

    /// Opens the shard for reading. A shard whose process was killed is repaired first, if the
    /// volume has space.
    async fn opened(&self) -> Result<State, StoreError> {
        let was_killed = seal::is_unsealed(&self.folder) || indexing::was_killed(&self.folder);
        if was_killed
            && !room::is_read_only(&self.folder)
            && let Ok(room) = self.room(OPENING, 0)
        {
            return Ok(State::Writing(self.opened_to_write(room).await?));
        }
        patiently(|| {
            let view = View::of(&self.folder)?;
            shard::refuse_damage(&self.folder, Depth::Reading)?;
            let config = shard::stored_config(&self.folder)?;
            let view = Arc::new(view);
            let kept = Arc::clone(&view);
            Ok(Access {
                folder: self.folder.clone(),
                open: Box::new(move || view.open(config)),
                closed: Box::new(move |_| drop(kept)),
            })
        })
        .await
        .map(State::Reading)
    }

    async fn opened_to_write(&self, room: Room) -> Result<Owner, StoreError> {
        patiently(|| {
            let (folder, config, shape) = (self.folder.clone(), self.config.clone(), self.shape);
            Ok(self.to_write(move || shard::open(&folder, &config, shape, room)))
        })
        .await
    }

    /// Access for writing; records the files when the shard is closed.
    fn to_write(
        &self,
        open: impl FnOnce() -> Result<EdgeShard, StoreError> + Send + 'static,
    ) -> Access {
        let (folder, bare, sizes) = (self.folder.clone(), Arc::clone(&self.bare), self.sizes());
        Access {
            folder: self.folder.clone(),
            open: Box::new(move || {
                let shard = open()?;
                bare.store(sizes.is_small(shard.info().points_count), Ordering::Relaxed);
                Ok(shard)
            }),
            closed: Box::new(move |well| {
                if well && let Err(error) = seal::seal(&folder) {
                    let shard = folder.display();
                    tracing::warn!(%shard, %error, "cannot record the checksums of a shard");
                }
            }),
        }
    }
}

/// Opens a shard, retrying up to [`PATIENCE`] while another process has it open: a search holds it
/// only briefly.
async fn patiently(access: impl Fn() -> Result<Access, StoreError>) -> Result<Owner, StoreError> {
    let asked = Instant::now();
    loop {
        let opened = match access() {
            Ok(access) => Owner::opened(access).await,
            Err(error) => Err(error),
        };
        match opened {
            Err(error) if error.remedy == Remedy::Conflict && asked.elapsed() < PATIENCE => {
                tokio::time::sleep(PAUSE).await;
            }
            done => return done,
        }
    }
}
