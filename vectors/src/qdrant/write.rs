//! Writes to a collection of a server.

use async_trait::async_trait;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use pipeline::{DocumentLocation, Point, StoreError, VectorStore};
use qdrant_client::qdrant::{
    Condition, DeletePointsBuilder, Filter as QdrantFilter, PointStruct, Range,
    SetPayloadPointsBuilder, UpsertPointsBuilder,
};
use qdrant_client::{Payload, QdrantError};
use uuid::Uuid;

use crate::payload;
use crate::qdrant::calls::call_retrying;
use crate::qdrant::error::congestion_delay;
use crate::qdrant::request::{point_struct, split_requests};
use crate::qdrant::{MAX_CONCURRENT_WRITES, QdrantStore};
use crate::shape::{CHUNK_INDEX_FIELD, DOCUMENT_FIELD};

/// Bytes of one request; a server accepts 32 MiB by default.
const MAX_REQUEST_BYTES: usize = 24 << 20;

impl QdrantStore {
    async fn upsert_request(&self, points: Vec<PointStruct>) -> Result<(), StoreError> {
        let request = UpsertPointsBuilder::new(&self.name, points).wait(true).build();
        self.write("upsert points", || self.client.upsert_points(request.clone())).await
    }

    async fn delete_points(&self, filter: QdrantFilter) -> Result<(), StoreError> {
        let request = DeletePointsBuilder::new(&self.name).points(filter).wait(true).build();
        self.write("delete points", || self.client.delete_points(request.clone())).await
    }

    /// Makes a write call, with retries, and reports congestion to the limiter.
    async fn write<T, Fut>(
        &self,
        doing: &'static str,
        call: impl Fn() -> Fut,
    ) -> Result<(), StoreError>
    where
        Fut: Future<Output = Result<T, QdrantError>>,
    {
        call_retrying(doing, || async {
            let permit = self.limiter.acquire().await;
            let reply = call().await;
            let congestion = reply.as_ref().err().and_then(congestion_delay);
            self.limiter.release(permit, congestion.is_some());
            if let Some(wait) = congestion {
                tokio::time::sleep(wait).await;
            }
            reply.map(drop)
        })
        .await
    }
}

#[async_trait]
impl VectorStore for QdrantStore {
    async fn upsert(&self, points: Vec<Point>) -> Result<(), StoreError> {
        self.shape.check_points(&points)?;
        let requests = split_requests(points, MAX_REQUEST_BYTES).into_iter();
        let requests = requests
            .map(|points| self.upsert_request(points.into_iter().map(point_struct).collect()));
        stream::iter(requests).buffer_unordered(MAX_CONCURRENT_WRITES).try_collect().await
    }

    async fn truncate(&self, document: Uuid, from_chunk: u32) -> Result<(), StoreError> {
        let from = Range { gte: Some(from_chunk.into()), ..Range::default() };
        self.delete_points(QdrantFilter::must([
            Condition::matches(DOCUMENT_FIELD, document.to_string()),
            Condition::range(CHUNK_INDEX_FIELD, from),
        ]))
        .await
    }

    async fn update_location(
        &self,
        document: Uuid,
        place: &DocumentLocation,
    ) -> Result<(), StoreError> {
        let place = Payload::from(payload::location_to_json(place));
        let of_document =
            QdrantFilter::must([Condition::matches(DOCUMENT_FIELD, document.to_string())]);
        let request = SetPayloadPointsBuilder::new(&self.name, place)
            .points_selector(of_document)
            .key(payload::METADATA_FIELD)
            .wait(true)
            .build();
        self.write("change the place of points", || self.client.set_payload(request.clone())).await
    }

    async fn remove(&self, documents: &[Uuid]) -> Result<(), StoreError> {
        if documents.is_empty() {
            return Ok(());
        }
        let documents: Vec<String> = documents.iter().map(Uuid::to_string).collect();
        self.delete_points(QdrantFilter::must([Condition::matches(DOCUMENT_FIELD, documents)]))
            .await
    }

    async fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
