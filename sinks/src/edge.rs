//! Qdrant Edge: vectors in this process, in a folder, with the query language of the server.
//!
//! What it is not: a service. One process has a shard open at a time; a second one is told so
//! ([`Remedy::Conflict`]).
//!
//! Three things of version 0.7.2 shape this file. Its write-ahead log is not replayed when a shard is
//! opened, so nothing survives a crash that [`VectorStore::flush`] has not made durable. A flush that
//! meets an update panics, so one thread, the owner, does both and building the index (`owner.rs`);
//! searches have threads of their own, and go on meanwhile. And the log is never shortened, so its
//! closed parts, which nobody will read, are deleted when a shard is opened.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use pipeline::{Hit, Point, Remedy, StoreError, VectorIndex, VectorStore};
use qdrant_edge::{
    CountRequest, CreateIndex, EdgeConfig, EdgeOptimizersConfig, EdgeShard, EdgeVectorParams,
    FacetRequest, FacetValue, FieldIndexOperations, HnswIndexConfig, NamedQuery, OperationError,
    PayloadFieldSchema, PayloadSchemaType, PointInsertOperations, PointOperations, PointStruct,
    QuantizationConfig, QuantizationSearchParams, QueryEnum, ScalarQuantizationConfig, ScalarType,
    ScrollRequest, SearchParams, SearchRequest, UpdateOperation, VectorInternal,
    VectorStorageDatatype, VectorStructInternal, Vectors, WalOptions, WithPayloadInterface,
    WithVector,
};
use serde_json::json;
use uuid::Uuid;

use crate::edge::owner::Owner;
use crate::payload;
use crate::vectors::{
    CHUNK_INDEX, DENSE, DOCUMENT, FILTERABLE, FieldKind, Inventory, Quantization, VectorsConfig,
    check_collection, check_points, check_vector, gives_up,
};

mod owner;

/// Written when a shard is made, before anything else; where it is, there is a shard.
const CONFIG_FILE: &str = "edge_config.json";

/// Bytes of one part of the log. Its default, 32 MiB, is also what an empty shard would weigh.
const LOG_PART: usize = 8 << 20;

/// An open shard.
pub struct EdgeStore {
    owner: Owner,
    dim: usize,
    quantization: Quantization,
}

impl EdgeStore {
    /// Opens the shard in this folder, and makes it first if it is not there. Reads files; a shard of a
    /// million points takes seconds.
    ///
    /// # Errors
    /// [`Remedy::Conflict`] if another process has it open; otherwise if it holds other vectors than
    /// these, or cannot be read.
    pub fn open(folder: &Path, config: &VectorsConfig) -> Result<Self, StoreError> {
        let doing = "open the vector collection";
        let shard = if folder.join(CONFIG_FILE).exists() {
            let there = EdgeConfig::load(folder).transpose().map_err(|e| gives_up(doing, e))?;
            let found = there.and_then(|there| there.vectors.get(DENSE).map(|dense| dense.size));
            found.map_or(Ok(()), |found| check_collection(config, found))?;
            EdgeShard::load(folder, Some(edge_config(config)))
        } else {
            fs_err::create_dir_all(folder).map_err(|e| gives_up(doing, e))?;
            EdgeShard::new(folder, edge_config(config))
        };
        let shard = shard.map_err(|error| opening(folder, error))?;
        shorten_log(folder).map_err(|e| gives_up(doing, e))?;
        index_fields(&shard).map_err(|e| gives_up(doing, e))?;
        let owner = Owner::start(shard).map_err(|e| gives_up(doing, e))?;
        Ok(Self { owner, dim: config.dim, quantization: config.quantization })
    }

    /// Deletes the shard in this folder, if there is one.
    ///
    /// # Errors
    /// [`Remedy::Conflict`] if a process has it open; otherwise if files cannot be deleted.
    pub fn delete(folder: &Path) -> Result<(), StoreError> {
        let doing = "delete the vector collection";
        if !folder.exists() {
            return Ok(());
        }
        // The lock that an open shard holds is on the folder of its log.
        if let Ok(log) = fs_err::File::open(folder.join("wal")) {
            use rustix::fs::{FlockOperation, flock};
            flock(log.file(), FlockOperation::NonBlockingLockExclusive)
                .map_err(|_| in_use(doing, folder))?;
        }
        // Renamed first: a folder that is half deleted must not be taken for a shard.
        let doomed = folder.with_extension("deleted");
        if doomed.exists() {
            fs_err::remove_dir_all(&doomed).map_err(|e| gives_up(doing, e))?;
        }
        fs_err::rename(folder, &doomed).map_err(|e| gives_up(doing, e))?;
        fs_err::remove_dir_all(&doomed).map_err(|e| gives_up(doing, e))
    }

