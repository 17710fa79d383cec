//! Opens the files of a source. Whatever has become of a path since the walk, nothing outside the scanned folder
//! is read, and no open waits.
//!
//! The folder is opened once, and every file relative to its descriptor, without a link on the way: by `openat2`
//! with `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`, or part by part with `O_NOFOLLOW` where the kernel or a seccomp
//! filter has no `openat2`. Where links are followed, a path with links is resolved first, and the resolved path is
//! opened in the same way; so a link, absolute or relative, leads to everything inside the folder and to nothing
//! else. `O_NONBLOCK` keeps a FIFO from waiting for its writer. See `docs/adr/0023-opening-files.md`.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use pipeline::Location;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstatfs, openat, openat2};
use rustix::io::Errno;

/// How a file is opened for reading.
const READ: OFlags =
    OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

/// How a folder is opened to open something below it.
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// How often an open is tried that was interrupted: by a signal, a rename beside it, or a lease that is given up.
const TRIES: usize = 16;

/// File systems that may give a file another inode number whenever they had forgotten it, where its size and times
/// have to tell that it is the same: FUSE, CIFS and SMB2 (`linux/magic.h`).
const RENUMBERING: [u64; 3] = [0x6573_5546, 0xFF53_4D42, 0xFE53_4D42];

/// What is scanned: a folder, or one file.
pub(crate) enum Root {
    Folder(Folder),
    /// A file that the pipeline file names itself, wherever it leads.
    File(PathBuf),
}

pub(crate) struct Folder {
    descriptor: OwnedFd,
    /// As the walk calls it.
    path: PathBuf,
    /// Without links.
    real_path: PathBuf,
    follow_symlinks: bool,
    has_openat2: bool,
}

/// What a path is now.
pub(crate) enum Opened {
    /// The regular file that the walk saw.
    File(File),
    /// Something that is no document: a FIFO, a socket, a device.
    NoDocument,
    /// A folder, a link, or another file than the walk saw.
    Changed,
}

impl Root {
    /// Opens what is scanned.
    ///
    /// # Errors
    /// If it is not there, or may not be opened.
    pub(crate) fn open(path: &Path, follow_symlinks: bool) -> io::Result<Self> {
        if fs_err::metadata(path)?.is_file() {
            return Ok(Self::File(path.to_owned()));
        }
        let descriptor = openat(CWD, path, FOLDER, Mode::empty())?;
        // Old kernels lack it; some seccomp filters answer EPERM instead of ENOSYS.
        let probe = openat2(&descriptor, ".", FOLDER, Mode::empty(), ResolveFlags::BENEATH);
        Ok(Self::Folder(Folder {
            has_openat2: probe.is_ok(),
            descriptor,
            path: path.to_owned(),
            real_path: crate::real_path::resolve(path),
            follow_symlinks,
        }))
    }

    /// Opens a file that the walk saw on this device, and as this location says.
    ///
    /// # Errors
    /// If it is gone, or may not be read.
    pub(crate) fn open_file(
        &self,
        path: &Path,
        device: u64,
        seen: &Location,
    ) -> io::Result<Opened> {
        let opened = match self {
            Self::Folder(folder) => folder.open_file(path),
            Self::File(path) => tried(|| openat(CWD, path.as_path(), READ, Mode::empty())),
        };
        let file = match opened {
            Ok(descriptor) => File::from(descriptor),
            // A socket, or a device without a driver.
            Err(Errno::NXIO | Errno::NODEV) => return Ok(Opened::NoDocument),
            // A link, a way out, or a file in the place of a folder.
            Err(Errno::LOOP | Errno::XDEV | Errno::NOTDIR) => return Ok(Opened::Changed),
            Err(error) => return Err(error.into()),
        };
        let now = file.metadata()?;
        Ok(match now.file_type() {
            kind if kind.is_file() && is_same(&file, &now, device, seen) => Opened::File(file),
            kind if kind.is_file() || kind.is_dir() => Opened::Changed,
            _ => Opened::NoDocument,
        })
    }
}

/// Whether an open file is the one that the walk saw. What was written to it since is for the next run to notice.
fn is_same(file: &File, now: &Metadata, device: u64, seen: &Location) -> bool {
    if now.dev() != device || Some(now.ino()) == seen.inode {
        return now.dev() == device;
    }
    let is_unwritten =
        (now.len(), super::walk::times(now)) == (seen.size, (seen.mtime, seen.ctime));
    is_unwritten && fstatfs(file).is_ok_and(|it| RENUMBERING.contains(&it.f_type.cast_unsigned()))
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

    /// Opens a path below the folder; a link on the way, or at its end, is [`Errno::LOOP`] or [`Errno::NOTDIR`].
    fn open_without_links(&self, below: &Path) -> Result<OwnedFd, Errno> {
        if !self.has_openat2 {
            return tried(|| self.open_by_parts(below));
        }
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        tried(|| openat2(&self.descriptor, below, READ, Mode::empty(), how))
    }

    fn open_by_parts(&self, below: &Path) -> Result<OwnedFd, Errno> {
        let mut parts = below.components().peekable();
        let mut folder: Option<OwnedFd> = None;
        while let Some(part) = parts.next() {
            let Component::Normal(name) = part else { return Err(Errno::XDEV) };
            let at = folder.as_ref().unwrap_or(&self.descriptor).as_fd();
            let is_last = parts.peek().is_none();
            let flags = if is_last { READ } else { FOLDER } | OFlags::NOFOLLOW;
            let opened = openat(at, name, flags, Mode::empty())?;
            if is_last {
                return Ok(opened);
            }
            folder = Some(opened);
        }
        Err(Errno::ISDIR)
    }
}

fn tried(open: impl Fn() -> Result<OwnedFd, Errno>) -> Result<OwnedFd, Errno> {
    let mut opened = open();
    for _ in 1..TRIES {
        match opened {
            Err(Errno::INTR | Errno::AGAIN) => opened = open(),
            Ok(_) | Err(_) => break,
        }
    }
    opened
}

/// The beginning of a small file that is not a document, as `.gitignore`; nothing if it is no regular file.
pub(super) fn read_small(path: &Path, most: u64) -> Option<Vec<u8>> {
    let file = File::from(tried(|| openat(CWD, path, READ, Mode::empty())).ok()?);
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
