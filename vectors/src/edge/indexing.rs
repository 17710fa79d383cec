//! Builds the index of a shard, closes segments that have grown, and repairs the state after a kill
//! during a build.
//!
//! A collection below the threshold has no graph. Above it, each segment of the size of a closed
//! one gets a graph.
//!
//! An open segment keeps its sparse vectors in lists that Edge scans completely for every added
//! term, so the time grows with the square of its points: 20,000 chunks took 13 seconds of one
//! core, 61,000 took 127. Its payload indexes are in memory, two to three kilobytes per point. A
//! closed segment has both in mapped files. Segments are therefore closed regularly, without a
//! graph if the shard has none yet; the graph is built once, at the end. Edge itself would merge
//! closed segments into an open one if together they are below the threshold.
//!
//! Edge writes a new segment, adds it to the shard, and then deletes the segments that it replaces.
//! If the process is killed in between, two segments contain the same points: searches and
//! deletions are correct, counts are not, and unlike the server Edge does not check for this. A
//! marker file exists while an index is built. If a shard that is opened contains it, duplicate
//! points are deleted and written once. Until that is flushed, the shard on disk is unchanged.

use std::path::Path;

use pipeline::BoxError;
use qdrant_edge::{
    Condition, CountRequest, EdgeOptimizersConfig, EdgeShard, Filter, HnswIndexConfig,
    OperationResult, PointId, PointInsertOperations, PointOperations, PointStructPersisted, Record,
    ScrollRequest, UpdateOperation, VectorStructPersisted, WithPayloadInterface, WithVector,
};

use crate::shape::VectorLayout;
use pipeline::{Quantization, VectorsConfig};

/// Marker file that exists while an index is built.
const BUILDING_MARKER: &str = "index-under-way";

/// Folder in which Edge builds segments.
const BUILD_FOLDER: &str = "temp_segments";

/// Points read per page during a repair.
const PAGE_POINTS: usize = 500;

/// Points written after which the open segment is closed: a few windows of chunks. Lists of this
/// length are fast to scan, and a segment of this size justifies its files.
pub(super) const CLOSE_SEGMENT_POINTS: usize = 8_192;

/// Largest number of segments of a shard without graphs; more are merged, because each is searched
/// separately.
const MAX_SMALL_SEGMENTS: usize = 16;

/// Sizes that decide whether a graph is built.
#[derive(Clone, Copy, Debug)]
pub(super) struct IndexThresholds {
    /// Kilobytes of vectors from which graphs are built; 0 for never.
    graph_threshold: usize,
    /// Kilobytes of the vectors of a closed segment.
    closed_segment: usize,
    /// Bytes per vector.
    vector_bytes: usize,
}

impl IndexThresholds {
    pub(super) fn of(config: &VectorsConfig, shape: VectorLayout) -> Self {
        let number = match config.quantization {
            Quantization::Float32 => 4,
            Quantization::Float16 | Quantization::Int8 => 2,
        };
        let vector = shape.dim * number;
        let closed = (CLOSE_SEGMENT_POINTS * vector / 1024).max(1);
        Self {
            graph_threshold: config.indexing_threshold,
            closed_segment: closed,
            vector_bytes: vector,
        }
    }

    /// Returns true if a shard of `points` points is searched without a graph.
    pub(super) fn is_small(self, points: usize) -> bool {
        self.graph_threshold == 0
            || points.saturating_mul(self.vector_bytes) / 1024 < self.graph_threshold
    }
}

/// Upper bound of the bytes written by closing a segment. Larger vectors fill a window with fewer
/// points.
pub(super) const CLOSE_SEGMENT_BYTES: u64 = 256 << 20;

/// Returns true if the process was killed while it built the index of the shard.
pub(super) fn was_interrupted(folder: &Path) -> bool {
    folder.join(BUILDING_MARKER).exists()
}

/// Builds the index if it is due; returns `false` if no segment needed it.
pub(super) fn build(shard: &EdgeShard, sizes: IndexThresholds) -> OperationResult<bool> {
    let optimizers = shard.config().optimizers.clone();
    if sizes.is_small(shard.info().points_count) {
        let small = EdgeOptimizersConfig {
            indexing_threshold: Some(sizes.closed_segment),
            default_segment_number: Some(MAX_SMALL_SEGMENTS),
            ..optimizers
        };
        return optimize_with(shard, small, true);
    }
    let large = EdgeOptimizersConfig {
        indexing_threshold: Some(sizes.graph_threshold.min(sizes.closed_segment)),
        ..optimizers
    };
    optimize_with(shard, large, false)
}

