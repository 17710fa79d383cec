//! The only place where a concrete stage, model or store meets another: what a pipeline file names becomes
//! the ports that a run is given.

use std::path::Path;
use std::sync::Arc;

use pipeline::{
    BoxError, EmbedderOptions, Findings, ModelInfo, Models, PipelineSpec, Plan, PostgresSpec,
    Registry, VectorIndex, VectorStore, VectorsSpec,
};
use sinks::{
    Collection, EdgeStore, EmbeddedPostgres, NewCollection, Postgres, PostgresOptions, QdrantStore,
    UpsertOptions, VectorsConfig,
};

use crate::cli;

/// Every node that a pipeline file may use.
pub(crate) fn registry() -> Registry {
    Registry::new(&[stages::NODES, sinks::NODES])
}

/// Reads and checks a pipeline file.
pub(crate) fn load(file: &Path, models: &dyn Models) -> Result<(PipelineSpec, Plan), BoxError> {
    let bytes = fs_err::read(file)?;
    let text = String::from_utf8_lossy(&bytes);
    if let Some(at) = text.find('\u{fffd}') {
        return Err(Findings::one(file, &text, at..at + 3, "this is not UTF-8").into());
    }
    let load = || -> Result<_, Findings> {
        let spec = PipelineSpec::from_yaml(file, &text, &cli::variable)?;
        let plan = Plan::compile(&spec, &registry(), models)?;
        Ok((spec, plan))
    };
    Ok(load()?)
}

/// The metadata store of a pipeline file.
pub(crate) struct Database {
    postgres: Postgres,
    /// The private cluster runs for as long as somebody holds it.
    _embedded: Option<EmbeddedPostgres>,
}

impl Database {
    /// Opens the store that the file names.
    pub(crate) async fn open(spec: &PipelineSpec) -> Result<Self, BoxError> {
        match &spec.file.stores.postgres {
            PostgresSpec::Url(url) => Self::at(url.reveal()).await,
            PostgresSpec::Embedded => {
                let folder = spec.data_folder().join("postgres");
                let embedded = tokio::task::block_in_place(|| EmbeddedPostgres::start(&folder))?;
                let database = Self::at(embedded.url()).await?;
                Ok(Self { _embedded: Some(embedded), ..database })
            }
        }
    }

    /// Opens the store at a URL.
    pub(crate) async fn at(url: &str) -> Result<Self, BoxError> {
        let postgres = Postgres::connect(url, &PostgresOptions::default()).await?;
        Ok(Self { postgres, _embedded: None })
    }

    pub(crate) fn postgres(&self) -> &Postgres {
        &self.postgres
    }

    /// The collection of the file.
    pub(crate) async fn collection(
        &self,
        spec: &PipelineSpec,
        model: &ModelInfo,
    ) -> Result<Collection, BoxError> {
        let name = &spec.file.collection;
        let nothing = || format!("there is no collection `{name}` yet; run the pipeline first");
        let migrations = self.postgres.migrate_status().await?;
        if migrations.iter().any(|migration| migration.applied_at.is_none()) {
            return Err(nothing().into());
        }
        let found = self.postgres.collections().find(Some(&spec.file.owner), name).await;
        let found = found?.ok_or_else(nothing)?;
        let asked = model_name(model);
        if found.embedding_model != asked {
            return Err(format!(
                "the collection `{name}` was made with the model {}, and the file names {asked}",
                found.embedding_model
            )
            .into());
        }
        Ok(found)
    }
}

/// The collection that a run fills; made when it is not there.
pub(crate) async fn open_collection(
    database: &Database,
    spec: &PipelineSpec,
    plan: &Plan,
    model: &ModelInfo,
) -> Result<Collection, BoxError> {
    let chunking = plan.options_of("chunk").unwrap_or_default();
    let number =
        |key: &str| chunking[key].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    let new = NewCollection {
        owner: Some(spec.file.owner.clone()),
        name: spec.file.collection.clone(),
        model: model_name(model),
        model_short: model.short_name.clone(),
        quantization: upsert_options(spec).quantization,
        chunk_size: number("size"),
        chunk_overlap: number("overlap"),
    };
    Ok(database.postgres.open_collection(&new).await?)
}

