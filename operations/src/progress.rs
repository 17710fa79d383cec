//! Progress of an operation, whichever process executes it, and its early end.

use std::sync::PoisonError;

use pipeline::{EmbedderUsage, Progress, ProgressSampler};

use super::{ModelTime, Operator};

impl Operator {
    /// A progress sampler for [`Operator::progress`]; each observer has its own.
    pub fn progress_sampler(&self) -> ProgressSampler {
        self.progress_sampler.clone()
    }

    /// The progress of the operation, whichever process executes it.
    pub fn progress(&self, watch: &mut ProgressSampler) -> Progress {
        let followed = self.remote_progress.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(progress) = &*followed {
            return progress.clone();
        }
        drop(followed);
        watch.sample(self.counted_usage())
    }

    /// Leaves the batches that the model has not started to the next run, after a stop request.
    /// Returns `false` if another process executes the operation, or if it was done before.
    pub fn cut_short(&self) -> bool {
        let is_elsewhere =
            self.remote_progress.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if is_elsewhere || self.cut_short_token.is_cancelled() {
            return false;
        }
        self.cut_short_token.cancel();
        true
    }

    /// The usage of the model so far, also written to the metrics. Does not load the model.
    fn counted_usage(&self) -> EmbedderUsage {
        if self.embedder.get().is_none() {
            return EmbedderUsage::default();
        }
        let usage = self.usage();
        self.metrics.record_embedding(&self.model.short_name, usage);
        usage
    }

    /// The usage of the model so far, for the report.
    pub(crate) fn model_time(&self) -> ModelTime {
        let EmbedderUsage { tokens, busy_seconds, .. } = self.counted_usage();
        ModelTime { tokens, busy_seconds }
    }
}