    /// Builds HNSW graphs for what has grown above the threshold, and drops what was deleted; returns
    /// whether there was anything to do. Minutes of one core for a hundred thousand points; writes wait
    /// for it, searches do not.
    ///
    /// # Errors
    /// If files cannot be written.
    pub async fn optimize(&self) -> Result<bool, StoreError> {
        self.owner.write("optimize the vector collection", EdgeShard::optimize).await
    }

    async fn update(&self, doing: &'static str, what: PointOperations) -> Result<(), StoreError> {
        let operation = UpdateOperation::PointOperation(what);
        self.owner.write(doing, move |shard| shard.update(operation)).await
    }
}

#[async_trait]
impl VectorStore for EdgeStore {
    async fn upsert(&self, points: Vec<Point>) -> Result<(), StoreError> {
        check_points(&points, self.dim)?;
        if points.is_empty() {
            return Ok(());
        }
        let points = points.into_iter().map(persisted).collect();
        let points = PointInsertOperations::PointsList(points);
        self.update("upsert points", PointOperations::UpsertPoints(points)).await
    }

    async fn truncate(&self, document: Uuid, from_chunk: u32) -> Result<(), StoreError> {
        let filter = json!({ "must": [
            { "key": DOCUMENT, "match": { "value": document } },
            { "key": CHUNK_INDEX, "range": { "gte": from_chunk } },
        ] });
        let filter = serde_json::from_value(filter).expect("has the form of a filter");
        self.update("delete points", PointOperations::DeletePointsByFilter(filter)).await
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
        self.owner
            .write("flush vectors", |shard| {
                shard.flush();
                Ok(())
            })
            .await
    }
}

#[async_trait]
impl VectorIndex for EdgeStore {
    async fn search(&self, vector: &[f32], k: usize) -> Result<Vec<Hit>, StoreError> {
        let doing = "search vectors";
        check_vector(doing, vector, self.dim)?;
        if k == 0 {
            return Ok(Vec::new());
        }
        let query = VectorInternal::Dense(vector.to_vec());
        let request = SearchRequest {
            query: QueryEnum::Nearest(NamedQuery::new(query, DENSE)),
            filter: None,
            params: search_params(self.quantization),
            limit: k,
            offset: 0,
            with_payload: Some(WithPayloadInterface::Bool(true)),
            with_vector: None,
            score_threshold: None,
        };
        let found = self.owner.read(doing, move |shard| shard.search(request)).await?;
        let hits = found.into_iter().map(|point| {
            let payload = point.payload.map(|payload| payload.0).unwrap_or_default();
            let payload = payload::from_json(payload).map_err(|e| gives_up(doing, e))?;
            Ok(Hit { score: point.score, payload })
        });
        hits.collect()
    }

    async fn count(&self) -> Result<u64, StoreError> {
        let request = CountRequest { filter: None, exact: true };
        let count = self.owner.read("count points", move |shard| shard.count(request)).await?;
        Ok(count as u64)
    }