/// Closes the open segment, whatever its size, and leaves all others unchanged. With `bare`, no
/// segment has a graph, and this one gets none either.
pub(super) fn close(shard: &EdgeShard, bare: bool) -> OperationResult<()> {
    let alone = EdgeOptimizersConfig {
        indexing_threshold: Some(1),
        default_segment_number: Some(usize::MAX / 2),
        ..shard.config().optimizers.clone()
    };
    optimize_with(shard, alone, bare).map(drop)
}

/// Rewrites segments with settings that differ from the stored ones. The stored settings are those
/// requested when the shard was opened, so a kill during the rewrite does not change them. `bare`
/// builds no graphs.
fn optimize_with(
    shard: &EdgeShard,
    settings: EdgeOptimizersConfig,
    bare: bool,
) -> OperationResult<bool> {
    let (optimizers, hnsw) = {
        let config = shard.config();
        (config.optimizers.clone(), config.hnsw_config)
    };
    shard.set_optimizers_config(settings)?;
    if bare {
        shard.set_hnsw_config(HnswIndexConfig { m: 0, ..hnsw })?;
    }
    let built = rewrite(shard);
    shard.set_optimizers_config(optimizers)?;
    shard.set_hnsw_config(hnsw)?;
    built
}

fn rewrite(shard: &EdgeShard) -> OperationResult<bool> {
    let marker = shard.path().join(BUILDING_MARKER);
    // After an interruption only the old segments remain, so they must be durable.
    shard.flush();
    pipeline::private_files::create_private_file(&marker).and_then(|file| file.sync_all())?;
    let built = shard.optimize()?;
    shard.flush();
    fs_err::remove_file(&marker)?;
    Ok(built)
}

/// Removes duplicate points if the shard was killed while its index was built.
pub(super) fn repair(shard: &EdgeShard) -> Result<(), BoxError> {
    let marker = shard.path().join(BUILDING_MARKER);
    if !marker.exists() {
        return Ok(());
    }
    let site = shard.path().join(BUILD_FOLDER);
    if site.exists() {
        fs_err::remove_dir_all(site)?;
    }
    let mut twice = 0;
    let mut offset = None;
    loop {
        let (records, next) = shard.scroll(page(offset))?;
        let ids: Vec<PointId> = records.iter().map(|record| record.id).collect();
        let count = CountRequest { filter: Some(having_ids(&ids)), exact: true };
        if shard.count(count)? > records.len() {
            twice += records.len();
            rewrite_points(shard, records)?;
        }
        offset = next;
        if offset.is_none() {
            break;
        }
    }
    shard.flush();
    fs_err::remove_file(marker)?;
    tracing::warn!(
        points = twice,
        "repaired a shard whose process was killed while it built the index"
    );
    Ok(())
}

fn page(offset: Option<PointId>) -> ScrollRequest {
    ScrollRequest {
        offset,
        limit: Some(PAGE_POINTS),
        filter: None,
        with_payload: Some(WithPayloadInterface::Bool(true)),
        with_vector: WithVector::Bool(true),
        order_by: None,
    }
}

fn having_ids(ids: &[PointId]) -> Filter {
    Filter::new_must(Condition::HasId(ids.iter().copied().collect()))
}

/// Deletes the points from all segments and writes them once.
fn rewrite_points(shard: &EdgeShard, records: Vec<Record>) -> Result<(), BoxError> {
    let ids = records.iter().map(|record| record.id).collect();
    let again: Option<Vec<_>> = records.into_iter().map(persisted).collect();
    let again = PointInsertOperations::PointsList(again.ok_or("a point has no vector")?);
    for operation in [PointOperations::DeletePoints { ids }, PointOperations::UpsertPoints(again)] {
        shard.update(UpdateOperation::PointOperation(operation))?;
    }
    Ok(())
}

fn persisted(record: Record) -> Option<PointStructPersisted> {
    let vector = VectorStructPersisted::from(record.vector?);
    Some(PointStructPersisted { id: record.id, vector, payload: record.payload })
}
