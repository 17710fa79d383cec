//! What every store of vectors shares: its settings, the fields that can be filtered on, and the check
//! that points pass before any store sees them. Knows no store.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use pipeline::{
    BoxError, IndexQuery, Legs, Point, Remedy, SparseVector, StoreError, VectorIndex, VectorStore,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// Name of the dense vector of a point. It is named so that sparse vectors can stand beside it.
pub(crate) const DENSE: &str = "dense";

/// Name of the sparse vector of a point, in a collection that has them.
pub(crate) const SPARSE: &str = "sparse";

/// Says what a store holds, for comparing it with the metadata.
#[async_trait]
pub trait Inventory: Send + Sync {
    /// Every document with points in the store, and how many it has.
    ///
    /// # Errors
    /// If the store cannot be reached.
    async fn documents(&self) -> Result<BTreeMap<Uuid, u64>, StoreError>;

    /// Which chunk each point is of, in order of the points' ids, `after` excluded. Reads neither vectors nor
    /// texts.
    ///
    /// # Errors
    /// If the store cannot be reached, or a point in it was not written by semantik.
    async fn keys(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<PointKey>, StoreError>;

    /// The same, with what is wrong with a point. The embedded store reads all that a point holds, and compares it with
    /// what was written; of others, which have files of their own to look after, this is [`Inventory::keys`].
    ///
    /// # Errors
    /// If the store cannot be reached.
    async fn inspect(
        &self,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<Inspected>, StoreError> {
        let keys = self.keys(after, limit).await?.into_iter();
        Ok(keys.map(|key| Inspected { id: key.id, key: Some(key), fault: None }).collect())
    }
}

/// A point that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// Its id.
    pub id: Uuid,
    /// Which chunk it is of; `None` where that cannot be read any more.
    pub key: Option<PointKey>,
    /// What is wrong with it.
    pub fault: Option<String>,
}

/// A point without what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PointKey {
    /// Its id.
    pub id: Uuid,
    /// The document.
    pub document: Uuid,
    /// Position of the chunk in the document, from 0.
    pub chunk_index: u32,
}

impl PointKey {
    /// Whether the id is the one that this chunk has.
    pub fn is_its_own(&self) -> bool {
        self.id == pipeline::point_id(self.document, self.chunk_index)
    }

    /// Reads it from the fields of a payload.
    pub(crate) fn of(id: Uuid, payload: &serde_json::Map<String, Value>) -> Result<Self, BoxError> {
        let document = payload.get(DOCUMENT).and_then(Value::as_str).and_then(|it| it.parse().ok());
        let chunk_index = payload.get(CHUNK_INDEX).and_then(Value::as_u64);
        match (document, chunk_index.map(u32::try_from)) {
            (Some(document), Some(Ok(chunk_index))) => Ok(Self { id, document, chunk_index }),
            (_, _) => Err(format!("point {id} was not written by semantik").into()),
        }
    }
}

/// Everything that a store of vectors can do.
pub trait Vectors: VectorStore + VectorIndex + Inventory {}

impl<T: VectorStore + VectorIndex + Inventory> Vectors for T {}

/// Settings of one collection of vectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VectorsConfig {
    /// Name of the collection; see [`VectorsConfig::name_of`].
    pub name: String,
    /// Length of a vector.
    pub dim: usize,
    /// How the numbers of a vector are stored.
    pub quantization: Quantization,
    /// Whether points have sparse vectors beside the dense ones, weighed by how rare a dimension is.
    pub sparse: bool,
    /// Edges per node of the HNSW graph.
    pub hnsw_m: usize,
    /// Neighbours looked at while the graph is built.
    pub hnsw_ef_construct: usize,
    /// Kilobytes of vectors in a segment above which it gets an HNSW graph; below it, search is exact.
    pub indexing_threshold: usize,
    /// Kilobytes of vectors in a segment above which a server maps it from disk. The embedded store
    /// maps every segment, and has no such threshold.
    pub memmap_threshold: usize,
}

impl VectorsConfig {
    /// Settings as the specification has them.
    pub fn new(name: impl Into<String>, dim: usize, quantization: Quantization) -> Self {
        Self {
            name: name.into(),
            dim,
            quantization,
            sparse: false,
            hnsw_m: 16,
            hnsw_ef_construct: 512,
            indexing_threshold: 20_000,
            memmap_threshold: 50_000,
        }
    }

    /// The name of a collection's vectors: `{collection}_{model}_{quantization}`, and `_g2`, `_g3` …
    /// for generations after the first.
    pub fn name_of(
        collection: Uuid,
        model: &str,
        quantization: Quantization,
        generation: u32,
    ) -> String {
        let name = format!("{collection}_{model}_{}", quantization.short());
        if generation < 2 { name } else { format!("{name}_g{generation}") }
    }
}

/// How the numbers of a vector are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Quantization {
    /// Four bytes a number.
    Float32,
    /// Two bytes a number.
    #[default]
    Float16,
    /// One byte a number in memory once a segment is indexed; two on disk, by which the best
    /// candidates are scored again.
    Int8,
}

impl Quantization {
    /// As it stands in the name of a collection.
    pub fn short(self) -> &'static str {
        match self {
            Self::Float32 => "f32",
            Self::Float16 => "f16",
            Self::Int8 => "i8",
        }
    }
}

