//! Cancellation of an operation, and what becomes of an operation that is stopped.

use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

/// What becomes of an operation that ended early because of a stop request.
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

/// Stop requests to one operation. Clones share their state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cancellation {
    /// The operation ends once the batches in flight are stored.
    pub(crate) stop: CancellationToken,
    /// Set after `stop`: batches that the model has not started are left to the next run.
    pub(crate) cut_short: CancellationToken,
    outcome: Arc<Mutex<StopOutcome>>,
}

impl Cancellation {
    /// Stop requests through this token; the stopped operation is cancelled.
    pub(crate) fn new(stop: CancellationToken) -> Self {
        Self { stop, ..Self::default() }
    }

    /// Stops the operation; another operation continues it.
    pub(crate) fn requeue(&self) {
        self.stop_with(StopOutcome::Requeued);
    }

    /// Stops the operation, which has then failed for this reason.
    pub(crate) fn fail(&self, reason: String) {
        self.stop_with(StopOutcome::Failed(reason));
    }

    fn stop_with(&self, outcome: StopOutcome) {
        *pipeline::lock(&self.outcome) = outcome;
        self.stop.cancel();
    }

    /// What becomes of the operation, should it be stopped.
    pub(crate) fn outcome(&self) -> StopOutcome {
        pipeline::lock(&self.outcome).clone()
    }
}
