//! The resources that the operations of one process share.

use std::sync::Arc;

use pipeline::{BoxError, PipelineSpec};

use crate::compose::Database;
use crate::shards::Shards;
use crate::telemetry::Telemetry;

/// Stores, telemetry and models of one process. Clones share them.
#[derive(Clone)]
pub(crate) struct Runtime {
    pub(crate) database: Database,
    pub(crate) shards: Shards,
    pub(crate) telemetry: Telemetry,
    /// Operations derive their engines from it, so a model that an operation or a search has loaded
    /// is not loaded again.
    pub(crate) engine: Arc<embedding::EmbeddingEngine>,
}

impl Runtime {
    /// Opens the metadata store of a file and migrates its schema.
    pub(crate) async fn open(spec: &PipelineSpec, telemetry: &Telemetry) -> Result<Self, BoxError> {
        let database = Database::open(spec).await?;
        database.migrate_if_allowed(spec).await?;
        Ok(Self::new(database, spec, telemetry))
    }

    /// Opens the metadata store of a file for a read-only verb, without changing it.
    /// [`Database::collection`] checks the version of its schema.
    pub(crate) async fn open_read_only(
        spec: &PipelineSpec,
        telemetry: &Telemetry,
    ) -> Result<Self, BoxError> {
        Ok(Self::new(Database::open(spec).await?, spec, telemetry))
    }

    fn new(database: Database, spec: &PipelineSpec, telemetry: &Telemetry) -> Self {
        telemetry.watch(database.postgres(), &spec.data_folder());
        let (shards, engine) = (Shards::default(), Arc::default());
        Self { database, shards, telemetry: telemetry.clone(), engine }
    }
}
