//! What becomes of an operation that is asked to stop: that is for whoever asks to say, and for whoever ends it to know.

use std::sync::{Arc, Mutex, PoisonError};

/// What becomes of an operation that ended because it was asked to stop.
#[derive(Clone, Debug, Default)]
pub(super) enum Stopped {
    /// It was cancelled.
    #[default]
    Cancelled,
    /// It goes on later, as another one.
    HandedBack,
    /// It has failed, for this reason.
    Failed(String),
}

/// Says what becomes of an operation that is asked to stop. Clones are the same.
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
