//! A text is embedded only once if the cache keeps its vector, checked with a cache in memory.

use std::path::Path;
use std::sync::Arc;

use embedding::EmbeddingEngine;
use pipeline::test_util::InMemoryCache;
use pipeline::{Cache, CacheKey, Embedder, EmbedderOptions, ModelProvider};
use proptest::prelude::*;

use crate::{copy, options, reference};

/// A cache that keeps nothing.
struct EmptyCache;

impl Cache for EmptyCache {
    fn get(&self, keys: &[CacheKey]) -> Vec<Option<Vec<u8>>> {
        vec![None; keys.len()]
    }

    fn put(&self, _: &[(CacheKey, Vec<u8>)]) {}
}

/// The model in a new engine, as in a separate run.
fn run(memo: &Arc<InMemoryCache>, model: &Path) -> Arc<dyn Embedder> {
    EmbeddingEngine::with_cache(Arc::clone(memo) as _).embedder(model, &options()).unwrap()
}

fn sequences(model: &Path, count: usize) -> Vec<Vec<u32>> {
    let tokenizer = EmbeddingEngine::new().tokenizer(model).unwrap();
    let lines = fs_err::read_to_string(reference().join("texts.jsonl")).unwrap();
    let texts = lines.lines().map(|line| serde_json::from_str::<String>(line).unwrap());
    let room = tokenizer.max_tokens() - tokenizer.num_added_tokens();
    let framed = texts.map(|text| {
        let ids = tokenizer.encode(&text).unwrap().ids;
        tokenizer.add_special_tokens(&ids[..ids.len().min(room)])
    });
    framed.take(count).collect()
}

fn slices(sequences: &[Vec<u32>]) -> Vec<&[u32]> {
    sequences.iter().map(Vec::as_slice).collect()
}

fn tokens(sequences: &[&[u32]]) -> u64 {
    sequences.iter().map(|sequence| sequence.len() as u64).sum()
}

fn bits(vectors: &[f32]) -> Vec<u32> {
    vectors.iter().map(|number| number.to_bits()).collect()
}

#[test]
fn the_second_run_gives_the_same_bits_and_embeds_nothing() {
    let model = reference().join("tiny-e5");
    let memo = Arc::new(InMemoryCache::default());
    let sequences = sequences(&model, 60);
    let sequences = slices(&sequences);

    let first = run(&memo, &model);
    let vectors = first.embed(&sequences).unwrap();
    let usage = first.usage();
    assert_eq!(usage.tokens + usage.reused_tokens, tokens(&sequences));
    assert_eq!(usage.sequences, memo.count() as u64);

    let second = run(&memo, &model);
    // In another order, and divided into other calls.
    let (head, tail) = sequences.split_at(17);
    let again = [second.embed(tail).unwrap(), second.embed(head).unwrap()].concat();
    let dim = second.info().dim;
    let (start, end) = vectors.split_at(17 * dim);
    assert_eq!(bits(&again), bits(&[end, start].concat()));
    let usage = second.usage();
    assert_eq!((usage.sequences, usage.tokens, usage.forward_passes), (0, 0, 0));
    assert_eq!((usage.reused_sequences, usage.reused_tokens), (60, tokens(&sequences)));

    let without = EmbeddingEngine::new().embedder(&model, &options()).unwrap();
    assert_eq!(without.info(), second.info());
}

/// A call that fails midway, like that of a very long document in a run that is killed.
#[test]
fn what_was_computed_of_a_call_that_fails_is_remembered() {
    let model = reference().join("tiny-e5");
    let memo = Arc::new(InMemoryCache::default());
    let embedder = run(&memo, &model);
    let mut sequences: Vec<Vec<u32>> =
        (0..200_u32).map(|n| vec![5 + n % 50; n as usize % 60 + 1]).collect();
    sequences.push(vec![5; embedder.info().max_tokens + 1]);
    embedder.embed(&slices(&sequences)).unwrap_err();
    let computed = memo.count();
    assert!(computed > 0 && computed < 200, "{computed}");

    sequences.pop();
    let vectors = embedder.embed(&slices(&sequences)).unwrap();
    let usage = embedder.usage();
    assert_eq!((usage.sequences, usage.reused_sequences), (200, computed as u64));
    let whole = EmbeddingEngine::new().embedder(&model, &options()).unwrap();
    let expected = whole.embed(&slices(&sequences)).unwrap();
    let near = vectors.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5);
    assert!(near && vectors.len() == expected.len(), "parts do not change vectors");
}

