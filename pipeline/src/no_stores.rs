//! Resources of a pipeline that writes no collection: no models, and stores that know nothing.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use crate::{
    BoxError, DocumentIdentity, DocumentLocation, Embedder, EmbedderOptions, IncomingDocument,
    KnownHashes, KnownLocation, MetadataStore, ModelInfo, ModelProvider, Point, Rejection, Remedy,
    Resources, StoreError, StoredDocument, Tokenizer, VectorStore,
};

impl Resources {
    /// Resources of a pipeline that writes no collection and runs no model. Every document is new,
    /// rejections are in the report only, nothing is cached, and stages work in this process.
    ///
    /// A program replaces what its pipeline needs:
    /// `Resources { models, ..Resources::without_collection() }`.
    pub fn without_collection() -> Self {
        Self {
            collection: Uuid::nil(),
            models: Arc::new(NoModels),
            metadata: Arc::new(NoStores),
            vectors: Arc::new(NoStores),
            known_hashes: Arc::default(),
            worker_program: None,
            cache: None,
        }
    }
}

/// Models of a program without an embedding engine: none exists.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoModels;

impl NoModels {
    fn error(model: &Path) -> BoxError {
        format!("cannot load the model {}: this program runs no models", model.display()).into()
    }
}

impl ModelProvider for NoModels {
    fn describe(&self, model: &Path) -> Result<ModelInfo, BoxError> {
        Err(Self::error(model))
    }

    fn tokenizer(&self, model: &Path) -> Result<Arc<dyn Tokenizer>, BoxError> {
        Err(Self::error(model))
    }

    fn embedder(&self, model: &Path, _: &EmbedderOptions) -> Result<Arc<dyn Embedder>, BoxError> {
        Err(Self::error(model))
    }
}

/// Stores of a pipeline without a collection: no location is known, rejections are dropped, and
/// writes of documents and vectors fail.
struct NoStores;

impl NoStores {
    fn refuse<T>(doing: &'static str) -> Result<T, StoreError> {
        let source = "the pipeline has no collection".into();
        Err(StoreError { doing, remedy: Remedy::GiveUp, source })
    }
}

#[async_trait]
impl MetadataStore for NoStores {
    async fn lookup_locations(
        &self,
        uris: &[String],
    ) -> Result<Vec<Option<KnownLocation>>, StoreError> {
        Ok(vec![None; uris.len()])
    }

    async fn known_hashes(&self) -> Result<KnownHashes, StoreError> {
        Ok(KnownHashes::new())
    }

    async fn assign_ids(
        &self,
        _: &[IncomingDocument],
    ) -> Result<Vec<DocumentIdentity>, StoreError> {
        Self::refuse("assign ids to documents")
    }

    async fn commit(&self, _: &[StoredDocument]) -> Result<Vec<Uuid>, StoreError> {
        Self::refuse("commit documents")
    }

    async fn record_rejections(&self, _: &[(String, Rejection)]) -> Result<Vec<Uuid>, StoreError> {
        Ok(Vec::new())
    }

    async fn mark_purged(&self, _: &[Uuid]) -> Result<(), StoreError> {
        Self::refuse("record the removal of points")
    }
}

#[async_trait]
impl VectorStore for NoStores {
    async fn upsert(&self, _: Vec<Point>) -> Result<(), StoreError> {
        Self::refuse("upsert points")
    }

    async fn truncate(&self, _: Uuid, _: u32) -> Result<(), StoreError> {
        Self::refuse("remove points")
    }

    async fn update_location(&self, _: Uuid, _: &DocumentLocation) -> Result<(), StoreError> {
        Self::refuse("update points")
    }

    async fn remove(&self, _: &[Uuid]) -> Result<(), StoreError> {
        Self::refuse("remove points")
    }

    async fn flush(&self) -> Result<(), StoreError> {
        Self::refuse("flush points")
    }
}
