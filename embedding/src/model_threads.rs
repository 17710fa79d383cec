//! The threads that own a model, and the handle through which callers use them.
//!
//! A caller plans batches and sends them to a bounded queue; each thread takes the next batch and
//! computes it completely, so that threads do not wait for each other. A call of a single batch,
//! such as a search query, goes to a separate queue with priority, so it does not wait for
//! thousands of chunks of an operation. Waiting calls of this kind are computed together. Calls
//! that fit in one batch but are divided among the threads have the second priority.
//!
//! The threads ([`ModelThreads`]) can serve several handles ([`ModelHandle`]): a search and an
//! operation in one process share a model, and each handle has its own usage counters.
//!
//! An error or panic of the model is returned to the call that caused it; the thread continues with
//! the next batch. A batch that runs out of memory is halved and retried, down to one sequence,
//! which is retried while no other thread computes. The budget decides whether later batches
//! shrink, too. This file is independent of the model, which is a function of a batch.

mod task;
mod thread;

use std::sync::{Arc, RwLock};
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, bounded};
use pipeline::{BoxError, Embedder, EmbedderUsage, ModelInfo, lock};

use self::task::{ModelError, Task, UsageCounter};
use self::thread::ModelThread;
use crate::batcher::{Batch, BatchLimits, deduplicate, plan_batches};
use crate::budget::TokenBudget;

/// Capacity of the queues of small calls, in batches; each batch has a waiting caller.
const SMALL_QUEUE: usize = 64;

/// Smallest number of tokens in a batch that is split off only to occupy another thread.
const MIN_SPLIT_TOKENS: usize = 256;

/// A model with its threads, shared by handles.
pub(crate) struct ModelThreads {
    info: ModelInfo,
    vocab_size: usize,
    budget: Arc<TokenBudget>,
    /// `None` only during drop.
    queues: Option<Queues>,
    threads: Vec<JoinHandle<()>>,
}

/// A handle of a model. The threads end with the last handle.
pub(crate) struct ModelHandle {
    threads: Arc<ModelThreads>,
    /// Usage through this handle.
    usage: UsageCounter,
}

struct Queues {
    /// Calls of a single batch.
    small: Sender<Task>,
    /// Calls of several batches whose tokens would fit in one.
    medium: Sender<Task>,
    large: Sender<Task>,
}

impl ModelThreads {
    /// Starts one thread per model; all of them are the same model.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub(crate) fn start<M>(
        info: ModelInfo,
        vocabulary: usize,
        budget: TokenBudget,
        models: impl Iterator<Item = M>,
    ) -> Result<Self, BoxError>
    where
        M: Fn(&Batch, &[&[u32]]) -> Result<Vec<f32>, BoxError> + Send + 'static,
    {
        let (small, smalls) = bounded(SMALL_QUEUE);
        // Batches of a large call are sent one by one; one waits here so that a free thread can
        // start immediately.
        let (large, larges) = bounded(1);
        let (divided, divideds) = bounded(SMALL_QUEUE);
        let (budget, turns) = (Arc::new(budget), Arc::new(RwLock::new(())));
        let threads = models
            .map(|model| {
                let owner = ModelThread {
                    model,
                    name: info.short_name.clone(),
                    dim: info.dim,
                    budget: Arc::clone(&budget),
                    memory_lock: Arc::clone(&turns),
                    small: smalls.clone(),
                    medium: divideds.clone(),
                    large: larges.clone(),
                };
                std::thread::Builder::new()
                    .name(format!("model {}", info.short_name))
                    .spawn(move || owner.serve())
            })
            .collect::<Result<_, _>>()?;
        let queues = Some(Queues { small, medium: divided, large });
        Ok(Self { info, vocab_size: vocabulary, budget, queues, threads })
    }

    fn check(&self, sequences: &[&[u32]]) -> Result<(), ModelError> {
        let model = || self.info.short_name.clone();
        for sequence in sequences {
            if sequence.is_empty() || sequence.len() > self.info.max_tokens {
                let (found, most) = (sequence.len(), self.info.max_tokens);
                return Err(ModelError::SequenceTooLong { model: model(), found, most });
            }
            // On a GPU, an id out of range would invalidate the CUDA context of the process.
            let largest = sequence.iter().max().copied().unwrap_or_default();
            if largest as usize >= self.vocab_size {
                return Err(ModelError::UnknownToken {
                    model: model(),
                    found: largest,
                    known: self.vocab_size,
                });
            }
        }
        Ok(())
    }

    /// Batches for these sequences, and the queue for them. Batches are as large as allowed, but
    /// there is at least one per thread if there is enough work.
    fn batches(&self, sequences: &[&[u32]]) -> (Vec<Batch>, &Sender<Task>) {
        let lengths: Vec<usize> = sequences.iter().map(|sequence| sequence.len()).collect();
        let all = lengths.iter().sum::<usize>();
        let share = all / self.threads.len().max(1);
        let limits = self.budget.for_call(all);
        let tokens = limits.max_tokens.min(share.max(MIN_SPLIT_TOKENS));
        let batches = plan_batches(&lengths, BatchLimits { max_tokens: tokens, ..limits });
        let Queues { small, medium: divided, large } =
            self.queues.as_ref().expect("taken only when dropped");
        let queue = match batches.len() {
            0 | 1 => small,
            _ if all <= limits.max_tokens => divided,
            _ => large,
        };
        (batches, queue)
    }
}

