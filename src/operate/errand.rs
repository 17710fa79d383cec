//! What is to be done to a collection and what came of it, as data: that is how an operation is handed over to
//! somebody else and its result comes back. Never a secret is in it: who carries it out loads the file itself.

use futures::future::LocalBoxFuture;
use metadata::{Generation, OperationType, Swapped};
use pipeline::{BoxError, RunReport};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Done, Operator, Wish};

/// What is to be done; stands in `operations.config`.
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
        /// Documents that somebody had deleted and that are let in again with it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        undelete: Vec<Uuid>,
    },
    /// Deletes documents until somebody undeletes them.
    DeleteDocuments {
        /// Their ids.
        documents: Vec<Uuid>,
    },
    /// Lets documents in again that somebody had deleted.
    UndeleteDocuments {
        /// Their ids.
        documents: Vec<Uuid>,
    },
    /// Takes out every document that only this source gives.
    RemoveSource {
        /// As `sources list` shows it.
        source: String,
    },
    /// Goes back to the generation that was live before.
    RollBack,
    /// Removes points that `verify` found to be wrong, and marks their documents for the next run.
    Repair,
    /// Deletes the collection from both stores.
    DeleteCollection,
}

impl Errand {
    /// A run as somebody wishes it.
    pub(crate) fn run(wish: Wish) -> Self {
        Self::run_letting_in(Vec::new(), wish)
    }

    /// The same, which lets documents in again that somebody had deleted: both take place, or neither.
    pub(crate) fn run_letting_in(undelete: Vec<Uuid>, wish: Wish) -> Self {
        let Wish { allow_deletes, retry_failed, anew, wait: _ } = wish;
        Self::Run { allow_deletes, retry_failed, anew, undelete }
    }

    /// The wish of whoever asks for it.
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

    /// What it is to the metadata store; a run may turn out to be another.
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

    /// Its keys, for `operations.config`.
    pub(crate) fn details(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("an errand is plain data")
    }
}

/// What came of an operation; stands in `operations.meta`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Result {
    /// What a run did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) report: Option<RunReport>,
    /// How long the model worked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<ModelTime>,
    /// The generations concerned, if another one is live by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) swap: Option<Swap>,
    /// How many documents were taken out, or let in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) documents: Option<u64>,
}

/// What a model read in an operation, and how long that took it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ModelTime {
    pub(crate) tokens: u64,
    pub(crate) busy_seconds: f64,
}

/// A generation that took the place of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Swap {
    pub(crate) live: Named,
    pub(crate) retired: Named,
}

/// A generation as a person is told of it.
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
    /// Does what an errand says; what came of it stands in the operation.
    ///
    /// Each errand is a future of its own on the heap: polled in the place of its caller they would take most of the
    /// stack of a thread together.
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
    /// What a run gives back, of one that somebody else carried out.
    pub(super) fn done(self) -> Done {
        let Self { report, model, swap, .. } = self;
        Done { report: report.unwrap_or_default(), swap, model: model.unwrap_or_default() }
    }
}
