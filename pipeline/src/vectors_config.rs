//! Settings of one collection of vectors: part of what the metadata stores and of what a vector store is opened with.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

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
