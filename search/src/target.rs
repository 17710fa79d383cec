//! Search targets: one generation of a collection with the model that created its vectors.

use std::sync::Arc;

use async_trait::async_trait;
use pipeline::{
    BoxError, EmbedderOptions, ModelInfo, ModelProvider, SparseEncoder, TextKind, VectorIndex,
    Vocabulary,
};
use uuid::Uuid;

use crate::settings::SearchSettings;

/// One generation of a collection. An answer is from the generations that were resolved when it
/// began.
pub struct Target {
    /// Id of the collection.
    pub collection: Uuid,
    /// Name of the collection.
    pub name: String,
    /// Number of the generation.
    pub generation: i32,
    /// Name of its vector store, unique per generation.
    pub store: String,
    /// The model that created its vectors.
    pub model: QueryModel,
    /// Its sparse encoder.
    pub sparse_encoder: Arc<dyn SparseEncoder>,
    /// `true` if it has sparse vectors.
    pub sparse: bool,
    /// How it is searched.
    pub settings: Arc<SearchSettings>,
    /// Its vectors.
    pub index: Arc<dyn VectorIndex>,
    /// Its words, for prefixes and spelling corrections; without it, words are searched as typed.
    pub vocabulary: Option<Arc<dyn Vocabulary>>,
}

impl Target {
    /// The same generation, searched under other settings.
    #[must_use]
    pub fn with_settings(&self, settings: SearchSettings) -> Self {
        Self {
            collection: self.collection,
            name: self.name.clone(),
            generation: self.generation,
            store: self.store.clone(),
            model: self.model.clone(),
            sparse_encoder: Arc::clone(&self.sparse_encoder),
            sparse: self.sparse,
            settings: Arc::new(settings),
            index: Arc::clone(&self.index),
            vocabulary: self.vocabulary.clone(),
        }
    }
}

/// A model that is loaded on first use.
#[derive(Clone)]
pub struct QueryModel {
    /// Path, dimension and fingerprint.
    pub info: ModelInfo,
    /// Device, precision and dimension.
    pub options: EmbedderOptions,
    /// Loads the model.
    pub models: Arc<dyn ModelProvider>,
}

impl QueryModel {
    /// The vectors of queries, in their order. Queries longer than the maximum input length are
    /// truncated at the end.
    ///
    /// # Errors
    /// If the model cannot be loaded or fails.
    pub(crate) fn embed(&self, questions: &[String]) -> Result<Vec<Vec<f32>>, BoxError> {
        let tokenizer = self.models.tokenizer(&self.info.path)?;
        let embedder = self.models.embedder(&self.info.path, &self.options)?;
        let read = |question: &String| tokenizer.encode_input(question, TextKind::Query);
        let readings = questions.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let sequences: Vec<&[u32]> = readings.iter().map(|reading| &*reading.ids).collect();
        let floats = embedder.embed(&sequences)?;
        Ok(floats.chunks(self.info.dim.max(1)).map(<[f32]>::to_vec).collect())
    }
}

/// Finds the collections that a request names. Implementations also check the access rights of the
/// caller.
#[async_trait]
pub trait TargetResolver: Send + Sync {
    /// The current live generation of a collection.
    ///
    /// # Errors
    /// If the collection does not exist, or may not be or cannot be searched.
    async fn resolve(&self, collection: &str) -> Result<Arc<Target>, BoxError>;

    /// Reports a failed search of a collection, so that cached lookups of it are discarded.
    fn invalidate(&self, _: &str) {}
}

/// Resolves every name to this generation, live or not: to check a generation before it is made
/// live, and to compare two.
#[async_trait]
impl TargetResolver for Arc<Target> {
    async fn resolve(&self, _: &str) -> Result<Arc<Target>, BoxError> {
        Ok(Arc::clone(self))
    }
}
