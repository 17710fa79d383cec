//! Taking out what somebody names: documents, a source, the collection.

use std::time::Duration;

use pipeline::BoxError;
use serde_json::json;
use sinks::{Collection, GenerationStatus, Operation, OperationType, Side};
use uuid::Uuid;

use super::{Operator, finish, pass};
use crate::wiring::{Absent, Vectors};

/// What was taken out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Removed {
    pub(crate) documents: u64,
}

impl Operator {
    /// Deletes documents until somebody undeletes them.
    pub(crate) async fn delete_documents(&self, documents: &[Uuid]) -> Result<Removed, BoxError> {
        let collection = self.database.collection(&self.spec).await?;
        let details = json!({ "documents": documents });
        let operation = self.claim(&collection, OperationType::Delete, details).await?;
        let ended = self
            .while_ours(&operation, async {
                let by = format!("`{}`", self.spec.file.owner);
                let deleted = operation.withhold(documents, &by).await?;
                self.purge_live(&operation, &collection).await?;
                Ok(Removed { documents: deleted.len() as u64 })
            })
            .await;
        finish(operation, ended, &[]).await
    }

    /// Lets documents in again that somebody had deleted; the next run takes them in.
    pub(crate) async fn undelete_documents(&self, documents: &[Uuid]) -> Result<u64, BoxError> {
        let collection = self.database.collection(&self.spec).await?;
        let details = json!({ "undelete": documents });
        let operation = self.claim(&collection, OperationType::Append, details).await?;
        let ended = self
            .while_ours(&operation, async { Ok(operation.readmit(documents).await?.len() as u64) })
            .await;
        finish(operation, ended, &[]).await
    }

    /// Takes out every document that only this source gives.
    pub(crate) async fn remove_source(&self, source: &str) -> Result<Removed, BoxError> {
        let collection = self.database.collection(&self.spec).await?;
        let sources = self.database.postgres().sources().list(collection.id).await?;
        if !sources.iter().any(|known| known.source_path == source) {
            let known: Vec<_> = sources.into_iter().map(|source| source.source_path).collect();
            let known = known.join(", ");
            return Err(
                format!("{source} is not a source of the collection; it has: {known}").into()
            );
        }
        let details = json!({ "source": source });
        let operation = self.claim(&collection, OperationType::RemoveSource, details).await?;
        let ended = self
            .while_ours(&operation, async {
                let mut removed = Removed::default();
                while let Some(some) = operation.remove_source(source).await? {
                    removed.documents += some.documents;
                }
                self.purge_live(&operation, &collection).await?;
                Ok(removed)
            })
            .await;
        finish(operation, ended, &[]).await
    }

    /// Deletes the collection from both stores.
    pub(crate) async fn delete(&self, collection: &Collection) -> Result<(), BoxError> {
        let details = json!({ "collection": collection.name });
        let operation = self.claim(collection, OperationType::Delete, details).await?;
        let ended = self
            .while_ours(&operation, async {
                self.delete_vectors(&operation).await?;
                Ok(operation.delete_collection().await?)
            })
            .await;
        match ended {
            Ok(()) => {
                operation.let_go().await;
                Ok(())
            }
            Err(error) => finish(operation, Err(error), &[]).await,
        }
    }

    /// The metadata says first that nobody may rely on the vectors any more.
    async fn delete_vectors(&self, operation: &Operation) -> Result<(), BoxError> {
        operation.begin_deletion().await?;
        let generations =
            self.database.postgres().generations().list(operation.collection()).await?;
        for generation in generations {
            Vectors::delete(&self.spec, &generation.vector_store_name).await?;
            if generation.status != GenerationStatus::Live {
                operation.forget(&generation).await?;
            }
        }
        Ok(())
    }

    /// Removes the points of documents that are deleted from the live generation.
    async fn purge_live(
        &self,
        operation: &Operation,
        collection: &Collection,
    ) -> Result<(), BoxError> {
        let (_, vectors) = self.live(collection, Absent::Make).await?;
        let metadata = operation.metadata(Side::Live, self.settings.fingerprint);
        pass::relocate(&metadata, &vectors).await?;
        pass::purge(&metadata, vectors.store.as_ref()).await
    }

    /// Forgets documents that were deleted long ago.
    pub(super) async fn forget_deleted(&self, operation: &Operation) -> Result<(), BoxError> {
        let days = self.spec.file.lifecycle.retention_days;
        let retention = Duration::from_secs(u64::from(days) * 24 * 60 * 60);
        let forgotten = operation.forget_deleted(retention).await?;
        if forgotten > 0 {
            tracing::info!(
                documents = forgotten,
                "documents that were deleted long ago are forgotten"
            );
        }
        Ok(())
    }
}
