//! The thread that owns a model, and the handle by which everybody else uses it.
//!
//! Requests wait in a bounded queue. A request of at most one batch is *small*: a question of a search,
//! say. Small requests that wait together are computed together, and they are let in between the batches of
//! a large one, so that a question does not wait until a window of thousands of chunks is done.
//!
//! A failure of the model, even a panic, is the answer to the requests that it struck; the thread goes on
//! with the next. What the model is does not matter here: it is a function of a batch.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};
use pipeline::{BoxError, Embedder, EmbedderUsage, ModelInfo};

use crate::batcher::{Batch, Limits, distinct, plan};

/// Requests that may wait; each belongs to a caller that waits for it, so more would not help anybody.
const QUEUE: usize = 64;

/// A model behind its thread.
pub(crate) struct Worker {
    info: ModelInfo,
    vocabulary: usize,
    usage: Arc<Mutex<EmbedderUsage>>,
    /// `None` only while it is dropped.
    requests: Option<Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

struct Request {
    ids: Vec<u32>,
    /// Where each sequence ends in `ids`.
    ends: Vec<usize>,
    reply: Sender<Result<Vec<f32>, ModelError>>,
}

/// Why there are no vectors.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ModelError {
    #[error("the model `{model}` failed: {cause}")]
    Failed { model: String, cause: String },
    #[error("the thread of the model `{0}` has ended")]
    Gone(String),
    #[error(
        "a sequence of {found} tokens was given to the model `{model}`, which reads 1 to {most}"
    )]
    Length { model: String, found: usize, most: usize },
    #[error("a token {found} was given to the model `{model}`, which knows {known}")]
    Token { model: String, found: u32, known: usize },
}

impl Worker {
    /// Starts the thread, loads the model there and waits until that is done.
    ///
    /// # Errors
    /// If the model cannot be loaded.
    pub(crate) fn start<M>(
        info: ModelInfo,
        vocabulary: usize,
        limits: Limits,
        load: impl FnOnce() -> Result<M, BoxError> + Send + 'static,
    ) -> Result<Self, BoxError>
    where
        M: Fn(&Batch, &[&[u32]]) -> Result<Vec<f32>, BoxError>,
    {
        let (requests, queue) = bounded(QUEUE);
        let (ready, loaded) = bounded(1);
        let usage = Arc::default();
        let owner_usage = Arc::clone(&usage);
        let (name, dim) = (info.short_name.clone(), info.dim);
        let owner = move || match catch_unwind(AssertUnwindSafe(load))
            .unwrap_or_else(|panic| Err(words(&*panic).into()))
        {
            Ok(model) => {
                // Whoever started the thread waits for this.
                if ready.send(Ok(())).is_ok() {
                    Owner {
                        model,
                        name,
                        dim,
                        limits,
                        usage: owner_usage,
                        queue,
                        backlog: VecDeque::new(),
                    }
                    .serve();
                }
            }
            Err(error) => drop(ready.send(Err(error))),
        };
        let thread =
            std::thread::Builder::new().name(format!("model {}", info.short_name)).spawn(owner)?;
        loaded.recv()??;
        Ok(Self { info, vocabulary, usage, requests: Some(requests), thread: Some(thread) })
    }

    fn check(&self, sequences: &[&[u32]]) -> Result<(), ModelError> {
        let model = || self.info.short_name.clone();
        for sequence in sequences {
            if sequence.is_empty() || sequence.len() > self.info.max_tokens {
                let (found, most) = (sequence.len(), self.info.max_tokens);
                return Err(ModelError::Length { model: model(), found, most });
            }
            // On a GPU such a token would end the whole process's use of it.
            let largest = sequence.iter().max().copied().unwrap_or_default();
            if largest as usize >= self.vocabulary {
                return Err(ModelError::Token {
                    model: model(),
                    found: largest,
                    known: self.vocabulary,
                });
            }
        }
        Ok(())
    }
}

impl Embedder for Worker {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn embed(&self, sequences: &[&[u32]]) -> Result<Vec<f32>, BoxError> {
        if sequences.is_empty() {
            return Ok(Vec::new());
        }
        self.check(sequences)?;
        let mut end = 0;
        let ends = sequences.iter().map(|sequence| {
            end += sequence.len();
            end
        });
        let (reply, answer) = bounded(1);
        let request = Request { ends: ends.collect(), ids: sequences.concat(), reply };
        let gone = || ModelError::Gone(self.info.short_name.clone());
        let requests = self.requests.as_ref().expect("taken only when dropped");
        requests.send(request).map_err(|_| gone())?;
        Ok(answer.recv().map_err(|_| gone())??)
    }