#[test]
fn weights_are_read_at_the_first_miss_and_not_before() {
    let folder = copy("tiny-e5");
    let memo = Arc::new(InMemoryCache::default());
    let sequences = sequences(folder.path(), 4);
    let sequences = slices(&sequences);
    let before = run(&memo, folder.path()).embed(&sequences[..3]).unwrap();

    // From here on the model is described but cannot be loaded.
    let weights = folder.path().join("model.safetensors");
    let engine = EmbeddingEngine::with_cache(Arc::clone(&memo) as _);
    let model = engine.embedder(folder.path(), &options()).unwrap();
    fs_err::remove_file(&weights).unwrap();
    assert_eq!(model.info().dim, 32);
    assert_eq!(model.embed(&[]).unwrap(), Vec::<f32>::new());
    assert_eq!(bits(&model.embed(&sequences[..3]).unwrap()), bits(&before));
    assert_eq!(model.usage().reused_sequences, 3);
    assert!(model.embed(&sequences).is_err(), "the fourth is not cached");

    // Without weights, the next run fails when it requests the model, not at the first missing
    // vector.
    assert!(EmbeddingEngine::with_cache(memo).embedder(folder.path(), &options()).is_err());
}

#[test]
fn a_model_that_is_replaced_during_a_run_is_not_taken_for_the_first_one() {
    let folder = copy("tiny-e5");
    let memo = Arc::new(InMemoryCache::default());
    let model = run(&memo, folder.path());
    let prompts = folder.path().join("tokenizer_config.json");
    let text = fs_err::read_to_string(&prompts).unwrap();
    fs_err::write(&prompts, format!("{text} ")).unwrap();
    let error = model.embed(&[&[2, 5, 3]]).unwrap_err().to_string();
    assert!(error.ends_with("was replaced while it was in use"), "{error}");
    assert_eq!(memo.count(), 0);
}

#[test]
fn another_model_or_other_numbers_miss() {
    let memo = Arc::new(InMemoryCache::default());
    let sequence: &[u32] = &[2, 5, 9, 3];
    let changed = copy("tiny-e5");
    let prompts = changed.path().join("tokenizer_config.json");
    let text = fs_err::read_to_string(&prompts).unwrap();
    fs_err::write(&prompts, format!("{text} ")).unwrap();
    for (nth, model) in
        [&reference().join("tiny-e5"), changed.path(), &reference().join("tiny-bert-cls")]
            .into_iter()
            .enumerate()
    {
        let model = run(&memo, model);
        model.embed(&[sequence]).unwrap();
        assert_eq!(model.usage().sequences, 1, "{nth}");
        assert_eq!(memo.count(), nth + 1);
    }
    let other = EmbedderOptions { dtype: "bfloat16".into(), ..options() };
    let engine = EmbeddingEngine::with_cache(Arc::clone(&memo) as _);
    let model = engine.embedder(&reference().join("tiny-e5"), &other).unwrap();
    model.embed(&[sequence]).unwrap();
    assert_eq!((model.usage().sequences, memo.count()), (1, 4));
    // Performance options and synonyms of the same device do not change the key.
    let same = EmbedderOptions { device: "auto".into(), tokens_per_batch: Some(7), ..options() };
    let model = engine.embedder(&reference().join("tiny-e5"), &same).unwrap();
    model.embed(&[sequence]).unwrap();
    // `auto` is the CPU, as in the other options, unless the machine has a GPU.
    let expected = if tch::Cuda::is_available() { (1, 0) } else { (0, 1) };
    assert_eq!((model.usage().sequences, model.usage().reused_sequences), expected);
}

