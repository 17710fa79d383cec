//! Qdrant Edge: an embedded vector store in a folder, with the query language of the server.
//!
//! It is not a service. One process at a time can write to a shard, and it excludes all readers; a
//! second process gets an error ([`pipeline::Remedy::Conflict`]).
//!
//! An [`EdgeStore`] opens its shard on demand: for reading without changing a file
//! (`edge/view.rs`), for writing if the volume has space (`edge/room.rs`, `edge/session.rs`). When
//! a shard that was written to is closed, the checksums of its files are recorded (`edge/seal.rs`).
//!
//! Three properties of version 0.7.2 determine this design:
//! - Opening a shard does not replay the write-ahead log, so only data that [`VectorStore::flush`]
//!   made durable survives a crash.
//! - A flush that runs at the same time as an update panics, so one thread, the owner, executes
//!   updates, flushes and index builds (`edge/owner.rs`). Searches run concurrently on other
//!   threads.
//! - The log is never shortened, so its closed parts, which are not read again, are deleted when a
//!   shard is opened for writing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use pipeline::{
    BoxError, DocumentLocation, Facet, Filter, Hit, IndexQuery, KeywordField, Payload, Point,
    SparseVector, StoreError, VectorIndex, VectorStore, point_id,
};
use qdrant_edge::{
    CountRequest, EdgeShard, FacetRequest, FacetValue, PayloadOps, PointId, PointInsertOperations,
    PointOperations, PointStruct, PointStructPersisted, Record, ScrollRequest, SetPayloadOp,
    UpdateOperation, Vector, VectorInternal, VectorStructInternal, Vectors, WithPayloadInterface,
    WithVector,
};
use serde_json::json;
use uuid::Uuid;

use crate::edge::handle::ShardHandle;
use crate::edge::manifest::CheckDepth;
use crate::shape::{
    CHUNK_INDEX_FIELD, DENSE_VECTOR, DOCUMENT_FIELD, SEARCHING, SPARSE_VECTOR, VectorLayout,
    permanent_error,
};
use crate::{payload, ranking};
use pipeline::{InspectedPoint, Inventory, PointKey, Quantization, VectorsConfig};

pub use self::manifest::{DamagedFile, FileFault};
pub use self::shard::is_damage_error;

mod disk_space;
mod filter;
mod handle;
mod holder;
mod indexing;
mod inspect;
mod manifest;
mod panics;
mod scratch;
mod search;
mod shard;
mod threads;
mod view;

/// An embedded vector store. The shard is opened on demand.
pub struct EdgeStore {
    shard: ShardHandle,
    shape: VectorLayout,
    quantization: Quantization,
    /// Points written since the open segment was closed.
    written: AtomicUsize,
}

impl EdgeStore {
    /// The shard in `folder`; a missing one is created. An existing one is opened by the first call
    /// that reads or writes, which takes seconds for a million points; this function reads only its
    /// configuration, its small files and the lengths of the others.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] if another process writes to the shard; otherwise if its
    /// vectors have another shape than `config`, it is damaged, or the volume has no space to
    /// create it.
    pub fn open(folder: &Path, config: &VectorsConfig) -> Result<Self, StoreError> {
        let (session, shape) = if shard::exists(folder) {
            let shape = shard::shape_of(folder, config)?;
            (ShardHandle::new(folder, config, shape), shape)
        } else {
            let shape = VectorLayout { dim: config.dim, sparse: config.sparse };
            (ShardHandle::create(folder, config, shape)?, shape)
        };
        let (quantization, written) = (config.quantization, AtomicUsize::new(0));
        Ok(Self { shard: session, shape, quantization, written })
    }

    /// Fails if another process has the shard open, before work starts whose result could not be
    /// stored.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] in this case.
    pub async fn ensure_writable(&self) -> Result<(), StoreError> {
        self.shard.ensure_writable().await
    }

    /// Files of the shard in `folder` that differ from the record of its last close. Reads all of
    /// them without opening the shard. Empty for a shard without record, which an earlier version
    /// closed.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] if another process writes to the shard; otherwise if its log
    /// is missing.
    pub fn damaged_files(folder: &Path) -> Result<Vec<DamagedFile>, StoreError> {
        let doing = "check the files of the vector collection";
        let _lock = shard::lock(folder, doing, shard::LockMode::Shared)?;
        Ok(manifest::damaged_files(folder, CheckDepth::AllFiles))
    }

    /// Returns true if `folder` contains a shard.
    pub fn exists(folder: &Path) -> bool {
        shard::exists(folder)
    }

