//! What the operations of one process share.

use std::sync::Arc;

use pipeline::{BoxError, PipelineSpec};

use crate::shards::Shards;
use crate::telemetry::Telemetry;
use crate::wiring::Database;

/// Where operations take place: what those of one process share.
#[derive(Clone)]
pub(crate) struct Workplace {
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
        database.bring_up_to_date(spec).await?;
        Ok(Self::of(database, spec, telemetry))
    }

    /// Opens the metadata store of a file for a verb that only reads, and leaves it as it is; whether its schema will do is
    /// asked with its collection ([`Database::collection`]).
    pub(crate) async fn looking(
        spec: &PipelineSpec,
        telemetry: &Telemetry,
    ) -> Result<Self, BoxError> {
        Ok(Self::of(Database::open(spec).await?, spec, telemetry))
    }

    fn of(database: Database, spec: &PipelineSpec, telemetry: &Telemetry) -> Self {
        telemetry.watch(database.postgres(), &spec.data_folder());
        let (shards, engine) = (Shards::default(), Arc::default());
        Self { database, shards, telemetry: telemetry.clone(), engine }
    }
}
