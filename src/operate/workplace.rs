//! What the operations of one process share.

use std::sync::Arc;

use pipeline::{BoxError, PipelineSpec};

use crate::shards::Shards;
use crate::telemetry::Telemetry;
use crate::wiring::Database;

/// Where operations take place: what those of one process share.
#[derive(Clone)]
pub(crate) struct Workplace {
    /// Brought up to date.
    pub(crate) database: Database,
    pub(crate) shards: Shards,
    pub(crate) telemetry: Telemetry,
    /// Each operation has an engine beside it; a model that another one has loaded, or a search, is not loaded again.
    pub(crate) engine: Arc<embedding::Engine>,
}

impl Workplace {
    /// Opens the metadata store of a file, and brings its schema up to date.
    pub(crate) async fn open(spec: &PipelineSpec, telemetry: &Telemetry) -> Result<Self, BoxError> {
        let database = Database::open(spec).await?;
        database.postgres().migrate_up().await?;
        telemetry.watch(database.postgres(), &spec.data_folder());
        let (shards, engine) = (Shards::default(), Arc::default());
        Ok(Self { database, shards, telemetry: telemetry.clone(), engine })
    }
}
