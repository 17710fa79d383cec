//! Opens a shard for reading without writing to it.
//!
//! Edge has no read-only mode: opening a shard starts a log, and closing it writes the state of its
//! segments. On a full volume that ends the process. So a shard is opened for reading in a
//! temporary folder, with a new log and, for each segment, a folder of links to the files of the
//! segment. Everything that Edge writes on opening and closing goes into that folder and is deleted
//! with it; the linked files are mapped but not written to. Only versions and deletions of points
//! are copied, because Edge writes them when it closes a segment.
//!
//! Edge maps most files for writing even if it only reads them. If this process cannot write to
//! them, they are copied; only the files that Edge maps for reading, the largest ones, are linked.
//!
//! Several processes can read a shard: each holds a shared lock on the folder of the log, which a
//! writer locks exclusively.

use std::ffi::OsStr;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use pipeline::StoreError;
use qdrant_edge::{EdgeConfig, EdgeShard, WalOptions};
use uuid::Uuid;

use crate::edge::access::{self, LockMode, lock};
use crate::edge::damage::{OPENING, damage_error};
use crate::edge::scratch::{Scratch, sweep};
use crate::edge::{disk_space, files};
use crate::shape::permanent_error;

/// Bytes of one part of the temporary log, which stays empty.
const WAL_SEGMENT_BYTES: usize = 4096;

/// Bytes that a temporary folder takes in addition to the copies.
const OVERHEAD_BYTES: u64 = 2 << 20;

/// `TMPFS_MAGIC` of `linux/magic.h`.
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// Files that Edge may write to although no point is written: eight bytes and a bit per point.
static WRITTEN: &[&str] = &[
    "id_tracker.versions",
    "id_tracker.deleted",
    "mutable_id_tracker.versions",
    "mutable_id_tracker.mappings",
];

/// Files of closed segments that Edge maps for reading: vectors, graph, sparse and payload indexes.
static READ: &[&str] = &[
    "matrix.dat",
    "graph.bin",
    "links.bin",
    "links_compressed.bin",
    "links_comp_vec.bin",
    "inverted_index.dat",
    "quantized.data",
    "point_to_values.bin",
    "values_to_points.bin",
    "data.bin",
    "postings.dat",
    "vocab.dat",
];

/// A temporary folder with the shard for reading, deleted when the value is dropped.
pub(super) struct View {
    // Declared first, so that the folder is deleted before the lock is released.
    scratch: Scratch,
    /// Folder of the shard.
    of: PathBuf,
    _lock: fs_err::File,
}

/// Files of a shard that are copied instead of linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copied {
    /// Files that Edge may write to.
    Written,
    /// All files except those that Edge maps for reading, for a read-only shard.
    AllButRead,
}

impl Copied {
    fn has(self, name: &OsStr) -> bool {
        let is_in = |names: &[&str]| names.iter().any(|it| name == *it);
        match self {
            Self::Written => is_in(WRITTEN),
            Self::AllButRead => !is_in(READ),
        }
    }
}

impl View {
    /// Creates the folder and locks the shard for reading.
    pub(super) fn of(folder: &Path) -> Result<Self, StoreError> {
        let _lock = lock(folder, OPENING, LockMode::Shared)?;
        check_full_tmpfs(folder)?;
        let is_read_only = access::is_read_only(folder);
        let copied = if is_read_only { Copied::AllButRead } else { Copied::Written };
        let bytes = bytes(folder, copied);
        let base = base(OVERHEAD_BYTES + bytes).ok_or_else(|| {
            let mib = (OVERHEAD_BYTES + bytes).div_ceil(1 << 20);
            let source = format!(
                "neither the temporary folder (TMPDIR) nor /dev/shm has the {mib} MiB that opening \
                 the vectors needs: free space in one of them"
            );
            permanent_error(OPENING, source)
        })?;
        if is_read_only {
            let (shard, to) = (folder.display(), base.display());
            tracing::info!(%shard, %to, mib = bytes >> 20, "copying files of a read-only shard");
        }
        let scratch = Scratch::create(&base).map_err(|e| permanent_error(OPENING, e))?;
        fill(scratch.path(), folder, copied).map_err(|e| permanent_error(OPENING, e))?;
        Ok(Self { scratch, of: folder.to_owned(), _lock })
    }

