//! Exports: runs of a pipeline that writes no collection, such as `scan → … → parquet`.
//!
//! An export opens neither store and leases nothing. It has no memory of earlier runs, so it
//! processes every document, and sinks replace the documents that they have
//! (`docs/adr/0032-engines-facts-and-exports.md`). The cache of extracted documents and vectors
//! serves it like any other run.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use pipeline::{
    BoxError, Cache, Embedder, EmbedderOptions, EmbedderUsage, ExportedRun, Metrics,
    MetricsExporter, ModelInfo, ModelProvider, PipelineSpec, Plan, Progress, ProgressSampler,
    RejectionLog, Resources, RunOptions, RunReport,
};
use tokio_util::sync::CancellationToken;

use crate::cancellation::Cancellation;
use crate::composition::{self, Composition};
use crate::result::{ModelTime, OperationResult};
use crate::{stores, text};

/// The artefacts of an export; `None` for a pipeline that writes a collection.
pub(crate) fn targets(plan: &Plan) -> Option<Vec<PathBuf>> {
    let paths = || plan.artefacts().into_iter().map(|(_, path)| path).collect();
    (!plan.writes_collection()).then(paths)
}

/// A source of an export has no document: the path or the globs are wrong.
#[derive(Debug, thiserror::Error)]
#[error(
    "no file in {source_uri} matches ({because}); correct the options of its source (documents of \
     other sources were exported)"
)]
pub(crate) struct NothingToExport {
    source_uri: String,
    because: String,
}

impl NothingToExport {
    /// The error for the first source root without a document.
    pub(crate) fn in_report(report: &RunReport) -> Option<Self> {
        let source_uri = report.empty_roots.first()?.clone();
        let because = match text::left_out_summary(&report.left_out) {
            None => "it contains no file".to_owned(),
            Some(left_out) => format!("left out: {left_out}"),
        };
        Some(Self { source_uri, because })
    }
}

/// A run of a pipeline that writes no collection.
pub struct Export {
    spec: PipelineSpec,
    composition: Arc<Composition>,
    provider: Arc<dyn ModelProvider>,
    cache: Option<Arc<dyn Cache>>,
    metrics: Arc<Metrics>,
    /// Publishes the metrics until it is dropped.
    _exposed: ExportedRun,
    rejections: RejectionLog,
    sampler: ProgressSampler,
    cancellation: Cancellation,
    models: Vec<(ModelInfo, EmbedderOptions)>,
    /// Set when the run loads the models.
    embedders: OnceLock<Vec<Arc<dyn Embedder>>>,
}

impl Export {
    /// An export of this plan with the cache of its file. Cancelling `stop` ends it once the
    /// batches in flight are written; `metrics` publishes its metrics.
    pub fn new(
        spec: PipelineSpec,
        plan: &Plan,
        composition: Arc<Composition>,
        metrics: &MetricsExporter,
        stop: CancellationToken,
    ) -> Self {
        for warning in plan.ineffective_keys(&spec) {
            tracing::warn!("{}", warning.message);
        }
        stores::restrict_data_folder(&spec);
        let cache = stores::open_cache(&spec);
        let exporter = metrics;
        let metrics = Arc::new(Metrics::new(plan.name()));
        let rejections = RejectionLog::default();
        let nodes = plan.graph().map(|(id, _, _)| id.to_owned()).collect();
        let mut models: Vec<(ModelInfo, EmbedderOptions)> = Vec::new();
        for (model, options) in plan.model_uses() {
            // Nodes with the same model share an embedder and its counts, whatever the number of
            // dimensions that they keep.
            let options = EmbedderOptions { dim: None, ..options };
            if !models.iter().any(|known| known.0.path == model.path && known.1 == options) {
                models.push((model.clone(), options));
            }
        }
        Self {
            spec,
            provider: composition.models.provider(cache.clone()),
            composition,
            cache,
            _exposed: exporter.export(&metrics),
            sampler: ProgressSampler::new(nodes, Arc::clone(&metrics), rejections.clone()),
            metrics,
            rejections,
            cancellation: Cancellation::new(stop),
            models,
            embedders: OnceLock::new(),
        }
    }

    /// Exports all documents. `plan` is the one of [`Export::new`].
    ///
    /// # Errors
    /// If a node fails, or a source root has no document.
    pub async fn run(&self, plan: Plan) -> Result<OperationResult, BoxError> {
        self.load_models();
        let with = Resources {
            models: Arc::clone(&self.provider),
            worker_program: self.composition.worker_program(&plan),
            cache: self.cache.clone(),
            ..Resources::without_collection()
        };
        let options = RunOptions {
            stop: self.cancellation.stop.clone(),
            abort: self.cancellation.cut_short.clone(),
            metrics: Arc::clone(&self.metrics),
            rejections: self.rejections.clone(),
        };
        let mut report = composition::engine(&self.spec).run(plan, &with, options).await?;
        if !report.stopped
            && let Some(error) = NothingToExport::in_report(&report)
        {
            return Err(error.into());
        }
        let EmbedderUsage { tokens, reused_tokens, busy_seconds, .. } = self.counted_usage();
        if !self.models.is_empty() {
            (report.tokens, report.tokens_reused) = (tokens, reused_tokens);
        }
        let model = Some(ModelTime { tokens, busy_seconds });
        let report = Some(report.without_roots());
        Ok(OperationResult { report, model, ..OperationResult::default() })
    }

    /// Requests the models, so that their usage can be read. The run reports errors.
    fn load_models(&self) {
        let load = |(model, options): &(ModelInfo, EmbedderOptions)| {
            self.provider.embedder(&model.path, options).ok()
        };
        self.embedders.get_or_init(|| self.models.iter().filter_map(load).collect());
    }

    /// A progress sampler for [`Export::progress`].
    pub fn progress_sampler(&self) -> ProgressSampler {
        self.sampler.clone()
    }

    /// The progress of the export.
    pub fn progress(&self, sampler: &mut ProgressSampler) -> Progress {
        sampler.sample(self.counted_usage())
    }

    /// Drops the batches that no model has started, after a stop request. Returns `false` if it was
    /// done before.
    pub fn cut_short(&self) -> bool {
        let token = &self.cancellation.cut_short;
        let is_first = !token.is_cancelled();
        token.cancel();
        is_first
    }

    /// The usage of all models so far, also written to the metrics.
    fn counted_usage(&self) -> EmbedderUsage {
        let embedders = self.embedders.get().into_iter().flatten();
        embedders
            .map(|embedder| {
                let usage = embedder.usage();
                self.metrics.record_embedding(&embedder.info().short_name, usage);
                usage
            })
            .sum()
    }
}
