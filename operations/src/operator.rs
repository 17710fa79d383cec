//! Executes requests on the collection of a pipeline file. An operation takes one path: it is
//! delegated to the process that serves the collection, or this process leases the collection,
//! executes the operation, and records its end.

use metadata::{Collection, OperationLease, OperationOutcome, OperationType, WaitPolicy};
use pipeline::{
    BoxError, OperationRequest, PipelineSpec, Plan, Progress, ProgressSampler, RunRequest,
};
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::cancellation::{Cancellation, StopOutcome};
use crate::context::Context;
use crate::delegate::Delegation;
use crate::operation::{self, Completion, Leased, run_type};
use crate::queue::request_config;
use crate::result::OperationResult;
use crate::runtime::Runtime;
use crate::stores::{Database, open_cache};
use crate::verify::{self, VerifyReport};
use crate::webhooks;

/// Version of the program. The fingerprints of an unchanged file change with it if a node gives
/// other results, so those of two versions are not compared.
pub(crate) const PROGRAM_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The reason why an operation ended early.
#[derive(Debug, thiserror::Error)]
pub enum Interrupted {
    /// A client cancelled it, or another process took it over as orphaned.
    #[error("operation {0} was cancelled")]
    Cancelled(Uuid),
    /// A signal stopped it before it had the lease.
    #[error("stopped while waiting for another operation on the collection")]
    Stopped,
}

/// Executes operations on the collection of a pipeline file.
pub struct Operator {
    pub(crate) context: Context,
    /// Behaviour while another operation works on the collection.
    pub(crate) wait: WaitPolicy,
    /// Progress of an operation that another process executes; `None` while this process does.
    pub(crate) followed: watch::Sender<Option<Progress>>,
}

impl Operator {
    /// Creates an operator with the cache of the file. Cancelling `stop` ends an operation once the
    /// batches in flight are stored.
    ///
    /// # Errors
    /// [`crate::NoCollection`] if the pipeline writes no collection.
    pub fn new(
        runtime: Runtime,
        spec: Arc<PipelineSpec>,
        plan: &Plan,
        wait: WaitPolicy,
        stop: CancellationToken,
    ) -> Result<Self, BoxError> {
        Self::with_cancellation(runtime, spec, plan, wait, Cancellation::new(stop))
    }

    /// Like [`Operator::new`]; `cancellation` also says what becomes of a stopped operation.
    pub(crate) fn with_cancellation(
        runtime: Runtime,
        spec: Arc<PipelineSpec>,
        plan: &Plan,
        wait: WaitPolicy,
        cancellation: Cancellation,
    ) -> Result<Self, BoxError> {
        let cache = open_cache(&spec);
        let context = Context::new(runtime, spec, plan, cache, cancellation)?;
        Ok(Self { context, wait, followed: watch::Sender::new(None) })
    }

    /// The stores of the file.
    pub fn database(&self) -> &Database {
        &self.context.database
    }

    /// The collection of the file.
    ///
    /// # Errors
    /// If it does not exist, or the store cannot be reached.
    pub async fn collection(&self) -> Result<Collection, BoxError> {
        self.database().collection(&self.context.spec).await
    }

    /// Executes a request: delegates it to the process that serves the collection, or executes it
    /// in this process.
    ///
    /// # Errors
    /// [`Interrupted`] if the operation was cancelled or stopped before it had the lease; the cause
    /// of the failure otherwise.
    pub async fn execute(&self, request: &OperationRequest) -> Result<OperationResult, BoxError> {
        let found = self.context.find_collection().await?;
        self.check_quota(found.as_ref(), request).await?;
        match self.execute_delegated(found.as_ref(), request).await? {
            Some(result) => Ok(result),
            None => self.execute_here(request).await,
        }
    }

    /// Delegates a request, and executes it here if it comes back; `None` if this process must
    /// lease the collection for it.
    async fn execute_delegated(
        &self,
        collection: Option<&Collection>,
        request: &OperationRequest,
    ) -> Result<Option<OperationResult>, BoxError> {
        match self.delegate(collection, request).await? {
            Delegation::Ended(result) => Ok(Some(*result)),
            Delegation::TakenOver(leased) => self.execute_leased(*leased).await.map(Some),
            Delegation::None => Ok(None),
        }
    }

