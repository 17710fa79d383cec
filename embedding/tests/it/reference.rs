//! Vectors and ids equal those of sentence-transformers, stored in files by
//! `tests/reference/make.py`.

use std::collections::HashMap;
use std::path::Path;

use embedding::EmbeddingEngine;
use pipeline::{EmbedderOptions, ModelProvider, TextKind};
use tch::Tensor;

use crate::{minilm, options, reference};

struct ReferenceData {
    vectors: Vec<Vec<f32>>,
    ids: Vec<Vec<u32>>,
}

fn texts() -> Vec<String> {
    let lines = fs_err::read_to_string(reference().join("texts.jsonl")).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn stored(file: &Path, kind: &str) -> ReferenceData {
    let tensors: HashMap<String, Tensor> =
        Tensor::read_safetensors(file).unwrap().into_iter().collect();
    let get = |part: &str| tensors[&format!("{kind}.{part}")].shallow_clone();
    let ids: Vec<i64> = get("ids").try_into().unwrap();
    let mut ids = ids.into_iter().map(|id| u32::try_from(id).unwrap());
    let lengths: Vec<i64> = get("lengths").try_into().unwrap();
    ReferenceData {
        vectors: get("vectors").try_into().unwrap(),
        ids: lengths
            .iter()
            .map(|&length| ids.by_ref().take(usize::try_from(length).unwrap()).collect())
            .collect(),
    }
}

/// Ids of whole texts. For a document that is not truncated, the pipeline's path (`encode`,
/// `frame`) must give the same ids.
fn encoded_inputs(folder: &Path, texts: &[String], kind: TextKind) -> Vec<Vec<u32>> {
    let tokenizer = EmbeddingEngine::new().tokenizer(folder).unwrap();
    // Before an empty text or a special token, the trailing space of a prompt is a separate token.
    // Chunks are never empty, and that token does not matter before a literal `[CLS]`.
    let prefix_shows = |text: &str| text.is_empty() || text.starts_with("[CLS]");
    let read = |text: &String| {
        let reading = tokenizer.encode_input(text, kind).unwrap();
        if kind == TextKind::Document && !reading.truncated && !prefix_shows(text) {
            assert_eq!(
                reading.ids,
                tokenizer.add_special_tokens(&tokenizer.encode(text).unwrap().ids)
            );
        }
        reading.ids
    };
    texts.iter().map(read).collect()
}

fn embed(folder: &Path, options: &EmbedderOptions, ids: &[Vec<u32>]) -> Vec<Vec<f32>> {
    let embedder = EmbeddingEngine::new().embedder(folder, options).unwrap();
    let sequences: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
    let vectors = embedder.embed(&sequences).unwrap();
    vectors.chunks_exact(embedder.info().dim).map(<[f32]>::to_vec).collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn largest_error(a: &[f32], b: &[f32]) -> f32 {
    // Not `f32::max`, which ignores NaN.
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, |most, error| if error <= most { most } else { error })
}

#[test]
fn minilm_equals_sentence_transformers() {
    let (folder, texts) = (minilm(), texts());
    assert!(texts.len() >= 200);
    let wanted = stored(&reference().join("all-MiniLM-L6-v2.safetensors"), "document");
    let ids = encoded_inputs(&folder, &texts, TextKind::Document);
    for ((text, found), wanted) in texts.iter().zip(&ids).zip(&wanted.ids) {
        assert_eq!(found, wanted, "{text:?}");
    }
    // Once in batches of many lengths, and once with each sequence in its own batch.
    for tokens_per_batch in [None, Some(1)] {
        let found = embed(&folder, &EmbedderOptions { tokens_per_batch, ..options() }, &ids);
        for ((text, found), wanted) in texts.iter().zip(&found).zip(&wanted.vectors) {
            let cosine = cosine(found, wanted);
            assert!(cosine >= 0.99999, "{cosine} for {text:?}");
            let error = largest_error(found, wanted);
            assert!(error <= 1e-5, "off by {error} for {text:?}");
        }
    }
}

#[test]
fn bfloat16_is_close() {
    let (folder, texts) = (minilm(), texts());
    let wanted = stored(&reference().join("all-MiniLM-L6-v2.safetensors"), "document");
    let options = EmbedderOptions { dtype: "bfloat16".into(), ..options() };
    // A sample: without processor support for bfloat16 this is slow.
    let some: Vec<usize> = (0..texts.len()).step_by(6).collect();
    let ids: Vec<Vec<u32>> = some.iter().map(|&at| wanted.ids[at].clone()).collect();
    for (&at, found) in some.iter().zip(embed(&folder, &options, &ids)) {
        let cosine = cosine(&found, &wanted.vectors[at]);
        assert!(cosine >= 0.999, "{cosine} for {:?}", texts[at]);
    }
}

/// Checks int8 vectors by the mean and the smallest cosine with the reference.
#[test]
fn int8_is_near_and_does_not_depend_on_the_batch() {
    let (folder, texts) = (minilm(), texts());
    let wanted = stored(&reference().join("all-MiniLM-L6-v2.safetensors"), "document");
    let options = EmbedderOptions { dtype: "int8".into(), ..options() };
    let found = embed(&folder, &options, &wanted.ids);
    let cosines: Vec<f64> =
        found.iter().zip(&wanted.vectors).map(|(found, wanted)| cosine(found, wanted)).collect();
    let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
    let least = cosines.iter().copied().fold(1.0, f64::min);
    println!("int8: mean cosine {mean:.4}, least {least:.4}");
    assert!(mean >= 0.99 && least >= 0.95, "mean {mean}, least {least}");
    let alone = EmbedderOptions { tokens_per_batch: Some(1), ..options };
    let some: Vec<Vec<u32>> = wanted.ids.iter().step_by(9).cloned().collect();
    for (at, alone) in embed(&folder, &alone, &some).iter().enumerate() {
        let cosine = cosine(alone, &found[at * 9]);
        assert!(cosine >= 0.9999, "{cosine} between batches for {:?}", texts[at * 9]);
    }
}

/// A model of each architecture, the kinds of texts with reference vectors, and the step by which
/// texts are sampled.
const SMALL: &[(&str, &[TextKind], usize)] = &[
    ("tiny-bert-cls", &[TextKind::Document], 3),
    ("tiny-e5", &[TextKind::Document, TextKind::Query], 3),
    ("tiny-mpnet", &[TextKind::Document], 9),
    ("tiny-xlm-roberta", &[TextKind::Document, TextKind::Query], 9),
    ("tiny-nomic", &[TextKind::Document, TextKind::Query], 9),
    ("tiny-modernbert", &[TextKind::Document], 9),
    ("tiny-qwen3", &[TextKind::Document, TextKind::Query], 9),
];

#[test]
fn every_architecture_equals_transformers() {
    for &(name, kinds, step) in SMALL {
        let folder = reference().join(name);
        let mut some: Vec<String> = texts().into_iter().step_by(step).collect();
        if step == 9 {
            // A text longer than the limit of each of these models.
            some.push(
                texts()
                    .into_iter()
                    .rev()
                    .max_by_key(|text| text.split_whitespace().count())
                    .unwrap(),
            );
        }
        for &kind in kinds {
            let wanted =
                stored(&folder.join("reference.safetensors"), &format!("{kind:?}").to_lowercase());
            assert_eq!(wanted.vectors.len(), some.len());
            let ids = encoded_inputs(&folder, &some, kind);
            for ((text, found), wanted) in some.iter().zip(&ids).zip(&wanted.ids) {
                assert_eq!(found, wanted, "{name} {kind:?} {text:?}");
            }
            let mut largest = 0.0_f32;
            for (found, wanted) in embed(&folder, &options(), &ids).iter().zip(&wanted.vectors) {
                let error = largest_error(found, wanted);
                largest = if error <= largest { largest } else { error };
            }
            for dtype in ["bfloat16", "float16"] {
                let brief = EmbedderOptions { dtype: dtype.into(), ..options() };
                let mut least = 1.0_f64;
                for (found, wanted) in embed(&folder, &brief, &ids).iter().zip(&wanted.vectors) {
                    let cosine = cosine(found, wanted);
                    least = if cosine >= least { least } else { cosine };
                }
                println!("{name} {kind:?}: in {dtype} a cosine of {least:.5}");
                assert!(least >= 0.999, "{name} {kind:?}: {least} in {dtype}");
            }
            let small = EmbedderOptions { dtype: "int8".into(), ..options() };
            let mut rough = 1.0_f64;
            for (found, wanted) in embed(&folder, &small, &ids).iter().zip(&wanted.vectors) {
                rough = rough.min(cosine(found, wanted));
            }
            assert!(rough >= 0.9, "{name} {kind:?}: {rough} in int8");
            println!("{name} {kind:?}: in int8 a cosine of {rough:.5}");
            println!("{name} {kind:?}: off by {largest:.1e}");
            assert!(largest <= 1e-4, "{name} {kind:?}: off by {largest}");
        }
    }
}
