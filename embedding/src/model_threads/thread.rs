//! One thread of a model: takes batches from the queues and computes them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use crossbeam_channel::{Receiver, select_biased};
use pipeline::{BoxError, lock, panic_message};

use crate::batcher::{Batch, BatchLimits, plan_batches};
use crate::budget::TokenBudget;
use crate::model_threads::task::{ModelError, Task, UsageCounter};

/// State of a thread.
pub(super) struct ModelThread<M> {
    pub(super) model: M,
    pub(super) name: String,
    pub(super) dim: usize,
    pub(super) budget: Arc<TokenBudget>,
    /// Read lock during each computation; write lock for a computation that needs all memory.
    pub(super) memory_lock: Arc<RwLock<()>>,
    pub(super) small: Receiver<Task>,
    pub(super) medium: Receiver<Task>,
    pub(super) large: Receiver<Task>,
}

impl<M> ModelThread<M>
where
    M: Fn(&Batch, &[&[u32]]) -> Result<Vec<f32>, BoxError>,
{
    /// Computes batches until all queues are closed.
    pub(super) fn serve(&self) {
        loop {
            // The first non-empty queue in this order. All queues close when the last handle is
            // dropped.
            let next = select_biased! {
                recv(self.small) -> task => task.map(|task| {
                    // Tasks in one computation share its usage counters, so they must come from one
                    // handle.
                    let (tasks, next) = self.collect_small_tasks(task);
                    tasks.chunk_by(Task::has_same_caller).for_each(|tasks| self.answer(tasks));
                    next.iter().for_each(|task| self.answer(std::slice::from_ref(task)));
                }),
                recv(self.medium) -> task => task.map(|task| self.answer(&[task])),
                recv(self.large) -> task => task.map(|task| self.answer(&[task])),
            };
            if next.is_err() {
                return;
            }
        }
    }

    /// Takes waiting small tasks that fit in a batch with this one; returns the first that did not
    /// fit separately.
    fn collect_small_tasks(&self, task: Task) -> (Vec<Task>, Option<Task>) {
        let mut tokens = task.ids.len();
        let mut together = vec![task];
        while tokens < self.budget.limits().max_tokens
            && let Ok(task) = self.small.try_recv()
        {
            tokens += task.ids.len();
            if tokens > self.budget.limits().max_tokens {
                return (together, Some(task));
            }
            together.push(task);
        }
        (together, None)
    }

    fn answer(&self, tasks: &[Task]) {
        let Some(Task { usage: account, .. }) = tasks.first() else { return };
        let sequences: Vec<&[u32]> = tasks.iter().flat_map(Task::sequences).collect();
        match self.embed(&sequences, account) {
            Ok(vectors) => {
                let mut rest = &vectors[..];
                for task in tasks {
                    let (own, others) = rest.split_at(task.ends.len() * self.dim);
                    rest = others;
                    task.answer(Ok(own.to_vec()));
                }
            }
            // A call must not fail because of another call's input.
            Err(_) if tasks.len() > 1 => {
                for task in tasks {
                    task.answer(self.embed(&task.sequences(), account));
                }
            }
            Err(error) => tasks.iter().for_each(|task| task.answer(Err(error.clone()))),
        }
    }

    /// Embeds sequences planned as one batch, in their order; in several batches if the budget has
    /// shrunk since.
    fn embed(&self, sequences: &[&[u32]], account: &UsageCounter) -> Result<Vec<f32>, ModelError> {
        let lengths: Vec<usize> = sequences.iter().map(|sequence| sequence.len()).collect();
        let mut found = vec![0.0; sequences.len() * self.dim];
        let mut waiting = plan_batches(&lengths, self.budget.limits());
        while let Some(batch) = waiting.pop() {
            let mut computed = {
                let _turn = self.memory_lock.read().unwrap_or_else(PoisonError::into_inner);
                self.forward(&batch, sequences, account)
            };
            let lacks_memory = computed.as_ref().is_err_and(|cause| is_out_of_memory(cause));
            if lacks_memory && batch.members.len() == 1 {
                // Retry while no other thread computes, so that their memory is free.
                let _alone = self.memory_lock.write().unwrap_or_else(PoisonError::into_inner);
                computed = self.forward(&batch, sequences, account);
            }
            let vectors = match computed {
                Ok(vectors) => vectors,
                Err(cause) if !is_out_of_memory(&cause) => {
                    return Err(ModelError::Failed { model: self.name.clone(), cause });
                }
                Err(cause) if batch.members.len() == 1 => {
                    let (model, tokens) = (self.name.clone(), batch.tokens());
                    return Err(ModelError::OutOfMemory { model, tokens, cause });
                }
                Err(cause) => {
                    let half = batch.tokens() / 2;
                    let tokens = self.budget.shrink(batch.tokens());
                    tracing::warn!(model = %self.name, half, tokens, cause, "out of memory for a batch; halving it");
                    let limits = self.budget.limits();
                    let tokens = limits.max_tokens.min(half.max(1));
                    waiting.extend(
                        batch.split(&lengths, BatchLimits { max_tokens: tokens, ..limits }),
                    );
                    continue;
                }
            };
            if !vectors.iter().all(|number| number.is_finite()) {
                return Err(ModelError::NotFinite(self.name.clone()));
            }
            for (&member, vector) in batch.members.iter().zip(vectors.chunks_exact(self.dim)) {
                found[member * self.dim..][..self.dim].copy_from_slice(vector);
            }
        }
        Ok(found)
    }

    /// Runs the model once; converts errors and panics to text.
    fn forward(
        &self,
        batch: &Batch,
        sequences: &[&[u32]],
        account: &UsageCounter,
    ) -> Result<Vec<f32>, String> {
        let started = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| (self.model)(batch, sequences)));
        match result {
            Ok(Ok(vectors)) => {
                let mut usage = lock(account);
                usage.sequences += batch.members.len() as u64;
                usage.tokens += (batch.tokens() - batch.padding()) as u64;
                usage.padding_tokens += batch.padding() as u64;
                usage.forward_passes += 1;
                usage.busy_seconds += started.elapsed().as_secs_f64();
                Ok(vectors)
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(panic) => Err(panic_message(&*panic).to_owned()),
        }
    }
}

/// `true` if libtorch failed for lack of memory, of a GPU, of cuBLAS or of the host.
fn is_out_of_memory(cause: &str) -> bool {
    [
        "out of memory",
        "ALLOC_FAILED",
        // cuBLAS reports this if it has no memory for its handle.
        "CUBLAS_STATUS_NOT_INITIALIZED",
        "can't allocate memory",
        "not enough memory",
        "std::bad_alloc",
    ]
    .iter()
    .any(|words| cause.contains(words))
}
