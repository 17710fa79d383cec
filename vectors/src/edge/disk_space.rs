//! Checks that the volume of a shard has space for the next write.
//!
//! Edge maps sparse files and writes to the mapping. On a full volume such a write is not an error
//! that can be handled but a signal (SIGBUS) that ends the process. So the free space is checked
//! before a shard is opened for writing, before each request, and before segments are rewritten,
//! and the call is refused if the space is insufficient.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use pipeline::{Point, StoreError};

use crate::shape::permanent_error;

/// Bytes that must stay free beyond the write: parts of the log (8 MiB each), files of a new
/// segment, and concurrent writes of other processes to the volume.
pub(super) const RESERVE: u64 = 64 << 20;

/// A point is stored in the log, in the storages of payloads and vectors, and in their indexes.
const COPIES: u64 = 4;

const MIB: u64 = 1 << 20;

/// Proof that the free space of the volume was checked; every write to a shard requires one.
#[derive(Clone, Copy, Debug)]
pub(super) struct SpaceCheck(());

/// Fails if the volume has fewer free bytes than `bytes` plus the reserve.
pub(super) fn ensure_free_space(
    folder: &Path,
    doing: &'static str,
    bytes: u64,
) -> Result<SpaceCheck, StoreError> {
    let Some(free) = free_bytes(folder) else { return Ok(SpaceCheck(())) };
    let needed = RESERVE.saturating_add(bytes);
    if free >= needed {
        return Ok(SpaceCheck(()));
    }
    Err(permanent_error(
        doing,
        format!(
            "the volume of {} has {} MiB free, and writing vectors needs at least {} MiB: free \
             space, or set `stores.data` to a folder on another volume (stored vectors remain \
             searchable)",
            folder.display(),
            free / MIB,
            needed.div_ceil(MIB),
        ),
    ))
}

/// Bytes that this user can still write to the volume of a path; `None` if the file system does not
/// report them.
pub(super) fn free_bytes(path: &Path) -> Option<u64> {
    // A folder that does not exist yet is on the volume of its parent.
    let volume = path.ancestors().find_map(|path| rustix::fs::statvfs(path).ok())?;
    // A file system that reports no blocks has no limit.
    (volume.f_blocks > 0).then(|| volume.f_bavail.saturating_mul(volume.f_frsize))
}

/// Upper estimate of the bytes that these points take on the volume.
pub(super) fn bytes_of_points(points: &[Point]) -> u64 {
    let of = |point: &Point| {
        let sparse = point.sparse.as_ref().map_or(0, |words| words.indices.len() * 8);
        let facts = point.payload.facts.iter().map(String::len).sum::<usize>();
        point.vector.len() * 4 + sparse + facts + point.payload.content.len() + 1024
    };
    points.iter().map(|point| of(point) as u64).sum::<u64>().saturating_mul(COPIES)
}

/// Bytes that the files below a folder occupy on the volume, without holes.
pub(super) fn used_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs_err::read_dir(folder) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(it) if it.is_dir() => used_bytes(&entry.path()),
        Ok(it) => it.blocks() * 512,
        // The file was deleted in the meantime.
        Err(_) => 0,
    });
    sizes.sum()
}