/// A model as a person names it: by its folder.
fn model_name(model: &ModelInfo) -> String {
    let folder = model.path.file_name().unwrap_or(model.path.as_os_str());
    folder.to_string_lossy().into_owned()
}

/// The vectors of a collection, for writing.
pub(crate) enum Vectors {
    Edge(Arc<EdgeStore>),
    Server(Arc<QdrantStore>),
}

impl Vectors {
    /// Opens what the file names, and makes it when it is not there.
    pub(crate) async fn open(
        spec: &PipelineSpec,
        collection: &Collection,
        model: &ModelInfo,
    ) -> Result<Self, BoxError> {
        let config = upsert_options(spec).vectors_config(&collection.vector_store_name, model.dim);
        match &spec.file.stores.vectors {
            VectorsSpec::Server(server) => {
                let store =
                    QdrantStore::connect(server.qdrant.reveal(), server.api_key.as_ref(), &config)
                        .await?;
                Ok(Self::Server(Arc::new(store)))
            }
            VectorsSpec::Embedded | VectorsSpec::Word(_) => {
                let folder = edge_folder(spec, &config);
                let store = tokio::task::block_in_place(|| EdgeStore::open(&folder, &config))?;
                Ok(Self::Edge(Arc::new(store)))
            }
        }
    }

    pub(crate) fn store(&self) -> Arc<dyn VectorStore> {
        match self {
            Self::Edge(store) => Arc::clone(store) as _,
            Self::Server(store) => Arc::clone(store) as _,
        }
    }

    fn index(&self) -> Arc<dyn VectorIndex> {
        match self {
            Self::Edge(store) => Arc::clone(store) as _,
            Self::Server(store) => Arc::clone(store) as _,
        }
    }

    /// Builds what makes search fast; a server does that by itself.
    pub(crate) async fn optimize(&self) -> Result<(), BoxError> {
        if let Self::Edge(store) = self {
            store.optimize().await?;
        }
        Ok(())
    }
}

/// The vectors of a collection, for reading.
pub(crate) async fn vector_index(
    spec: &PipelineSpec,
    collection: &Collection,
    model: &ModelInfo,
) -> Result<Arc<dyn VectorIndex>, BoxError> {
    Ok(Vectors::open(spec, collection, model).await?.index())
}

fn edge_folder(spec: &PipelineSpec, config: &VectorsConfig) -> std::path::PathBuf {
    spec.data_folder().join("vectors").join(&config.name)
}

/// Options of the file's first node of a kind, whose form was checked.
fn options<T: serde::de::DeserializeOwned>(spec: &PipelineSpec, uses: &str) -> Option<T> {
    let node = spec.file.nodes.iter().find(|node| node.uses == uses)?;
    serde_json::from_value(serde_json::Value::Object(node.with.clone())).ok()
}

fn upsert_options(spec: &PipelineSpec) -> UpsertOptions {
    options(spec, "upsert").unwrap_or_default()
}

/// How the file's embed node runs its model.
pub(crate) fn embed_options(spec: &PipelineSpec) -> EmbedderOptions {
    #[derive(serde::Deserialize)]
    struct Embed {
        #[serde(default = "auto")]
        device: String,
        #[serde(default = "auto")]
        dtype: String,
        tokens_per_batch: Option<usize>,
    }
    fn auto() -> String {
        "auto".to_owned()
    }
    let embed = options(spec, "embed");
    let Embed { device, dtype, tokens_per_batch } =
        embed.unwrap_or_else(|| Embed { device: auto(), dtype: auto(), tokens_per_batch: None });
    EmbedderOptions { device, dtype, tokens_per_batch }
}
