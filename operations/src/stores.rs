//! The stores of a pipeline file: opens them from the names in the file, and derives the settings
//! of a generation from its nodes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cache::DiskCache;
use metadata::{
    Collection, EmbeddedPostgres, Generation, GenerationSettings, NewCollection, Postgres,
    SchemaState,
};
use pipeline::Quantization;
use pipeline::{
    BoxError, Cache, CollectionFacts, HubModel, Migrate, ModelInfo, ModelProvider, PipelineSpec,
    Plan, PostgresSpec, Remedy, SparseEncoder, StoreError, VectorLayout, VectorsSpec,
};
use serde_json::Value;
use uuid::Uuid;
use vectors::{DamagedFile, EdgeStore, QdrantStore};

use crate::shards::Shards;

/// The metadata store of a pipeline file. Clones share it.
#[derive(Clone)]
pub struct Database {
    postgres: Postgres,
    /// The embedded cluster runs while a reference to it exists.
    _embedded: Option<Arc<EmbeddedPostgres>>,
}

impl Database {
    /// Opens the store that the file names.
    pub async fn open(spec: &PipelineSpec) -> Result<Self, BoxError> {
        restrict_data_folder(spec);
        match &spec.file.stores.postgres {
            PostgresSpec::Url(url) => Self::at(url.reveal()).await,
            PostgresSpec::Embedded => {
                let folder = spec.data_folder().join("postgres");
                let embedded = tokio::task::block_in_place(|| EmbeddedPostgres::start(&folder))?;
                let database = Self::at(embedded.url()).await?;
                Ok(Self { _embedded: Some(Arc::new(embedded)), ..database })
            }
        }
    }

    /// Opens the store at a URL.
    ///
    /// # Errors
    /// If it cannot be reached.
    pub async fn at(url: &str) -> Result<Self, BoxError> {
        let postgres = Postgres::connect(url).await?;
        Ok(Self { postgres, _embedded: None })
    }

    /// Opens the store and finds the collection of the file, without creating either. `None` if the
    /// store does not exist or is empty.
    ///
    /// # Errors
    /// If the store cannot be reached, or its schema is from another version.
    pub async fn open_existing(
        spec: &PipelineSpec,
    ) -> Result<Option<(Self, Option<Collection>)>, BoxError> {
        if matches!(spec.file.stores.postgres, PostgresSpec::Embedded)
            && !spec.data_folder().join("postgres").exists()
        {
            return Ok(None);
        }
        let database = Self::open(spec).await?;
        if database.is_empty(&store_name(spec)).await? {
            return Ok(None);
        }
        let collections = database.postgres.collections();
        let found = collections.find(Some(&spec.file.owner), &spec.file.collection).await?;
        Ok(Some((database, found)))
    }

    /// The metadata store; an embedded cluster runs at least as long as `self`.
    pub fn postgres(&self) -> &Postgres {
        &self.postgres
    }

    /// The collection of the file.
    ///
    /// # Errors
    /// If it does not exist, or the store cannot be reached.
    pub async fn collection(&self, spec: &PipelineSpec) -> Result<Collection, BoxError> {
        let name = &spec.file.collection;
        let nothing = || format!("collection `{name}` does not exist yet: run the pipeline first");
        if self.is_empty(&store_name(spec)).await? {
            return Err(nothing().into());
        }
        let found = self.postgres.collections().find(Some(&spec.file.owner), name).await?;
        Ok(found.ok_or_else(nothing)?)
    }

    /// `true` if the store has no schema yet. Does not change the store; `store` is its
    /// command-line argument, for the error message.
    ///
    /// # Errors
    /// If its schema is not the one that this program needs, or it cannot be reached.
    pub async fn is_empty(&self, store: &str) -> Result<bool, BoxError> {
        let schema = self.postgres.schema_state().await?;
        match schema.incompatibility() {
            Some(fault) => Err(schema_message(&schema, fault, store).into()),
            None => Ok(schema == SchemaState::Empty),
        }
    }

