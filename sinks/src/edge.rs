//! Qdrant Edge: vectors in this process, in a folder, with the query language of the server.
//!
//! What it is not: a service. One process has a shard open at a time; a second one is told so
//! ([`pipeline::Remedy::Conflict`]).
//!
//! Three things of version 0.7.2 shape this file. Its write-ahead log is not replayed when a shard is
//! opened, so nothing survives a crash that [`VectorStore::flush`] has not made durable. A flush that
//! meets an update panics, so one thread, the owner, does both and building the index (`edge/owner.rs`);
//! searches have threads of their own, and go on meanwhile. And the log is never shortened, so its
//! closed parts, which nobody will read, are deleted when a shard is opened.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use pipeline::{
    BoxError, Facet, Filter, Hit, IndexQuery, Keyword, Payload, Place, Point, SparseVector,
    StoreError, VectorIndex, VectorStore, point_id,
};
use qdrant_edge::{
    CountRequest, EdgeShard, FacetRequest, FacetValue, PayloadOps, PointId, PointInsertOperations,
    PointOperations, PointStruct, PointStructPersisted, Record, ScrollRequest, SetPayloadOp,
    UpdateOperation, Vector, VectorInternal, VectorStructInternal, Vectors, WithPayloadInterface,
    WithVector,
};
use serde_json::json;
use uuid::Uuid;

use crate::edge::owner::Owner;
use crate::vectors::{
    CHUNK_INDEX, DENSE, DOCUMENT, Inventory, PointKey, Quantization, SEARCHING, SPARSE, Shape,
    VectorsConfig, gives_up,
};
use crate::{payload, ranking};

mod filter;
mod indexing;
mod owner;
mod search;
mod shard;

/// An open shard.
pub struct EdgeStore {
    owner: Owner,
    shape: Shape,
    quantization: Quantization,
    /// Points written since the open segment was closed.
    written: AtomicUsize,
    /// Whether the shard was empty when it was opened, and no graph was built since.
    bare: AtomicBool,
}

impl EdgeStore {
    /// Opens the shard in this folder, and makes it first if it is not there. Reads files; a shard of a
    /// million points takes seconds.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] if another process has it open; otherwise if it holds other vectors than
    /// these, or cannot be read.
    pub fn open(folder: &Path, config: &VectorsConfig) -> Result<Self, StoreError> {
        let (shard, shape) = shard::open(folder, config)?;
        let bare = AtomicBool::new(shard.info().points_count == 0);
        let owner = Owner::start(shard).map_err(|e| gives_up("start the threads of a shard", e))?;
        let (quantization, written) = (config.quantization, AtomicUsize::new(0));
        Ok(Self { owner, shape, quantization, written, bare })
    }

    /// Whether there is a shard in this folder.
    pub fn exists(folder: &Path) -> bool {
        shard::exists(folder)
    }

    /// Deletes the shard in this folder, if there is one.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] if a process has it open; otherwise if files cannot be deleted.
    pub fn delete(folder: &Path) -> Result<(), StoreError> {
        shard::delete(folder)
    }

    /// Builds HNSW graphs for what has grown above the threshold, and drops what was deleted; returns
    /// whether there was anything to do. Minutes of one core for a hundred thousand points; writes wait
    /// for it, searches do not.
    ///
    /// # Errors
    /// If files cannot be written.
    pub async fn optimize(&self) -> Result<bool, StoreError> {
        self.bare.store(false, Ordering::Relaxed);
        self.owner.write("index the vector collection", indexing::build).await
    }

    /// Points in order of id, `after` excluded.
    async fn records(
        &self,
        doing: &'static str,
        after: Option<Uuid>,
        limit: usize,
        payload: WithPayloadInterface,
        with_vector: WithVector,
    ) -> Result<Vec<Record>, StoreError> {
        // Edge starts with the id it is given; there is none between an id and its successor.
        let offset = match after.map(|after| after.as_u128().checked_add(1)) {
            Some(None) => return Ok(Vec::new()),
            Some(Some(from)) => Some(PointId::Uuid(Uuid::from_u128(from))),
            None => None,
        };
        let (limit, with_payload) = (Some(limit), Some(payload));
        let (filter, order_by) = (None, None);
        let request = ScrollRequest { offset, limit, filter, with_payload, with_vector, order_by };
        Ok(self.owner.read(doing, move |shard| shard.scroll(request)).await?.0)
    }