impl ModelHandle {
    /// A handle of these threads with zero usage.
    pub(crate) fn new(threads: Arc<ModelThreads>) -> Self {
        Self { threads, usage: UsageCounter::default() }
    }
}

impl Embedder for ModelHandle {
    fn info(&self) -> &ModelInfo {
        &self.threads.info
    }

    fn embed(&self, sequences: &[&[u32]]) -> Result<Vec<f32>, BoxError> {
        self.threads.check(sequences)?;
        let (different, which) = deduplicate(sequences);
        let (batches, queue) = self.threads.batches(&different);
        let info = self.info();
        let gone = || ModelError::Stopped(info.short_name.clone());

        // The channel holds all replies, so no thread waits for a caller.
        let (reply, answers) = bounded(batches.len());
        for (number, batch) in batches.iter().enumerate() {
            let members = batch.members.iter().map(|&member| different[member]);
            let task = Task::new(members, number, reply.clone(), Arc::clone(&self.usage));
            queue.send(task).map_err(|_| gone())?;
        }
        drop(reply);
        let dim = info.dim;
        let mut found = vec![0.0; different.len() * dim];
        for _ in &batches {
            let (number, vectors) = answers.recv().map_err(|_| gone())?;
            for (&member, vector) in batches[number].members.iter().zip(vectors?.chunks_exact(dim))
            {
                found[member * dim..][..dim].copy_from_slice(vector);
            }
        }
        if different.len() == sequences.len() {
            return Ok(found);
        }
        let mut usage = lock(&self.usage);
        usage.reused_sequences += (sequences.len() - different.len()) as u64;
        let tokens = |all: &[&[u32]]| all.iter().map(|one| one.len() as u64).sum::<u64>();
        usage.reused_tokens += tokens(sequences) - tokens(&different);
        drop(usage);
        Ok(which.iter().flat_map(|&at| &found[at * dim..][..dim]).copied().collect())
    }

    fn usage(&self) -> EmbedderUsage {
        let mut usage = *lock(&self.usage);
        // The model counts as busy only while all threads are.
        usage.busy_seconds /= self.threads.threads.len().max(1) as f64;
        usage
    }
}

impl Drop for ModelThreads {
    fn drop(&mut self) {
        // The threads end when the senders are dropped. Join them, because libtorch must not be
        // unloaded while a thread computes.
        self.queues = None;
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests;
