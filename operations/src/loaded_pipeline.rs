//! A valid pipeline file with a collection, and the key of its schedule.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use metadata::ScheduleKey;
use pipeline::{BoxError, CollectionFacts, PipelineSpec, Plan};

use crate::composition::Composition;
use crate::context::collection_facts;

/// A valid pipeline file with a collection.
pub struct LoadedPipeline {
    /// Path of the file as given by the user.
    pub path: PathBuf,
    /// Its content.
    pub spec: Arc<PipelineSpec>,
    /// The checked pipeline, compiled from `spec`.
    pub plan: Plan,
    /// Facts that its nodes declare.
    pub facts: CollectionFacts,
}

impl LoadedPipeline {
    /// Reads and compiles a file. A file without a collection is an error: the operations and
    /// schedules of a process are rows of a collection.
    pub fn read(path: &Path, composition: &Composition) -> Result<Self, BoxError> {
        let (spec, plan) = composition.load(path)?;
        let facts = collection_facts(&plan)?;
        Ok(Self { path: path.to_owned(), spec: Arc::new(spec), plan, facts })
    }

    /// The key of the file's schedule.
    pub fn key(&self) -> ScheduleKey<'_> {
        let file = &self.spec.file;
        ScheduleKey { owner: &file.owner, collection: &file.collection, pipeline: &file.name }
    }
}

/// The key of a schedule whose file no longer has it: owner, collection and pipeline.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RemovedPipeline([String; 3]);

impl RemovedPipeline {
    pub fn key(&self) -> ScheduleKey<'_> {
        let [owner, collection, pipeline] = &self.0;
        ScheduleKey { owner, collection, pipeline }
    }
}

impl From<&LoadedPipeline> for RemovedPipeline {
    fn from(loaded: &LoadedPipeline) -> Self {
        let ScheduleKey { owner, collection, pipeline } = loaded.key();
        Self([owner, collection, pipeline].map(str::to_owned))
    }
}
