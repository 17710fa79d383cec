//! The node `parquet`: documents into a folder of Parquet files, for pyarrow, DuckDB and the like.
//!
//! `documents/*.parquet` has a row for each document, `chunks/*.parquet` one for each chunk, with its
//! vector if a model is in the pipeline; `uri` joins them. What it does not do: keep track of what was
//! deleted. It holds the last state of every document that was ever given to it.

use std::path::{Path, PathBuf};

use ::parquet::basic::{Compression, ZstdLevel};
use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use async_trait::async_trait;
use pipeline::column::{CHUNKS, CONTENT_HASH, TEXT, URI};
use pipeline::{
    BoxError, Gather, NodeDef, NodeKind, Parallel, Resources, SchemaError, SchemaExt as _, Sink,
    SinkConfig, options_schema, resolve_path,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::parquet::dataset::Dataset;
use crate::upsert::documents::weight;

mod dataset;
mod tables;

/// Its line in the table of nodes.
pub(crate) const NODE: NodeDef = NodeDef {
    name: "parquet",
    summary: "writes documents, chunks and vectors to a folder of Parquet files",
    version: 1,
    // A dataset has one writer.
    parallel: Parallel::Single,
    schema: options_schema::<ParquetOptions>,
    parse: |options, base| {
        let mut options: ParquetOptions = serde_json::from_value(options)?;
        options.path = resolve_path(base, &options.path);
        Ok(NodeKind::Sink(Box::new(options)))
    },
};

/// Options of the node.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ParquetOptions {
    /// The folder of the dataset; it is made if it is not there.
    path: PathBuf,
    /// How the files are compressed.
    #[serde(default)]
    compression: Codec,
    /// Chunks that are gathered before a file is written.
    #[serde(default = "window")]
    #[schemars(range(min = 1, max = 1_000_000))]
    window: usize,
}

/// How files are compressed.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Codec {
    /// Smallest.
    #[default]
    Zstd,
    /// Quickest.
    Snappy,
    /// Not at all.
    None,
}

fn window() -> usize {
    16_384
}

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Self {
        match codec {
            Codec::Zstd => Self::ZSTD(ZstdLevel::default()),
            Codec::Snappy => Self::SNAPPY,
            Codec::None => Self::UNCOMPRESSED,
        }
    }
}

impl SinkConfig for ParquetOptions {
    fn accepts(&self, input: &Schema) -> Result<(), SchemaError> {
        for field in [URI.field(), CONTENT_HASH.field(), TEXT.field(), CHUNKS.field()] {
            input.require(field)?;
        }
        Ok(())
    }

    fn collection_settings(&self) -> Option<serde_json::Value> {
        None
    }

    fn build(&self, _: &Resources) -> Result<Box<dyn Sink>, BoxError> {
        let dataset = Dataset::open(&self.path, self.compression.into());
        Ok(Box::new(dataset.map_err(|source| unusable("open", &self.path, source))?))
    }

    fn gather(&self) -> Option<Gather> {
        // Each window is a file of its own, so it is not written before it is full.
        Some(Gather { at_least: self.window, weight, first: None, hold: None })
    }
}

#[async_trait]
impl Sink for Dataset {
    /// Writes files without yielding: tens of milliseconds for a window.
    async fn write(&mut self, rows: RecordBatch) -> Result<(), BoxError> {
        self.put(&rows).map_err(|source| unusable("write to", self.folder(), source).into())
    }
}

/// Why a dataset cannot be used; what the Parquet library says does not name the file.
#[derive(Debug, thiserror::Error)]
#[error("could not {doing} the Parquet dataset `{}`", folder.display())]
struct Unusable {
    doing: &'static str,
    folder: PathBuf,
    source: BoxError,
}

fn unusable(doing: &'static str, folder: &Path, source: BoxError) -> Unusable {
    Unusable { doing, folder: folder.to_owned(), source }
}