    /// Migrates the schema for a verb that writes, unless `stores.migrate` of the file is `manual`.
    /// Writes nothing if the schema is current.
    ///
    /// # Errors
    /// If the schema is older and the file requires manual migration, if it is from a newer
    /// program, or if the store cannot be reached.
    pub async fn migrate_if_allowed(&self, spec: &PipelineSpec) -> Result<(), BoxError> {
        let schema = self.postgres.schema_state().await?;
        let is_left =
            matches!(schema, SchemaState::Older(_)) && spec.file.stores.migrate == Migrate::Manual;
        match schema.incompatibility() {
            Some(fault) if is_left => Err(schema_message(&schema, fault, &store_name(spec)).into()),
            _ => Ok(self.postgres.migrate_up().await?),
        }
    }
}

/// The command-line argument that names the store of a file.
pub fn store_name(spec: &PipelineSpec) -> String {
    spec.name().to_owned()
}

/// The fault of a schema, with the command that fixes it.
fn schema_message(schema: &SchemaState, fault: String, store: &str) -> String {
    match schema {
        SchemaState::Older(_) => format!("{fault}: run `semantik migrate up {store}`"),
        SchemaState::Empty
        | SchemaState::Current
        | SchemaState::Newer(_)
        | SchemaState::Foreign(_) => fault,
    }
}

/// The settings of a generation that a pipeline file requests.
pub fn generation_settings(plan: &Plan, facts: &CollectionFacts) -> GenerationSettings {
    let CollectionFacts { model, chunking, .. } = facts;
    let number = |size: Option<usize>| size.and_then(|it| u32::try_from(it).ok()).unwrap_or(0);
    // Display name of the model: its folder, or its name on the hub.
    let folder = model.path.file_name().unwrap_or(model.path.as_os_str());
    let name = match HubModel::from_path(&model.path) {
        Some(Ok(named)) => named.repository().to_owned(),
        _ => folder.to_string_lossy().into_owned(),
    };
    GenerationSettings {
        model: name,
        model_short: model.short_name.clone(),
        model_path: model.path.to_string_lossy().into_owned(),
        model_fingerprint: model.fingerprint.clone(),
        dim: model.dim,
        quantization: facts.layout.quantization,
        sparse: facts.sparse.clone(),
        chunk_size: number(chunking.map(|it| it.size)),
        chunk_overlap: number(chunking.map(|it| it.overlap)),
        fingerprint: plan.fingerprint(),
    }
}

/// The collection of a pipeline file, for its creation.
pub fn new_collection(spec: &PipelineSpec, settings: GenerationSettings) -> NewCollection {
    let file = &spec.file;
    NewCollection {
        owner: Some(file.owner.clone()),
        name: file.collection.clone(),
        description: file.description.clone(),
        settings,
    }
}

/// `true` if the vectors of a generation are by this model, or if its fingerprint was not recorded.
fn is_made_by(generation: &Generation, model: &ModelInfo) -> bool {
    generation.model_fingerprint.is_empty() || model.fingerprint == generation.model_fingerprint
}

/// `true` if the file names the model that created the vectors of a generation.
pub fn has_model_of(plan: &Plan, generation: &Generation) -> bool {
    find_model(plan, generation).is_some()
}

/// The model in the file that created the vectors of a generation; `None` if the file names another
/// one.
fn find_model<'a>(plan: &'a Plan, generation: &Generation) -> Option<&'a ModelInfo> {
    plan.models().find(|model| is_made_by(generation, model))
}

/// The model that created the vectors of a generation: from the file, or from the path recorded
/// then.
///
/// # Errors
/// If that model no longer exists, or has changed.
pub fn resolve_model(
    generation: &Generation,
    plan: &Plan,
    models: &dyn ModelProvider,
) -> Result<ModelInfo, BoxError> {
    if let Some(model) = find_model(plan, generation) {
        return Ok(model.clone());
    }
    let Generation { number, embedding_model, model_path, .. } = generation;
    let model = models.describe(Path::new(model_path)).map_err(|error| {
        format!(
            "cannot load the model {embedding_model} of generation {number} from {model_path}: \
             {error}"
        )
    })?;
    let model = model.with_truncated_dim(usize::try_from(generation.dim).ok());
    if !is_made_by(generation, &model) {
        return Err(format!(
            "the model {embedding_model} in {model_path} has changed since it embedded generation \
             {number}"
        )
        .into());
    }
    Ok(model)
}

