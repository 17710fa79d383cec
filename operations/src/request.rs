//! Operation requests and their results as data, in the form in which operations are queued. They
//! have no secrets: the worker loads the pipeline file itself.

use futures::future::LocalBoxFuture;
use metadata::{Generation, OperationType, SwapResult};
use pipeline::{BoxError, RunReport};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{OperationOptions, Operator, RunSummary};

/// An operation request, stored in `operations.config`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum OperationRequest {
    /// Brings the collection up to date with its sources.
    Run {
        /// See [`OperationOptions::allow_deletes`].
        #[serde(default)]
        allow_deletes: bool,
        /// See [`OperationOptions::retry_failed`].
        #[serde(default)]
        retry_failed: bool,
        /// See [`OperationOptions::rebuild`].
        #[serde(default)]
        anew: bool,
        /// Deleted documents that the run restores.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        undelete: Vec<Uuid>,
    },
    /// Deletes documents until they are undeleted.
    DeleteDocuments {
        /// Their ids.
        documents: Vec<Uuid>,
    },
    /// Restores documents that were deleted on request.
    UndeleteDocuments {
        /// Their ids.
        documents: Vec<Uuid>,
    },
    /// Deletes the documents that only this source provides.
    RemoveSource {
        /// The URI, as shown by `sources list`.
        source: String,
    },
    /// Makes the previous generation live again.
    RollBack,
    /// Removes points that `verify` found to be wrong, and marks their documents for the next run.
    Repair,
    /// Deletes the collection from both stores.
    DeleteCollection,
}

impl OperationRequest {
    /// A run with these options.
    pub fn run(wish: OperationOptions) -> Self {
        Self::run_readmitting(Vec::new(), wish)
    }

    /// A run that also restores deleted documents, in one operation.
    pub fn run_readmitting(undelete: Vec<Uuid>, wish: OperationOptions) -> Self {
        let OperationOptions { allow_deletes, retry_failed, rebuild: anew, wait: _ } = wish;
        Self::Run { allow_deletes, retry_failed, anew, undelete }
    }

    /// The options of the request; `wait` is `false`.
    pub fn options(&self) -> OperationOptions {
        match *self {
            Self::Run { allow_deletes, retry_failed, anew, .. } => {
                OperationOptions { allow_deletes, retry_failed, rebuild: anew, wait: false }
            }
            Self::DeleteDocuments { .. }
            | Self::UndeleteDocuments { .. }
            | Self::RemoveSource { .. }
            | Self::RollBack
            | Self::Repair
            | Self::DeleteCollection => OperationOptions::default(),
        }
    }

    /// The type in the metadata store. A run may turn out to be of another type.
    pub fn kind(&self) -> OperationType {
        match self {
            Self::Run { anew: true, .. } | Self::RollBack => OperationType::Reindex,
            Self::Run { .. } | Self::UndeleteDocuments { .. } | Self::Repair => {
                OperationType::Append
            }
            Self::DeleteDocuments { .. } | Self::DeleteCollection => OperationType::Delete,
            Self::RemoveSource { .. } => OperationType::RemoveSource,
        }
    }

    /// The keys for `operations.config`.
    pub fn details(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("an operation request is plain data")
    }
}

/// The result of an operation, stored in `operations.meta`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct OperationResult {
    /// The report of a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<RunReport>,
    /// Tokens and time of the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelTime>,
    /// The swapped generations, if the operation made another one live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<GenerationSwap>,
    /// Number of documents that were deleted or restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub documents: Option<u64>,
}

/// Tokens that a model processed in an operation, and the seconds it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelTime {
    /// Tokens that the model processed, without those whose vectors were known.
    pub tokens: u64,
    /// Seconds in which the thread of the model computed.
    pub busy_seconds: f64,
}

/// A generation that replaced another as the live one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationSwap {
    /// The generation that searches use from now on.
    pub live: GenerationRef,
    /// The generation that it replaced.
    pub retired: GenerationRef,
}

/// A generation as messages name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationRef {
    /// Number of the generation in its collection, from 1.
    pub number: i32,
    /// Name of the embedding model, as displayed.
    pub model: String,
}

impl From<&Generation> for GenerationRef {
    fn from(generation: &Generation) -> Self {
        Self { number: generation.number, model: generation.embedding_model.clone() }
    }
}

impl From<&SwapResult> for GenerationSwap {
    fn from(swapped: &SwapResult) -> Self {
        Self { live: (&swapped.live).into(), retired: (&swapped.retired).into() }
    }
}

impl Operator {
    /// Executes a request; the result is recorded in the operation.
    ///
    /// Each branch is a separate future on the heap: polled inline, they would together take most
    /// of a thread's stack.
    pub fn execute<'a>(
        &'a self,
        request: &'a OperationRequest,
    ) -> LocalBoxFuture<'a, Result<(), BoxError>> {
        match request {
            OperationRequest::Run { undelete, .. } => Box::pin(async move {
                self.run_readmitting(undelete).await?;
                Ok(())
            }),
            OperationRequest::DeleteDocuments { documents } => Box::pin(async move {
                self.delete_documents(documents).await?;
                Ok(())
            }),
            OperationRequest::UndeleteDocuments { documents } => Box::pin(async move {
                self.undelete_documents(documents).await?;
                Ok(())
            }),
            OperationRequest::RemoveSource { source } => Box::pin(async move {
                self.remove_source(source).await?;
                Ok(())
            }),
            OperationRequest::RollBack => Box::pin(async move {
                self.roll_back().await?;
                Ok(())
            }),
            OperationRequest::Repair => Box::pin(self.remove_wrong_points()),
            OperationRequest::DeleteCollection => Box::pin(async move {
                let collection = self.database.collection(&self.spec).await?;
                self.delete_collection(&collection).await?;
                Ok(())
            }),
        }
    }
}

impl OperationResult {
    /// The result of a run that another process executed.
    pub(crate) fn into_summary(self) -> RunSummary {
        let Self { report, model, swap, .. } = self;
        RunSummary { report: report.unwrap_or_default(), swap, model: model.unwrap_or_default() }
    }
}
