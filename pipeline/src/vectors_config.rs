//! Settings of the vectors of one collection, which the metadata stores and a vector store is
//! opened with.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Layout of vectors in a store, without their name and model; the defaults are those of the
/// specification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VectorLayout {
    /// Number type of stored vectors.
    pub quantization: Quantization,
    /// Edges per node of the HNSW graph.
    pub hnsw_m: usize,
    /// Candidates per node while the graph is built.
    pub hnsw_ef_construct: usize,
    /// See [`VectorsConfig::indexing_threshold`].
    pub indexing_threshold: usize,
    /// See [`VectorsConfig::memmap_threshold`].
    pub memmap_threshold: usize,
}

impl Default for VectorLayout {
    fn default() -> Self {
        Self {
            quantization: Quantization::default(),
            hnsw_m: 16,
            hnsw_ef_construct: 512,
            indexing_threshold: 20_000,
            memmap_threshold: 50_000,
        }
    }
}

impl VectorLayout {
    /// Settings for vectors with this name and dimension, without sparse vectors.
    pub fn config(&self, name: impl Into<String>, dim: usize) -> VectorsConfig {
        VectorsConfig {
            name: name.into(),
            dim,
            quantization: self.quantization,
            sparse: false,
            hnsw_m: self.hnsw_m,
            hnsw_ef_construct: self.hnsw_ef_construct,
            indexing_threshold: self.indexing_threshold,
            memmap_threshold: self.memmap_threshold,
        }
    }
}

/// Settings of the vectors of one collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VectorsConfig {
    /// Name of the collection; see [`VectorsConfig::name_of`].
    pub name: String,
    /// Dimension of the vectors.
    pub dim: usize,
    /// Number type of stored vectors.
    pub quantization: Quantization,
    /// `true` if points also have sparse vectors, weighted by the rarity of each index.
    pub sparse: bool,
    /// Edges per node of the HNSW graph.
    pub hnsw_m: usize,
    /// Candidates per node while the graph is built.
    pub hnsw_ef_construct: usize,
    /// Size of the vectors in a segment, in kilobytes, above which it gets an HNSW graph; search in
    /// a smaller segment is exact.
    pub indexing_threshold: usize,
    /// Size of the vectors in a segment, in kilobytes, above which a server maps it from disk. The
    /// embedded store maps every segment and ignores this.
    pub memmap_threshold: usize,
}

impl VectorsConfig {
    /// Settings with the default [`VectorLayout`].
    pub fn new(name: impl Into<String>, dim: usize, quantization: Quantization) -> Self {
        VectorLayout { quantization, ..VectorLayout::default() }.config(name, dim)
    }

    /// The name of the vectors of a collection: `{collection}_{model}_{quantization}`, followed by
    /// `_g2`, `_g3` … for generations after the first.
    ///
    /// ```
    /// use pipeline::{Quantization, VectorsConfig};
    /// use uuid::Uuid;
    ///
    /// let name = |generation| {
    ///     VectorsConfig::name_of(Uuid::nil(), "minilml6", Quantization::Float16, generation)
    /// };
    /// assert_eq!(name(1), "00000000-0000-0000-0000-000000000000_minilml6_f16");
    /// assert_eq!(name(2), "00000000-0000-0000-0000-000000000000_minilml6_f16_g2");
    /// ```
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

/// Number type of stored vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Quantization {
    /// 4 bytes per component.
    Float32,
    /// 2 bytes per component.
    #[default]
    Float16,
    /// 1 byte per component in memory once a segment is indexed; 2 bytes on disk, from which the
    /// best candidates are scored again.
    Int8,
}

impl Quantization {
    /// Short form for the name of a collection.
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