/// The vectors of a generation.
pub struct GenerationVectors {
    /// Reads and writes the vectors; clones share an open embedded store.
    pub store: Arc<dyn pipeline::Vectors>,
    /// Id of the generation.
    pub(crate) generation: Uuid,
    /// The encoder of its sparse vectors; `None` without sparse vectors, or if another version of
    /// semantik made them, which cannot be searched either.
    pub sparse_encoder: Option<Arc<dyn SparseEncoder>>,
    /// The embedded store; its index is built on request.
    edge: Option<Arc<EdgeStore>>,
}

/// Behaviour if the vectors of a generation do not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMissing {
    /// Create them: nothing has been written yet.
    Create,
    /// Return an error: they are lost, and must not be mistaken for an empty store.
    Refuse,
}

/// Longest wait for another process that has an embedded store open.
const LOCK_TIMEOUT: Duration = Duration::from_secs(15);

impl GenerationVectors {
    /// Opens the vectors of a generation in the store that the file names; new ones get the layout,
    /// with the number type of the generation. Shares an embedded store that is open in `shards`,
    /// and waits up to `LOCK_TIMEOUT` for one that another process has open: a search keeps it
    /// open only briefly.
    pub async fn open(
        spec: &PipelineSpec,
        layout: &VectorLayout,
        generation: &Generation,
        model: &ModelInfo,
        absent: IfMissing,
        shards: &Shards,
    ) -> Result<Self, BoxError> {
        let name = &generation.vector_store_name;
        if absent == IfMissing::Refuse && !Self::exist(spec, name).await? {
            return Err(format!(
                "the vectors of generation {} are missing ({name}): rebuild them with `semantik \
                 reindex`",
                generation.number
            )
            .into());
        }
        let mut config = layout.config(&generation.vector_store_name, model.dim);
        config.quantization = quantization_of(generation);
        config.sparse = generation.sparse.is_some();
        let saved = generation.sparse.as_ref();
        let sparse_encoder = saved.and_then(|saved| stages::sparse_encoder(saved).ok());
        match &spec.file.stores.vectors {
            VectorsSpec::Server(server) => {
                let store =
                    QdrantStore::connect(server.qdrant.reveal(), server.api_key.as_ref(), &config)
                        .await?;
                let (store, generation) = (Arc::new(store), generation.id);
                Ok(Self { store, generation, sparse_encoder, edge: None })
            }
            VectorsSpec::Embedded | VectorsSpec::Word(_) => {
                let folder = edge_folder(spec, &config.name);
                let store = retry_while_locked(|| shards.open(&folder, &config)).await?;
                Ok(Self {
                    store: Arc::clone(&store) as _,
                    generation: generation.id,
                    sparse_encoder,
                    edge: Some(store),
                })
            }
        }
    }

    async fn exist(spec: &PipelineSpec, name: &str) -> Result<bool, BoxError> {
        match &spec.file.stores.vectors {
            VectorsSpec::Server(server) => {
                Ok(QdrantStore::exists(server.qdrant.reveal(), server.api_key.as_ref(), name)
                    .await?)
            }
            VectorsSpec::Embedded | VectorsSpec::Word(_) => {
                Ok(EdgeStore::exists(&edge_folder(spec, name)))
            }
        }
    }

    /// Deletes the vectors of a name; a missing store is not an error.
    pub async fn delete(spec: &PipelineSpec, name: &str) -> Result<(), BoxError> {
        match &spec.file.stores.vectors {
            VectorsSpec::Server(server) => {
                Ok(QdrantStore::delete(server.qdrant.reveal(), server.api_key.as_ref(), name)
                    .await?)
            }
            VectorsSpec::Embedded | VectorsSpec::Word(_) => {
                let folder = edge_folder(spec, name);
                Ok(retry_while_locked(|| EdgeStore::delete(&folder)).await?)
            }
        }
    }

