//! Opens the files of a source. Whatever happens to a path after the walk, nothing outside the
//! scanned folder is read, and no open blocks.
//!
//! The folder is opened once, and every file relative to its descriptor, without following links:
//! by `openat2` with `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`, or component by component with
//! `O_NOFOLLOW` if the kernel or a seccomp filter does not allow `openat2`. If links are followed,
//! a path with links is resolved first, and the resolved path is opened in the same way; so links,
//! absolute or relative, reach everything inside the folder and nothing outside. `O_NONBLOCK`
//! prevents blocking on a FIFO without a writer. See `docs/adr/0023-opening-files.md`.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use pipeline::Location;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstatfs, openat, openat2};
use rustix::io::Errno;

/// Flags for reading a file.
const READ_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

/// Flags for a folder in order to open entries below it.
const FOLDER_FLAGS: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Attempts of an interrupted open: by a signal, a concurrent rename, or a lease that is being
/// broken.
const MAX_OPEN_ATTEMPTS: usize = 16;

/// File systems that can assign a file a new inode number after dropping it from their cache, so
/// that size and times must identify it: FUSE, CIFS and SMB2 (`linux/magic.h`).
const UNSTABLE_INODE_FILESYSTEMS: [u64; 3] = [0x6573_5546, 0xFF53_4D42, 0xFE53_4D42];

/// A scanned folder or file.
pub(crate) enum Root {
    Folder(Folder),
    /// A file that the pipeline file lists; links in its path are followed.
    File(PathBuf),
}

pub(crate) struct Folder {
    descriptor: OwnedFd,
    /// Path as in the walk.
    path: PathBuf,
    /// Path without symbolic links.
    real_path: PathBuf,
    follow_symlinks: bool,
    has_openat2: bool,
}

/// State of a path when it is opened.
pub(crate) enum OpenResult {
    /// The regular file of the walk.
    File(File),
    /// A FIFO, socket or device.
    NotRegular,
    /// A folder, a link, or another file than in the walk.
    Changed,
}

impl Root {
    /// Opens a source root.
    ///
    /// # Errors
    /// If it does not exist or access is denied.
    pub(crate) fn open(path: &Path, follow_symlinks: bool) -> io::Result<Self> {
        if fs_err::metadata(path)?.is_file() {
            return Ok(Self::File(path.to_owned()));
        }
        let descriptor = openat(CWD, path, FOLDER_FLAGS, Mode::empty())?;
        // Old kernels lack `openat2`; some seccomp filters return EPERM instead of ENOSYS.
        let probe = openat2(&descriptor, ".", FOLDER_FLAGS, Mode::empty(), ResolveFlags::BENEATH);
        Ok(Self::Folder(Folder {
            has_openat2: probe.is_ok(),
            descriptor,
            path: path.to_owned(),
            real_path: crate::real_path::resolve(path),
            follow_symlinks,
        }))
    }

    /// Opens a file that the walk found with this device and location.
    ///
    /// # Errors
    /// If it does not exist any more or access is denied.
    pub(crate) fn open_file(
        &self,
        path: &Path,
        device: u64,
        seen: &Location,
    ) -> io::Result<OpenResult> {
        let opened = match self {
            Self::Folder(folder) => folder.open_file(path),
            Self::File(path) => {
                retry_open(|| openat(CWD, path.as_path(), READ_FLAGS, Mode::empty()))
            }
        };
        let file = match opened {
            Ok(descriptor) => File::from(descriptor),
            // A socket, or a device without a driver.
            Err(Errno::NXIO | Errno::NODEV) => return Ok(OpenResult::NotRegular),
            // A link, a path that leads outside, or a file in place of a folder.
            Err(Errno::LOOP | Errno::XDEV | Errno::NOTDIR) => return Ok(OpenResult::Changed),
            Err(error) => return Err(error.into()),
        };
        let now = file.metadata()?;
        Ok(match now.file_type() {
            kind if kind.is_file() && is_same_file(&file, &now, device, seen) => {
                OpenResult::File(file)
            }
            kind if kind.is_file() || kind.is_dir() => OpenResult::Changed,
            _ => OpenResult::NotRegular,
        })
    }
}

/// `true` if an open file is the one of the walk. The next run detects later writes.
fn is_same_file(file: &File, now: &Metadata, device: u64, seen: &Location) -> bool {
    if now.dev() != device || Some(now.ino()) == seen.inode {
        return now.dev() == device;
    }
    let is_unwritten = (now.len(), timestamps(now)) == (seen.size, (seen.mtime, seen.ctime));
    is_unwritten
        && fstatfs(file)
            .is_ok_and(|it| UNSTABLE_INODE_FILESYSTEMS.contains(&it.f_type.cast_unsigned()))
}

impl Folder {
    fn open_file(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let below = path.strip_prefix(&self.path).map_err(|_| Errno::XDEV)?;
        match self.open_without_links(below) {
            Err(Errno::LOOP | Errno::NOTDIR) if self.follow_symlinks => {
                let real = crate::real_path::resolve(path);
                let below = real.strip_prefix(&self.real_path).map_err(|_| Errno::XDEV)?;
                self.open_without_links(below)
            }
            opened => opened,
        }
    }

    /// Opens a path below the folder; a link in the path or at its end is [`Errno::LOOP`] or
    /// [`Errno::NOTDIR`].
    fn open_without_links(&self, below: &Path) -> Result<OwnedFd, Errno> {
        if !self.has_openat2 {
            return retry_open(|| self.open_by_components(below));
        }
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        retry_open(|| openat2(&self.descriptor, below, READ_FLAGS, Mode::empty(), how))
    }

    fn open_by_components(&self, below: &Path) -> Result<OwnedFd, Errno> {
        let mut parts = below.components().peekable();
        let mut folder: Option<OwnedFd> = None;
        while let Some(part) = parts.next() {
            let Component::Normal(name) = part else { return Err(Errno::XDEV) };
            let at = folder.as_ref().unwrap_or(&self.descriptor).as_fd();
            let is_last = parts.peek().is_none();
            let flags = if is_last { READ_FLAGS } else { FOLDER_FLAGS } | OFlags::NOFOLLOW;
            let opened = openat(at, name, flags, Mode::empty())?;
            if is_last {
                return Ok(opened);
            }
            folder = Some(opened);
        }
        Err(Errno::ISDIR)
    }
}

fn retry_open(open: impl Fn() -> Result<OwnedFd, Errno>) -> Result<OwnedFd, Errno> {
    let mut opened = open();
    for _ in 1..MAX_OPEN_ATTEMPTS {
        match opened {
            Err(Errno::INTR | Errno::AGAIN) => opened = open(),
            Ok(_) | Err(_) => break,
        }
    }
    opened
}

/// The first `most` bytes of a small file such as `.gitignore`; `None` if it is not a regular file
/// or not readable.
pub(super) fn read_small(path: &Path, most: u64) -> Option<Vec<u8>> {
    let file = File::from(retry_open(|| openat(CWD, path, READ_FLAGS, Mode::empty())).ok()?);
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Modification and change time in microseconds since 1970-01-01 UTC.
pub(super) fn timestamps(stat: &Metadata) -> (Option<i64>, Option<i64>) {
    let micros = |seconds: i64, nanos: i64| Some(seconds.saturating_mul(1_000_000) + nanos / 1000);
    (micros(stat.mtime(), stat.mtime_nsec()), micros(stat.ctime(), stat.ctime_nsec()))
}
