//! Building the index of a shard, closing segments that have grown, and putting right what a kill in the middle
//! leaves.
//!
//! An open segment keeps its words in lists that Edge walks from end to end for every word that is added, so
//! that time grows with the square of its points: 20,000 chunks took 13 seconds of a processor and 61,000 took 127. And its
//! payload indexes are in memory. A closed segment has both in mapped files. So a segment is closed now and then, without
//! a graph if the shard has none yet: that is built once, at the end.
//!
//! Edge writes a new segment, puts it beside those that it replaces, and then deletes these. Killed in
//! between, a shard has the same points in two segments: searches and deletions are right, counts are
//! not, and unlike a server Edge does not look for it. A file says that an index is being built; where
//! a shard that is opened has it, points that are there twice are deleted and written once more. Until
//! that is flushed, the shard on disk is as it was.

use pipeline::BoxError;
use qdrant_edge::{
    Condition, CountRequest, EdgeOptimizersConfig, EdgeShard, Filter, HnswIndexConfig,
    OperationResult, PointId, PointInsertOperations, PointOperations, PointStructPersisted, Record,
    ScrollRequest, UpdateOperation, VectorStructPersisted, WithPayloadInterface, WithVector,
};

/// Is there while an index is being built.
const UNDER_WAY: &str = "index-under-way";

/// Where Edge builds segments.
const BUILDING_SITE: &str = "temp_segments";

/// Points that are looked at together.
const PAGE: usize = 500;

/// From so many written points on, the open segment is closed: a few windows of chunks, with lists short enough to be
/// walked and segments large enough to be worth their files.
pub(super) const CLOSED_FROM: usize = 8_192;

/// Builds the index where one is due; returns whether it was anywhere.
pub(super) fn build(shard: &EdgeShard) -> OperationResult<bool> {
    let marker = shard.path().join(UNDER_WAY);
    // The old segments are what is left if this is cut short, so they have to be whole on disk.
    shard.flush();
    fs_err::File::create(&marker).and_then(|file| file.sync_all())?;
    let built = shard.optimize()?;
    shard.flush();
    fs_err::remove_file(&marker)?;
    Ok(built)
}

/// Closes the open segment, whatever its size, and leaves all others as they are. `bare` says that no segment
/// has a graph; then this one gets none either.
pub(super) fn close(shard: &EdgeShard, bare: bool) -> OperationResult<()> {
    let (optimizers, hnsw) = {
        let config = shard.config();
        (config.optimizers.clone(), config.hnsw_config)
    };
    // What is kept on disk is what is asked for when the shard is opened, so a kill in between changes nothing.
    shard.set_optimizers_config(EdgeOptimizersConfig {
        indexing_threshold: Some(1),
        default_segment_number: Some(usize::MAX / 2),
        ..optimizers
    })?;
    if bare {
        shard.set_hnsw_config(HnswIndexConfig { m: 0, ..hnsw })?;
    }
    let closed = build(shard);
    shard.set_optimizers_config(optimizers)?;
    shard.set_hnsw_config(hnsw)?;
    closed.map(drop)
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
