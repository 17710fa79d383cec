//! Deletions on request: documents, a source, the collection.

use std::time::Duration;

use metadata::{Collection, DocumentStatus, GenerationStatus, Operation, OperationType, Side};
use pipeline::BoxError;
use uuid::Uuid;

use super::errand::{self, Errand};
use super::measures::counted;
use super::{Operator, finish, pass};
use crate::wiring::{Absent, Vectors};

/// The result of a deletion.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Removed {
    pub(crate) documents: u64,
}

/// Records the number of documents that an operation concerned.
async fn note(operation: &Operation, documents: u64) -> Result<(), BoxError> {
    let result = errand::Result { documents: Some(documents), ..errand::Result::default() };
    Ok(operation.note(&serde_json::to_value(result)?, None).await?)
}

impl Operator {
    /// Deletes documents until they are undeleted.
    pub(crate) async fn delete_documents(&self, documents: &[Uuid]) -> Result<Removed, BoxError> {
        let errand = Errand::DeleteDocuments { documents: documents.to_vec() };
        if let Some(result) = self.elsewhere(&errand).await? {
            return Ok(Removed { documents: result.documents.unwrap_or(0) });
        }
        let collection = self.database.collection(&self.spec).await?;
        let operation = self.claim(&collection, OperationType::Delete, errand.details()).await?;
        let ended = self
            .while_ours(&operation, async {
                let by = format!("`{}`", self.spec.file.owner);
                let deleted = operation.withhold(documents, &by).await?;
                self.purge_live(&operation, &collection).await?;
                let documents = deleted.len() as u64;
                note(&operation, documents).await?;
                Ok(Removed { documents })
            })
            .await;
        let metrics = counted("documents_deleted", ended.as_ref().ok().map(|it| it.documents));
        finish(operation, ended, &metrics).await
    }

    /// Permits deleted documents again and returns their number; the next run stores them.
    pub(crate) async fn undelete_documents(&self, documents: &[Uuid]) -> Result<u64, BoxError> {
        let errand = Errand::UndeleteDocuments { documents: documents.to_vec() };
        if let Some(result) = self.elsewhere(&errand).await? {
            return Ok(result.documents.unwrap_or(0));
        }
        let collection = self.database.collection(&self.spec).await?;
        let operation = self.claim(&collection, OperationType::Append, errand.details()).await?;
        let ended = self
            .while_ours(&operation, async {
                let readmitted = operation.readmit(documents).await?.len() as u64;
                note(&operation, readmitted).await?;
                Ok(readmitted)
            })
            .await;
        let metrics = counted("documents_undeleted", ended.as_ref().ok().copied());
        finish(operation, ended, &metrics).await
    }

    /// Deletes the documents that only this source provides.
    pub(crate) async fn remove_source(&self, source: &str) -> Result<Removed, BoxError> {
        let errand = Errand::RemoveSource { source: source.to_owned() };
        if let Some(result) = self.elsewhere(&errand).await? {
            return Ok(Removed { documents: result.documents.unwrap_or(0) });
        }
        let collection = self.database.collection(&self.spec).await?;
        let sources = self.database.postgres().sources().list(collection.id).await?;
        let is_known = sources.iter().any(|known| known.source_path == source);
        // An operation that died after its last location was deleted has left points; its successor
        // removes them.
        if !is_known && !self.is_continued().await? {
            let known: Vec<_> = sources.into_iter().map(|source| source.source_path).collect();
            let known = known.join(", ");
            return Err(format!(
                "{source} is not a source of the collection; its sources are: {known}"
            )
            .into());
        }
        let operation =
            self.claim(&collection, OperationType::RemoveSource, errand.details()).await?;
        let ended = self
            .while_ours(&operation, async {
                let mut removed = Removed::default();
                while let Some(some) = operation.remove_source(source).await? {
                    removed.documents += some.documents;
                }
                self.purge_live(&operation, &collection).await?;
                note(&operation, removed.documents).await?;
                Ok(removed)
            })
            .await;
        let metrics = counted("documents_deleted", ended.as_ref().ok().map(|it| it.documents));
        finish(operation, ended, &metrics).await
    }

    /// Deletes the collection from both stores.
    pub(crate) async fn delete(&self, collection: &Collection) -> Result<(), BoxError> {
        let errand = Errand::DeleteCollection;
        if self.elsewhere(&errand).await?.is_some() {
            return Ok(());
        }
        let operation = self.claim(collection, OperationType::Delete, errand.details()).await?;
        let ended = self
            .while_ours(&operation, async {
                let counts = self.database.postgres().documents().count(collection.id).await?;
                let stored =
                    counts.iter().filter(|(status, _)| *status == DocumentStatus::Completed);
                let documents = stored.map(|(_, count)| count.unsigned_abs()).sum();
                self.delete_vectors(&operation).await?;
                note(&operation, documents).await?;
                let metrics = counted("documents_deleted", Some(documents));
                // The operation ends with the collection.
                Ok(operation.delete_collection(&metrics).await?)
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

    /// The metadata is marked first, so that no process relies on the vectors any more.
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

    /// Removes the points of deleted documents from the live generation.
    async fn purge_live(
        &self,
        operation: &Operation,
        collection: &Collection,
    ) -> Result<(), BoxError> {
        let (_, vectors) = self.live(collection, Absent::Make).await?;
        let metadata = operation.metadata(Side::Live, self.settings.fingerprint);
        let purged = async {
            pass::relocate(&metadata, &vectors).await?;
            pass::purge(&metadata, vectors.store.as_ref()).await
        }
        .await;
        // Also after a failure, since a server keeps the vectors open.
        vectors.end_writing().await;
        purged
    }

    /// Deletes the records of documents that were deleted longer ago than the retention.
    pub(super) async fn forget_deleted(&self, operation: &Operation) -> Result<(), BoxError> {
        let days = self.spec.file.lifecycle.retention_days;
        let retention = Duration::from_secs(u64::from(days) * 24 * 60 * 60);
        let forgotten = operation.forget_deleted(retention).await?;
        if forgotten > 0 {
            tracing::info!(
                documents = forgotten,
                "deleted the records of documents past their retention"
            );
        }
        Ok(())
    }
}
