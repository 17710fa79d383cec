//! Temporary folders that a sweep can distinguish from abandoned ones.
//!
//! A folder is locked (`flock` on the folder itself) from its creation to its deletion. A folder
//! without a lock belongs to a process that was killed, and the next process that opens vectors
//! deletes it. The age of a folder proves nothing: the clocks of two processes, or of a process and
//! its file system, may differ by hours.
//!
//! Between its creation and its lock, a new folder looks abandoned. So the creator checks, once it
//! holds the lock, that the path still leads to the folder that it locked, and otherwise creates
//! another one. A sweep checks the same before it deletes. The lock also keeps systemd-tmpfiles
//! from deleting the files of a server that runs for weeks.

use std::fs::{DirBuilder, DirEntry};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use uuid::Uuid;

/// Prefix of the folder names.
const PREFIX: &str = "semantik-scratch-";

/// A temporary folder with mode 0700, deleted when the value is dropped.
pub(super) struct Scratch {
    path: PathBuf,
    /// `None` on a file system without `flock` for folders (NFS), where a sweep cannot lock either
    /// and deletes nothing.
    _lock: Option<OwnedFd>,
}

impl Scratch {
    /// Creates an empty folder in `base`.
    pub(super) fn create(base: &Path) -> io::Result<Self> {
        loop {
            let path = base.join(format!("{PREFIX}{}", Uuid::new_v4()));
            DirBuilder::new().mode(0o700).create(&path)?;
            match lock(&path) {
                Ok(Some(lock)) => return Ok(Self { path, _lock: Some(lock) }),
                // A concurrent sweep locked the folder first and deletes it.
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%error, folder = %path.display(), "cannot lock a temporary folder");
                    return Ok(Self { path, _lock: None });
                }
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        delete(&self.path);
    }
}

/// Deletes the folders in `base` that this user owns and no process has locked.
pub(super) fn sweep(base: &Path) {
    let Ok(entries) = std::fs::read_dir(base) else { return };
    for path in entries.flatten().filter(is_scratch).map(|entry| entry.path()) {
        // Held until the folder is deleted, so that its creator notices.
        if let Ok(Some(_lock)) = lock(&path) {
            delete(&path);
        }
    }
}

fn is_scratch(entry: &DirEntry) -> bool {
    // The metadata of an entry does not follow links.
    entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX))
        && entry
            .metadata()
            .is_ok_and(|it| it.is_dir() && it.uid() == rustix::process::geteuid().as_raw())
}

/// Locks a folder; `None` if another process holds the lock, or the path now leads to another
/// folder or is missing.
///
/// # Errors
/// If the file system does not support locks of folders.
fn lock(path: &Path) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        opened => opened?,
    };
    match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Ok(None),
        locked => locked?,
    }
    let locked = rustix::fs::fstat(&folder)?;
    let is_same = rustix::fs::lstat(path)
        .is_ok_and(|it| (it.st_dev, it.st_ino) == (locked.st_dev, locked.st_ino));
    Ok(is_same.then_some(folder))
}

fn delete(folder: &Path) {
    if let Err(error) = std::fs::remove_dir_all(folder) {
        tracing::debug!(%error, "cannot delete a temporary folder");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, SystemTime};

    use super::*;

    /// The current time, and 12 hours before and after it, as clocks may differ.
    fn times() -> [SystemTime; 3] {
        let (now, hours) = (SystemTime::now(), Duration::from_secs(12 * 3600));
        [now, now - hours, now + hours]
    }

    fn set_time(folder: &Path, time: SystemTime) {
        std::fs::File::open(folder).unwrap().set_modified(time).unwrap();
    }

    #[test]
    fn a_locked_folder_survives_a_sweep_whatever_its_time() {
        let base = tempfile::tempdir().unwrap();
        let scratch = Scratch::create(base.path()).unwrap();
        // Empty at first, then with the parts of a view.
        for part in ["", "wal", "segments"] {
            fs_err::create_dir_all(scratch.path().join(part)).unwrap();
            for time in times() {
                set_time(scratch.path(), time);
                sweep(base.path());
                assert!(scratch.path().join(part).is_dir(), "{part} at {time:?}");
            }
        }
        let path = scratch.path().to_owned();
        drop(scratch);
        assert!(!path.exists());
    }

    #[test]
    fn a_folder_without_a_lock_is_deleted_whatever_its_time() {
        let base = tempfile::tempdir().unwrap();
        for time in times() {
            let abandoned = base.path().join(format!("{PREFIX}{}", Uuid::new_v4()));
            fs_err::create_dir_all(abandoned.join("segments/one")).unwrap();
            set_time(&abandoned, time);
            sweep(base.path());
            assert!(!abandoned.exists(), "{time:?}");
        }
    }

    #[test]
    fn a_sweep_leaves_other_files_alone() {
        let base = tempfile::tempdir().unwrap();
        let kept = tempfile::tempdir().unwrap();
        std::fs::create_dir(base.path().join("other")).unwrap();
        fs_err::write(base.path().join(format!("{PREFIX}file")), "").unwrap();
        let link = base.path().join(format!("{PREFIX}link"));
        std::os::unix::fs::symlink(kept.path(), &link).unwrap();
        sweep(base.path());
        assert_eq!(std::fs::read_dir(base.path()).unwrap().count(), 3);
        assert!(kept.path().exists());
    }

    /// A sweep may take a folder before its creator has locked it; `Scratch::create` never returns
    /// such a folder.
    #[test]
    fn a_folder_that_was_created_exists_while_others_sweep() {
        let base = tempfile::tempdir().unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        sweep(base.path());
                    }
                });
            }
            let created = (0..2_000).try_for_each(|_| {
                let scratch = Scratch::create(base.path())?;
                std::fs::create_dir(scratch.path().join("part"))
            });
            done.store(true, Ordering::Relaxed);
            created.unwrap();
        });
        sweep(base.path());
        assert_eq!(std::fs::read_dir(base.path()).unwrap().count(), 0);
    }
}
