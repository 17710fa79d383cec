//! The folder of a shard: making, opening and deleting it, and what is set when it is made.

use std::path::{Path, PathBuf};

use pipeline::{Remedy, StoreError};
use qdrant_edge::{
    CreateIndex, Distance, EdgeConfig, EdgeOptimizersConfig, EdgeShard, EdgeSparseVectorParams,
    EdgeVectorParams, FieldIndexOperations, HnswIndexConfig, Modifier, OperationError,
    PayloadFieldSchema, QuantizationConfig, ScalarQuantizationConfig, ScalarType, UpdateOperation,
    VectorStorageDatatype, WalOptions,
};
use rustix::fs::{FlockOperation, flock};
use serde_json::json;

use crate::edge::indexing;
use crate::vectors::{
    DENSE, FILTERABLE, FieldKind, Quantization, SPARSE, Shape, VectorsConfig, check_collection,
    gives_up,
};

/// Written when a shard is made, before anything else; where it is, there is a shard.
const CONFIG_FILE: &str = "edge_config.json";

/// Bytes of one part of the log. Its default, 32 MiB, is also what an empty shard would weigh.
const LOG_PART: usize = 8 << 20;

/// Whether there is a shard in this folder.
pub(super) fn exists(folder: &Path) -> bool {
    folder.join(CONFIG_FILE).exists()
}

/// Opens the shard in this folder, and makes it first if it is not there; says what its vectors are.
pub(super) fn open(
    folder: &Path,
    config: &VectorsConfig,
) -> Result<(EdgeShard, Shape), StoreError> {
    let doing = "open the vector collection";
    let mut shape = Shape { dim: config.dim, sparse: config.sparse };
    let shard = if exists(folder) {
        let there = EdgeConfig::load(folder).transpose().map_err(|e| gives_up(doing, e))?;
        if let Some(there) = there
            && let Some(dense) = there.vectors.get(DENSE)
        {
            shape = Shape { dim: dense.size, sparse: there.sparse_vectors.contains_key(SPARSE) };
            check_collection(config, shape)?;
        }
        EdgeShard::load(folder, Some(edge_config(config, shape)))
    } else {
        fs_err::create_dir_all(folder).map_err(|e| gives_up(doing, e))?;
        EdgeShard::new(folder, edge_config(config, shape))
    };
    let shard = shard.map_err(|error| opening(folder, error))?;
    shorten_log(folder).map_err(|e| gives_up(doing, e))?;
    indexing::repair(&shard).map_err(|e| gives_up(doing, e))?;
    index_fields(&shard).map_err(|e| gives_up(doing, e))?;
    Ok((shard, shape))
}

/// Deletes the shard in this folder, if there is one that nobody has open.
pub(super) fn delete(folder: &Path) -> Result<(), StoreError> {
    let doing = "delete the vector collection";
    let doomed = folder.with_extension("deleted");
    // What somebody left who was killed while they deleted it.
    if doomed.exists() {
        fs_err::remove_dir_all(&doomed).map_err(|e| gives_up(doing, e))?;
    }
    if !folder.exists() {
        return Ok(());
    }
    // The lock that an open shard holds is on the folder of its log.
    if let Ok(log) = fs_err::File::open(folder.join("wal")) {
        flock(log.file(), FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| in_use(doing, folder))?;
    }
    // Renamed first: a folder that is half deleted must not be taken for a shard.
    fs_err::rename(folder, &doomed).map_err(|e| gives_up(doing, e))?;
    fs_err::remove_dir_all(&doomed).map_err(|e| gives_up(doing, e))
}

/// Vectors, graph, payload and its indexes are files that are mapped: what a shard needs in memory does not grow
/// with it, and the system keeps in memory what is used.
fn edge_config(config: &VectorsConfig, shape: Shape) -> EdgeConfig {
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
    let log = WalOptions { segment_capacity: LOG_PART, ..WalOptions::default() };
    let mut edge = EdgeConfig::builder()
        .vector(DENSE, vector)
        .on_disk_payload(true)
        .hnsw_config(hnsw)
        .optimizers(optimizers)
        .wal_options(log);
    if shape.sparse {
        let words = EdgeSparseVectorParams::builder().modifier(Modifier::Idf).on_disk(true).build();
        edge = edge.sparse_vector(SPARSE, words);
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

/// Makes the payload indexes that are missing; one that is there is left as it is.
fn index_fields(shard: &EdgeShard) -> Result<(), OperationError> {
    for (field, kind) in FILTERABLE {
        let kind = match kind {
            FieldKind::Keyword => "keyword",
            FieldKind::Integer => "integer",
            FieldKind::Datetime => "datetime",
            FieldKind::Text => "text",
        };
        let schema = serde_json::from_value(json!({ "type": kind, "on_disk": true }));
        let schema: PayloadFieldSchema = schema.expect("has the form of a field's schema");
        let create = FieldIndexOperations::CreateIndex(CreateIndex {
            field_name: field.parse().expect("a field name is a path"),
            field_schema: Some(schema),
        });
        shard.update(UpdateOperation::FieldIndexOperation(create))?;
    }
    Ok(())
}

/// Deletes the closed parts of the log but the newest, by which Edge knows where to go on counting.
fn shorten_log(folder: &Path) -> std::io::Result<()> {
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

fn opening(folder: &Path, error: OperationError) -> StoreError {
    let doing = "open the vector collection";
    // Edge has no error of its own for a log that is locked.
    if error.to_string().contains("WouldBlock") {
        in_use(doing, folder)
    } else {
        gives_up(doing, error)
    }
}

fn in_use(doing: &'static str, folder: &Path) -> StoreError {
    let source = format!("{} is in use by another semantik process", folder.display());
    StoreError { doing, remedy: Remedy::Conflict, source: source.into() }
}