    /// Deletes the shard in `folder`; a missing one is ignored.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] if a process has it open; otherwise if files cannot be
    /// deleted.
    pub fn delete(folder: &Path) -> Result<(), StoreError> {
        shard::delete(folder)
    }

    /// Builds HNSW graphs for segments above the threshold and drops deleted points; returns
    /// `false` if there was nothing to do. Takes minutes of one core for 100,000 points; writes
    /// wait for it, searches do not. Postponed with a warning if the volume lacks the space.
    ///
    /// # Errors
    /// If files cannot be written.
    pub async fn optimize(&self) -> Result<bool, StoreError> {
        let doing = "index the vector collection";
        if !self.shard.is_writing().await && !self.shard.is_index_stale() {
            return Ok(false);
        }
        let folder = self.shard.folder();
        // Each segment may be rewritten before the one that it replaces is deleted.
        let needed = disk_space::used_bytes(&folder.join("segments"));
        let room = match self.shard.check_space(doing, needed) {
            Ok(room) => room,
            Err(error) => {
                tracing::warn!(
                    error = %error.source,
                    "postponed the index build: no space on the volume; searches are exact and \
                     slower until then"
                );
                return Ok(false);
            }
        };
        let sizes = self.shard.sizes();
        let build = move |shard: &EdgeShard| {
            let built = indexing::build(shard, sizes)?;
            Ok((built, sizes.is_small(shard.info().points_count)))
        };
        let (built, is_bare) = self.shard.write(doing, room, build).await?;
        self.shard.mark_index_built(is_bare)?;
        Ok(built)
    }

    /// Closes a shard that is open for writing, at the end of an operation, and records the
    /// checksums of its files.
    pub async fn end_writing(&self) {
        self.shard.end_writing().await;
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
        // Edge includes the id of the offset. No id lies between an id and its successor.
        let offset = match after.map(|after| after.as_u128().checked_add(1)) {
            Some(None) => return Ok(Vec::new()),
            Some(Some(from)) => Some(PointId::Uuid(Uuid::from_u128(from))),
            None => None,
        };
        let (limit, with_payload) = (Some(limit), Some(payload));
        let (filter, order_by) = (None, None);
        let request = ScrollRequest { offset, limit, filter, with_payload, with_vector, order_by };
        Ok(self.shard.read(doing, move |shard| shard.scroll(request)).await?.0)
    }

    /// Number of points by value of a field, the most frequent first.
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
        let response = self.shard.read(doing, move |shard| shard.facet(request)).await?;
        let facets = response.hits.into_iter().map(|hit| match hit.value {
            FacetValue::Keyword(value) => Ok(Facet { value, count: hit.count as u64 }),
            FacetValue::Int(_) | FacetValue::Uuid(_) | FacetValue::Bool(_) => {
                Err(permanent_error(doing, "the value of a field is not a string"))
            }
        });
        // Edge may count a value that no point has any more, with zero.
        Ok(ranking::most_frequent(facets.collect::<Result<_, _>>()?, limit))
    }

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

#[async_trait]
impl VectorIndex for EdgeStore {
    async fn query(&self, query: &IndexQuery) -> Result<Vec<Hit>, StoreError> {
        let doing = SEARCHING;
        self.shape.check_query(query)?;
        ranking::fetch_with_ties(query, |limit| async move {
            let request = search::query_request(query, self.quantization, limit);
            let found = self.shard.read(doing, move |shard| shard.query(request)).await?;
            let hits = found.into_iter().map(|it| search::hit(it, &query.vectors));
            hits.map(|hit| hit.map_err(|e| permanent_error(doing, e))).collect()
        })
        .await
    }

    async fn facet(
        &self,
        field: KeywordField,
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Facet>, StoreError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        self.facets("count the values of a field", payload::keyword_path(field), filter, limit)
            .await
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
        let records = self.shard.read(doing, read).await?.into_iter();
        let payloads = records
            .map(|record| parse_payload(record.payload).map_err(|e| permanent_error(doing, e)));
        payloads.collect()
    }

    async fn count(&self) -> Result<u64, StoreError> {
        let request = CountRequest { filter: None, exact: true };
        let count = self.shard.read("count points", move |shard| shard.count(request)).await?;
        Ok(count as u64)
    }

