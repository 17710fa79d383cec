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

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded, select_biased};
use pipeline::{BoxError, Embedder, EmbedderUsage, ModelInfo};

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

/// Usage counters of a handle.
type UsageCounter = Arc<Mutex<EmbedderUsage>>;

struct Queues {
    /// Calls of a single batch.
    small: Sender<Task>,
    /// Calls of several batches whose tokens would fit in one.
    medium: Sender<Task>,
    large: Sender<Task>,
}

/// One batch, for any thread.
struct Task {
    ids: Vec<u32>,
    /// End of each sequence in `ids`.
    ends: Vec<usize>,
    /// Index of the batch within the call.
    batch_index: usize,
    reply: Sender<(usize, Result<Vec<f32>, ModelError>)>,
    usage: UsageCounter,
}

/// Errors of [`ModelHandle::embed`].
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
        let mut usage = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        usage.reused_sequences += (sequences.len() - different.len()) as u64;
        let tokens = |all: &[&[u32]]| all.iter().map(|one| one.len() as u64).sum::<u64>();
        usage.reused_tokens += tokens(sequences) - tokens(&different);
        drop(usage);
        Ok(which.iter().flat_map(|&at| &found[at * dim..][..dim]).copied().collect())
    }

    fn usage(&self) -> EmbedderUsage {
        let mut usage = *self.usage.lock().unwrap_or_else(PoisonError::into_inner);
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

/// State of a thread.
struct ModelThread<M> {
    model: M,
    name: String,
    dim: usize,
    budget: Arc<TokenBudget>,
    /// Read lock during each computation; write lock for a computation that needs all memory.
    memory_lock: Arc<RwLock<()>>,
    small: Receiver<Task>,
    medium: Receiver<Task>,
    large: Receiver<Task>,
}

impl<M> ModelThread<M>
where
    M: Fn(&Batch, &[&[u32]]) -> Result<Vec<f32>, BoxError>,
{
    fn serve(&self) {
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
                let mut usage = account.lock().unwrap_or_else(PoisonError::into_inner);
                usage.sequences += batch.members.len() as u64;
                usage.tokens += (batch.tokens() - batch.padding()) as u64;
                usage.padding_tokens += batch.padding() as u64;
                usage.forward_passes += 1;
                usage.busy_seconds += started.elapsed().as_secs_f64();
                Ok(vectors)
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(panic) => Err(panic_message(&*panic)),
        }
    }
}

impl Task {
    fn new<'a>(
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