#[test]
fn a_value_of_another_length_is_a_miss() {
    let memo = Arc::new(InMemoryCache::default());
    let model = run(&memo, Path::new("stand-in:8"));
    let first = model.embed(&[&[0, 77, 1]]).unwrap();
    memo.damage(|value| {
        value.pop();
    });
    assert_eq!(model.embed(&[&[0, 77, 1]]).unwrap(), first);
    assert_eq!(model.usage().sequences, 2);
}

#[test]
fn one_engine_has_one_account_and_a_failure_is_not_remembered() {
    let memo = Arc::new(InMemoryCache::default());
    let engine = EmbeddingEngine::with_cache(Arc::clone(&memo) as _);
    let tiny = reference().join("tiny-e5");
    for model in [Path::new("stand-in:8"), &tiny] {
        let model = || engine.embedder(model, &options()).unwrap();
        model().embed(&[&[2, 6, 3], &[2, 6, 3], &[2, 7, 3]]).unwrap();
        model().embed(&[&[2, 7, 3]]).unwrap();
        let usage = model().usage();
        assert_eq!((usage.sequences, usage.tokens), (2, 6));
        assert_eq!((usage.reused_sequences, usage.reused_tokens), (2, 6));
    }
    let stored = memo.count();
    let model = engine.embedder(&tiny, &options()).unwrap();
    assert!(model.embed(&[&[2, 8, 3], &[2, u32::MAX, 3]]).is_err());
    assert_eq!(memo.count(), stored);
}

#[test]
fn a_memo_that_remembers_nothing_does_no_harm() {
    let engine = EmbeddingEngine::with_cache(Arc::new(EmptyCache));
    let model = engine.embedder(Path::new("stand-in:8"), &options()).unwrap();
    let plain = EmbeddingEngine::new().embedder(Path::new("stand-in:8"), &options()).unwrap();
    let sequences: [&[u32]; 3] = [&[0, 9, 1], &[0, 8, 7, 1], &[0, 9, 1]];
    for _ in 0..2 {
        assert_eq!(model.embed(&sequences).unwrap(), plain.embed(&sequences).unwrap());
    }
    assert_eq!((model.usage().sequences, model.usage().reused_sequences), (4, 2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// For any calls over any number of runs, vectors equal the model's, each sequence is embedded
    /// once in total, and every requested sequence counts as embedded or reused.
    #[test]
    fn nothing_is_embedded_twice(
        runs in prop::collection::vec(
            prop::collection::vec(
                prop::collection::vec(prop::collection::vec(2_u32..5, 1..4), 0..12),
                1..5,
            ),
            1..4,
        ),
    ) {
        let model = Path::new("stand-in:8");
        let memo = Arc::new(InMemoryCache::default());
        let plain = EmbeddingEngine::new().embedder(model, &options()).unwrap();
        let (mut embedded, mut seen) = (0, std::collections::HashSet::new());
        for calls in runs {
            let remembering = run(&memo, model);
            let (mut asked, mut asked_tokens) = (0, 0);
            for call in calls {
                let call_slices = slices(&call);
                let vectors = remembering.embed(&call_slices).unwrap();
                prop_assert_eq!(bits(&vectors), bits(&plain.embed(&call_slices).unwrap()));
                asked += call.len() as u64;
                asked_tokens += tokens(&call_slices);
                seen.extend(call);
            }
            let usage = remembering.usage();
            prop_assert_eq!(usage.sequences + usage.reused_sequences, asked);
            prop_assert_eq!(usage.tokens + usage.reused_tokens, asked_tokens);
            embedded += usage.sequences;
            prop_assert_eq!(embedded, seen.len() as u64);
        }
    }
}
