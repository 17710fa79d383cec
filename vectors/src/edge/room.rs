//! Whether the volume of a shard has room for what is about to be written.
//!
//! Edge maps sparse files and writes to the mapping. Where the volume is full, such a write is no error that anybody
//! could handle but a signal (SIGBUS) that ends the process. So the free room is looked at before a shard is opened for
//! writing, before each request, and before segments are rewritten; and what is not enough is refused.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use pipeline::{Point, StoreError};

use crate::edge::shard::CONFIG_FILE;
use crate::shape::gives_up;

/// Bytes that stay free beyond what is written: the parts of the log (8 MiB each), the files of a new segment, and what
/// other processes write to the volume meanwhile.
pub(super) const RESERVE: u64 = 64 << 20;

/// A point is in the log, in the storage of payloads and vectors, and in their indexes.
const COPIES: u64 = 4;

const MIB: u64 = 1 << 20;

/// Proves that the room of a volume was checked; what writes to a shard takes one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room(());

/// Refuses to write where the volume has less room than this many bytes and the reserve.
pub(super) fn check(folder: &Path, doing: &'static str, bytes: u64) -> Result<Room, StoreError> {
    let Some(free) = free(folder) else { return Ok(Room(())) };
    let needed = RESERVE.saturating_add(bytes);
    if free >= needed {
        return Ok(Room(()));
    }
    Err(gives_up(
        doing,
        format!(
            "the volume of {} has {} MiB free, and writing to the vectors needs at least {} MiB; free room, or set \
             `stores.data` to a folder of another volume (what is stored can be searched meanwhile)",
            folder.display(),
            free / MIB,
            needed.div_ceil(MIB),
        ),
    ))
}

/// Bytes that the volume of a path still takes from this user; `None` where it does not say.
pub(super) fn free(path: &Path) -> Option<u64> {
    // A folder that is not made yet is on the volume of the one above it.
    let volume = path.ancestors().find_map(|path| rustix::fs::statvfs(path).ok())?;
    // Without a number of blocks there is no limit.
    (volume.f_blocks > 0).then(|| volume.f_bavail.saturating_mul(volume.f_frsize))
}

/// Whether this process cannot write to the files of a shard: the volume is read-only, or permissions forbid it.
pub(super) fn is_read_only(folder: &Path) -> bool {
    // Opening changes nothing, not even a time. Where the file is missing there is no shard.
    let opened = fs_err::OpenOptions::new().write(true).open(folder.join(CONFIG_FILE));
    let kinds = [io::ErrorKind::ReadOnlyFilesystem, io::ErrorKind::PermissionDenied];
    opened.is_err_and(|error| kinds.contains(&error.kind()))
}

/// What writing these points may take.
pub(super) fn of_points(points: &[Point]) -> u64 {
    let of = |point: &Point| {
        let sparse = point.sparse.as_ref().map_or(0, |words| words.indices.len() * 8);
        let facts = point.payload.facts.iter().map(String::len).sum::<usize>();
        point.vector.len() * 4 + sparse + facts + point.payload.content.len() + 1024
    };
    points.iter().map(|point| of(point) as u64).sum::<u64>().saturating_mul(COPIES)
}

/// Bytes that the files below a folder take on the volume, holes left out.
pub(super) fn taken(folder: &Path) -> u64 {
    let Ok(entries) = fs_err::read_dir(folder) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(it) if it.is_dir() => taken(&entry.path()),
        Ok(it) => it.blocks() * 512,
        // It was deleted just now.
        Err(_) => 0,
    });
    sizes.sum()
}
