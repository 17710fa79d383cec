//! The settings of a shard, and its payload indexes.

use pipeline::{Quantization, VectorsConfig};
use qdrant_edge::{
    CreateIndex, Distance, EdgeConfig, EdgeOptimizersConfig, EdgeShard, EdgeSparseVectorParams,
    EdgeVectorParams, FieldIndexOperations, HnswIndexConfig, Modifier, OperationError,
    PayloadFieldSchema, QuantizationConfig, ScalarQuantizationConfig, ScalarType, UpdateOperation,
    VectorStorageDatatype, WalOptions,
};
use serde_json::json;

use crate::shape::{DENSE_VECTOR, FILTERABLE, FieldKind, SPARSE_VECTOR, VectorLayout};

/// Bytes of one part of the log. The default, 32 MiB, would also be the size of an empty shard.
const WAL_SEGMENT_BYTES: usize = 8 << 20;

/// Vectors, graph, payload and payload indexes are mapped files, so the memory of a shard does not
/// grow with its size; the system keeps used pages in memory.
pub(super) fn edge_config(config: &VectorsConfig, shape: VectorLayout) -> EdgeConfig {
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
    let log = WalOptions { segment_capacity: WAL_SEGMENT_BYTES, ..WalOptions::default() };
    let mut edge = EdgeConfig::builder()
        .vector(DENSE_VECTOR, vector)
        .on_disk_payload(true)
        .hnsw_config(hnsw)
        .optimizers(optimizers)
        .wal_options(log);
    if shape.sparse {
        let words = EdgeSparseVectorParams::builder().modifier(Modifier::Idf).on_disk(true).build();
        edge = edge.sparse_vector(SPARSE_VECTOR, words);
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

/// Creates missing payload indexes; Edge ignores existing ones.
pub(super) fn index_fields(shard: &EdgeShard) -> Result<(), OperationError> {
    for (field, kind) in FILTERABLE {
        let kind = match kind {
            FieldKind::Keyword => "keyword",
            FieldKind::Integer => "integer",
            FieldKind::Datetime => "datetime",
            FieldKind::Text => "text",
        };
        let schema = serde_json::from_value(json!({ "type": kind, "on_disk": true }));
        let schema: PayloadFieldSchema = schema.expect("is a valid field schema");
        let create = FieldIndexOperations::CreateIndex(CreateIndex {
            field_name: field.parse().expect("a field name is a path"),
            field_schema: Some(schema),
        });
        shard.update(UpdateOperation::FieldIndexOperation(create))?;
    }
    Ok(())
}
