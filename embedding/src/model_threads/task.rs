//! A batch on its way to a thread, and the errors of a call.

use std::sync::{Arc, Mutex};

use crossbeam_channel::Sender;
use pipeline::EmbedderUsage;

/// Usage counters of a handle.
pub(super) type UsageCounter = Arc<Mutex<EmbedderUsage>>;

/// One batch, for any thread.
pub(super) struct Task {
    pub(super) ids: Vec<u32>,
    /// End of each sequence in `ids`.
    pub(super) ends: Vec<usize>,
    /// Index of the batch within the call.
    pub(super) batch_index: usize,
    pub(super) reply: Sender<(usize, Result<Vec<f32>, ModelError>)>,
    pub(super) usage: UsageCounter,
}

impl Task {
    pub(super) fn new<'a>(
        sequences: impl Iterator<Item = &'a [u32]>,
        number: usize,
        reply: Sender<(usize, Result<Vec<f32>, ModelError>)>,
        account: UsageCounter,
    ) -> Self {
        let mut task =
            Self { ids: Vec::new(), ends: Vec::new(), batch_index: number, reply, usage: account };
        for sequence in sequences {
            task.ids.extend_from_slice(sequence);
            task.ends.push(task.ids.len());
        }
        task
    }

    pub(super) fn sequences(&self) -> Vec<&[u32]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.ids[start..end]).collect()
    }

    /// `true` if both tasks come from the same handle.
    pub(super) fn has_same_caller(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.usage, &other.usage)
    }

    /// Sends the reply; ignores callers that have stopped waiting.
    pub(super) fn answer(&self, answer: Result<Vec<f32>, ModelError>) {
        drop(self.reply.send((self.batch_index, answer)));
    }
}

/// Errors of the threads of [`super::ModelHandle`].
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ModelError {
    #[error("model `{model}` failed: {cause}")]
    Failed { model: String, cause: String },
    #[error("out of memory for a sequence of {tokens} tokens in model `{model}`: {cause}")]
    OutOfMemory { model: String, tokens: usize, cause: String },
    #[error(
        "model `{0}` returned a vector with non-finite values: its weights are damaged, or they are too \
         large for float16; in that case use bfloat16 or float32"
    )]
    NotFinite(String),
    #[error("the threads of model `{0}` have ended")]
    Stopped(String),
    #[error("invalid sequence of {found} tokens for model `{model}`: expected 1 to {most}")]
    SequenceTooLong { model: String, found: usize, most: usize },
    #[error("invalid token id {found} for model `{model}`: its vocabulary has {known} tokens")]
    UnknownToken { model: String, found: u32, known: usize },
}
