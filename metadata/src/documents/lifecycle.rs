//! The port `Lifecycle` on Postgres; `run.rs`, `deletions.rs` and `relocations.rs` have the
//! statements.

use async_trait::async_trait;
use pipeline::{
    DocumentLocation, ForgottenBatch, Lifecycle, MissingDocuments, Relocation, StoreError,
};
use uuid::Uuid;

use crate::documents::run::RunMetadata;

// The methods of the type itself take precedence over those of the trait.
#[async_trait]
impl Lifecycle for RunMetadata {
    async fn recover(&self) -> Result<(), StoreError> {
        self.recover().await
    }

    async fn unpurged(&self, limit: u32) -> Result<Vec<Uuid>, StoreError> {
        self.unpurged(limit).await
    }

    async fn count_unattached(&self) -> Result<u64, StoreError> {
        self.count_unattached().await
    }

    async fn missing_documents(
        &self,
        sources: &[String],
    ) -> Result<Vec<MissingDocuments>, StoreError> {
        self.missing_documents(sources).await
    }

    async fn forget_missing(
        &self,
        sources: &[String],
        after: &[u8],
        limit: u32,
    ) -> Result<Option<ForgottenBatch>, StoreError> {
        self.forget_missing(sources, after, limit).await
    }

    async fn unknown_sources(&self, sources: &[String]) -> Result<Vec<String>, StoreError> {
        self.unknown_sources(sources).await
    }

    async fn record_devices(&self, devices: &[(String, i64)]) -> Result<(), StoreError> {
        self.record_devices(devices).await
    }

    async fn pending_relocations(
        &self,
        after: Uuid,
        limit: u32,
    ) -> Result<Vec<Relocation>, StoreError> {
        self.pending_relocations(after, limit).await
    }

    async fn mark_relocating(&self, documents: &[Uuid]) -> Result<(), StoreError> {
        self.mark_relocating(documents).await
    }

    async fn mark_relocated(&self, places: &[(Uuid, DocumentLocation)]) -> Result<(), StoreError> {
        self.mark_relocated(places).await
    }
}
