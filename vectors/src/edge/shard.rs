//! The folder of a shard: creation, opening for writing, and deletion.
//!
//! Opening for writing changes files; `edge/view.rs` opens a shard for reading.

use std::path::{Path, PathBuf};

use pipeline::{StoreError, VectorsConfig};
use qdrant_edge::{EdgeConfig, EdgeShard, OperationError};

use crate::edge::access::{CONFIG_FILE, LockMode, in_use_error, lock};
use crate::edge::config::{edge_config, index_fields};
use crate::edge::damage::{OPENING, damage_error};
use crate::edge::disk_space::SpaceCheck;
use crate::edge::manifest::CheckDepth;
use crate::edge::panics::catch_panic;
use crate::edge::{disk_space, indexing, manifest};
use crate::shape::{DENSE_VECTOR, SPARSE_VECTOR, VectorLayout, check_collection, permanent_error};

/// Marker file that exists from the first change of a shard until its index was built.
const INDEX_STALE_MARKER: &str = "index-due";

/// Shape of the vectors of the shard in `folder`, checked against `config`. Opens no segment.
///
/// # Errors
/// [`pipeline::Remedy::Conflict`] if another process writes to the shard; otherwise if its shape
/// does not match `config`, or it is damaged.
pub(super) fn shape_of(folder: &Path, config: &VectorsConfig) -> Result<VectorLayout, StoreError> {
    let _lock = lock(folder, OPENING, LockMode::Shared)?;
    ensure_undamaged(folder, CheckDepth::SmallFiles)?;
    let there = stored_config(folder)?;
    let Some(dense) = there.vectors.get(DENSE_VECTOR) else {
        return Err(damage_error(OPENING, folder, "its configuration defines no dense vector"));
    };
    let shape =
        VectorLayout { dim: dense.size, sparse: there.sparse_vectors.contains_key(SPARSE_VECTOR) };
    check_collection(config, shape)?;
    Ok(shape)
}

/// The configuration with which the shard was last opened.
pub(super) fn stored_config(folder: &Path) -> Result<EdgeConfig, StoreError> {
    let found =
        catch_panic(|| EdgeConfig::load(folder)).map_err(|e| damage_error(OPENING, folder, e))?;
    let found = found.transpose().map_err(|e| damage_error(OPENING, folder, e))?;
    found.ok_or_else(|| damage_error(OPENING, folder, format!("{CONFIG_FILE} is missing")))
}

/// Creates a shard and opens it for writing.
pub(super) fn create(folder: &Path, config: &VectorsConfig) -> Result<EdgeShard, StoreError> {
    disk_space::ensure_free_space(folder, OPENING, 0)?;
    pipeline::private_files::create_private_folder(folder)
        .map_err(|e| permanent_error(OPENING, e))?;
    begin_writing(folder)?;
    let shape = VectorLayout { dim: config.dim, sparse: config.sparse };
    let shard = EdgeShard::new(folder, edge_config(config, shape));
    ready(folder, shard.map_err(|error| open_error(folder, error))?)
}

/// Opens an existing shard for writing.
pub(super) fn open(
    folder: &Path,
    config: &VectorsConfig,
    shape: VectorLayout,
    _: SpaceCheck,
) -> Result<EdgeShard, StoreError> {
    // Released immediately, because Edge takes the lock itself.
    drop(lock(folder, OPENING, LockMode::Exclusive)?);
    ensure_undamaged(folder, CheckDepth::BeforeWriting)?;
    begin_writing(folder)?;
    let shard = EdgeShard::load(folder, Some(edge_config(config, shape)));
    ready(folder, shard.map_err(|error| open_error(folder, error))?)
}

fn begin_writing(folder: &Path) -> Result<(), StoreError> {
    manifest::unseal(folder).map_err(|e| permanent_error(OPENING, e))
}

fn ready(folder: &Path, shard: EdgeShard) -> Result<EdgeShard, StoreError> {
    truncate_wal(folder).map_err(|e| permanent_error(OPENING, e))?;
    indexing::repair(&shard).map_err(|e| damage_error(OPENING, folder, e))?;
    index_fields(&shard).map_err(|e| damage_error(OPENING, folder, e))?;
    Ok(shard)
}

/// Returns true if points were written since the index was built, or the settings of the index
/// changed.
pub(super) fn is_index_stale(folder: &Path, config: &VectorsConfig, shape: VectorLayout) -> bool {
    folder.join(INDEX_STALE_MARKER).exists()
        || stored_config(folder).is_ok_and(|it| it != edge_config(config, shape))
}

/// Records that the index lacks written points.
pub(super) fn mark_index_stale(folder: &Path) -> std::io::Result<()> {
    pipeline::private_files::create_private_file(&folder.join(INDEX_STALE_MARKER)).map(drop)
}

/// Records that the index was built.
pub(super) fn mark_index_built(folder: &Path) -> std::io::Result<()> {
    match fs_err::remove_file(folder.join(INDEX_STALE_MARKER)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Fails if a file of the shard differs from its record.
pub(super) fn ensure_undamaged(folder: &Path, depth: CheckDepth) -> Result<(), StoreError> {
    let found = manifest::damaged_files(folder, depth);
    let Some(first) = found.first() else { return Ok(()) };
    let more = found.len() - 1;
    let what = if more == 0 {
        first.to_string()
    } else {
        format!("{first} (and {more} more files are damaged)")
    };
    Err(damage_error(OPENING, folder, what))
}

/// Deletes the shard in `folder` unless a process has it open; a missing one is ignored.
pub(super) fn delete(folder: &Path) -> Result<(), StoreError> {
    let doing = "delete the vector collection";
    let doomed = folder.with_extension("deleted");
    // Left by a process that was killed during the deletion.
    if doomed.exists() {
        fs_err::remove_dir_all(&doomed).map_err(|e| permanent_error(doing, e))?;
    }
    if !folder.exists() {
        return Ok(());
    }
    let _log = match folder.join("wal").exists() {
        true => Some(lock(folder, doing, LockMode::Exclusive)?),
        false => None,
    };
    // Renamed first, so that a half-deleted folder does not count as a shard.
    fs_err::rename(folder, &doomed).map_err(|e| permanent_error(doing, e))?;
    fs_err::remove_dir_all(&doomed).map_err(|e| permanent_error(doing, e))
}

/// Deletes all closed parts of the log except the newest, from which Edge continues its numbering.
fn truncate_wal(folder: &Path) -> std::io::Result<()> {
    let mut closed: Vec<(u64, PathBuf)> = Vec::new();
    for entry in fs_err::read_dir(folder.join("wal"))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(start) = name.strip_prefix("closed-").and_then(|start| start.parse().ok()) {
            closed.push((start, path));
        }
    }
    closed.sort_unstable();
    closed.pop();
    closed.iter().try_for_each(|(_, path)| fs_err::remove_file(path))
}

fn open_error(folder: &Path, error: OperationError) -> StoreError {
    // Edge has no error variant for a locked log.
    if error.to_string().contains("WouldBlock") {
        in_use_error(OPENING, folder)
    } else {
        damage_error(OPENING, folder, error)
    }
}
