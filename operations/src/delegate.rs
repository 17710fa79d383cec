//! Delegation: with embedded vectors, which one process opens at a time, operations are delegated
//! to the process that serves the collection, and followed.
//!
//! Progress, report, errors and exit code are those of a local operation. With a Qdrant server each
//! process executes its own operations.

use std::time::Duration;

use metadata::{
    Collection, OperationEvent, OperationEvents, OperationStatus, OperationSummary,
    QueuedOperation, WaitPolicy,
};
use pipeline::{BoxError, OperationRequest, VectorsSpec};
use uuid::Uuid;

use crate::operation::Leased;
use crate::operator::{Interrupted, Operator};
use crate::result::OperationResult;

/// Interval at which the operation is read if no notification arrives.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// What became of a request that another process could execute.
pub(crate) enum Delegation {
    /// Another process has executed it.
    Ended(Box<OperationResult>),
    /// The other process died or left; this one has leased the operation.
    TakenOver(Box<Leased>),
    /// This process must execute it.
    None,
}

/// An operation that another process is to execute.
struct Queued<'a> {
    operator: &'a Operator,
    collection: &'a Collection,
    request: &'a OperationRequest,
    id: Uuid,
    /// `true` once this process has cancelled it.
    is_cancelled: bool,
}

impl Operator {
    /// Delegates a request to the process that serves the collection, and follows it to the end.
    pub(crate) async fn delegate(
        &self,
        collection: Option<&Collection>,
        request: &OperationRequest,
    ) -> Result<Delegation, BoxError> {
        if matches!(self.context.spec.file.stores.vectors, VectorsSpec::Server(_)) {
            return Ok(Delegation::None);
        }
        let postgres = self.context.postgres();
        let Some(collection) = collection else { return Ok(Delegation::None) };
        let serving = postgres.workers().list_alive(Some(collection.id)).await?;
        let Some(worker) = serving.first() else { return Ok(Delegation::None) };
        if self.wait == WaitPolicy::FailIfBusy {
            postgres.ensure_idle(collection).await?;
        }
        // Subscribes before the operation is queued, so that no change is missed.
        let events = postgres.listen().await?;
        let kind = self.operation_type(collection, request).await?;
        let config = self.config(request);
        let queued = QueuedOperation { collection, kind, config: &config };
        let id = postgres.operations().enqueue(&queued).await?;
        tracing::info!(
            operation = %id,
            worker = worker.worker,
            "delegated to the process that serves the collection",
        );
        let queued = Queued { operator: self, collection, request, id, is_cancelled: false };
        queued.follow(events).await
    }
}

impl Queued<'_> {
    /// Follows the operation and its successors to the end.
    async fn follow(mut self, mut events: OperationEvents) -> Result<Delegation, BoxError> {
        let operations = self.operator.context.postgres().operations();
        loop {
            let Some(found) = operations.find(self.id).await? else {
                // The row was deleted by hand.
                return Ok(Delegation::Ended(Box::default()));
            };
            match found.status {
                OperationStatus::Pending | OperationStatus::Processing => {}
                OperationStatus::Completed => {
                    return Ok(Delegation::Ended(Box::new(self.result().await?)));
                }
                OperationStatus::Failed | OperationStatus::Cancelled => {
                    if let Some(next) = operations.continuation(self.id).await?
                        && !self.is_cancelled
                    {
                        tracing::info!(
                            operation = %next.id,
                            "the operation continues as another one",
                        );
                        self.id = next.id;
                        continue;
                    }
                    return Ok(Delegation::Ended(Box::new(self.early_end(found).await?)));
                }
            }
            if self.operator.context.cancellation.stop.is_cancelled() && !self.is_cancelled {
                self.is_cancelled = true;
                // The operation may have just ended; the next iteration reads its status.
                if let Err(error) = operations.cancel(self.id).await {
                    tracing::debug!(%error, "failed to cancel the operation");
                }
                continue;
            }
            if self.is_orphaned(&found).await?
                && let Some(leased) = self.take_over().await?
            {
                tracing::warn!(
                    operation = %self.id,
                    "no process serves the collection any more; this process executes the \
                     operation",
                );
                self.operator.followed.send_replace(None);
                return Ok(Delegation::TakenOver(Box::new(leased)));
            }
            self.wait_for_event(&mut events).await?;
        }
    }

    /// `true` if no process executes the operation: it waits or its worker died, and no process
    /// serves the collection.
    async fn is_orphaned(&self, operation: &OperationSummary) -> Result<bool, BoxError> {
        let postgres = self.operator.context.postgres();
        if !postgres.workers().list_alive(Some(self.collection.id)).await?.is_empty() {
            return Ok(false);
        }
        // As long as its worker has the lock on the collection, it is being executed, even without
        // a heartbeat.
        Ok(operation.status == OperationStatus::Pending
            || postgres.ensure_idle(self.collection).await.is_ok())
    }

    /// Leases the orphaned operation, or its successor; `None` while another process works on the
    /// collection.
    async fn take_over(&self) -> Result<Option<Leased>, BoxError> {
        let postgres = self.operator.context.postgres();
        while let Some((lease, summary)) = postgres.dequeue(&[self.collection.id]).await? {
            if summary.id == self.id || summary.continues == Some(self.id) {
                let request = self.request.clone();
                let is_continuation = summary.continues.is_some();
                return Ok(Some(Leased { lease, request, is_continuation }));
            }
            // Another client's operation: the next worker of the collection executes it.
            postgres.operations().return_to_queue(summary.id, None).await?;
            lease.release().await;
        }
        Ok(None)
    }

    /// Waits until the status of the operation may have changed, and publishes its progress.
    async fn wait_for_event(&self, events: &mut OperationEvents) -> Result<(), BoxError> {
        let context = &self.operator.context;
        let timeout = tokio::time::sleep(POLL_INTERVAL);
        tokio::pin!(timeout);
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = &mut timeout => return Ok(()),
                () = context.cancellation.stop.cancelled(), if !self.is_cancelled => return Ok(()),
            };
            match event {
                OperationEvent::Progress(id) if id == self.id => {
                    let progress = context.postgres().operations().progress(id).await?;
                    if progress.is_some() {
                        self.operator.followed.send_replace(progress);
                    }
                }
                OperationEvent::StatusChanged { id, .. } if id == self.id => return Ok(()),
                OperationEvent::Lagged => return Ok(()),
                OperationEvent::Progress(_) | OperationEvent::StatusChanged { .. } => {}
            }
        }
    }

    async fn result(&self) -> Result<OperationResult, BoxError> {
        let stored = self.operator.context.postgres().operations().result(self.id).await?;
        Ok(serde_json::from_value(stored)?)
    }

    /// The result of the operation, which did not complete.
    async fn early_end(&self, operation: OperationSummary) -> Result<OperationResult, BoxError> {
        if let Some(message) = operation.error_message {
            return Err(message.into());
        }
        let result = self.result().await?;
        match (&result.report, self.is_cancelled) {
            (Some(report), _) if report.stopped => Ok(result),
            (_, true) => Err(Interrupted::Stopped.into()),
            (_, false) => Err(Interrupted::Cancelled(operation.id).into()),
        }
    }
}
