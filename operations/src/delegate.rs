//! Delegation: with embedded vectors, which one process opens at a time, operations are delegated
//! to the process that serves the collection, and followed.
//!
//! Progress, report, errors and exit code are those of a local operation. With a Qdrant server each
//! process executes its own operations.

use std::sync::PoisonError;
use std::time::Duration;

use metadata::{
    Collection, OperationEvent, OperationEvents, OperationStatus, OperationSummary, QueuedOperation,
};
use pipeline::{BoxError, Progress, VectorsSpec};
use uuid::Uuid;

use super::request::{self, OperationRequest};
use super::{Interrupted, Operator};

/// Interval at which the operation is read if no notification arrives.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

impl Operator {
    /// Delegates an operation to the process that serves the collection and returns its result;
    /// `None` if this process must execute it.
    pub(crate) async fn delegate(
        &self,
        request: &OperationRequest,
    ) -> Result<Option<request::OperationResult>, BoxError> {
        if self.is_worker || matches!(self.spec.file.stores.vectors, VectorsSpec::Server(_)) {
            return Ok(None);
        }
        let postgres = self.database.postgres();
        let owner = Some(self.spec.file.owner.as_str());
        let found = postgres.collections().find(owner, &self.spec.file.collection).await?;
        let Some(collection) = found else { return Ok(None) };
        let serving = postgres.workers().list_alive(Some(collection.id)).await?;
        let Some(executor) = serving.first() else { return Ok(None) };
        if !self.options.wait {
            postgres.ensure_idle(&collection).await?;
        }
        // Subscribes before the operation is queued, so that no change is missed.
        let changes = postgres.listen().await?;
        let id = self.enqueue(&collection, request).await?;
        tracing::info!(
            operation = %id,
            worker = executor.worker,
            "delegated to the process that serves the collection",
        );
        self.follow(changes, &collection, id).await
    }

    /// Queues an operation without waiting for it and returns its id.
    pub async fn enqueue(
        &self,
        collection: &Collection,
        request: &OperationRequest,
    ) -> Result<Uuid, BoxError> {
        let config = self.config(request.details());
        let kind = match request {
            OperationRequest::Run { .. } => self.run_type(collection).await?,
            OperationRequest::DeleteDocuments { .. }
            | OperationRequest::UndeleteDocuments { .. }
            | OperationRequest::RemoveSource { .. }
            | OperationRequest::RollBack
            | OperationRequest::Repair
            | OperationRequest::DeleteCollection => request.kind(),
        };
        let queued = QueuedOperation { collection, kind, config: &config };
        Ok(self.database.postgres().operations().enqueue(&queued).await?)
    }

    /// Follows an operation and its successors to the end; `None` if no process is left to execute
    /// it.
    async fn follow(
        &self,
        mut changes: OperationEvents,
        collection: &Collection,
        mut id: Uuid,
    ) -> Result<Option<request::OperationResult>, BoxError> {
        let operations = self.database.postgres().operations();
        let mut asked_to_stop = false;
        loop {
            let Some(found) = operations.find(id).await? else {
                // The row was deleted by hand.
                return Ok(Some(request::OperationResult::default()));
            };
            match found.status {
                OperationStatus::Pending | OperationStatus::Processing => {}
                OperationStatus::Completed => return Ok(Some(self.result_of(id).await?)),
                OperationStatus::Failed | OperationStatus::Cancelled => {
                    if let Some(next) = operations.continuation(id).await?
                        && !asked_to_stop
                    {
                        tracing::info!(
                            operation = %next.id,
                            "the operation continues as another one",
                        );
                        id = next.id;
                        continue;
                    }
                    return self.ended_result(found, asked_to_stop).await.map(Some);
                }
            }
            if self.stop.is_cancelled() && !asked_to_stop {
                asked_to_stop = true;
                // The operation may have just ended; the next iteration reads its status.
                if let Err(error) = operations.cancel(id).await {
                    tracing::debug!(%error, "failed to cancel the operation");
                }
                continue;
            }
            if self.is_orphaned(collection, &found).await? {
                tracing::warn!(
                    operation = %id,
                    "no process serves the collection any more; this process executes the \
                     operation",
                );
                *self.remote_progress.lock().unwrap_or_else(PoisonError::into_inner) = None;
                self.take_over(collection, id).await?;
                return Ok(None);
            }
            self.wait_for_event(&mut changes, id, asked_to_stop).await?;
        }
    }

    /// `true` if no process executes the operation: it waits or its worker died, and no process
    /// serves the collection.
    async fn is_orphaned(
        &self,
        collection: &Collection,
        operation: &OperationSummary,
    ) -> Result<bool, BoxError> {
        let postgres = self.database.postgres();
        if !postgres.workers().list_alive(Some(collection.id)).await?.is_empty() {
            return Ok(false);
        }
        // As long as its worker has the lock on the collection, it is being executed, even without
        // a heartbeat.
        Ok(operation.status == OperationStatus::Pending
            || postgres.ensure_idle(collection).await.is_ok())
    }

    /// Leases an orphaned operation, or its successor, so that this process executes it.
    async fn take_over(&self, collection: &Collection, id: Uuid) -> Result<(), BoxError> {
        let postgres = self.database.postgres();
        while let Some((operation, summary)) = postgres.dequeue(&[collection.id]).await? {
            if summary.id == id || summary.continues == Some(id) {
                *self.leased_operation.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some(operation);
                return Ok(());
            }
            // Another client's operation: the next worker of the collection executes it.
            postgres.operations().return_to_queue(summary.id, None).await?;
            operation.release().await;
        }
        Ok(())
    }

    /// Waits until the status of an operation may have changed, and records its progress.
    async fn wait_for_event(
        &self,
        changes: &mut OperationEvents,
        id: Uuid,
        asked_to_stop: bool,
    ) -> Result<(), BoxError> {
        let look = tokio::time::sleep(POLL_INTERVAL);
        tokio::pin!(look);
        loop {
            let change = tokio::select! {
                change = changes.next() => change,
                () = &mut look => return Ok(()),
                () = self.stop.cancelled(), if !asked_to_stop => return Ok(()),
            };
            match change {
                OperationEvent::Progress(of) if of == id => {
                    let progress = self.database.postgres().operations().progress(id).await?;
                    self.set_remote_progress(progress);
                }
                OperationEvent::StatusChanged { id: of, .. } if of == id => return Ok(()),
                OperationEvent::Lagged => return Ok(()),
                OperationEvent::Progress(_) | OperationEvent::StatusChanged { .. } => {}
            }
        }
    }

    fn set_remote_progress(&self, progress: Option<Progress>) {
        if progress.is_some() {
            *self.remote_progress.lock().unwrap_or_else(PoisonError::into_inner) = progress;
        }
    }

    async fn result_of(&self, id: Uuid) -> Result<request::OperationResult, BoxError> {
        let meta = self.database.postgres().operations().result(id).await?;
        Ok(serde_json::from_value(meta)?)
    }

    /// The result of an operation that did not complete.
    async fn ended_result(
        &self,
        operation: OperationSummary,
        asked_to_stop: bool,
    ) -> Result<request::OperationResult, BoxError> {
        if let Some(message) = operation.error_message {
            return Err(message.into());
        }
        let result = self.result_of(operation.id).await?;
        match (&result.report, asked_to_stop) {
            (Some(report), _) if report.stopped => Ok(result),
            (_, true) => Err(Interrupted::Stopped.into()),
            (_, false) => Err(Interrupted::Cancelled(operation.id).into()),
        }
    }
}