impl fmt::Display for Quantization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Float32 => "float32",
            Self::Float16 => "float16",
            Self::Int8 => "int8",
        })
    }
}

/// What is found in a field of the payload, and so which index serves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldKind {
    /// Compared as a whole.
    Keyword,
    /// Compared and ordered.
    Integer,
    /// RFC 3339, compared and ordered.
    Datetime,
    /// Found by its words.
    Text,
}

/// The field that a document's points have in common.
pub(crate) const DOCUMENT: &str = "document_id";

/// The field by which they differ.
pub(crate) const CHUNK_INDEX: &str = "chunk_index";

/// Every field that a filter may name. Each has an index, so that a filter never reads payloads.
pub(crate) static FILTERABLE: &[(&str, FieldKind)] = &[
    (DOCUMENT, FieldKind::Keyword),
    ("collection_id", FieldKind::Keyword),
    (CHUNK_INDEX, FieldKind::Integer),
    ("metadata.source_path", FieldKind::Keyword),
    ("metadata.source", FieldKind::Keyword),
    ("metadata.mime_type", FieldKind::Keyword),
    ("metadata.language", FieldKind::Keyword),
    ("metadata.page", FieldKind::Integer),
    ("metadata.modified_at", FieldKind::Datetime),
    ("metadata.title", FieldKind::Text),
    ("metadata.headings", FieldKind::Text),
    ("metadata.facts", FieldKind::Keyword),
];

/// A point or a query that does not fit the collection.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("a vector of {found} dimensions does not go into a collection of {wanted}")]
    Dim { found: usize, wanted: usize },
    #[error("the vector has numbers that are not finite")]
    NotFinite,
    #[error(
        "the collection `{name}` holds vectors of {found} dimensions, and the model makes {wanted}"
    )]
    Collection { name: String, found: usize, wanted: usize },
    #[error("the collection has no sparse vectors")]
    NoWords,
    #[error("a sparse vector has its dimensions twice, unordered, or without a number each")]
    Unsound,
    #[error("a threshold needs the question as a dense vector")]
    NoMeasure,
    #[error("the collection `{0}` was made without sparse vectors")]
    MadeWithout(String),
}

/// What the vectors of a collection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Length of the dense ones.
    pub(crate) dim: usize,
    /// Whether there are sparse ones.
    pub(crate) sparse: bool,
}

impl Shape {
    /// Refuses points that would not fit, before any of them is written.
    pub(crate) fn check_points(self, points: &[Point]) -> Result<(), StoreError> {
        let doing = "upsert points";
        points.iter().try_for_each(|point| {
            check_vector(doing, &point.vector, self.dim)?;
            point.sparse.as_ref().map_or(Ok(()), |words| self.check_words(doing, words))
        })
    }

    /// Refuses a question that the collection cannot answer.
    pub(crate) fn check_query(self, query: &IndexQuery) -> Result<(), StoreError> {
        let doing = SEARCHING;
        match &query.legs {
            Legs::Dense(vector) => check_vector(doing, vector, self.dim),
            Legs::Sparse { words, dense } => {
                if dense.is_none() && query.threshold.is_some() {
                    return Err(gives_up(doing, Unfit::NoMeasure));
                }
                dense.as_ref().map_or(Ok(()), |vector| check_vector(doing, vector, self.dim))?;
                self.check_words(doing, words)
            }
            Legs::Hybrid { dense, words, fusion: _ } => {
                check_vector(doing, dense, self.dim)?;
                self.check_words(doing, words)
            }
        }
    }

    fn check_words(self, doing: &'static str, words: &SparseVector) -> Result<(), StoreError> {
        if !self.sparse {
            return Err(gives_up(doing, Unfit::NoWords));
        }
        if words.is_sound() { Ok(()) } else { Err(gives_up(doing, Unfit::Unsound)) }
    }
}

/// What a store was doing that could not answer a question.
pub(crate) const SEARCHING: &str = "search vectors";

/// Refuses a vector that the collection cannot compare with its own.
pub(crate) fn check_vector(
    doing: &'static str,
    vector: &[f32],
    dim: usize,
) -> Result<(), StoreError> {
    if vector.len() != dim {
        return Err(gives_up(doing, Unfit::Dim { found: vector.len(), wanted: dim }));
    }
    if !vector.iter().all(|number| number.is_finite()) {
        return Err(gives_up(doing, Unfit::NotFinite));
    }
    Ok(())
}

/// Refuses to open a collection that was made for other vectors. One that has sparse vectors keeps them, whoever
/// opens it.
pub(crate) fn check_collection(config: &VectorsConfig, found: Shape) -> Result<(), StoreError> {
    let name = config.name.clone();
    let unfit = if found.dim != config.dim {
        Unfit::Collection { name, found: found.dim, wanted: config.dim }
    } else if config.sparse && !found.sparse {
        Unfit::MadeWithout(name)
    } else {
        return Ok(());
    };
    Err(gives_up("open the vector collection", unfit))
}

/// An error that will not go away by itself.
pub(crate) fn gives_up(doing: &'static str, source: impl Into<BoxError>) -> StoreError {
    StoreError { doing, remedy: Remedy::GiveUp, source: source.into() }
}