    fn usage(&self) -> EmbedderUsage {
        *self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Without a sender the thread ends. It is waited for, because libtorch does not like to be
        // unloaded while a thread still computes.
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// What the thread has.
struct Owner<M> {
    model: M,
    name: String,
    dim: usize,
    limits: Limits,
    usage: Arc<Mutex<EmbedderUsage>>,
    queue: Receiver<Request>,
    /// Large requests that were taken from the queue while looking for small ones.
    backlog: VecDeque<Request>,
}

impl<M> Owner<M>
where
    M: Fn(&Batch, &[&[u32]]) -> Result<Vec<f32>, BoxError>,
{
    fn serve(&mut self) {
        while let Some(request) = self.backlog.pop_front().or_else(|| self.queue.recv().ok()) {
            if request.ids.len() <= self.limits.tokens {
                self.answer_small(vec![request]);
            } else {
                let answer = self.embed(&request.sequences(), Self::answer_waiting);
                request.answer(answer);
            }
        }
    }

    /// Answers the small requests that wait, and keeps the others for later.
    fn answer_waiting(&mut self) {
        if !self.queue.is_empty() {
            self.answer_small(Vec::new());
        }
    }

    /// Answers these requests and the small ones that wait, together as far as they fit into a batch.
    fn answer_small(&mut self, mut together: Vec<Request>) {
        let mut tokens: usize = together.iter().map(|request| request.ids.len()).sum();
        while let Ok(request) = self.queue.try_recv() {
            if request.ids.len() > self.limits.tokens {
                self.backlog.push_back(request);
                continue;
            }
            tokens += request.ids.len();
            together.push(request);
            if tokens >= self.limits.tokens {
                break;
            }
        }
        let sequences: Vec<&[u32]> = together.iter().flat_map(Request::sequences).collect();
        let answer = self.embed(&sequences, |_| {});
        match answer {
            Ok(vectors) => {
                let mut rest = &vectors[..];
                for request in &together {
                    let (own, others) = rest.split_at(request.ends.len() * self.dim);
                    rest = others;
                    request.answer(Ok(own.to_vec()));
                }
            }
            // Nobody is to fail for what another one asked.
            Err(_) if together.len() > 1 => {
                for request in &together {
                    request.answer(self.embed(&request.sequences(), |_| {}));
                }
            }
            Err(error) => together.iter().for_each(|request| request.answer(Err(error.clone()))),
        }
    }

    /// Embeds sequences, equal ones once, and brings the vectors into their order. `between` is called
    /// after each batch.
    fn embed(
        &mut self,
        sequences: &[&[u32]],
        mut between: impl FnMut(&mut Self),
    ) -> Result<Vec<f32>, ModelError> {
        let (different, which) = distinct(sequences);
        let lengths: Vec<usize> = different.iter().map(|sequence| sequence.len()).collect();
        let mut found = vec![0.0; different.len() * self.dim];
        for batch in plan(&lengths, self.limits) {
            let vectors = self.forward(&batch, &different)?;
            for (&member, vector) in batch.members.iter().zip(vectors.chunks_exact(self.dim)) {
                found[member * self.dim..][..self.dim].copy_from_slice(vector);
            }
            between(self);
        }
        if different.len() == sequences.len() {
            return Ok(found);
        }
        Ok(which.iter().flat_map(|&at| &found[at * self.dim..][..self.dim]).copied().collect())
    }

    fn forward(&self, batch: &Batch, sequences: &[&[u32]]) -> Result<Vec<f32>, ModelError> {
        let started = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| (self.model)(batch, sequences)));
        let cause = match result {
            Ok(Ok(vectors)) => {
                let mut usage = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
                usage.sequences += batch.members.len() as u64;
                usage.tokens += (batch.tokens() - batch.padding()) as u64;
                usage.padding += batch.padding() as u64;
                usage.batches += 1;
                usage.busy_seconds += started.elapsed().as_secs_f64();
                return Ok(vectors);
            }
            Ok(Err(error)) => error.to_string(),
            Err(panic) => words(&*panic),
        };
        Err(ModelError::Failed { model: self.name.clone(), cause })
    }
}

