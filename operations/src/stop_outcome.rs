//! The fate of an operation that is stopped, shared between the requester of the stop and the code
//! that ends the operation.

use std::sync::{Arc, Mutex, PoisonError};

/// The fate of an operation that ended early because of a stop request.
#[derive(Clone, Debug, Default)]
pub(crate) enum StopOutcome {
    /// It is cancelled.
    #[default]
    Cancelled,
    /// It is requeued, and another operation continues it.
    Requeued,
    /// It has failed, for this reason.
    Failed(String),
}

/// The fate of an operation, should it be stopped. Clones share their state.
#[derive(Clone, Debug, Default)]
pub(crate) struct StopPolicy(Arc<Mutex<StopOutcome>>);

impl StopPolicy {
    pub(crate) fn requeue(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = StopOutcome::Requeued;
    }

    pub(crate) fn fail(&self, why: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = StopOutcome::Failed(why);
    }

    pub(crate) fn outcome(&self) -> StopOutcome {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
