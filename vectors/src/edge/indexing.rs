//! Building the index of a shard, closing segments that have grown, and putting right what a kill in the middle
//! leaves.
//!
//! Below the threshold of the collection there is no graph at all; above it, each segment gets one that has as many
//! points as one that is closed while more is written.
//!
//! An open segment keeps its words in lists that Edge walks from end to end for every word that is added, so
//! that time grows with the square of its points: 20,000 chunks took 13 seconds of a processor and 61,000 took 127. And its
//! payload indexes are in memory, two to three kilobytes a point. A closed segment has both in mapped files. So a segment is
//! closed now and then, without a graph if the shard has none yet: that is built once, at the end. Edge itself would
//! merge closed segments into an open one where they are below the threshold together.
//!
//! Edge writes a new segment, puts it beside those that it replaces, and then deletes these. Killed in
//! between, a shard has the same points in two segments: searches and deletions are right, counts are
//! not, and unlike a server Edge does not look for it. A file says that an index is being built; where
//! a shard that is opened has it, points that are there twice are deleted and written once more. Until
//! that is flushed, the shard on disk is as it was.

use std::path::Path;

use pipeline::BoxError;
use qdrant_edge::{
    Condition, CountRequest, EdgeOptimizersConfig, EdgeShard, Filter, HnswIndexConfig,
    OperationResult, PointId, PointInsertOperations, PointOperations, PointStructPersisted, Record,
    ScrollRequest, UpdateOperation, VectorStructPersisted, WithPayloadInterface, WithVector,
};

use crate::shape::Shape;
use pipeline::{Quantization, VectorsConfig};

/// Is there while an index is being built.
const UNDER_WAY: &str = "index-under-way";

/// Where Edge builds segments.
const BUILDING_SITE: &str = "temp_segments";

/// Points that are looked at together.
const PAGE: usize = 500;

/// From so many written points on, the open segment is closed: a few windows of chunks, with lists short enough to be
/// walked and segments large enough to be worth their files.
pub(super) const CLOSED_FROM: usize = 8_192;

/// Segments of a shard without graphs; more are merged. Each is searched by itself.
const SMALL_SEGMENTS: usize = 16;

/// When a graph is worth building.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Kilobytes of vectors from which on there are graphs; 0 for never.
    threshold: usize,
    /// Kilobytes of the vectors of as many points as a closed segment has.
    closed: usize,
    /// Bytes of a vector.
    vector: usize,
}

impl Sizes {
    pub(super) fn of(config: &VectorsConfig, shape: Shape) -> Self {
        let number = match config.quantization {
            Quantization::Float32 => 4,
            Quantization::Float16 | Quantization::Int8 => 2,
        };
        let vector = shape.dim * number;
        let closed = (CLOSED_FROM * vector / 1024).max(1);
        Self { threshold: config.indexing_threshold, closed, vector }
    }

    /// Whether a shard of so many points is searched without a graph.
    pub(super) fn is_small(self, points: usize) -> bool {
        self.threshold == 0 || points.saturating_mul(self.vector) / 1024 < self.threshold
    }
}

/// More bytes than closing a segment of so many points takes. Larger vectors are fewer in a window.
pub(super) const CLOSED_BYTES: u64 = 256 << 20;

/// Whether the index of a shard was being built when its process was killed.
pub(super) fn was_killed(folder: &Path) -> bool {
    folder.join(UNDER_WAY).exists()
}

/// Builds the index where one is due; returns whether it was anywhere.
pub(super) fn build(shard: &EdgeShard, sizes: Sizes) -> OperationResult<bool> {
    let optimizers = shard.config().optimizers.clone();
    if sizes.is_small(shard.info().points_count) {
        let small = EdgeOptimizersConfig {
            indexing_threshold: Some(sizes.closed),
            default_segment_number: Some(SMALL_SEGMENTS),
            ..optimizers
        };
        return optimized(shard, small, true);
    }
    let large = EdgeOptimizersConfig {
        indexing_threshold: Some(sizes.threshold.min(sizes.closed)),
        ..optimizers
    };
    optimized(shard, large, false)
}

/// Closes the open segment, whatever its size, and leaves all others as they are. `bare` says that no segment
/// has a graph; then this one gets none either.
pub(super) fn close(shard: &EdgeShard, bare: bool) -> OperationResult<()> {
    let alone = EdgeOptimizersConfig {
        indexing_threshold: Some(1),
        default_segment_number: Some(usize::MAX / 2),
        ..shard.config().optimizers.clone()
    };
    optimized(shard, alone, bare).map(drop)
}

/// Rewrites segments with other settings than those that are kept on disk, which are what is asked for when the shard is
/// opened; so a kill in between changes nothing. `bare` is without graphs.
fn optimized(
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
    let marker = shard.path().join(UNDER_WAY);
    // The old segments are what is left if this is cut short, so they have to be whole on disk.
    shard.flush();
    pipeline::private::create(&marker).and_then(|file| file.sync_all())?;
    let built = shard.optimize()?;
    shard.flush();
    fs_err::remove_file(&marker)?;
    Ok(built)
}

/// Puts a shard right that was killed while its index was built.
pub(super) fn repair(shard: &EdgeShard) -> Result<(), BoxError> {
    let marker = shard.path().join(UNDER_WAY);
    if !marker.exists() {
        return Ok(());
    }
    let site = shard.path().join(BUILDING_SITE);
    if site.exists() {
        fs_err::remove_dir_all(site)?;
    }
    let mut twice = 0;
    let mut offset = None;
    loop {
        let (records, next) = shard.scroll(page(offset))?;
        let ids: Vec<PointId> = records.iter().map(|record| record.id).collect();
        let count = CountRequest { filter: Some(among(&ids)), exact: true };
        if shard.count(count)? > records.len() {
            twice += records.len();
            write_once(shard, records)?;
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
        "a shard was killed while its index was built, and is put right"
    );
    Ok(())
}

fn page(offset: Option<PointId>) -> ScrollRequest {
    ScrollRequest {
        offset,
        limit: Some(PAGE),
        filter: None,
        with_payload: Some(WithPayloadInterface::Bool(true)),
        with_vector: WithVector::Bool(true),
        order_by: None,
    }
}

fn among(ids: &[PointId]) -> Filter {
    Filter::new_must(Condition::HasId(ids.iter().copied().collect()))
}

/// Deletes points wherever they are, and writes them again.
fn write_once(shard: &EdgeShard, records: Vec<Record>) -> Result<(), BoxError> {
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
