//! A collection as it is asked: one generation of it, with the model that made its vectors.

use std::sync::Arc;

use async_trait::async_trait;
use pipeline::{BoxError, EmbedderOptions, ModelInfo, Models, TextKind, VectorIndex, Words};
use uuid::Uuid;

/// One generation of a collection. An answer is from the generations that its targets were when it began.
pub struct Target {
    /// Id of the collection.
    pub collection: Uuid,
    /// Its name.
    pub name: String,
    /// Number of the generation.
    pub generation: i32,
    /// Name of its vectors, which no other generation has.
    pub store: String,
    /// What made its vectors.
    pub model: Model,
    /// What its words are.
    pub words: Arc<dyn Words>,
    /// Whether it has sparse vectors.
    pub sparse: bool,
    /// Its vectors.
    pub index: Arc<dyn VectorIndex>,
}

/// A model that is loaded when it is first needed.
#[derive(Clone)]
pub struct Model {
    /// What it is.
    pub info: ModelInfo,
    /// How it is run.
    pub options: EmbedderOptions,
    /// What loads it.
    pub models: Arc<dyn Models>,
}

impl Model {
    /// The vectors of questions. A question longer than the model reads is cut: its beginning is what it is about.
    ///
    /// # Errors
    /// If the model cannot be loaded or has failed.
    pub(crate) fn embed(&self, questions: &[String]) -> Result<Vec<Vec<f32>>, BoxError> {
        let tokenizer = self.models.tokenizer(&self.info.path)?;
        let embedder = self.models.embedder(&self.info.path, &self.options)?;
        let read = |question: &String| tokenizer.read(question, TextKind::Query);
        let readings = questions.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let sequences: Vec<&[u32]> = readings.iter().map(|reading| &*reading.ids).collect();
        let floats = embedder.embed(&sequences)?;
        Ok(floats.chunks(self.info.dim.max(1)).map(<[f32]>::to_vec).collect())
    }
}

/// Finds the collections that a request names. Whether somebody may ask them is decided here, too.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// The live generation of a collection, as it is now.
    ///
    /// # Errors
    /// If there is no such collection, or it cannot be asked.
    async fn resolve(&self, collection: &str) -> Result<Arc<Target>, BoxError>;

    /// It could not be asked: what was looked up of it may not hold any more.
    fn doubt(&self, _: &str) {}
}

/// One generation, whatever is live: for checking one before it is, and for comparing two.
#[async_trait]
impl Resolve for Arc<Target> {
    async fn resolve(&self, _: &str) -> Result<Arc<Target>, BoxError> {
        Ok(Arc::clone(self))
    }
}