    /// Opens the shard in the temporary folder.
    pub(super) fn open(&self, config: EdgeConfig) -> Result<EdgeShard, StoreError> {
        let log = WalOptions { segment_capacity: WAL_SEGMENT_BYTES, ..WalOptions::default() };
        let config = EdgeConfig { wal_options: Some(log), ..config };
        EdgeShard::load(self.scratch.path(), Some(config))
            .map_err(|e| damage_error(OPENING, &self.of, e))
    }
}

/// Fills the temporary folder with copies and links of the files of a shard.
fn fill(scratch: &Path, folder: &Path, copied: Copied) -> io::Result<()> {
    let schema = folder.join("payload_index.json");
    if schema.exists() {
        fs_err::copy(schema, scratch.join("payload_index.json"))?;
    }
    fs_err::create_dir(scratch.join("wal"))?;
    let segments = scratch.join("segments");
    fs_err::create_dir(&segments)?;
    for entry in fs_err::read_dir(folder.join("segments"))? {
        let entry = entry?;
        // Skips segments that are being created or deleted.
        let is_segment = entry.file_name().to_str().is_some_and(|it| Uuid::parse_str(it).is_ok())
            && entry.path().join("version.info").exists();
        if is_segment {
            let from = std::path::absolute(entry.path())?;
            fill_segment(&segments.join(entry.file_name()), &from, copied)?;
        }
    }
    Ok(())
}

fn fill_segment(to: &Path, from: &Path, copied: Copied) -> io::Result<()> {
    fs_err::create_dir(to)?;
    for part in fs_err::read_dir(from)? {
        let part = part?;
        let place = to.join(part.file_name());
        // A folder is linked as a whole unless files in it must be copied.
        if copied == Copied::AllButRead && part.file_type()?.is_dir() {
            fill_segment(&place, &part.path(), copied)?;
        } else if copied.has(&part.file_name()) {
            copy(&part.path(), &place)?;
        } else {
            symlink(part.path(), place)?;
        }
    }
    Ok(())
}

/// Copies a file without its holes, which Edge leaves in files of 32 MiB.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut from = fs_err::File::open(from)?;
    let mut to = fs_err::File::create(to)?;
    let end = from.metadata()?.len();
    to.set_len(end)?;
    let mut at = 0;
    while let Some(data) = files::next_data(&from, at).filter(|data| *data < end) {
        let hole = rustix::fs::seek(from.file(), rustix::fs::SeekFrom::Hole(data)).unwrap_or(end);
        from.seek(SeekFrom::Start(data))?;
        to.seek(SeekFrom::Start(data))?;
        io::copy(&mut (&mut from).take(hole - data), &mut to)?;
        at = hole;
    }
    Ok(())
}

/// Bytes of the copies. Small files count in full, because reading them on tmpfs may fill their
/// holes.
fn bytes(folder: &Path, copied: Copied) -> u64 {
    let Ok(entries) = fs_err::read_dir(folder) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(it) if it.is_dir() && entry.file_name() != "wal" => bytes(&entry.path(), copied),
        Ok(it) if it.is_file() && copied.has(&entry.file_name()) => {
            if it.len() <= files::MAX_FILLED_BYTES { it.len() } else { it.blocks() * 512 }
        }
        Ok(_) | Err(_) => 0,
    });
    sizes.sum()
}

/// Fails for a shard on a full tmpfs if reading would allocate space: there, even reading a hole
/// allocates, and the process gets SIGBUS if no space is left.
fn check_full_tmpfs(folder: &Path) -> Result<(), StoreError> {
    let is_tmpfs =
        rustix::fs::statfs(folder).is_ok_and(|it| it.f_type.cast_unsigned() == TMPFS_MAGIC);
    let is_full = disk_space::free_bytes(folder).is_some_and(|free| free < OVERHEAD_BYTES);
    if is_tmpfs && is_full && files::has_holes(folder).map_err(|e| permanent_error(OPENING, e))? {
        disk_space::ensure_free_space(folder, OPENING, 0)?;
    }
    Ok(())
}

/// Folder for temporary files: the first of `TMPDIR` and `/dev/shm` with `needed` free bytes.
fn base(needed: u64) -> Option<PathBuf> {
    let bases = [std::env::temp_dir(), PathBuf::from("/dev/shm")];
    // Abandoned folders occupy space.
    bases.iter().for_each(|base| sweep(base));
    bases
        .into_iter()
        .find(|it| it.is_dir() && disk_space::free_bytes(it).is_none_or(|free| free >= needed))
}
