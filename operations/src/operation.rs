//! The operations, one file each: what a request does once its operation is leased.
//! [`crate::Operator`] obtains the lease and records the end.
//!
//! A new kind of operation is a variant of [`OperationRequest`], a file in this folder, and one
//! line in [`execute`].

mod delete_collection;
mod delete_documents;
mod rebuild;
mod remove_source;
mod repair;
mod roll_back;
mod run;
mod undelete_documents;

use futures::future::LocalBoxFuture;
use metadata::{Collection, GenerationSlot, OperationLease};
use pipeline::{BoxError, OperationRequest};

pub(crate) use self::run::{Run, run_type};
use crate::context::Context;
use crate::relocation::relocate;
use crate::result::OperationResult;
use crate::stores::IfMissing;
use crate::sync;

/// An operation that this process has the right to execute.
pub(crate) struct Leased {
    pub(crate) lease: OperationLease,
    pub(crate) request: OperationRequest,
    /// `true` if it continues an interrupted operation, which may have done a part of the work.
    pub(crate) is_continuation: bool,
}

/// The end of the work of an operation.
pub(crate) enum Completion {
    /// The work is done.
    Done(OperationResult, OperationMetrics),
    /// The work is done, and its last transaction has ended the operation and stored the result.
    Recorded(OperationResult),
    /// A stop request ended the work early; the result describes the part that is stored.
    Stopped(OperationResult, OperationMetrics),
}

/// Rows of `operation_metrics`: name and value.
pub(crate) type OperationMetrics = Vec<(String, f64)>;

/// Executes a leased operation.
///
/// Each branch is a separate future on the heap: polled inline, they would together take most of a
/// thread's stack.
pub(crate) fn execute<'a>(
    context: &'a Context,
    leased: &'a Leased,
) -> LocalBoxFuture<'a, Result<Completion, BoxError>> {
    let lease = &leased.lease;
    match &leased.request {
        OperationRequest::Run(request) => Box::pin(run::execute(context, lease, request)),
        OperationRequest::DeleteDocuments { documents } => {
            Box::pin(delete_documents::execute(context, lease, documents))
        }
        OperationRequest::UndeleteDocuments { documents } => {
            Box::pin(undelete_documents::execute(lease, documents))
        }
        OperationRequest::RemoveSource { source } => {
            Box::pin(remove_source::execute(context, lease, source))
        }
        OperationRequest::RollBack => Box::pin(roll_back::execute(context, lease)),
        OperationRequest::Repair => Box::pin(repair::execute(context, lease)),
        OperationRequest::DeleteCollection => Box::pin(delete_collection::execute(context, lease)),
    }
}

/// Refuses a request that can only fail, before it becomes an operation.
pub(crate) async fn check(
    context: &Context,
    collection: &Collection,
    request: &OperationRequest,
    is_continuation: bool,
) -> Result<(), BoxError> {
    match request {
        // An operation that died after its last location was deleted has left points; its successor
        // removes them.
        OperationRequest::RemoveSource { source } if !is_continuation => {
            remove_source::check(context, collection, source).await
        }
        OperationRequest::RemoveSource { .. }
        | OperationRequest::Run(_)
        | OperationRequest::DeleteDocuments { .. }
        | OperationRequest::UndeleteDocuments { .. }
        | OperationRequest::RollBack
        | OperationRequest::Repair
        | OperationRequest::DeleteCollection => Ok(()),
    }
}

/// Removes the points of deleted documents from the live generation.
async fn purge_live(context: &Context, lease: &OperationLease) -> Result<(), BoxError> {
    let (_, vectors) = context.open_live(lease.collection(), IfMissing::Create).await?;
    let metadata = lease.metadata(GenerationSlot::Live, context.settings.fingerprint);
    let purged = async {
        let store = vectors.store.as_ref();
        relocate(&metadata, store, vectors.sparse_encoder.as_deref()).await?;
        sync::purge(&metadata, store).await
    }
    .await;
    // Also after a failure, since a server keeps the vectors open.
    vectors.end_writing().await;
    purged
}

/// The completion of an operation that concerned this number of documents.
fn documents_done(metric: &str, documents: u64) -> Completion {
    let result = OperationResult { documents: Some(documents), ..OperationResult::default() };
    Completion::Done(result, crate::operation_metrics::count_metric(metric, documents))
}