impl Request {
    fn sequences(&self) -> Vec<&[u32]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.ids[start..end]).collect()
    }

    /// Sends the answer; a caller that is gone does not want it.
    fn answer(&self, answer: Result<Vec<f32>, ModelError>) {
        drop(self.reply.send(answer));
    }
}

/// What a panic said.
fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked").to_owned()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { tokens: 32, slack: 0 };

    fn info() -> ModelInfo {
        ModelInfo {
            path: PathBuf::from("fake"),
            short_name: "fake".into(),
            dim: 2,
            max_tokens: 40,
            fingerprint: String::new(),
        }
    }

    /// Each vector is the sequence's length and the sum of its ids. The token 13 makes it panic, 14 fail.
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

    fn start() -> Worker {
        Worker::start(info(), 1000, LIMITS, || Ok(fake)).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn vectors_come_back_in_order(sequences in prop::collection::vec(prop::collection::vec(100_u32..104, 1..40), 0..60)) {
            let worker = start();
            let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
            let wanted: Vec<f32> = sequences.iter().flat_map(|sequence| expected(sequence)).collect();
            prop_assert_eq!(worker.embed(&sequences).unwrap(), wanted);
            let usage = worker.usage();
            let different: std::collections::HashSet<_> = sequences.iter().collect();
            prop_assert_eq!(usage.sequences, different.len() as u64);
            prop_assert_eq!(usage.tokens, different.iter().map(|sequence| sequence.len() as u64).sum::<u64>());
        }
    }

    #[test]
    fn a_panic_is_an_answer_and_the_thread_lives_on() {
        let worker = start();
        let error = worker.embed(&[&[1, 13]]).unwrap_err().to_string();
        assert_eq!(error, "the model `fake` failed: thirteen");
        let error = worker.embed(&[&[1, 14]]).unwrap_err().to_string();
        assert_eq!(error, "the model `fake` failed: fourteen");
        assert_eq!(worker.embed(&[&[1, 2]]).unwrap(), [2.0, 3.0]);
    }

    #[test]
    fn what_cannot_be_loaded_says_why() {
        let failed = Worker::start(info(), 9, LIMITS, || {
            Err::<fn(&Batch, &[&[u32]]) -> _, _>("no weights".into())
        });
        assert_eq!(failed.err().unwrap().to_string(), "no weights");
    }

    #[test]
    fn sequences_that_the_model_cannot_read_are_refused() {
        let worker = start();
        insta::assert_snapshot!(worker.embed(&[&[1; 41]]).unwrap_err(), @"a sequence of 41 tokens was given to the model `fake`, which reads 1 to 40");
        insta::assert_snapshot!(worker.embed(&[&[]]).unwrap_err(), @"a sequence of 0 tokens was given to the model `fake`, which reads 1 to 40");
        insta::assert_snapshot!(worker.embed(&[&[1, 1000]]).unwrap_err(), @"a token 1000 was given to the model `fake`, which knows 1000");
    }

    #[test]
    fn many_callers_get_their_own_and_nobody_fails_for_another() {
        let worker = start();
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

    #[test]
    fn a_small_request_does_not_wait_for_a_large_one() {
        // The model holds the large request's first batch until the small request is in the queue.
        let (entered, has_entered) = bounded(1);
        let (go, may_go) = bounded::<()>(0);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let model = move |batch: &Batch, sequences: &[&[u32]]| {
            let first = log.lock().unwrap().is_empty();
            log.lock().unwrap().push(sequences[batch.members[0]][0]);
            if first {
                entered.send(()).unwrap();
                may_go.recv().unwrap();
            }
            fake(batch, sequences)
        };
        let worker = Worker::start(info(), 1000, LIMITS, || Ok(model)).unwrap();
        let large: Vec<Vec<u32>> = (100..150).map(|id| vec![id; 30]).collect();
        let large: Vec<&[u32]> = large.iter().map(Vec::as_slice).collect();
        std::thread::scope(|scope| {
            let large = scope.spawn(|| worker.embed(&large).unwrap().len());
            has_entered.recv().unwrap();
            let small = scope.spawn(|| worker.embed(&[&[1, 2]]).unwrap());
            while worker.requests.as_ref().unwrap().is_empty() {
                std::thread::yield_now();
            }
            go.send(()).unwrap();
            assert_eq!(small.join().unwrap(), [2.0, 3.0]);
            assert_eq!(large.join().unwrap(), 100);
        });
        assert_eq!(seen.lock().unwrap()[..3], [100, 1, 101]);
    }
}