    /// Deletes this collection from both stores, delegated like [`Operator::execute`].
    ///
    /// # Errors
    /// If another collection has been created under its name since; it is not touched.
    pub async fn delete_collection(
        &self,
        collection: &Collection,
    ) -> Result<OperationResult, BoxError> {
        let found = self.context.find_collection().await?;
        if found.is_none_or(|it| it.id != collection.id) {
            let name = &collection.name;
            return Err(format!(
                "collection `{name}` was deleted by another process; if it exists again, it is a \
                 new one, which was not deleted"
            )
            .into());
        }
        let request = OperationRequest::DeleteCollection;
        match self.execute_delegated(Some(collection), &request).await? {
            Some(result) => Ok(result),
            None => self.delete_here(collection).await,
        }
    }

    /// Leases a collection and deletes it in this process.
    async fn delete_here(&self, collection: &Collection) -> Result<OperationResult, BoxError> {
        let request = OperationRequest::DeleteCollection;
        // The lease is of the id, so that a collection created again under the name is not deleted.
        let lease = self.lease(collection, &request).await?;
        self.drive(Leased { lease, request, is_continuation: false }).await
    }

    /// Executes a leased operation and records its end.
    pub(crate) async fn execute_leased(&self, leased: Leased) -> Result<OperationResult, BoxError> {
        match self.prepare(&leased).await {
            Ok(Prepared::Ready) => self.drive(leased).await,
            Ok(Prepared::HalfDeleted) => {
                let Leased { lease, request, .. } = leased;
                let deletion = OperationRequest::DeleteCollection;
                let deletion = Leased { lease, request: deletion, is_continuation: true };
                self.drive(deletion).await?;
                Box::pin(self.execute_here(&request)).await
            }
            Err(error) => finish(leased.lease, Err(error)).await,
        }
    }

    async fn prepare(&self, leased: &Leased) -> Result<Prepared, BoxError> {
        let Leased { request, is_continuation, .. } = leased;
        let collection = self.context.find_collection().await?;
        let Some(collection) = collection else { return Ok(Prepared::Ready) };
        if matches!(request, OperationRequest::Run(_)) && collection.deleting_since.is_some() {
            return Ok(Prepared::HalfDeleted);
        }
        operation::check(&self.context, &collection, request, *is_continuation).await?;
        Ok(Prepared::Ready)
    }

    /// Leases the collection and executes the request in this process.
    async fn execute_here(&self, request: &OperationRequest) -> Result<OperationResult, BoxError> {
        loop {
            let collection = match request {
                OperationRequest::Run(_) => self.ensure_collection().await?,
                OperationRequest::DeleteDocuments { .. }
                | OperationRequest::UndeleteDocuments { .. }
                | OperationRequest::RemoveSource { .. }
                | OperationRequest::RollBack
                | OperationRequest::Repair
                | OperationRequest::DeleteCollection => self.collection().await?,
            };
            operation::check(&self.context, &collection, request, false).await?;
            let lease = self.lease(&collection, request).await?;
            // Another process may have deleted the collection before this one leased it.
            if matches!(request, OperationRequest::Run(_))
                && !self.still_exists(&collection).await?
            {
                continue;
            }
            let request = request.clone();
            return self.drive(Leased { lease, request, is_continuation: false }).await;
        }
    }

