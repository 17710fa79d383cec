//! The collections of pipeline files as search targets, for the verbs that search.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use metadata::{Collection, Generation};
use operations::{
    Composition, Database, GenerationVectors, IfMissing, Shards, build_target, collection_facts,
    fetch_on_thread, has_model_of, resolve_model,
};
use pipeline::{BoxError, CollectionFacts, ModelProvider, PipelineSpec, Plan};
use search::{Target, TargetResolver};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::{composition, load};
use crate::remote::RemoteServer;

/// The collections of pipeline files. A request names them by the index of the file: `0`, `1` ….
pub(crate) struct FileTargets {
    composition: Arc<Composition>,
    models: Arc<dyn ModelProvider>,
    files: Vec<OpenFile>,
    shards: Shards,
    /// By name of the vectors: an embedded store cannot be opened twice.
    open_targets: Mutex<HashMap<String, Arc<Target>>>,
}

struct OpenFile {
    spec: PipelineSpec,
    plan: Plan,
    facts: CollectionFacts,
    database: Database,
    collection: Collection,
}

impl FileTargets {
    /// Opens the metadata stores of these files.
    ///
    /// # Errors
    /// If a file is invalid, its store cannot be reached, or its collection does not exist or is
    /// being deleted.
    pub(crate) async fn open(files: &[PathBuf]) -> Result<Self, BoxError> {
        let mut opened = Vec::with_capacity(files.len());
        for file in files {
            opened.push(open(file).await?);
        }
        let composition = composition();
        Ok(Self {
            models: composition.models.provider(None),
            composition,
            files: opened,
            shards: Shards::default(),
            open_targets: Mutex::default(),
        })
    }

    /// The names of all files in requests.
    pub(crate) fn names(&self) -> Vec<String> {
        (0..self.files.len()).map(|index| index.to_string()).collect()
    }

    /// The name of the collection that a request names by the index of its file.
    pub(crate) fn name_of<'a>(&'a self, asked: &'a str) -> &'a str {
        let file = asked.parse::<usize>().ok().and_then(|index| self.files.get(index));
        file.map_or(asked, |file| &file.collection.name)
    }

    /// The ids of the collections, by which a server knows them.
    pub(crate) fn ids(&self) -> Vec<Uuid> {
        self.files.iter().map(|file| file.collection.id).collect()
    }

    /// The server that has all collections open, see [`RemoteServer::find_local`].
    ///
    /// # Errors
    /// If other users of the machine could answer in its place.
    pub(crate) fn local_server(&self) -> Result<Option<RemoteServer>, BoxError> {
        RemoteServer::find_local(self.files.iter().map(|file| &file.spec), &self.ids())
    }

    /// The live generation of the first file, without its vectors.
    pub(crate) async fn live(&self) -> Result<Generation, BoxError> {
        let file = self.first()?;
        Ok(file.database.postgres().generations().live(file.collection.id).await?)
    }

    fn first(&self) -> Result<&OpenFile, BoxError> {
        Ok(self.files.first().ok_or("no pipeline file given")?)
    }

    async fn open_target(
        &self,
        file: &OpenFile,
        generation: &Generation,
    ) -> Result<Arc<Target>, BoxError> {
        let mut opened = self.open_targets.lock().await;
        if let Some(target) = opened.get(&generation.vector_store_name) {
            return Ok(Arc::clone(target));
        }
        let OpenFile { spec, plan, facts, database, collection } = file;
        if !has_model_of(plan, generation) {
            let models = Arc::clone(&self.composition.models);
            fetch_on_thread(models, generation.model_path.as_str().into()).await?;
        }
        let model = resolve_model(generation, plan, self.models.as_ref())?;
        let (layout, absent) = (&facts.layout, IfMissing::Refuse);
        let vectors =
            GenerationVectors::open(spec, layout, generation, &model, absent, &self.shards).await?;
        let target = Arc::new(build_target(
            spec,
            facts,
            &self.models,
            collection,
            generation,
            model,
            &vectors,
            database.postgres(),
        ));
        opened.insert(generation.vector_store_name.clone(), Arc::clone(&target));
        Ok(target)
    }

    /// A generation of the first file, live or not.
    pub(crate) async fn generation(&self, number: i32) -> Result<Arc<Target>, BoxError> {
        let file = self.first()?;
        let generations = file.database.postgres().generations().list(file.collection.id).await?;
        let found = generations.into_iter().find(|it| it.number == number);
        let name = &file.collection.name;
        let generation =
            found.ok_or_else(|| format!("collection `{name}` has no generation {number}"))?;
        self.open_target(file, &generation).await
    }
}

async fn open(file: &Path) -> Result<OpenFile, BoxError> {
    let (spec, plan) = load(file)?;
    let facts = collection_facts(&plan)?;
    let database = Database::open(&spec).await?;
    let collection = database.collection(&spec).await?;
    if collection.deleting_since.is_some() {
        return Err(format!("collection `{}` is being deleted", collection.name).into());
    }
    Ok(OpenFile { spec, plan, facts, database, collection })
}

#[async_trait]
impl TargetResolver for FileTargets {
    async fn resolve(&self, asked: &str) -> Result<Arc<Target>, BoxError> {
        let file = asked.parse::<usize>().ok().and_then(|index| self.files.get(index));
        let file = file.ok_or_else(|| format!("unknown file {asked}"))?;
        let generations = file.database.postgres().generations();
        let mut live = generations.live(file.collection.id).await?;
        loop {
            let target = self.open_target(file, &live).await;
            // The generation may have been replaced and deleted after `live` returned it.
            let now = generations.live(file.collection.id).await?;
            if target.is_ok() || now.id == live.id {
                return target;
            }
            live = now;
        }
    }
}
