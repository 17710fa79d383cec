//! Operation requests and their results as data, in the form in which operations are queued. They
//! have no secrets: the worker loads the pipeline file itself.

use futures::future::LocalBoxFuture;
use metadata::{Generation, OperationType, Swapped};
use pipeline::{BoxError, RunReport};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Done, Operator, Wish};

/// An operation request, stored in `operations.config`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Errand {
    /// Brings the collection up to date with its sources.
    Run {
        /// See [`Wish::allow_deletes`].
        #[serde(default)]
        allow_deletes: bool,
        /// See [`Wish::retry_failed`].
        #[serde(default)]
        retry_failed: bool,
        /// See [`Wish::anew`].
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

impl Errand {
    /// A run with these options.
    pub(crate) fn run(wish: Wish) -> Self {
        Self::run_letting_in(Vec::new(), wish)
    }

    /// A run that also restores deleted documents, in one operation.
    pub(crate) fn run_letting_in(undelete: Vec<Uuid>, wish: Wish) -> Self {
        let Wish { allow_deletes, retry_failed, anew, wait: _ } = wish;
        Self::Run { allow_deletes, retry_failed, anew, undelete }
    }

    /// The options of the request; `wait` is `false`.
    pub(crate) fn wish(&self) -> Wish {
        match *self {
            Self::Run { allow_deletes, retry_failed, anew, .. } => {
                Wish { allow_deletes, retry_failed, anew, wait: false }
            }
            Self::DeleteDocuments { .. }
            | Self::UndeleteDocuments { .. }
            | Self::RemoveSource { .. }
            | Self::RollBack
            | Self::Repair
            | Self::DeleteCollection => Wish::default(),
        }
    }

    /// The type in the metadata store. A run may turn out to be of another type.
    pub(crate) fn kind(&self) -> OperationType {
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
    pub(crate) fn details(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("an operation request is plain data")
    }
}

/// The result of an operation, stored in `operations.meta`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Result {
    /// The report of a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) report: Option<RunReport>,
    /// Tokens and time of the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<ModelTime>,
    /// The swapped generations, if the operation made another one live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) swap: Option<Swap>,
    /// Number of documents that were deleted or restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) documents: Option<u64>,
}

/// Tokens that a model processed in an operation, and the seconds it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ModelTime {
    pub(crate) tokens: u64,
    pub(crate) busy_seconds: f64,
}

/// A generation that replaced another as the live one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Swap {
    pub(crate) live: Named,
    pub(crate) retired: Named,
}

/// A generation as messages name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Named {
    pub(crate) number: i32,
    pub(crate) model: String,
}

impl From<&Generation> for Named {
    fn from(generation: &Generation) -> Self {
        Self { number: generation.number, model: generation.embedding_model.clone() }
    }
}

impl From<&Swapped> for Swap {
    fn from(swapped: &Swapped) -> Self {
        Self { live: (&swapped.live).into(), retired: (&swapped.retired).into() }
    }
}

impl Operator {
    /// Executes a request; the result is recorded in the operation.
    ///
    /// Each branch is a separate future on the heap: polled inline, they would together take most
    /// of a thread's stack.
    pub(crate) fn carry_out<'a>(
        &'a self,
        errand: &'a Errand,
    ) -> LocalBoxFuture<'a, std::result::Result<(), BoxError>> {
        match errand {
            Errand::Run { undelete, .. } => Box::pin(async move {
                self.run_letting_in(undelete).await?;
                Ok(())
            }),
            Errand::DeleteDocuments { documents } => Box::pin(async move {
                self.delete_documents(documents).await?;
                Ok(())
            }),
            Errand::UndeleteDocuments { documents } => Box::pin(async move {
                self.undelete_documents(documents).await?;
                Ok(())
            }),
            Errand::RemoveSource { source } => Box::pin(async move {
                self.remove_source(source).await?;
                Ok(())
            }),
            Errand::RollBack => Box::pin(async move {
                self.roll_back().await?;
                Ok(())
            }),
            Errand::Repair => Box::pin(self.remove_wrong_points()),
            Errand::DeleteCollection => Box::pin(async move {
                let collection = self.database.collection(&self.spec).await?;
                self.delete(&collection).await?;
                Ok(())
            }),
        }
    }
}

impl Result {
    /// The result of a run that another process executed.
    pub(super) fn done(self) -> Done {
        let Self { report, model, swap, .. } = self;
        Done { report: report.unwrap_or_default(), swap, model: model.unwrap_or_default() }
    }
}
