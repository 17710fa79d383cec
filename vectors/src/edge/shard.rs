//! The folder of a shard: creation, opening, deletion, and the settings of new shards.
//!
//! Opening for writing changes files; `edge/view.rs` opens a shard for reading.

use std::path::{Path, PathBuf};

use pipeline::{BoxError, Remedy, StoreError};
use pipeline::{Quantization, VectorsConfig};
use qdrant_edge::{
    CreateIndex, Distance, EdgeConfig, EdgeOptimizersConfig, EdgeShard, EdgeSparseVectorParams,
    EdgeVectorParams, FieldIndexOperations, HnswIndexConfig, Modifier, OperationError,
    PayloadFieldSchema, QuantizationConfig, ScalarQuantizationConfig, ScalarType, UpdateOperation,
    VectorStorageDatatype, WalOptions,
};
use rustix::fs::{FlockOperation, flock};
use serde_json::json;

use crate::edge::disk_space::SpaceCheck;
use crate::edge::manifest::CheckDepth;
use crate::edge::panics::catch_panic;
use crate::edge::{disk_space, holder, indexing, manifest};
use crate::shape::{
    DENSE_VECTOR, FILTERABLE, FieldKind, SPARSE_VECTOR, VectorLayout, check_collection,
    permanent_error,
};

/// Written first when a shard is created; its presence marks a shard.
pub(super) const CONFIG_FILE: &str = "edge_config.json";

/// Bytes of one part of the log. The default, 32 MiB, would also be the size of an empty shard.
const WAL_SEGMENT_BYTES: usize = 8 << 20;

/// Operation named by errors of opening a shard.
pub(super) const OPENING: &str = "open the vector collection";

/// Marker file that exists from the first change of a shard until its index was built.
const INDEX_STALE_MARKER: &str = "index-due";

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

/// Vectors, graph, payload and payload indexes are mapped files, so the memory of a shard does not
/// grow with its size; the system keeps used pages in memory.
fn edge_config(config: &VectorsConfig, shape: VectorLayout) -> EdgeConfig {
    let int8 = config.quantization == Quantization::Int8;
    let vector = EdgeVectorParams::builder(config.dim, Distance::Cosine)
        .datatype(match config.quantization {
            Quantization::Float32 => VectorStorageDatatype::Float32,
            Quantization::Float16 | Quantization::Int8 => VectorStorageDatatype::Float16,
        })
        .on_disk(true)
        .build();
    let hnsw = HnswIndexConfig {
        m: config.hnsw_m,
        ef_construct: config.hnsw_ef_construct,
        on_disk: Some(true),
        ..HnswIndexConfig::default()
    };
    let optimizers = EdgeOptimizersConfig {
        indexing_threshold: Some(config.indexing_threshold),
        ..EdgeOptimizersConfig::default()
    };
    let log = WalOptions { segment_capacity: WAL_SEGMENT_BYTES, ..WalOptions::default() };
    let mut edge = EdgeConfig::builder()
        .vector(DENSE_VECTOR, vector)
        .on_disk_payload(true)
        .hnsw_config(hnsw)
        .optimizers(optimizers)
        .wal_options(log);
    if shape.sparse {
        let words = EdgeSparseVectorParams::builder().modifier(Modifier::Idf).on_disk(true).build();
        edge = edge.sparse_vector(SPARSE_VECTOR, words);
    }
    if !int8 {
        return edge.build();
    }
    let scalar = ScalarQuantizationConfig {
        r#type: ScalarType::Int8,
        quantile: Some(0.99),
        always_ram: Some(true),
    };
    edge.quantization_config(QuantizationConfig::from(scalar)).build()
}

/// Creates missing payload indexes; Edge ignores existing ones.
fn index_fields(shard: &EdgeShard) -> Result<(), OperationError> {
    for (field, kind) in FILTERABLE {
        let kind = match kind {
            FieldKind::Keyword => "keyword",
            FieldKind::Integer => "integer",
            FieldKind::Datetime => "datetime",
            FieldKind::Text => "text",
        };
        let schema = serde_json::from_value(json!({ "type": kind, "on_disk": true }));
        let schema: PayloadFieldSchema = schema.expect("is a valid field schema");
        let create = FieldIndexOperations::CreateIndex(CreateIndex {
            field_name: field.parse().expect("a field name is a path"),
            field_schema: Some(schema),
        });
        shard.update(UpdateOperation::FieldIndexOperation(create))?;
    }
    Ok(())
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

/// A shard that is probably damaged.
#[derive(Debug, thiserror::Error)]
#[error(
    "the shard {} cannot be used: {cause}; if its files are damaged, rebuild it with `semantik \
     verify FILE --repair`",
    shard.display()
)]
struct DamagedShard {
    shard: PathBuf,
    cause: BoxError,
}

/// An error that marks the shard as damaged.
pub(super) fn damage_error(
    doing: &'static str,
    folder: &Path,
    cause: impl Into<BoxError>,
) -> StoreError {
    permanent_error(doing, DamagedShard { shard: folder.to_owned(), cause: cause.into() })
}

/// Returns true if the error is probably caused by damaged files of an embedded store.
pub fn is_damage_error(error: &StoreError) -> bool {
    error.source.is::<DamagedShard>() || error.source.is::<OperationError>()
}

fn in_use_error(doing: &'static str, folder: &Path) -> StoreError {
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