    fn sequences(&self) -> Vec<&[u32]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.ids[start..end]).collect()
    }

    /// `true` if both tasks come from the same handle.
    fn has_same_caller(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.usage, &other.usage)
    }

    /// Sends the reply; ignores callers that have stopped waiting.
    fn answer(&self, answer: Result<Vec<f32>, ModelError>) {
        drop(self.reply.send((self.batch_index, answer)));
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

/// The message of a panic.
fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("panic without a message")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;

    const LIMITS: BatchLimits =
        BatchLimits { max_tokens: 32, max_padding_percent: 0, token_multiple: 1 };

    fn info() -> ModelInfo {
        ModelInfo {
            path: PathBuf::from("fake"),
            short_name: "fake".into(),
            dim: 2,
            max_tokens: 40,
            fingerprint: String::new(),
        }
    }

    /// Each vector is the length of the sequence and the sum of its ids. Token 13 panics, 14 fails.
    fn fake(batch: &Batch, sequences: &[&[u32]]) -> Result<Vec<f32>, BoxError> {
        let members = batch.members.iter().map(|&member| sequences[member]);
        assert!(members.clone().all(|sequence| !sequence.contains(&13)), "thirteen");
        if members.clone().any(|sequence| sequence.contains(&14)) {
            return Err("fourteen".into());
        }
        Ok(members.flat_map(expected).collect())
    }

    fn expected(sequence: &[u32]) -> [f32; 2] {
        let sum: u32 = sequence.iter().sum();
        [sequence.len() as f32, sum as f32]
    }

    fn start(threads: usize) -> ModelHandle {
        started(TokenBudget::fixed(LIMITS), (0..threads).map(|_| fake))
    }

    fn started<M>(budget: TokenBudget, models: impl Iterator<Item = M>) -> ModelHandle
    where
        M: Fn(&Batch, &[&[u32]]) -> Result<Vec<f32>, BoxError> + Send + 'static,
    {
        ModelHandle::new(Arc::new(ModelThreads::start(info(), 1000, budget, models).unwrap()))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn vectors_come_back_in_order(
            sequences in prop::collection::vec(prop::collection::vec(100_u32..104, 1..40), 0..60),
            threads in 1_usize..4,
        ) {
            let worker = start(threads);
            let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
            let wanted: Vec<f32> = sequences.iter().flat_map(|sequence| expected(sequence)).collect();
            prop_assert_eq!(worker.embed(&sequences).unwrap(), wanted);
            let usage = worker.usage();
            let different: std::collections::HashSet<_> = sequences.iter().collect();
            prop_assert_eq!(usage.sequences, different.len() as u64);
            prop_assert_eq!(usage.tokens, different.iter().map(|sequence| sequence.len() as u64).sum::<u64>());
            prop_assert_eq!(usage.sequences + usage.reused_sequences, sequences.len() as u64);
            let tokens = sequences.iter().map(|sequence| sequence.len() as u64).sum::<u64>();
            prop_assert_eq!(usage.tokens + usage.reused_tokens, tokens);
        }
    }

    #[test]
    fn a_panic_is_an_answer_and_the_thread_lives_on() {
        let worker = start(2);
        let error = worker.embed(&[&[1, 13]]).unwrap_err().to_string();
        assert_eq!(error, "model `fake` failed: thirteen");
        let error = worker.embed(&[&[1, 14]]).unwrap_err().to_string();
        assert_eq!(error, "model `fake` failed: fourteen");
        assert_eq!(worker.embed(&[&[1, 2]]).unwrap(), [2.0, 3.0]);
    }

    #[test]
    fn sequences_that_the_model_cannot_read_are_refused() {
        let worker = start(2);
        insta::assert_snapshot!(worker.embed(&[&[1; 41]]).unwrap_err(), @"invalid sequence of 41 tokens for model `fake`: expected 1 to 40");
        insta::assert_snapshot!(worker.embed(&[&[]]).unwrap_err(), @"invalid sequence of 0 tokens for model `fake`: expected 1 to 40");
        insta::assert_snapshot!(worker.embed(&[&[1, 1000]]).unwrap_err(), @"invalid token id 1000 for model `fake`: its vocabulary has 1000 tokens");
    }

    /// A device with memory for so many tokens that fails with libtorch's messages. Also returns
    /// the largest computed batch and the number of failures.
    fn narrow(
        memory: usize,
        said: &'static str,
        limits: BatchLimits,
        threads: usize,
    ) -> (ModelHandle, Arc<Mutex<(usize, usize)>>) {
        let seen = Arc::new(Mutex::new((0, 0)));
        let model = |_| {
            let seen = Arc::clone(&seen);
            move |batch: &Batch, sequences: &[&[u32]]| {
                let mut seen = seen.lock().unwrap();
                if batch.tokens() > memory {
                    seen.1 += 1;
                    return Err(said.into());
                }
                seen.0 = seen.0.max(batch.tokens());
                fake(batch, sequences)
            }
        };
        let models = (0..threads).map(model).collect::<Vec<_>>();
        (started(TokenBudget::fixed(limits), models.into_iter()), seen)
    }

    /// Messages of libtorch 2.11: of a GPU, of cuBLAS, and of a CPU.
    const NO_MEMORY: [&str; 3] = [
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.19 GiB of which 1.2 GiB is free.",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate \
         1649267441664 bytes. Error code 12 (Cannot allocate memory)",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn a_batch_without_memory_is_halved(
            sequences in prop::collection::vec(prop::collection::vec(100_u32..900, 1..20), 1..60),
            memory in 20_usize..300,
            fill in 1_usize..8,
            threads in 1_usize..3,
            said in prop::sample::select(&NO_MEMORY[..]),
        ) {
            let limits = BatchLimits { max_tokens: 256, max_padding_percent: 3, token_multiple: fill };
            let (worker, seen) = narrow(memory.max(19 + fill), said, limits, threads);
            let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
            let wanted: Vec<f32> = sequences.iter().flat_map(|sequence| expected(sequence)).collect();
            // The batch size must converge: in the end no batch is too large.
            let mut failed = usize::MAX;
            let rounds = (0..60).take_while(|_| {
                let before = std::mem::replace(&mut failed, seen.lock().unwrap().1);
                assert_eq!(&worker.embed(&sequences).unwrap(), &wanted);
                before != failed || seen.lock().unwrap().1 != failed
            });
            prop_assert!(rounds.count() < 60);
        }
    }

    #[test]
    fn one_sequence_without_memory_is_an_answer() {
        let (worker, _) = narrow(10, NO_MEMORY[0], LIMITS, 2);
        let error = worker.embed(&[&[1; 8], &[2; 30], &[3; 7]]).unwrap_err().to_string();
        assert!(error.starts_with(
            "out of memory for a sequence of 30 tokens in model `fake`: CUDA out of memory"
        ));
        assert_eq!(worker.embed(&[&[1, 2]]).unwrap(), [2.0, 3.0]);
    }

    #[test]
    fn a_sequence_for_which_others_leave_no_memory_is_tried_alone() {
        // Two threads with memory for 40 tokens in total.
        let used = Arc::new(Mutex::new(0));
        let model = |_| {
            let used = Arc::clone(&used);
            move |batch: &Batch, sequences: &[&[u32]]| {
                let tokens = batch.tokens();
                {
                    let mut used = used.lock().unwrap();
                    if *used + tokens > 40 {
                        return Err(NO_MEMORY[0].into());
                    }
                    *used += tokens;
                }
                std::thread::sleep(std::time::Duration::from_millis(2));
                *used.lock().unwrap() -= tokens;
                fake(batch, sequences)
            }
        };
        let models = (0..2).map(model).collect::<Vec<_>>();
        let worker = started(TokenBudget::fixed(LIMITS), models.into_iter());
        std::thread::scope(|scope| {
            for caller in 0..8 {
                let worker = &worker;
                scope.spawn(move || {
                    let sequence = vec![100 + caller; 30];
                    assert_eq!(worker.embed(&[&sequence]).unwrap(), expected(&sequence));
                });
            }
        });
    }

    #[test]
    fn numbers_that_are_none_are_no_vectors() {
        let model = |batch: &Batch, sequences: &[&[u32]]| {
            let mut vectors = fake(batch, sequences)?;
            vectors.iter_mut().filter(|number| **number == 15.0).for_each(|it| *it = f32::NAN);
            Ok(vectors)
        };
        let worker = started(TokenBudget::fixed(LIMITS), [model].into_iter());
        assert_eq!(worker.embed(&[&[1, 2]]).unwrap(), [2.0, 3.0]);
        let error = worker.embed(&[&[15; 15]]).unwrap_err().to_string();
        assert!(
            error.starts_with("model `fake` returned a vector with non-finite values: its weights"),
            "{error}"
        );
    }

    #[test]
    fn many_callers_get_their_own_and_nobody_fails_for_another() {
        let worker = start(2);
        std::thread::scope(|scope| {
            for caller in 0_u32..16 {
                let worker = &worker;
                scope.spawn(move || {
                    for round in 0..50 {
                        let token = if caller == 3 { 14 } else { 100 + caller };
                        let sequence = vec![token; 1 + (round % 7)];
                        let answer = worker.embed(&[&sequence]);
                        assert_eq!(answer.is_err(), caller == 3);
                        if let Ok(vector) = answer {
                            assert_eq!(vector, expected(&sequence));
                        }
                    }
                });
            }
        });
    }

    /// The first ids of the batches after the first one of each thread, when another handle embeds
    /// `asked` during a large call.
    fn seen_beside_a_large_call(
        threads: usize,
        asked: &[&[u32]],
        waits: fn(&Queues) -> bool,
    ) -> Vec<u32> {
        // Every thread holds a batch of the large call until the other call is in its queue.
        let (entered, has_entered) = bounded(threads);
        let (go, may_go) = bounded::<()>(0);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let model = |_| {
            let (log, entered, may_go) = (Arc::clone(&seen), entered.clone(), may_go.clone());
            move |batch: &Batch, sequences: &[&[u32]]| {
                let before = {
                    let mut log = log.lock().unwrap();
                    log.push(sequences[batch.members[0]][0]);
                    log.len() - 1
                };
                if before < threads {
                    entered.send(()).unwrap();
                    // All threads continue when the sender is dropped.
                    may_go.recv().unwrap_err();
                }
                fake(batch, sequences)
            }
        };
        let models = (0..threads).map(model).collect::<Vec<_>>();
        let limits = BatchLimits { max_tokens: 600, ..LIMITS };
        let operation = started(TokenBudget::fixed(limits), models.into_iter());
        let search = ModelHandle::new(Arc::clone(&operation.threads));
        let large: Vec<Vec<u32>> =
            (0..100).map(|nth| (0..30).map(|place| 100 + nth + place).collect()).collect();
        let large: Vec<&[u32]> = large.iter().map(Vec::as_slice).collect();
        std::thread::scope(|scope| {
            let whole = scope.spawn(|| operation.embed(&large).unwrap().len());
            (0..threads).for_each(|_| has_entered.recv().unwrap());
            let small = scope.spawn(|| search.embed(asked).unwrap());
            while !waits(operation.threads.queues.as_ref().unwrap()) {
                std::thread::yield_now();
            }
            drop(go);
            let wanted: Vec<f32> = asked.iter().flat_map(|sequence| expected(sequence)).collect();
            assert_eq!(small.join().unwrap(), wanted);
            assert_eq!(whole.join().unwrap(), 200);
        });
        // Each handle has only its own usage.
        let tokens = asked.iter().map(|sequence| sequence.len() as u64).sum::<u64>();
        assert_eq!(search.usage().tokens, tokens);
        assert_eq!((operation.usage().sequences, operation.usage().tokens), (100, 3000));
        let mut seen = seen.lock().unwrap().clone();
        seen.split_off(threads)
    }

    #[test]
    fn a_question_waits_for_no_more_than_one_batch_of_an_operation() {
        let seen = seen_beside_a_large_call(1, &[&[1, 2]], |queues| !queues.small.is_empty());
        assert_eq!(seen[0], 1, "{seen:?}");
        assert!(seen.len() > 3, "the call was large: {seen:?}");
    }

    #[test]
    fn neither_do_several_questions_that_are_divided_among_threads() {
        let questions: Vec<Vec<u32>> =
            (0..30).map(|nth| vec![1, 200 + nth, 7, 7, 7, 7, 7, 7, 7, 7]).collect();
        let questions: Vec<&[u32]> = questions.iter().map(Vec::as_slice).collect();
        let seen = seen_beside_a_large_call(2, &questions, |queues| queues.medium.len() == 2);
        assert_eq!(seen[..2], [1, 1], "{seen:?}");
    }

    #[test]
    fn the_threads_end_with_the_last_handle() {
        let first = start(1);
        let second = ModelHandle::new(Arc::clone(&first.threads));
        let threads = Arc::downgrade(&first.threads);
        drop(first);
        assert_eq!(second.embed(&[&[1, 2]]).unwrap(), [2.0, 3.0]);
        drop(second);
        assert!(threads.upgrade().is_none());
    }
}