    /// Refuses a run of a collection that has reached a limit. Queued operations were checked when
    /// they were requested.
    async fn check_quota(
        &self,
        collection: Option<&Collection>,
        request: &OperationRequest,
    ) -> Result<(), BoxError> {
        match collection.filter(|it| it.deleting_since.is_none()) {
            Some(collection) if request.adds_documents() => {
                Ok(self.context.postgres().collections().check_quota(collection).await?)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Returns the collection of the file. Creates it if it does not exist; first completes an
    /// interrupted deletion.
    async fn ensure_collection(&self) -> Result<Collection, BoxError> {
        loop {
            let collection = self.context.ensure_collection().await?;
            if collection.deleting_since.is_none() {
                return Ok(collection);
            }
            tracing::warn!(
                collection = collection.name,
                "completing the interrupted deletion of the collection"
            );
            if let Err(error) = self.delete_here(&collection).await {
                let found = self.context.find_collection().await?;
                if found.is_some_and(|it| it.id == collection.id) {
                    return Err(error);
                }
                tracing::debug!(%error, "another process completed the deletion");
            }
        }
    }

    /// `true` if the collection still exists and is not being deleted.
    async fn still_exists(&self, collection: &Collection) -> Result<bool, BoxError> {
        let found = self.context.find_collection().await?;
        Ok(found.is_some_and(|it| it.id == collection.id && it.deleting_since.is_none()))
    }

    /// The type of the operation in the metadata store, which a run determines from the state of
    /// the collection.
    pub(crate) async fn operation_type(
        &self,
        collection: &Collection,
        request: &OperationRequest,
    ) -> Result<OperationType, BoxError> {
        match request {
            OperationRequest::Run(RunRequest { rebuild, .. }) => {
                run_type(&self.context, collection.id, *rebuild).await
            }
            OperationRequest::DeleteDocuments { .. }
            | OperationRequest::UndeleteDocuments { .. }
            | OperationRequest::RemoveSource { .. }
            | OperationRequest::RollBack
            | OperationRequest::Repair
            | OperationRequest::DeleteCollection => Ok(OperationType::of(request)),
        }
    }

    /// Leases the collection for a request.
    async fn lease(
        &self,
        collection: &Collection,
        request: &OperationRequest,
    ) -> Result<OperationLease, BoxError> {
        let kind = self.operation_type(collection, request).await?;
        let config = self.config(request);
        let postgres = self.context.postgres();
        let started = postgres.start_operation(collection, kind, &config, self.wait);
        match self.context.cancellation.stop.run_until_cancelled(started).await {
            Some(started) => Ok(started?),
            None => Err(Interrupted::Stopped.into()),
        }
    }

    /// The request as stored, with the fingerprints of the settings and of the model, and the
    /// version of the program that computed them.
    pub(crate) fn config(&self, request: &OperationRequest) -> serde_json::Value {
        let mut config = request_config(&self.context.spec, request);
        let settings = &self.context.settings;
        config["fingerprint"] = settings.fingerprint.to_string().into();
        config["model"] = settings.model_fingerprint.clone().into();
        config["program"] = PROGRAM_VERSION.into();
        config
    }

    /// Executes a leased operation and ends it in every case.
    async fn drive(&self, leased: Leased) -> Result<OperationResult, BoxError> {
        let mut ended = self.work(&leased).await;
        if let Ok(Completion::Done(result, _) | Completion::Stopped(result, _)) = &ended
            && let Err(error) = self.record(&leased.lease, result).await
        {
            if self.is_requeued(&ended) {
                // Its successor does the work, so the lost result does no harm.
                tracing::warn!(%error, "failed to record the result of a stopped operation");
            } else {
                ended = Err(error);
            }
        }
        let lease = leased.lease;
        match ended {
            Ok(Completion::Recorded(result)) => {
                lease.release().await;
                Ok(result)
            }
            Ok(Completion::Stopped(result, metrics)) => {
                let outcome = match self.context.cancellation.outcome() {
                    StopOutcome::Cancelled => OperationOutcome::Cancelled,
                    StopOutcome::Failed(reason) => OperationOutcome::Failed(reason),
                    StopOutcome::Requeued => {
                        let operations = self.context.postgres().operations();
                        operations.return_to_queue(lease.id(), None).await?;
                        lease.release().await;
                        return Ok(result);
                    }
                };
                lease.finish(&outcome, &metrics).await?;
                Ok(result)
            }
            Ok(Completion::Done(result, metrics)) => {
                lease.finish(&OperationOutcome::Completed, &metrics).await?;
                Ok(result)
            }
            Err(error) => finish(lease, Err(error)).await,
        }
    }

    /// `true` if the operation was stopped and another process continues it.
    fn is_requeued(&self, ended: &Result<Completion, BoxError>) -> bool {
        matches!(ended, Ok(Completion::Stopped(..)))
            && matches!(self.context.cancellation.outcome(), StopOutcome::Requeued)
    }

    /// Works while the lease lasts. Once it is lost, the work may still end; it can write nothing
    /// more.
    async fn work(&self, leased: &Leased) -> Result<Completion, BoxError> {
        let (context, lease) = (&self.context, &leased.lease);
        let pipeline = &context.spec.file.name;
        let span = tracing::info_span!("operation", operation = %lease.id(), pipeline);
        let work = operation::execute(context, leased).instrument(span);
        tokio::pin!(work);
        let mut sampler = context.progress_sampler();
        tokio::select! {
            ended = &mut work => ended,
            () = lease.lost_while_reporting(|| Some(context.progress(&mut sampler))) => {
                context.cancellation.stop.cancel();
                if let Err(error) = work.await {
                    tracing::debug!(
                        %error,
                        "failed to store the batches in flight after the lease was lost",
                    );
                }
                Err(Interrupted::Cancelled(lease.id()).into())
            }
        }
    }

    /// Stores the result of an operation, with the last progress of a run.
    async fn record(
        &self,
        lease: &OperationLease,
        result: &OperationResult,
    ) -> Result<(), BoxError> {
        let context = &self.context;
        let is_run = result.report.is_some();
        let progress = is_run.then(|| context.progress(&mut context.progress_sampler()));
        Ok(lease.record_result(&serde_json::to_value(result)?, progress.as_ref()).await?)
    }

    /// Compares the stores under an exclusive lock.
    ///
    /// # Errors
    /// If a store cannot be reached, or another operation works on the collection.
    pub async fn verify(&self) -> Result<VerifyReport, BoxError> {
        verify::verify(&self.context, self.wait).await
    }

    /// The pipeline file.
    pub fn spec(&self) -> &PipelineSpec {
        &self.context.spec
    }

    /// Sends pending notifications about the last operations of the collection to the webhooks of
    /// the file.
    ///
    /// # Errors
    /// If the metadata store cannot be reached.
    pub async fn notify_webhooks(&self) -> Result<(), BoxError> {
        if self.context.spec.file.notify.is_empty() {
            return Ok(());
        }
        match self.context.find_collection().await? {
            Some(collection) => {
                webhooks::deliver(self.context.postgres(), collection.id, &self.context.spec).await
            }
            None => Ok(()),
        }
    }

    /// A progress sampler for [`Operator::progress`]; each observer has its own.
    pub fn progress_sampler(&self) -> ProgressSampler {
        self.context.progress_sampler()
    }

    /// The progress of the operation, whichever process executes it.
    pub fn progress(&self, sampler: &mut ProgressSampler) -> Progress {
        let followed = self.followed.borrow().clone();
        followed.unwrap_or_else(|| self.context.progress(sampler))
    }

    /// Leaves the batches that the model has not started to the next run, after a stop request.
    /// Returns `false` if another process executes the operation, or if it was done before.
    pub fn cut_short(&self) -> bool {
        let token = &self.context.cancellation.cut_short;
        if self.followed.borrow().is_some() || token.is_cancelled() {
            return false;
        }
        token.cancel();
        true
    }
}

/// The state of the collection of a leased operation.
enum Prepared {
    Ready,
    /// A deletion of the collection was interrupted; a run completes it first.
    HalfDeleted,
}

/// Ends an operation with the status of `ended`, and returns `ended`.
pub(crate) async fn finish<T>(
    lease: OperationLease,
    ended: Result<T, BoxError>,
) -> Result<T, BoxError> {
    let outcome = match &ended {
        Ok(_) => OperationOutcome::Completed,
        Err(error) if error.is::<Interrupted>() => OperationOutcome::Cancelled,
        Err(error) => OperationOutcome::Failed(pipeline::error_chain(error.as_ref())),
    };
    let finished = lease.finish(&outcome, &[]).await;
    // The error of the operation takes precedence over the error of recording it.
    let value = ended?;
    finished?;
    Ok(value)
}
