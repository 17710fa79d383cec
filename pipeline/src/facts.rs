//! Facts that nodes declare about themselves. Composition reads them from the plan, so it knows no
//! node type by name and parses no options.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{EmbedderOptions, ModelInfo, VectorLayout};

/// Facts about a stage besides its model ([`crate::StageConfig::model`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StageFacts {
    /// Limits of the chunks that the stage makes; `None` if it makes no chunks.
    pub chunking: Option<Chunking>,
    /// Settings of the sparse vectors that the stage makes, from its option `sparse`; `None` if it
    /// makes none.
    pub sparse: Option<Value>,
    /// `true` if the stage starts [`crate::Resources::worker_program`].
    pub needs_worker: bool,
}

/// Limits of chunks, in the unit of the stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunking {
    /// Maximum size of a chunk.
    pub size: usize,
    /// Maximum part of a chunk that the next chunk repeats.
    pub overlap: usize,
}

/// Facts about a sink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkFacts {
    /// Layout of the vectors that the sink writes into the collection; `None` if it does not write
    /// into the collection. All sinks of a pipeline that write into the collection must agree on
    /// the layout and on the model.
    pub collection: Option<VectorLayout>,
    /// Files and folders that the sink writes; see [`crate::resolve_path`].
    pub artefacts: Vec<PathBuf>,
}

impl SinkFacts {
    /// Facts about a sink that writes one file or folder and not into the collection.
    pub fn artefact(path: &Path) -> Self {
        Self { collection: None, artefacts: vec![path.to_owned()] }
    }
}

/// Facts about the collection that a plan writes: those of the nodes on the path to its sinks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectionFacts {
    /// The model that makes the vectors.
    pub model: ModelInfo,
    /// Options with which the model is loaded.
    pub embedder: EmbedderOptions,
    /// Settings of the sparse vectors; `None` without sparse vectors.
    pub sparse: Option<Value>,
    /// Limits of the chunks; `None` if no stage declares them.
    pub chunking: Option<Chunking>,
    /// Layout of the vectors.
    pub layout: VectorLayout,
}
