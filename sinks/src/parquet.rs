//! The node `parquet`: writes documents to a folder of Parquet files, for pyarrow, DuckDB and
//! similar tools.
//!
//! `documents/*.parquet` has one row per document, `chunks/*.parquet` one per chunk, with its
//! vector if the pipeline has a model; `uri` joins them. Deletions are not tracked: the dataset
//! holds the last state of every document that was ever written to it.

use std::path::{Path, PathBuf};

use ::parquet::basic::{Compression, ZstdLevel};
use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use async_trait::async_trait;
use pipeline::column::{CHUNKS, CONTENT_HASH, TEXT, URI};
use pipeline::{
    BatchPolicy, BoxError, NodeDef, NodeKind, Parallelism, Resources, SchemaError, SchemaExt as _,
    Sink, SinkConfig, SinkFacts, options_schema, resolve_path,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::parquet::dataset::Dataset;
use crate::upsert::batch::batch_weight;

mod dataset;
mod tables;

/// Entry in the table of nodes.
pub(crate) const NODE: NodeDef = NodeDef {
    name: "parquet",
    summary: "Writes documents, chunks and vectors to a folder of Parquet files",
    version: 1,
    // A dataset has one writer.
    parallelism: Parallelism::Single,
    schema: options_schema::<ParquetOptions>,
    parse: |options, base| {
        let mut options: ParquetOptions = serde_json::from_value(options)?;
        options.path = resolve_path(base, &options.path);
        Ok(NodeKind::Sink(Box::new(options)))
    },
};

/// Options of the node `parquet`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ParquetOptions {
    /// Folder of the dataset; created if it does not exist.
    path: PathBuf,
    /// Compression of the files.
    #[serde(default)]
    compression: Codec,
    /// Chunks to collect before a file is written.
    #[serde(default = "window")]
    #[schemars(range(min = 1, max = 1_000_000))]
    window: usize,
}

/// Compression of the files.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Codec {
    /// Smallest files.
    #[default]
    Zstd,
    /// Fastest compression.
    Snappy,
    /// No compression.
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

    fn facts(&self) -> SinkFacts {
        SinkFacts::artefact(&self.path)
    }

    fn build(&self, _: &Resources) -> Result<Box<dyn Sink>, BoxError> {
        let dataset = Dataset::open(&self.path, self.compression.into());
        Ok(Box::new(dataset.map_err(|source| dataset_error("open", &self.path, source))?))
    }

    fn batch_policy(&self) -> Option<BatchPolicy> {
        // Each window becomes a file, so a partial window is not written before the end of the run.
        Some(BatchPolicy {
            target_weight: self.window,
            weight: batch_weight,
            initial_weight: None,
            idle_weight: None,
            max_wait: None,
        })
    }
}

#[async_trait]
impl Sink for Dataset {
    /// Writes files without yielding, which takes tens of milliseconds per window.
    async fn write(&mut self, rows: RecordBatch) -> Result<(), BoxError> {
        self.upsert(&rows).map_err(|source| dataset_error("write to", self.folder(), source).into())
    }
}

/// Adds the dataset's path to errors of the Parquet library, which name no file.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} the Parquet dataset `{}`", folder.display())]
struct DatasetError {
    doing: &'static str,
    folder: PathBuf,
    source: BoxError,
}

fn dataset_error(doing: &'static str, folder: &Path, source: BoxError) -> DatasetError {
    DatasetError { doing, folder: folder.to_owned(), source }
}
