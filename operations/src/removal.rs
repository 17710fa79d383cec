//! Deletions on request: documents, a source, the collection.

use std::time::Duration;

use metadata::{
    Collection, DocumentStatus, GenerationSlot, GenerationStatus, OperationLease, OperationType,
};
use pipeline::BoxError;
use uuid::Uuid;

use super::operation_metrics::document_count_metric;
use super::request::{self, OperationRequest};
use super::{Operator, finish_operation, sync};
use crate::stores::{GenerationVectors, IfMissing};

/// The result of a deletion.
#[derive(Clone, Copy, Debug, Default)]
pub struct RemovalResult {
    /// Number of documents that were deleted.
    pub documents: u64,
}

/// Records the number of documents that an operation concerned.
async fn record_document_count(operation: &OperationLease, documents: u64) -> Result<(), BoxError> {
    let result = request::OperationResult {
        documents: Some(documents),
        ..request::OperationResult::default()
    };
    Ok(operation.record_result(&serde_json::to_value(result)?, None).await?)
}

impl Operator {
    /// Deletes documents until they are undeleted.
    pub async fn delete_documents(&self, documents: &[Uuid]) -> Result<RemovalResult, BoxError> {
        let request = OperationRequest::DeleteDocuments { documents: documents.to_vec() };
        if let Some(result) = self.delegate(&request).await? {
            return Ok(RemovalResult { documents: result.documents.unwrap_or(0) });
        }
        let collection = self.database.collection(&self.spec).await?;
        let operation =
            self.acquire_lease(&collection, OperationType::Delete, request.details()).await?;
        let ended = self
            .with_lease(&operation, async {
                let by = format!("`{}`", self.spec.file.owner);
                let deleted = operation.withhold(documents, &by).await?;
                self.purge_live(&operation, &collection).await?;
                let documents = deleted.len() as u64;
                record_document_count(&operation, documents).await?;
                Ok(RemovalResult { documents })
            })
            .await;
        let metrics =
            document_count_metric("documents_deleted", ended.as_ref().ok().map(|it| it.documents));
        finish_operation(operation, ended, &metrics).await
    }

    /// Permits deleted documents again and returns their number; the next run stores them.
    pub async fn undelete_documents(&self, documents: &[Uuid]) -> Result<u64, BoxError> {
        let request = OperationRequest::UndeleteDocuments { documents: documents.to_vec() };
        if let Some(result) = self.delegate(&request).await? {
            return Ok(result.documents.unwrap_or(0));
        }
        let collection = self.database.collection(&self.spec).await?;
        let operation =
            self.acquire_lease(&collection, OperationType::Append, request.details()).await?;
        let ended = self
            .with_lease(&operation, async {
                let readmitted = operation.readmit(documents).await?.len() as u64;
                record_document_count(&operation, readmitted).await?;
                Ok(readmitted)
            })
            .await;
        let metrics = document_count_metric("documents_undeleted", ended.as_ref().ok().copied());
        finish_operation(operation, ended, &metrics).await
    }

    /// Deletes the documents that only this source provides.
    pub async fn remove_source(&self, source: &str) -> Result<RemovalResult, BoxError> {
        let request = OperationRequest::RemoveSource { source: source.to_owned() };
        if let Some(result) = self.delegate(&request).await? {
            return Ok(RemovalResult { documents: result.documents.unwrap_or(0) });
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
            self.acquire_lease(&collection, OperationType::RemoveSource, request.details()).await?;
        let ended = self
            .with_lease(&operation, async {
                let mut removed = RemovalResult::default();
                while let Some(some) = operation.remove_source(source).await? {
                    removed.documents += some.documents;
                }
                self.purge_live(&operation, &collection).await?;
                record_document_count(&operation, removed.documents).await?;
                Ok(removed)
            })
            .await;
        let metrics =
            document_count_metric("documents_deleted", ended.as_ref().ok().map(|it| it.documents));
        finish_operation(operation, ended, &metrics).await
    }

    /// Deletes the collection from both stores.
    pub async fn delete_collection(&self, collection: &Collection) -> Result<(), BoxError> {
        let request = OperationRequest::DeleteCollection;
        if self.delegate(&request).await?.is_some() {
            return Ok(());
        }
        let operation =
            self.acquire_lease(collection, OperationType::Delete, request.details()).await?;
        let ended = self
            .with_lease(&operation, async {
                let counts =
                    self.database.postgres().documents().count_by_status(collection.id).await?;
                let stored =
                    counts.iter().filter(|(status, _)| *status == DocumentStatus::Completed);
                let documents = stored.map(|(_, count)| count.unsigned_abs()).sum();
                self.delete_vectors(&operation).await?;
                record_document_count(&operation, documents).await?;
                let metrics = document_count_metric("documents_deleted", Some(documents));
                // The operation ends with the collection.
                Ok(operation.delete_collection(&metrics).await?)
            })
            .await;
        match ended {
            Ok(()) => {
                operation.release().await;
                Ok(())
            }
            Err(error) => finish_operation(operation, Err(error), &[]).await,
        }
    }

    /// The metadata is marked first, so that no process relies on the vectors any more.
    async fn delete_vectors(&self, operation: &OperationLease) -> Result<(), BoxError> {
        operation.begin_deletion().await?;
        let generations =
            self.database.postgres().generations().list(operation.collection()).await?;
        for generation in generations {
            GenerationVectors::delete(&self.spec, &generation.vector_store_name).await?;
            if generation.status != GenerationStatus::Live {
                operation.delete_generation(&generation).await?;
            }
        }
        Ok(())
    }

    /// Removes the points of deleted documents from the live generation.
    async fn purge_live(
        &self,
        operation: &OperationLease,
        collection: &Collection,
    ) -> Result<(), BoxError> {
        let (_, vectors) = self.open_live(collection, IfMissing::Create).await?;
        let metadata = operation.metadata(GenerationSlot::Live, self.settings.fingerprint);
        let purged = async {
            sync::relocate(&metadata, &vectors).await?;
            sync::purge(&metadata, vectors.store.as_ref()).await
        }
        .await;
        // Also after a failure, since a server keeps the vectors open.
        vectors.end_writing().await;
        purged
    }

    /// Deletes the records of documents that were deleted longer ago than the retention.
    pub(crate) async fn purge_deleted(&self, operation: &OperationLease) -> Result<(), BoxError> {
        let days = self.spec.file.lifecycle.retention_days;
        let retention = Duration::from_secs(u64::from(days) * 24 * 60 * 60);
        let forgotten = operation.purge_deleted(retention).await?;
        if forgotten > 0 {
            tracing::info!(
                documents = forgotten,
                "deleted the records of documents past their retention"
            );
        }
        Ok(())
    }
}
