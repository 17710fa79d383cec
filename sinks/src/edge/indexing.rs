//! Building the index of a shard, and putting right what a kill in the middle of it leaves.
//!
//! Edge writes a new segment, puts it beside those that it replaces, and then deletes these. Killed in
//! between, a shard has the same points in two segments: searches and deletions are right, counts are
//! not, and unlike a server Edge does not look for it. A file says that an index is being built; where
//! a shard that is opened has it, points that are there twice are deleted and written once more. Until
//! that is flushed, the shard on disk is as it was.

use pipeline::BoxError;
use qdrant_edge::{
    Condition, CountRequest, EdgeShard, Filter, OperationResult, PointId, PointInsertOperations,
    PointOperations, PointStructPersisted, Record, ScrollRequest, UpdateOperation,
    VectorStructPersisted, WithPayloadInterface, WithVector,
};

/// Is there while an index is being built.
const UNDER_WAY: &str = "index-under-way";

/// Where Edge builds segments.
const BUILDING_SITE: &str = "temp_segments";

/// Points that are looked at together.
const PAGE: usize = 500;

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
