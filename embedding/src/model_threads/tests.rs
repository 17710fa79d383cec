//! Tests of the threads with models that are functions.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crossbeam_channel::bounded;
use pipeline::{BoxError, Embedder as _, ModelInfo};
use proptest::prelude::*;

use super::{ModelHandle, ModelThreads, Queues};
use crate::batcher::{Batch, BatchLimits};
use crate::budget::TokenBudget;

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
