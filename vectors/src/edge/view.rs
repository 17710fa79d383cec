//! A shard that is only read, opened without writing to it.
//!
//! Edge has no such thing: whoever opens a shard begins a log, and whoever closes one writes the state of its segments.
//! On a full volume that ends the process. So a shard is opened for reading in a folder of its own, among the temporary
//! files of the machine: with a new log, and in place of each segment a folder of links to what the segment consists of.
//! What Edge writes when it opens and closes a shard goes into that folder and is deleted with it; the files behind the
//! links are mapped, and nothing is written to them. Only the versions and deletions of points are copied, of which Edge
//! puts down when it closes a segment what it has found out when it opened it.
//!
//! Several processes may read a shard at once; each holds a shared lock on the folder of the log, which whoever writes
//! locks exclusively.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use pipeline::StoreError;
use qdrant_edge::{EdgeConfig, EdgeShard, WalOptions};
use rustix::fs::{FlockOperation, flock};
use uuid::Uuid;

use crate::edge::shard::{Lock, OPENING, damaged, lock};
use crate::edge::{room, seal};
use crate::shape::gives_up;

/// Names of the temporary folders begin so.
const PREFIX: &str = "semantik-view-";

/// Bytes of one part of the log, into which nothing goes.
const LOG_PART: usize = 4096;

/// What a temporary folder takes beside what is copied.
const ROOM: u64 = 2 << 20;

/// A temporary folder younger than this may be one that is being made.
const YOUNG: Duration = Duration::from_secs(60);

/// `TMPFS_MAGIC` of `linux/magic.h`.
const TMPFS: u64 = 0x0102_1994;

/// The folder of a view; it is deleted with the value.
pub(super) struct View {
    path: PathBuf,
    /// The folder of the shard.
    of: PathBuf,
    _lock: fs_err::File,
}

impl View {
    /// Makes the folder, and locks the shard for reading.
    pub(super) fn of(folder: &Path) -> Result<Self, StoreError> {
        let _lock = lock(folder, OPENING, Lock::Shared)?;
        may_be_mapped(folder)?;
        let needed = ROOM + copied(folder);
        let base = base(needed).ok_or_else(|| {
            let mib = needed.div_ceil(1 << 20);
            let source = format!(
                "neither the folder of temporary files (TMPDIR) nor /dev/shm has {mib} MiB free, which opening the \
                 vectors takes"
            );
            gives_up(OPENING, source)
        })?;
        sweep(&base);
        let path = base.join(format!("{PREFIX}{}", Uuid::new_v4()));
        std::fs::DirBuilder::new().mode(0o700).create(&path).map_err(|e| gives_up(OPENING, e))?;
        let view = Self { path, of: folder.to_owned(), _lock };
        view.link(folder).map_err(|e| gives_up(OPENING, e))?;
        Ok(view)
    }

    /// Opens the shard behind the links.
    pub(super) fn open(&self, config: EdgeConfig) -> Result<EdgeShard, StoreError> {
        let log = WalOptions { segment_capacity: LOG_PART, ..WalOptions::default() };
        let config = EdgeConfig { wal_options: Some(log), ..config };
        EdgeShard::load(&self.path, Some(config)).map_err(|e| damaged(OPENING, &self.of, e))
    }

