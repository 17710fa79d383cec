//! The collection on the server: created if missing, refused if its vectors have another shape.

use std::collections::HashMap;

use pipeline::StoreError;
use qdrant_client::Qdrant;
use qdrant_client::qdrant::vectors_config::Config;
use qdrant_client::qdrant::{
    CollectionInfo, CreateCollectionBuilder, CreateFieldIndexCollectionBuilder, Datatype, Distance,
    FieldType, HnswConfigDiffBuilder, Modifier, OptimizersConfigDiffBuilder, QuantizationType,
    ScalarQuantizationBuilder, SparseIndexConfigBuilder, SparseVectorConfig,
    SparseVectorParamsBuilder, VectorParamsBuilder, VectorParamsMap,
};

use crate::qdrant::calls::call_retrying;
use crate::qdrant::error::call_error;
use crate::shape::{
    DENSE_VECTOR, FILTERABLE, FieldKind, SPARSE_VECTOR, VectorLayout, check_collection,
    permanent_error,
};
use pipeline::{Quantization, VectorsConfig};

const OPENING: &str = "open the vector collection";

/// Ensures that the collection with its payload indexes exists; returns the shape of its vectors.
pub(super) async fn ensure_collection(
    client: &Qdrant,
    config: &VectorsConfig,
) -> Result<VectorLayout, StoreError> {
    let name = config.name.as_str();
    let exists = || call_retrying(OPENING, || client.collection_exists(name));
    if !exists().await? {
        let made = client.create_collection(create_request(config)).await;
        // Another process may have created it concurrently; the error counts only if it still does
        // not exist.
        if let Err(error) = made
            && !exists().await?
        {
            return Err(call_error("create the vector collection", error));
        }
    }
    let info =
        call_retrying(OPENING, || client.collection_info(name)).await?.result.unwrap_or_default();
    let Some(found) = layout_of(&info) else {
        let error =
            format!("the collection `{name}` was not created by semantik: use another name");
        return Err(permanent_error(OPENING, error));
    };
    check_collection(config, found)?;
    for (field, kind) in FILTERABLE {
        if !info.payload_schema.contains_key(*field) {
            create_field_index(client, name, field, *kind).await?;
        }
    }
    Ok(found)
}

/// The shape of the vectors of a collection; `None` if semantik did not create it.
fn layout_of(info: &CollectionInfo) -> Option<VectorLayout> {
    let params = info.config.as_ref()?.params.as_ref()?;
    let dense = match params.vectors_config.as_ref()?.config.as_ref()? {
        Config::ParamsMap(VectorParamsMap { map }) => map.get(DENSE_VECTOR)?,
        Config::Params(_) => return None,
    };
    let sparse = params.sparse_vectors_config.as_ref();
    Some(VectorLayout {
        dim: usize::try_from(dense.size).ok()?,
        sparse: sparse.is_some_and(|sparse| sparse.map.contains_key(SPARSE_VECTOR)),
    })
}

fn create_request(config: &VectorsConfig) -> CreateCollectionBuilder {
    let int8 = config.quantization == Quantization::Int8;
    let vector = VectorParamsBuilder::new(config.dim as u64, Distance::Cosine)
        .datatype(match config.quantization {
            Quantization::Float32 => Datatype::Float32,
            Quantization::Float16 | Quantization::Int8 => Datatype::Float16,
        })
        .on_disk(int8)
        .build();
    let vectors = VectorParamsMap { map: HashMap::from([(DENSE_VECTOR.to_owned(), vector)]) };
    let hnsw = HnswConfigDiffBuilder::default()
        .m(config.hnsw_m as u64)
        .ef_construct(config.hnsw_ef_construct as u64);
    let optimizers = OptimizersConfigDiffBuilder::default()
        .indexing_threshold(config.indexing_threshold as u64)
        .memmap_threshold(config.memmap_threshold as u64);
    let mut collection = CreateCollectionBuilder::new(config.name.as_str())
        .vectors_config(Config::ParamsMap(vectors))
        .hnsw_config(hnsw)
        .optimizers_config(optimizers)
        .on_disk_payload(true);
    if config.sparse {
        let index = SparseIndexConfigBuilder::default().on_disk(int8).build();
        let words = SparseVectorParamsBuilder::default().modifier(Modifier::Idf).index(index);
        let map = HashMap::from([(SPARSE_VECTOR.to_owned(), words.build())]);
        collection = collection.sparse_vectors_config(SparseVectorConfig { map });
    }
    if !int8 {
        return collection;
    }
    let scalar = ScalarQuantizationBuilder::default()
        .r#type(QuantizationType::Int8.into())
        .quantile(0.99)
        .always_ram(true);
    collection.quantization_config(scalar)
}

async fn create_field_index(
    client: &Qdrant,
    name: &str,
    field: &str,
    kind: FieldKind,
) -> Result<(), StoreError> {
    let kind = match kind {
        FieldKind::Keyword => FieldType::Keyword,
        FieldKind::Integer => FieldType::Integer,
        FieldKind::Datetime => FieldType::Datetime,
        FieldKind::Text => FieldType::Text,
    };
    let request = || CreateFieldIndexCollectionBuilder::new(name, field, kind).wait(true);
    call_retrying("index a payload field", || client.create_field_index(request())).await.map(drop)
}
