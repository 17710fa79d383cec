//! The collection of a pipeline file, with everything that operations on it use.

use std::sync::{Arc, OnceLock};

use metadata::{Collection, Generation, GenerationSettings, Postgres};
use pipeline::{
    BoxError, Cache, CollectionFacts, Embedder, EmbedderUsage, ExportedRun, Metrics, ModelInfo,
    ModelProvider, PipelineSpec, Plan, Progress, ProgressSampler, RejectionLog,
};
use uuid::Uuid;

use crate::cancellation::Cancellation;
use crate::composition::Composition;
use crate::result::ModelTime;
use crate::runtime::Runtime;
use crate::shards::Shards;
use crate::stores::{
    Database, GenerationVectors, IfMissing, generation_settings, new_collection, resolve_model,
};

/// Resources of the operations on one collection. An operation reads it; what differs between
/// operations is in their requests.
pub(crate) struct Context {
    pub(crate) spec: Arc<PipelineSpec>,
    pub(crate) composition: Arc<Composition>,
    pub(crate) models: Arc<dyn ModelProvider>,
    /// Cached results of extraction and embedding; `models` uses it, too.
    pub(crate) cache: Option<Arc<dyn Cache>>,
    /// Keeps the embedded cluster running until it is dropped.
    pub(crate) database: Database,
    shards: Shards,
    /// Facts that the nodes of the file declare.
    pub(crate) facts: CollectionFacts,
    /// The model of the file's vectors.
    pub(crate) model: ModelInfo,
    /// The settings of a generation that the file requests.
    pub(crate) settings: GenerationSettings,
    pub(crate) metrics: Arc<Metrics>,
    /// Publishes the metrics until it is dropped.
    _exposed: ExportedRun,
    pub(crate) rejections: RejectionLog,
    /// The initial state; each observer clones it.
    sampler: ProgressSampler,
    /// The model of `models` whose usage is reported; empty until the first run loads it.
    embedder: OnceLock<Arc<dyn Embedder>>,
    pub(crate) cancellation: Cancellation,
}

impl Context {
    /// The collection of a compiled file in open stores.
    ///
    /// # Errors
    /// [`NoCollection`] if the pipeline writes no collection.
    pub(crate) fn new(
        runtime: Runtime,
        spec: Arc<PipelineSpec>,
        plan: &Plan,
        cache: Option<Arc<dyn Cache>>,
        cancellation: Cancellation,
    ) -> Result<Self, BoxError> {
        let facts = collection_facts(plan)?;
        let settings = generation_settings(plan, &facts);
        let metrics = Arc::new(Metrics::new(plan.name()));
        let rejections = RejectionLog::default();
        let nodes = plan.graph().map(|(id, _, _)| id.to_owned()).collect();
        let sampler = ProgressSampler::new(nodes, Arc::clone(&metrics), rejections.clone());
        let Runtime { database, shards, composition, models: _, metrics: exporter } = runtime;
        let exposed = exporter.export(&metrics);
        Ok(Self {
            spec,
            models: composition.models.provider(cache.clone()),
            composition,
            cache,
            database,
            shards,
            model: facts.model.clone(),
            facts,
            settings,
            metrics,
            _exposed: exposed,
            rejections,
            sampler,
            embedder: OnceLock::new(),
            cancellation,
        })
    }

    pub(crate) fn postgres(&self) -> &Postgres {
        self.database.postgres()
    }

    pub(crate) fn plan(&self) -> Result<Plan, BoxError> {
        Ok(self.composition.compile(&self.spec, self.models.as_ref())?)
    }

    /// The collection of the file; `None` if it does not exist.
    pub(crate) async fn find_collection(&self) -> Result<Option<Collection>, BoxError> {
        let file = &self.spec.file;
        Ok(self.postgres().collections().find(Some(&file.owner), &file.collection).await?)
    }

    /// The collection of the file, which is created if it does not exist.
    pub(crate) async fn ensure_collection(&self) -> Result<Collection, BoxError> {
        let new = new_collection(&self.spec, self.settings.clone());
        Ok(self.postgres().ensure_collection(&new).await?)
    }

    pub(crate) async fn open_vectors(
        &self,
        generation: &Generation,
        model: &ModelInfo,
        absent: IfMissing,
    ) -> Result<GenerationVectors, BoxError> {
        let layout = &self.facts.layout;
        GenerationVectors::open(&self.spec, layout, generation, model, absent, &self.shards).await
    }

    /// The live generation of a collection and its vectors. Its model may differ from the file's.
    pub(crate) async fn open_live(
        &self,
        collection: Uuid,
        absent: IfMissing,
    ) -> Result<(Generation, GenerationVectors), BoxError> {
        let live = self.postgres().generations().live(collection).await?;
        let model = resolve_model(&live, &self.plan()?, self.models.as_ref())?;
        let vectors = self.open_vectors(&live, &model, absent).await?;
        Ok((live, vectors))
    }

    /// Builds the search index unless the operation is being stopped: the documents are stored
    /// already, and a later run can build the index.
    pub(crate) async fn optimize(&self, vectors: &GenerationVectors) -> Result<(), BoxError> {
        match self.cancellation.stop.run_until_cancelled(vectors.optimize()).await {
            Some(optimized) => optimized,
            None => Ok(()),
        }
    }

    /// A progress sampler for [`Context::progress`]; each observer has its own.
    pub(crate) fn progress_sampler(&self) -> ProgressSampler {
        self.sampler.clone()
    }

    /// The progress of the operation in this process.
    pub(crate) fn progress(&self, sampler: &mut ProgressSampler) -> Progress {
        sampler.sample(self.counted_usage())
    }

    /// Loads the model, so that its usage can be read. Errors are ignored here; the run reports
    /// them.
    pub(crate) fn attach_model(&self) {
        if self.embedder.get().is_none()
            && let Ok(it) = self.models.embedder(&self.model.path, &self.facts.embedder)
        {
            self.embedder.get_or_init(|| it);
        }
    }

    /// The usage of the model so far.
    pub(crate) fn usage(&self) -> EmbedderUsage {
        self.embedder.get().map(|it| it.usage()).unwrap_or_default()
    }

    /// The usage of the model so far, also written to the metrics. Does not load the model.
    fn counted_usage(&self) -> EmbedderUsage {
        let usage = self.usage();
        if self.embedder.get().is_some() {
            self.metrics.record_embedding(&self.model.short_name, usage);
        }
        usage
    }

    /// The usage of the model so far, for the result.
    pub(crate) fn model_time(&self) -> ModelTime {
        let EmbedderUsage { tokens, busy_seconds, .. } = self.counted_usage();
        ModelTime { tokens, busy_seconds }
    }
}

/// A pipeline that writes no collection, for an operation or a verb that needs one.
#[derive(Debug, thiserror::Error)]
#[error("pipeline `{pipeline}` {cause}")]
pub struct NoCollection {
    pipeline: String,
    cause: &'static str,
}

/// Facts about the collection that a pipeline writes.
///
/// # Errors
/// If it writes no collection.
pub fn collection_facts(plan: &Plan) -> Result<CollectionFacts, NoCollection> {
    plan.collection_facts().ok_or_else(|| NoCollection {
        pipeline: plan.name().to_owned(),
        cause: if plan.writes_collection() {
            "has no model for its collection: add an `embed` node before the sink"
        } else {
            "writes no collection: `semantik run` exports its documents; for search and everything \
             else, add an `embed` node and an `upsert` node"
        },
    })
}
