//! Access of processes to the folder of a shard: locks and permissions.

use std::io;
use std::path::Path;

use pipeline::{Remedy, StoreError};
use rustix::fs::{FlockOperation, flock};

use crate::edge::damage::damage_error;
use crate::edge::holder;
use crate::shape::permanent_error;

/// Written first when a shard is created; its presence marks a shard.
pub(super) const CONFIG_FILE: &str = "edge_config.json";

/// Kind of lock on a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LockMode {
    /// Held by readers; several processes may hold it.
    Shared,
    /// Held by the one writer.
    Exclusive,
}

/// Returns true if the folder contains a shard.
pub(super) fn exists(folder: &Path) -> bool {
    folder.join(CONFIG_FILE).exists()
}

/// Locks the shard, or fails if another process holds a conflicting lock.
pub(super) fn lock(
    folder: &Path,
    doing: &'static str,
    how: LockMode,
) -> Result<fs_err::File, StoreError> {
    // An open shard holds its lock on the folder of its log.
    let log = fs_err::File::open(folder.join("wal")).map_err(|e| damage_error(doing, folder, e))?;
    let operation = match how {
        LockMode::Shared => FlockOperation::NonBlockingLockShared,
        LockMode::Exclusive => FlockOperation::NonBlockingLockExclusive,
    };
    match flock(log.file(), operation) {
        Ok(()) => Ok(log),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(in_use_error(doing, folder)),
        Err(error) => Err(permanent_error(doing, error)),
    }
}

/// The error of a lock that another process holds.
pub(super) fn in_use_error(doing: &'static str, folder: &Path) -> StoreError {
    let holder = holder::of(&folder.join("wal"));
    let holder = holder.map_or("another process".to_owned(), |id| format!("process {id}"));
    let source = format!(
        "{} is in use by {holder}; embedded vectors allow several readers or one writer: wait \
         until that process ends, or stop it; a running server executes searches and operations \
         itself",
        folder.display()
    );
    StoreError { doing, remedy: Remedy::Conflict, source: source.into() }
}

/// Returns true if this process cannot write to the files of a shard: the volume is read-only, or
/// permissions forbid it.
pub(super) fn is_read_only(folder: &Path) -> bool {
    // Opening changes neither content nor times. A missing file means that there is no shard.
    let opened = fs_err::OpenOptions::new().write(true).open(folder.join(CONFIG_FILE));
    let kinds = [io::ErrorKind::ReadOnlyFilesystem, io::ErrorKind::PermissionDenied];
    opened.is_err_and(|error| kinds.contains(&error.kind()))
}
