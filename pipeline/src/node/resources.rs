//! The models, stores and cache that nodes receive when they are built.

use std::path::PathBuf;
use std::sync::Arc;

use crate::{Cache, MetadataStore, ModelProvider, VectorStore};

/// Resources that nodes receive when they are built.
#[derive(Clone)]
pub struct Resources {
    /// Id of the collection.
    pub collection: uuid::Uuid,
    /// Embedding models.
    pub models: Arc<dyn ModelProvider>,
    /// Metadata store of the collection.
    pub metadata: Arc<dyn MetadataStore>,
    /// Vector store of the collection.
    pub vectors: Arc<dyn VectorStore>,
    /// Content hashes that are stored with the current settings, loaded before the run.
    pub known_hashes: Arc<crate::KnownHashes>,
    /// Program that a stage can start as its child process; the stage chooses the arguments. With
    /// `None`, the stage works in this process.
    pub worker_program: Option<PathBuf>,
    /// Cache of earlier results; `None` computes everything.
    pub cache: Option<Arc<dyn Cache>>,
}