    async fn scroll(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<Point>, StoreError> {
        let doing = "read points";
        // Edge starts with the id it is given; there is none between an id and its successor.
        let from = match after.map(|after| after.as_u128().checked_add(1)) {
            Some(None) => return Ok(Vec::new()),
            Some(Some(from)) => Some(qdrant_edge::PointId::Uuid(Uuid::from_u128(from))),
            None => None,
        };
        let request = ScrollRequest {
            offset: from,
            limit: Some(limit),
            filter: None,
            with_payload: Some(WithPayloadInterface::Bool(true)),
            with_vector: WithVector::Selector(vec![DENSE.to_owned()]),
            order_by: None,
        };
        let (records, _) = self.owner.read(doing, move |shard| shard.scroll(request)).await?;
        records.into_iter().map(|record| point(record).map_err(|e| gives_up(doing, e))).collect()
    }
}

#[async_trait]
impl Inventory for EdgeStore {
    async fn documents(&self) -> Result<BTreeMap<Uuid, u64>, StoreError> {
        let doing = "list the documents of the vector collection";
        let request = FacetRequest {
            key: DOCUMENT.parse().expect("a field name is a path"),
            // No more documents than points; and zero is no limit.
            limit: usize::try_from(self.count().await?.max(1)).unwrap_or(usize::MAX),
            filter: None,
            exact: true,
        };
        let response = self.owner.read(doing, move |shard| shard.facet(request)).await?;
        // A value that no point has any more may still be counted, with zero.
        let held = response.hits.into_iter().filter(|hit| hit.count > 0);
        let documents = held.map(|hit| match hit.value {
            FacetValue::Keyword(id) => {
                let id = id.parse::<Uuid>().map_err(|e| gives_up(doing, e))?;
                Ok((id, hit.count as u64))
            }
            FacetValue::Int(_) | FacetValue::Uuid(_) | FacetValue::Bool(_) => {
                Err(gives_up(doing, "a document's id is not a text"))
            }
        });
        documents.collect()
    }
}

/// A point as Edge takes it.
fn persisted(point: Point) -> qdrant_edge::PointStructPersisted {
    let payload = serde_json::Value::Object(payload::to_json(point.payload));
    let vectors = Vectors::new_named([(DENSE, point.vector)]);
    PointStruct::new(qdrant_edge::PointId::Uuid(point.id), vectors, payload).into()
}

/// A point as Edge gives it.
fn point(record: qdrant_edge::Record) -> Result<Point, pipeline::BoxError> {
    let qdrant_edge::PointId::Uuid(id) = record.id else {
        return Err(format!("point {} was not written by semantik", record.id).into());
    };
    let Some(VectorStructInternal::Named(mut vectors)) = record.vector else {
        return Err(format!("point {id} has no vector").into());
    };
    let Some(VectorInternal::Dense(vector)) = vectors.remove(DENSE) else {
        return Err(format!("point {id} has no dense vector").into());
    };
    let payload = record.payload.map(|payload| payload.0).unwrap_or_default();
    Ok(Point { id, vector, payload: payload::from_json(payload)? })
}

fn edge_config(config: &VectorsConfig) -> EdgeConfig {
    let int8 = config.quantization == Quantization::Int8;
    let vector = EdgeVectorParams::builder(config.dim, qdrant_edge::Distance::Cosine)
        .datatype(match config.quantization {
            Quantization::Float32 => VectorStorageDatatype::Float32,
            Quantization::Float16 | Quantization::Int8 => VectorStorageDatatype::Float16,
        })
        .on_disk(int8)
        .build();
    let hnsw = HnswIndexConfig {
        m: config.hnsw_m,
        ef_construct: config.hnsw_ef_construct,
        ..HnswIndexConfig::default()
    };
    let optimizers = EdgeOptimizersConfig {
        indexing_threshold: Some(config.indexing_threshold),
        ..EdgeOptimizersConfig::default()
    };
    let log = WalOptions { segment_capacity: LOG_PART, ..WalOptions::default() };
    let edge = EdgeConfig::builder()
        .vector(DENSE, vector)
        .on_disk_payload(true)
        .hnsw_config(hnsw)
        .optimizers(optimizers)
        .wal_options(log);
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

/// Twice as many candidates as are asked for by one-byte numbers, scored again by the stored ones.
fn search_params(quantization: Quantization) -> Option<SearchParams> {
    let quantization =
        (quantization == Quantization::Int8).then_some(QuantizationSearchParams {
            ignore: false,
            rescore: Some(true),
            oversampling: Some(2.0),
        })?;
    Some(SearchParams { quantization: Some(quantization), ..SearchParams::default() })
}

/// Makes the payload indexes that are missing; one that is there is left as it is.
fn index_fields(shard: &EdgeShard) -> Result<(), OperationError> {
    for (field, kind) in FILTERABLE {
        let schema = match kind {
            FieldKind::Keyword => PayloadSchemaType::Keyword,
            FieldKind::Integer => PayloadSchemaType::Integer,
            FieldKind::Datetime => PayloadSchemaType::Datetime,
            FieldKind::Text => PayloadSchemaType::Text,
        };
        let create = FieldIndexOperations::CreateIndex(CreateIndex {
            field_name: field.parse().expect("a field name is a path"),
            field_schema: Some(PayloadFieldSchema::FieldType(schema)),
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
