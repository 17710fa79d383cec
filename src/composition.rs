//! Composition: the only module that combines concrete node types, models and the environment. It
//! opens the stores of pipeline files for the verbs.

mod file_targets;

use std::path::Path;
use std::sync::Arc;

use metadata::{Collection, WaitPolicy};
use operations::{Composition, Database, Models, Operator, Runtime, store_name};
use pipeline::{BoxError, Cache, ModelProvider, PipelineSpec, Plan, Registry};
use tokio_util::sync::CancellationToken;

pub(crate) use self::file_targets::FileTargets;
use crate::telemetry::Telemetry;
use crate::{cli, extract_worker, model_download};

/// All nodes available to pipeline files.
pub(crate) fn registry() -> Registry {
    Registry::new(&[sources::NODES, stages::NODES, sinks::NODES])
}

/// The parts of this program that operations use.
pub(crate) fn composition() -> Arc<Composition> {
    Arc::new(Composition {
        nodes: registry(),
        models: Arc::new(LocalModels::default()),
        variable: cli::env_var,
        data_folder: cli::data_folder(),
        worker_program: extract_worker::worker_program,
    })
}

/// The models that libtorch runs in this process.
#[derive(Default)]
struct LocalModels(embedding::EmbeddingEngine);

impl Models for LocalModels {
    fn provider(&self, cache: Option<Arc<dyn Cache>>) -> Arc<dyn ModelProvider> {
        Arc::new(self.0.sharing_models(cache))
    }

    fn is_available(&self, model: &Path) -> bool {
        embedding::is_available_locally(model)
    }

    fn fetch(&self, model: &Path) -> Result<(), BoxError> {
        model_download::fetch_if_missing(model)
    }
}

/// Reads a pipeline file. The compilation reports errors in its content.
pub(crate) fn read_spec(file: &Path) -> Result<PipelineSpec, BoxError> {
    composition().read_spec(file)
}

/// Checks a text as the content of a pipeline file, without writing it.
///
/// # Errors
/// The findings of the compilation.
pub(crate) fn check_text(file: &Path, text: &str) -> Result<(), BoxError> {
    let composition = composition();
    let spec = PipelineSpec::from_yaml(file, text, &composition.variable)?;
    composition.compile(&spec, composition.models.provider(None).as_ref())?;
    Ok(())
}

/// Reads and compiles a pipeline file.
pub(crate) fn load(file: &Path) -> Result<(PipelineSpec, Plan), BoxError> {
    composition().load(file)
}

/// Opens the stores of a file for a verb that writes, and adds them to the metrics.
pub(crate) async fn open_runtime(
    spec: &PipelineSpec,
    telemetry: &Telemetry,
) -> Result<Runtime, BoxError> {
    let runtime = Runtime::open(spec, composition(), telemetry.exposition().clone()).await?;
    telemetry.watch(runtime.database.postgres(), &spec.data_folder());
    Ok(runtime)
}

/// Like [`open_runtime`], for a verb that only reads: changes nothing, and exports no metrics.
pub(crate) async fn open_read_only(spec: &PipelineSpec) -> Result<Runtime, BoxError> {
    Runtime::open_read_only(spec, composition(), Telemetry::new().exposition().clone()).await
}

/// Behaviour while another operation works on the collection: `--wait`, or an error.
pub(crate) fn wait_policy(wait: bool) -> WaitPolicy {
    if wait { WaitPolicy::Wait } else { WaitPolicy::FailIfBusy }
}

/// The operator of a file, for a verb that writes and shows no progress.
pub(crate) async fn open_operator(file: &Path, wait: bool) -> Result<Operator, BoxError> {
    let (spec, plan) = load(file)?;
    // Fails before anything is created.
    operations::collection_facts(&plan)?;
    let runtime = open_runtime(&spec, &Telemetry::new()).await?;
    Operator::new(runtime, Arc::new(spec), &plan, wait_policy(wait), CancellationToken::new())
}

/// Like [`open_operator`], for a verb that only reads.
pub(crate) async fn open_reading_operator(file: &Path, wait: bool) -> Result<Operator, BoxError> {
    let (spec, plan) = load(file)?;
    operations::collection_facts(&plan)?;
    let runtime = open_read_only(&spec).await?;
    Operator::new(runtime, Arc::new(spec), &plan, wait_policy(wait), CancellationToken::new())
}

/// The metadata store and the collection of a pipeline file, for verbs that only read.
///
/// # Errors
/// If the file is invalid or writes no collection, the store cannot be reached, or the collection
/// does not exist.
pub(crate) async fn open_collection(file: &Path) -> Result<(Database, Collection), BoxError> {
    let (spec, plan) = load(file)?;
    operations::collection_facts(&plan)?;
    let database = Database::open(&spec).await?;
    let collection = database.collection(&spec).await?;
    Ok((database, collection))
}

/// The metadata store of a pipeline file, with the ids of all present and deleted collections of
/// its name, the present one first.
///
/// # Errors
/// If the file is invalid, the store cannot be reached, or no such collection ever existed.
pub(crate) async fn open_with_past_collections(
    file: &Path,
) -> Result<(Database, Vec<uuid::Uuid>), BoxError> {
    let (spec, plan) = load(file)?;
    operations::collection_facts(&plan)?;
    let database = Database::open(&spec).await?;
    let (owner, name) = (spec.file.owner.as_str(), spec.file.collection.as_str());
    let mut ids = Vec::new();
    if !database.is_empty(&store_name(&spec)).await? {
        let collections = database.postgres().collections();
        ids.extend(collections.find(Some(owner), name).await?.map(|it| it.id));
        let deleted = collections.deleted(Some((owner, name)), 1_000).await?;
        ids.extend(deleted.into_iter().map(|it| it.id));
    }
    if ids.is_empty() {
        return Err(
            format!("collection `{name}` does not exist yet: run the pipeline first").into()
        );
    }
    Ok((database, ids))
}
