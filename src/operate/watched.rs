//! How far an operation is, whoever carries it out, and how it is cut short.

use std::sync::PoisonError;

use pipeline::{EmbedderUsage, Progress, Watch};

use super::{ModelTime, Operator};

impl Operator {
    /// A watch for [`Operator::progress`]; each watcher has its own.
    pub(crate) fn watch(&self) -> Watch {
        self.watch.clone()
    }

    /// How far the operation is, whoever carries it out.
    pub(crate) fn progress(&self, watch: &mut Watch) -> Progress {
        let followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(progress) = &*followed {
            return progress.clone();
        }
        drop(followed);
        watch.look(self.counted_usage())
    }

    /// Cuts an operation short that was asked to stop: what the model has not begun with is left for the next run.
    /// `false` where that cannot be done, or was done before.
    pub(crate) fn cut_short(&self) -> bool {
        let is_elsewhere = self.followed.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if is_elsewhere || self.cut_short.is_cancelled() {
            return false;
        }
        self.cut_short.cancel();
        true
    }

    /// What the model has done so far, counted in the metrics. It is not loaded for the question.
    fn counted_usage(&self) -> EmbedderUsage {
        if self.embedder.get().is_none() {
            return EmbedderUsage::default();
        }
        let usage = self.usage();
        self.metrics.embedding(&self.model.short_name, usage);
        usage
    }

    /// What the model has done so far, for the report.
    pub(super) fn model_time(&self) -> ModelTime {
        let EmbedderUsage { tokens, busy_seconds, .. } = self.counted_usage();
        ModelTime { tokens, busy_seconds }
    }
}