    /// Builds the search index of an embedded store and closes it for writing. A Qdrant server
    /// builds its index itself.
    pub async fn optimize(&self) -> Result<(), BoxError> {
        if let Some(store) = &self.edge {
            store.optimize().await?;
        }
        self.end_writing().await;
        Ok(())
    }

    /// Closes an embedded store for writing, so that other processes can read it. An operation ends
    /// with it.
    pub async fn end_writing(&self) {
        if let Some(store) = &self.edge {
            store.end_writing().await;
        }
    }

    /// Fails if another process has the embedded vectors open, before a run does work that could
    /// not be stored.
    pub async fn ensure_writable(&self) -> Result<(), BoxError> {
        let Some(store) = &self.edge else { return Ok(()) };
        let asked = Instant::now();
        loop {
            match store.ensure_writable().await {
                Err(error)
                    if error.remedy == Remedy::Conflict && asked.elapsed() < LOCK_TIMEOUT =>
                {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                done => return Ok(done?),
            }
        }
    }

    /// The files of embedded vectors that changed since the vectors were closed.
    pub async fn damaged_files(
        spec: &PipelineSpec,
        name: &str,
    ) -> Result<Vec<DamagedFile>, BoxError> {
        let folder = edge_folder(spec, name);
        match &spec.file.stores.vectors {
            VectorsSpec::Server(_) => Ok(Vec::new()),
            VectorsSpec::Embedded | VectorsSpec::Word(_) if !EdgeStore::exists(&folder) => {
                Ok(Vec::new())
            }
            VectorsSpec::Embedded | VectorsSpec::Word(_) => {
                Ok(retry_while_locked(|| EdgeStore::damaged_files(&folder)).await?)
            }
        }
    }
}

/// Removes the access of other users of the machine to the data folder. A failure, as on a
/// read-only volume, is only logged.
pub(crate) fn restrict_data_folder(spec: &PipelineSpec) {
    let folder = spec.data_folder();
    let has_server = matches!(spec.file.stores.postgres, PostgresSpec::Embedded);
    if let Err(error) = pipeline::private_files::restrict_data_folder(&folder, has_server) {
        tracing::warn!(%error, folder = %folder.display(), "cannot restrict access to the data \
                                                            folder; other users of this machine \
                                                            may read it");
    }
}

/// Calls an operation of an embedded store, and retries for up to `LOCK_TIMEOUT` while another
/// process has it open.
async fn retry_while_locked<T>(
    mut call: impl FnMut() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let asked = Instant::now();
    loop {
        match tokio::task::block_in_place(&mut call) {
            Err(error) if error.remedy == Remedy::Conflict && asked.elapsed() < LOCK_TIMEOUT => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            done => return done,
        }
    }
}

fn quantization_of(generation: &Generation) -> Quantization {
    let word = Value::String(generation.quantization.clone());
    serde_json::from_value(word).expect("a database constraint checks the value")
}

fn edge_folder(spec: &PipelineSpec, name: &str) -> PathBuf {
    spec.data_folder().join("vectors").join(name)
}

/// The cache in the data folder of a file; `None` if it is disabled or cannot be opened.
pub(crate) fn open_cache(spec: &PipelineSpec) -> Option<Arc<dyn Cache>> {
    let limit = u64::from(spec.file.stores.memo_mib) << 20;
    if limit == 0 {
        return None;
    }
    let folder = spec.data_folder().join("memo");
    match DiskCache::open(&folder, limit) {
        Ok(memo) => Some(Arc::new(memo)),
        Err(error) => {
            tracing::warn!(
                error = pipeline::error_chain(&error),
                folder = %folder.display(),
                "cannot open the cache; nothing is cached"
            );
            None
        }
    }
}