    /// How many points have each value of a field.
    async fn facets(
        &self,
        doing: &'static str,
        field: &str,
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Facet>, StoreError> {
        let request = FacetRequest {
            key: field.parse().expect("a field name is a path"),
            limit,
            filter: filter.map(filter::filter),
            exact: true,
        };
        let response = self.owner.read(doing, move |shard| shard.facet(request)).await?;
        let facets = response.hits.into_iter().map(|hit| match hit.value {
            FacetValue::Keyword(value) => Ok(Facet { value, count: hit.count as u64 }),
            FacetValue::Int(_) | FacetValue::Uuid(_) | FacetValue::Bool(_) => {
                Err(gives_up(doing, "the value of a field is not a text"))
            }
        });
        // A value that no point has any more may still be counted, with zero.
        Ok(ranking::most_frequent(facets.collect::<Result<_, _>>()?, limit))
    }

    async fn update(&self, doing: &'static str, what: PointOperations) -> Result<(), StoreError> {
        let operation = UpdateOperation::PointOperation(what);
        self.owner.write(doing, move |shard| shard.update(operation)).await
    }
}

#[async_trait]
impl VectorStore for EdgeStore {
    async fn upsert(&self, points: Vec<Point>) -> Result<(), StoreError> {
        self.shape.check_points(&points)?;
        if points.is_empty() {
            return Ok(());
        }
        let count = points.len();
        let points = points.into_iter().map(persisted).collect();
        let points = PointInsertOperations::PointsList(points);
        self.update("upsert points", PointOperations::UpsertPoints(points)).await?;
        self.written.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }

    async fn truncate(&self, document: Uuid, from_chunk: u32) -> Result<(), StoreError> {
        let filter = json!({ "must": [
            { "key": DOCUMENT, "match": { "value": document } },
            { "key": CHUNK_INDEX, "range": { "gte": from_chunk } },
        ] });
        let filter = serde_json::from_value(filter).expect("has the form of a filter");
        self.update("delete points", PointOperations::DeletePointsByFilter(filter)).await
    }

    async fn relocate(&self, document: Uuid, place: &Place) -> Result<(), StoreError> {
        let filter = json!({ "must": [{ "key": DOCUMENT, "match": { "value": document } }] });
        let change = SetPayloadOp {
            payload: serde_json::from_value(payload::place_to_json(place).into())
                .expect("an object is a payload"),
            points: None,
            filter: Some(serde_json::from_value(filter).expect("has the form of a filter")),
            key: Some(payload::METADATA.parse().expect("a field name is a path")),
        };
        let operation = UpdateOperation::PayloadOperation(PayloadOps::SetPayload(change));
        self.owner.write("change the place of points", move |shard| shard.update(operation)).await
    }

    async fn remove(&self, documents: &[Uuid]) -> Result<(), StoreError> {
        if documents.is_empty() {
            return Ok(());
        }
        let filter = json!({ "must": [{ "key": DOCUMENT, "match": { "any": documents } }] });
        let filter = serde_json::from_value(filter).expect("has the form of a filter");
        self.update("delete points", PointOperations::DeletePointsByFilter(filter)).await
    }

    async fn flush(&self) -> Result<(), StoreError> {
        let written = self.written.load(Ordering::Relaxed);
        if written < indexing::CLOSED_FROM {
            let flush = |shard: &EdgeShard| {
                shard.flush();
                Ok(())
            };
            return self.owner.write("flush vectors", flush).await;
        }
        let bare = self.bare.load(Ordering::Relaxed);
        let close = move |shard: &EdgeShard| indexing::close(shard, bare);
        self.owner.write("close a segment of the vector collection", close).await?;
        self.written.fetch_sub(written, Ordering::Relaxed);
        Ok(())
    }
}

#[async_trait]
impl VectorIndex for EdgeStore {
    async fn query(&self, query: &IndexQuery) -> Result<Vec<Hit>, StoreError> {
        let doing = SEARCHING;
        self.shape.check_query(query)?;
        ranking::settled(query, |limit| async move {
            let request = search::request(query, self.quantization, limit);
            let found = self.owner.read(doing, move |shard| shard.query(request)).await?;
            let hits = found.into_iter().map(|it| search::hit(it, &query.legs));
            hits.map(|hit| hit.map_err(|e| gives_up(doing, e))).collect()
        })
        .await
    }

    async fn facet(
        &self,
        field: Keyword,
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Facet>, StoreError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        self.facets("count the values of a field", payload::keyword(field), filter, limit).await
    }