    fn link(&self, folder: &Path) -> io::Result<()> {
        let schema = folder.join("payload_index.json");
        if schema.exists() {
            fs_err::copy(schema, self.path.join("payload_index.json"))?;
        }
        fs_err::create_dir(self.path.join("wal"))?;
        let segments = self.path.join("segments");
        fs_err::create_dir(&segments)?;
        for entry in fs_err::read_dir(folder.join("segments"))? {
            let entry = entry?;
            // Others are being made, or deleted.
            let is_segment =
                entry.file_name().to_str().is_some_and(|it| Uuid::parse_str(it).is_ok())
                    && entry.path().join("version.info").exists();
            if !is_segment {
                continue;
            }
            let segment = segments.join(entry.file_name());
            fs_err::create_dir(&segment)?;
            for part in fs_err::read_dir(std::path::absolute(entry.path())?)? {
                let part = part?;
                let place = segment.join(part.file_name());
                if is_copied(&part.file_name()) {
                    fs_err::copy(part.path(), place)?;
                } else {
                    symlink(part.path(), place)?;
                }
            }
        }
        Ok(())
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if let Err(error) = fs_err::remove_dir_all(&self.path) {
            tracing::debug!(%error, "a temporary folder was not deleted");
        }
    }
}

/// Whether Edge may write to a file though no point is: eight bytes of a point, and a bit.
fn is_copied(name: &OsStr) -> bool {
    const COPIED: [&str; 4] = [
        "id_tracker.versions",
        "id_tracker.deleted",
        "mutable_id_tracker.versions",
        "mutable_id_tracker.mappings",
    ];
    COPIED.iter().any(|copied| name == *copied)
}

/// Bytes of the files of a shard that are copied.
fn copied(folder: &Path) -> u64 {
    let segments = fs_err::read_dir(folder.join("segments")).into_iter().flatten().flatten();
    let parts = segments.filter_map(|it| fs_err::read_dir(it.path()).ok()).flatten().flatten();
    let copied = parts.filter(|part| is_copied(&part.file_name()));
    copied.filter_map(|part| Some(part.metadata().ok()?.len())).sum()
}

/// Refuses what would fail, or end the process, in the middle of opening.
fn may_be_mapped(folder: &Path) -> Result<(), StoreError> {
    let state = fs_err::read_dir(folder.join("segments")).ok().and_then(|mut segments| {
        segments.find_map(|it| Some(it.ok()?.path().join("segment.json")).filter(|it| it.exists()))
    });
    if let Some(state) = state
        && let Err(error) = fs_err::OpenOptions::new().write(true).open(state)
    {
        let why = format!(
            "{} cannot be written to ({error}); Qdrant Edge maps its files for writing even where they are only read, \
             so the vectors cannot be searched there: make the folder writable, or copy the data folder to where it is \
             and set `stores.data`",
            folder.display()
        );
        return Err(gives_up(OPENING, why));
    }
    let is_tmpfs = rustix::fs::statfs(folder).is_ok_and(|it| it.f_type.cast_unsigned() == TMPFS);
    let is_full = room::free(folder).is_some_and(|free| free < ROOM);
    if is_tmpfs && is_full && seal::has_holes(folder).map_err(|e| gives_up(OPENING, e))? {
        return room::check(folder, OPENING, 0);
    }
    Ok(())
}

/// Where temporary folders go: the first of the usual places that has room.
fn base(needed: u64) -> Option<PathBuf> {
    let bases = [std::env::temp_dir(), PathBuf::from("/dev/shm")];
    bases.into_iter().find(|it| it.is_dir() && room::free(it).is_none_or(|free| free >= needed))
}

/// Deletes what processes have left that were killed: folders whose log nobody has locked.
fn sweep(base: &Path) {
    let Ok(entries) = std::fs::read_dir(base) else { return };
    for entry in entries.flatten() {
        // Of a link this is about the link, which is nobody's view.
        let Ok(found) = entry.metadata() else { continue };
        let is_view = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX))
            && found.is_dir()
            && found.uid() == rustix::process::geteuid().as_raw();
        let is_old = found
            .modified()
            .is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|since| since > YOUNG));
        if is_view
            && is_old
            && let Ok(log) = std::fs::File::open(entry.path().join("wal"))
            && flock(&log, FlockOperation::NonBlockingLockExclusive).is_ok()
            && let Err(error) = std::fs::remove_dir_all(entry.path())
        {
            tracing::debug!(%error, "a temporary folder was not deleted");
        }
    }
}