    async fn scroll(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<Point>, StoreError> {
        let doing = "read points";
        let payload = WithPayloadInterface::Bool(true);
        let vector = WithVector::Bool(true);
        let records = self.records(doing, after, limit, payload, vector).await?;
        records
            .into_iter()
            .map(|record| point(record).map_err(|e| permanent_error(doing, e)))
            .collect()
    }
}

#[async_trait]
impl Inventory for EdgeStore {
    async fn documents(&self) -> Result<BTreeMap<Uuid, u64>, StoreError> {
        let doing = "list the documents of the vector collection";
        // There are at most as many documents as points; Edge takes 0 as no limit.
        let limit = usize::try_from(self.count().await?.max(1)).unwrap_or(usize::MAX);
        let documents = self.facets(doing, DOCUMENT_FIELD, None, limit).await?.into_iter();
        let documents = documents.map(|Facet { value, count }| {
            let id = value.parse::<Uuid>().map_err(|e| permanent_error(doing, e))?;
            Ok((id, count))
        });
        documents.collect()
    }

    async fn keys(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<PointKey>, StoreError> {
        let doing = "list points";
        let fields = [DOCUMENT_FIELD, CHUNK_INDEX_FIELD]
            .map(|it| it.parse().expect("a field name is a path"));
        let payload = WithPayloadInterface::Fields(fields.to_vec());
        let records = self.records(doing, after, limit, payload, WithVector::Bool(false)).await?;
        records
            .into_iter()
            .map(|record| point_key(record).map_err(|e| permanent_error(doing, e)))
            .collect()
    }

    async fn inspect(
        &self,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<InspectedPoint>, StoreError> {
        let doing = "check points";
        let everything = (WithPayloadInterface::Bool(true), WithVector::Bool(true));
        let found = self.records(doing, after, limit, everything.0.clone(), everything.1.clone());
        if let Ok(records) = found.await {
            return Ok(records
                .into_iter()
                .map(|it| inspect::inspect_record(it, self.shape))
                .collect());
        }
        // A point of the page cannot be read, so each one is read separately.
        let (no_payload, no_vector) = (WithPayloadInterface::Bool(false), WithVector::Bool(false));
        let mut inspected = Vec::new();
        for Record { id, .. } in self.records(doing, after, limit, no_payload, no_vector).await? {
            let (payload, vector) = everything.clone();
            let read = move |shard: &EdgeShard| shard.retrieve(&[id], Some(payload), Some(vector));
            inspected.push(match self.shard.read(doing, read).await {
                Ok(records) => match records.into_iter().next() {
                    Some(record) => inspect::inspect_record(record, self.shape),
                    None => inspect::unreadable_point(id, "is listed but cannot be read by its id"),
                },
                Err(error) => inspect::unreadable_point(id, error.source),
            });
        }
        Ok(inspected)
    }
}

/// Converts a point to Edge's form.
fn persisted(point: Point) -> PointStructPersisted {
    let mut payload = payload::to_json(point.payload);
    payload::add_checksum(&mut payload, point.sparse.as_ref());
    let payload = serde_json::Value::Object(payload);
    let mut vectors = vec![(DENSE_VECTOR, Vector::from(point.vector))];
    if let Some(SparseVector { indices, values }) = point.sparse.filter(|it| !it.is_empty()) {
        vectors.push((SPARSE_VECTOR, Vector::from(qdrant_edge::SparseVector { indices, values })));
    }
    PointStruct::new(PointId::Uuid(point.id), Vectors::new_named(vectors), payload).into()
}

/// Converts a point from Edge's form.
fn point(record: Record) -> Result<Point, BoxError> {
    let PointId::Uuid(id) = record.id else {
        return Err(format!("point {} was not written by semantik", record.id).into());
    };
    let Some(VectorStructInternal::Named(mut vectors)) = record.vector else {
        return Err(format!("point {id} has no vector").into());
    };
    let Some(VectorInternal::Dense(vector)) = vectors.remove(DENSE_VECTOR) else {
        return Err(format!("point {id} has no dense vector").into());
    };
    let sparse = match vectors.remove(SPARSE_VECTOR) {
        Some(VectorInternal::Sparse(it)) if !it.indices.is_empty() => {
            Some(SparseVector { indices: it.indices, values: it.values })
        }
        Some(_) | None => None,
    };
    Ok(Point { id, vector, sparse, payload: parse_payload(record.payload)? })
}

/// Converts a payload from Edge's form.
fn parse_payload(payload: Option<qdrant_edge::Payload>) -> Result<Payload, serde_json::Error> {
    payload::from_json(payload.map(|payload| payload.0).unwrap_or_default())
}

/// Converts a point without content from Edge's form.
fn point_key(record: Record) -> Result<PointKey, BoxError> {
    let PointId::Uuid(id) = record.id else {
        return Err(format!("point {} was not written by semantik", record.id).into());
    };
    payload::point_key(id, &record.payload.map(|payload| payload.0).unwrap_or_default())
}