    async fn chunks(
        &self,
        document: Uuid,
        from_chunk: u32,
        limit: u32,
    ) -> Result<Vec<Payload>, StoreError> {
        let doing = "read the chunks of a document";
        let indices = from_chunk..from_chunk.saturating_add(limit);
        let ids: Vec<PointId> =
            indices.map(|index| PointId::Uuid(point_id(document, index))).collect();
        let payload = Some(WithPayloadInterface::Bool(true));
        let read = move |shard: &EdgeShard| shard.retrieve(&ids, payload, None);
        let records = self.owner.read(doing, read).await?.into_iter();
        let payloads = records.map(|record| stored(record.payload).map_err(|e| gives_up(doing, e)));
        payloads.collect()
    }

    async fn count(&self) -> Result<u64, StoreError> {
        let request = CountRequest { filter: None, exact: true };
        let count = self.owner.read("count points", move |shard| shard.count(request)).await?;
        Ok(count as u64)
    }

    async fn scroll(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<Point>, StoreError> {
        let doing = "read points";
        let payload = WithPayloadInterface::Bool(true);
        let vector = WithVector::Bool(true);
        let records = self.records(doing, after, limit, payload, vector).await?;
        records.into_iter().map(|record| point(record).map_err(|e| gives_up(doing, e))).collect()
    }
}

#[async_trait]
impl Inventory for EdgeStore {
    async fn documents(&self) -> Result<BTreeMap<Uuid, u64>, StoreError> {
        let doing = "list the documents of the vector collection";
        // No more documents than points; and zero is no limit.
        let limit = usize::try_from(self.count().await?.max(1)).unwrap_or(usize::MAX);
        let documents = self.facets(doing, DOCUMENT, None, limit).await?.into_iter();
        let documents = documents.map(|Facet { value, count }| {
            let id = value.parse::<Uuid>().map_err(|e| gives_up(doing, e))?;
            Ok((id, count))
        });
        documents.collect()
    }

    async fn keys(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<PointKey>, StoreError> {
        let doing = "list points";
        let fields = [DOCUMENT, CHUNK_INDEX].map(|it| it.parse().expect("a field name is a path"));
        let payload = WithPayloadInterface::Fields(fields.to_vec());
        let records = self.records(doing, after, limit, payload, WithVector::Bool(false)).await?;
        records.into_iter().map(|record| key(record).map_err(|e| gives_up(doing, e))).collect()
    }
}

/// A point as Edge takes it.
fn persisted(point: Point) -> PointStructPersisted {
    let payload = serde_json::Value::Object(payload::to_json(point.payload));
    let mut vectors = vec![(DENSE, Vector::from(point.vector))];
    if let Some(SparseVector { indices, values }) = point.sparse.filter(|it| !it.is_empty()) {
        vectors.push((SPARSE, Vector::from(qdrant_edge::SparseVector { indices, values })));
    }
    PointStruct::new(PointId::Uuid(point.id), Vectors::new_named(vectors), payload).into()
}

/// A point as Edge gives it.
fn point(record: Record) -> Result<Point, BoxError> {
    let PointId::Uuid(id) = record.id else {
        return Err(format!("point {} was not written by semantik", record.id).into());
    };
    let Some(VectorStructInternal::Named(mut vectors)) = record.vector else {
        return Err(format!("point {id} has no vector").into());
    };
    let Some(VectorInternal::Dense(vector)) = vectors.remove(DENSE) else {
        return Err(format!("point {id} has no dense vector").into());
    };
    let sparse = match vectors.remove(SPARSE) {
        Some(VectorInternal::Sparse(it)) if !it.indices.is_empty() => {
            Some(SparseVector { indices: it.indices, values: it.values })
        }
        Some(_) | None => None,
    };
    Ok(Point { id, vector, sparse, payload: stored(record.payload)? })
}

/// A payload as Edge gives it.
fn stored(payload: Option<qdrant_edge::Payload>) -> Result<Payload, serde_json::Error> {
    payload::from_json(payload.map(|payload| payload.0).unwrap_or_default())
}

/// A point as Edge gives it without what it holds.
fn key(record: Record) -> Result<PointKey, BoxError> {
    let PointId::Uuid(id) = record.id else {
        return Err(format!("point {} was not written by semantik", record.id).into());
    };
    PointKey::of(id, &record.payload.map(|payload| payload.0).unwrap_or_default())
}
