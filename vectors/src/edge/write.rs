//! Writes to a shard.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use pipeline::{DocumentLocation, Point, StoreError, VectorStore};
use qdrant_edge::{
    EdgeShard, PayloadOps, PointInsertOperations, PointOperations, SetPayloadOp, UpdateOperation,
};
use serde_json::json;
use uuid::Uuid;

use crate::edge::record::persisted;
use crate::edge::{EdgeStore, disk_space, indexing};
use crate::payload;
use crate::shape::{CHUNK_INDEX_FIELD, DOCUMENT_FIELD};

impl EdgeStore {
    /// Closes the open segment once `written` points were written to it; of concurrent callers,
    /// only one does.
    async fn close_segment(&self, written: usize) -> Result<(), StoreError> {
        let order = Ordering::Relaxed;
        if self.written.compare_exchange(written, 0, order, order).is_err() {
            return Ok(());
        }
        let bare = self.shard.lacks_any_graph();
        let close = move |shard: &EdgeShard| indexing::close(shard, bare);
        let doing = "close a segment of the vector collection";
        let taken = disk_space::used_bytes(&self.shard.folder().join("segments"));
        let room = self.shard.check_space(doing, taken.min(indexing::CLOSE_SEGMENT_BYTES))?;
        self.shard.write(doing, room, close).await
    }

    async fn update(
        &self,
        doing: &'static str,
        bytes: u64,
        what: PointOperations,
    ) -> Result<(), StoreError> {
        let operation = UpdateOperation::PointOperation(what);
        let room = self.shard.check_space(doing, bytes)?;
        self.shard.update_points(doing, room, move |shard| shard.update(operation)).await
    }
}

#[async_trait]
impl VectorStore for EdgeStore {
    async fn upsert(&self, points: Vec<Point>) -> Result<(), StoreError> {
        self.shape.check_points(&points)?;
        if points.is_empty() {
            return Ok(());
        }
        let (count, bytes) = (points.len(), disk_space::bytes_of_points(&points));
        let points = points.into_iter().map(persisted).collect();
        let points = PointInsertOperations::PointsList(points);
        self.update("upsert points", bytes, PointOperations::UpsertPoints(points)).await?;
        // Also within a window, because a document of 100,000 chunks is a single window.
        let written = self.written.fetch_add(count, Ordering::Relaxed) + count;
        if written >= indexing::CLOSE_SEGMENT_POINTS {
            self.close_segment(written).await
        } else {
            Ok(())
        }
    }

    async fn truncate(&self, document: Uuid, from_chunk: u32) -> Result<(), StoreError> {
        let filter = json!({ "must": [
            { "key": DOCUMENT_FIELD, "match": { "value": document } },
            { "key": CHUNK_INDEX_FIELD, "range": { "gte": from_chunk } },
        ] });
        let filter = serde_json::from_value(filter).expect("is a valid filter");
        self.update("delete points", 0, PointOperations::DeletePointsByFilter(filter)).await
    }

    async fn update_location(
        &self,
        document: Uuid,
        place: &DocumentLocation,
    ) -> Result<(), StoreError> {
        let filter = json!({ "must": [{ "key": DOCUMENT_FIELD, "match": { "value": document } }] });
        let change = SetPayloadOp {
            payload: serde_json::from_value(payload::location_to_json(place).into())
                .expect("an object is a payload"),
            points: None,
            filter: Some(serde_json::from_value(filter).expect("is a valid filter")),
            key: Some(payload::METADATA_FIELD.parse().expect("a field name is a path")),
        };
        let operation = UpdateOperation::PayloadOperation(PayloadOps::SetPayload(change));
        let doing = "change the place of points";
        let room = self.shard.check_space(doing, 0)?;
        self.shard.update_points(doing, room, move |shard| shard.update(operation)).await
    }

    async fn remove(&self, documents: &[Uuid]) -> Result<(), StoreError> {
        if documents.is_empty() {
            return Ok(());
        }
        let filter = json!({ "must": [{ "key": DOCUMENT_FIELD, "match": { "any": documents } }] });
        let filter = serde_json::from_value(filter).expect("is a valid filter");
        self.update("delete points", 0, PointOperations::DeletePointsByFilter(filter)).await
    }

    async fn flush(&self) -> Result<(), StoreError> {
        // Without a write there is no data to make durable.
        if !self.shard.is_writing().await {
            return Ok(());
        }
        let flush = |shard: &EdgeShard| {
            shard.flush();
            Ok(())
        };
        let doing = "flush vectors";
        let room = self.shard.check_space(doing, 0)?;
        self.shard.write(doing, room, flush).await
    }
}
