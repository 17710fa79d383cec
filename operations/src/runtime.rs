//! The resources that the operations of one process share.

use std::sync::Arc;

use pipeline::{BoxError, MetricsExporter, ModelProvider, PipelineSpec};

use crate::composition::Composition;
use crate::shards::Shards;
use crate::stores::Database;

/// Stores, metrics and models of one process. Clones share them.
#[derive(Clone)]
pub struct Runtime {
    /// The metadata store.
    pub database: Database,
    /// The embedded vector stores that this process has open.
    pub shards: Shards,
    /// Node types, models and environment of the program.
    pub composition: Arc<Composition>,
    /// The models without a cache, for searches. Operations share those that it has loaded.
    pub models: Arc<dyn ModelProvider>,
    /// Publishes the metrics of runs.
    pub(crate) metrics: MetricsExporter,
}

impl Runtime {
    /// Opens the metadata store of a file and migrates its schema. Runs publish their metrics with
    /// `metrics`.
    ///
    /// # Errors
    /// If the store cannot be reached, or its schema may not be migrated.
    pub async fn open(
        spec: &PipelineSpec,
        composition: Arc<Composition>,
        metrics: MetricsExporter,
    ) -> Result<Self, BoxError> {
        let database = Database::open(spec).await?;
        database.migrate_if_allowed(spec).await?;
        Ok(Self::new(database, composition, metrics))
    }

    /// Opens the metadata store of a file for a read-only verb, without changing it.
    /// [`Database::collection`] checks the version of its schema.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn open_read_only(
        spec: &PipelineSpec,
        composition: Arc<Composition>,
        metrics: MetricsExporter,
    ) -> Result<Self, BoxError> {
        Ok(Self::new(Database::open(spec).await?, composition, metrics))
    }

    pub(crate) fn new(
        database: Database,
        composition: Arc<Composition>,
        metrics: MetricsExporter,
    ) -> Self {
        let models = composition.models.provider(None);
        Self { database, shards: Shards::default(), composition, models, metrics }
    }
}
