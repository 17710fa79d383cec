//! How a shard is open: not at all, for reading, or for writing, which only what needs it asks for.
//!
//! A run that changes nothing opens no shard. What only reads opens it without changing a file, so it needs no room on
//! the volume. The first write closes that and opens the shard for writing, which lasts as long as the session.

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

/// How long to wait for another process that has the shard open for a moment.
const PATIENCE: Duration = Duration::from_secs(15);

const PAUSE: Duration = Duration::from_millis(50);

/// A shard, and how it is open.
pub(super) struct Session {
    folder: PathBuf,
    config: VectorsConfig,
    shape: Shape,
    /// Calls share it; it is locked alone while a shard is opened or closed.
    state: RwLock<State>,
    /// Whether the shard had no graph when it was opened for writing, and none was built since.
    bare: Arc<AtomicBool>,
    /// Whether something was written since the index was built.
    index_due: AtomicBool,
}

enum State {
    Closed,
    Reading(Owner),
    Writing(Owner),
}

impl Session {
    /// A shard that is there, and not open yet.
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

    /// Makes a shard; it is open for writing.
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

    /// Whether no segment has a graph. Until the shard is open for writing that is not known.
    pub(super) fn is_bare(&self) -> bool {
        self.bare.load(Ordering::Relaxed)
    }

    pub(super) async fn is_writing(&self) -> bool {
        matches!(&*self.state.read().await, State::Writing(_))
    }

    /// Notes that something is written that the index does not have yet, also for whoever opens the shard next.
    fn note_change(&self) -> Result<(), StoreError> {
        if self.index_due.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        shard::note_index_due(&self.folder).map_err(|e| gives_up("note what is to be indexed", e))
    }

    /// Notes that the index was built. `bare` says that there is no graph still.
    pub(super) fn note_index(&self, bare: bool) -> Result<(), StoreError> {
        self.bare.store(bare, Ordering::Relaxed);
        self.index_due.store(false, Ordering::Relaxed);
        let noted = shard::note_index_built(&self.folder);
        noted.map_err(|e| gives_up("note what was indexed", e))
    }

    /// Whether the index may have to be built.
    pub(super) fn index_is_due(&self) -> bool {
        shard::index_is_due(&self.folder, &self.config, self.shape)
    }

    /// Refuses if another process has the shard open, so that work is not begun that could not be stored.
    pub(super) async fn may_be_written(&self) -> Result<(), StoreError> {
        let mut state = self.state.write().await;
        if matches!(&*state, State::Writing(_)) {
            return Ok(());
        }
        // Its lock is one among those of others.
        *state = State::Closed;
        shard::lock(&self.folder, OPENING, Lock::Exclusive).map(drop)
    }

    /// Closes the shard if it is open for writing, which records its files; it is opened again when it is needed.
    pub(super) async fn end_writing(&self) {
        let mut state = self.state.write().await;
        if matches!(&*state, State::Writing(_))
            && let State::Writing(owner) = std::mem::replace(&mut *state, State::Closed)
        {
            owner.close().await;
        }
    }

    /// Reads from the shard, and opens it where it is not open.
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
            unreachable!("it was opened a moment ago");
        };
        owner.read(doing, job).await
    }

    /// Refuses a write for which the volume has less room than this many bytes and the reserve.
    pub(super) fn room(&self, doing: &'static str, bytes: u64) -> Result<Room, StoreError> {
        room::check(&self.folder, doing, bytes)
    }

    /// Changes points, which the index will not have; otherwise as [`Session::write`].
    pub(super) async fn change<T: Send + 'static>(
        &self,
        doing: &'static str,
        room: Room,
        job: impl FnOnce(&EdgeShard) -> OperationResult<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.note_change()?;
        self.write(doing, room, job).await
    }

    /// Changes the shard, and opens it for writing where it is not.
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
            // The lock of whoever reads would keep this out.
            *state = State::Closed;
            *state = State::Writing(self.opened_to_write(room).await?);
        }
        let state = state.downgrade();
        let State::Writing(owner) = &*state else {
            unreachable!("it was opened a moment ago");
        };
        owner.write(doing, job).await
    }

    /// Opens the shard to read. One that was not closed as it should be is put right first, where there is room.
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

    /// Access for writing; the files are recorded when it ends.
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
                    tracing::warn!(%shard, %error, "the checksums of a shard were not recorded");
                }
            }),
        }
    }
}

/// Opens a shard when no other process has it open any more: a search has it for a moment only.
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
