//! The fate of an operation that is stopped, shared between the requester of the stop and the code
//! that ends the operation.

use std::sync::{Arc, Mutex, PoisonError};

/// The fate of an operation that ended early because of a stop request.
#[derive(Clone, Debug, Default)]
pub(super) enum Stopped {
    /// It is cancelled.
    #[default]
    Cancelled,
    /// It is requeued, and another operation continues it.
    HandedBack,
    /// It has failed, for this reason.
    Failed(String),
}

/// The fate of an operation, should it be stopped. Clones share their state.
#[derive(Clone, Debug, Default)]
pub(super) struct OnStop(Arc<Mutex<Stopped>>);

impl OnStop {
    pub(super) fn hand_back(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Stopped::HandedBack;
    }

    pub(super) fn fail(&self, why: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Stopped::Failed(why);
    }

    pub(super) fn get(&self) -> Stopped {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
