//! The parts of a program that its operations use: node types, models, environment.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pipeline::{
    BoxError, Cache, Engine, EngineSpec, Findings, LocalEngine, ModelProvider, PipelineSpec, Plan,
    Registry,
};

/// The models of a program. They are a port, so that this crate needs no libtorch.
pub trait Models: Send + Sync {
    /// The models, with their vectors cached in `cache`. Providers of one value share the loaded
    /// models; each has its own usage statistics.
    fn provider(&self, cache: Option<Arc<dyn Cache>>) -> Arc<dyn ModelProvider>;

    /// `true` if a model can be loaded without a download.
    fn is_available(&self, model: &Path) -> bool;

    /// Downloads a model of the hub that is not available. Blocks until it is complete.
    ///
    /// # Errors
    /// If the hub cannot be reached, or has no such model.
    fn fetch(&self, model: &Path) -> Result<(), BoxError>;
}

/// The program-specific parts of operations, passed as one value.
pub struct Composition {
    /// The nodes available to pipeline files.
    pub nodes: Registry,
    /// The models that the nodes use.
    pub models: Arc<dyn Models>,
    /// Values of the variables that the `stores` of a file name.
    pub variable: fn(&str) -> Option<String>,
    /// Folder of the embedded stores of files that name none.
    pub data_folder: Option<PathBuf>,
    /// Finds the program that stages start as a child process; `None` if it is missing.
    pub worker_program: fn() -> Option<PathBuf>,
}

/// The engine that a pipeline file names.
pub(crate) fn engine(spec: &PipelineSpec) -> &'static dyn Engine {
    match spec.file.engine {
        EngineSpec::Local => &LocalEngine,
    }
}

impl Composition {
    /// Reads a pipeline file. The compilation reports errors in its content.
    ///
    /// # Errors
    /// [`UnreadableFile`], or [`Findings`] if the content is not YAML of a pipeline.
    pub fn read_spec(&self, file: &Path) -> Result<PipelineSpec, BoxError> {
        let bytes = fs_err::read(file).map_err(|error| UnreadableFile::new(file, &error))?;
        let text = String::from_utf8_lossy(&bytes);
        if let Some(at) = text.find('\u{fffd}') {
            let finding = Findings::single(file, &text, at..at + 3, "the file is not valid UTF-8");
            return Err(finding.into());
        }
        let mut spec = PipelineSpec::from_yaml(file, &text, &self.variable)?;
        if spec.file.stores.data.is_none() {
            spec.file.stores.data.clone_from(&self.data_folder);
        }
        Ok(spec)
    }

    /// Reads and compiles a pipeline file.
    ///
    /// # Errors
    /// As [`Composition::read_spec`], or [`Findings`] if the pipeline is invalid.
    pub fn load(&self, file: &Path) -> Result<(PipelineSpec, Plan), BoxError> {
        let spec = self.read_spec(file)?;
        // A provider of its own, since another one may know a model that was replaced since.
        let plan = self.compile(&spec, self.models.provider(None).as_ref())?;
        Ok((spec, plan))
    }

    /// The program for the stages of a plan; `None` if no stage starts one, or it is not installed.
    pub fn worker_program(&self, plan: &Plan) -> Option<PathBuf> {
        plan.needs_worker().then(self.worker_program).flatten()
    }

    /// Compiles a pipeline.
    ///
    /// # Errors
    /// If the pipeline is invalid.
    pub fn compile(
        &self,
        spec: &PipelineSpec,
        models: &dyn ModelProvider,
    ) -> Result<Plan, Findings> {
        Plan::compile(spec, &self.nodes, models)
    }
}

/// Failure to read a pipeline file.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the pipeline file {}: {cause}", .file.display())]
pub struct UnreadableFile {
    file: PathBuf,
    cause: String,
}

impl UnreadableFile {
    fn new(file: &Path, error: &std::io::Error) -> Self {
        let kind = error.kind();
        let cause = if kind == std::io::ErrorKind::NotFound {
            "no such file".to_owned()
        } else if kind == std::io::ErrorKind::IsADirectory {
            "it is a folder; name a file in it, such as pipeline.yaml".to_owned()
        } else {
            kind.to_string()
        };
        Self { file: file.to_owned(), cause }
    }
}
