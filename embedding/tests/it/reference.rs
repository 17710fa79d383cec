//! Vectors and ids equal those of sentence-transformers, by files that `tests/reference/make.py` made.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use embedding::Engine;
use pipeline::{EmbedderOptions, Models, TextKind};
use tch::Tensor;

use crate::{minilm, options, reference, tokenizer};

struct Reference {
    vectors: Vec<Vec<f32>>,
    ids: Vec<Vec<u32>>,
}

fn texts() -> Vec<String> {
    let lines = fs_err::read_to_string(reference().join("texts.jsonl")).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn stored(file: &Path, kind: &str) -> Reference {
    let tensors: HashMap<String, Tensor> =
        Tensor::read_safetensors(file).unwrap().into_iter().collect();
    let get = |part: &str| tensors[&format!("{kind}.{part}")].shallow_clone();
    let ids: Vec<i64> = get("ids").try_into().unwrap();
    let mut ids = ids.into_iter().map(|id| u32::try_from(id).unwrap());
    let lengths: Vec<i64> = get("lengths").try_into().unwrap();
    Reference {
        vectors: get("vectors").try_into().unwrap(),
        ids: lengths
            .iter()
            .map(|&length| ids.by_ref().take(usize::try_from(length).unwrap()).collect())
            .collect(),
    }
}

/// Ids as the pipeline makes them; cut where sentence-transformers cuts.
fn frames(folder: &Path, texts: &[String], kind: TextKind) -> Vec<Vec<u32>> {
    let tokenizer = Engine::new().tokenizer(folder).unwrap();
    let room = tokenizer.max_tokens() - tokenizer.overhead(kind);
    let framed = |text: &String| {
        let ids = tokenizer.encode(text).unwrap().ids;
        tokenizer.frame(&ids[..ids.len().min(room)], kind)
    };
    texts.iter().map(framed).collect()
}

fn embed(folder: &Path, options: &EmbedderOptions, ids: &[Vec<u32>]) -> Vec<Vec<f32>> {
    let embedder = Engine::new().embedder(folder, options).unwrap();
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
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn minilm_equals_sentence_transformers() {
    let (folder, texts) = (minilm(), texts());
    assert!(texts.len() >= 200);
    let wanted = stored(&reference().join("all-MiniLM-L6-v2.safetensors"), "document");
    let ids = frames(&folder, &texts, TextKind::Document);
    for ((text, found), wanted) in texts.iter().zip(&ids).zip(&wanted.ids) {
        assert_eq!(found, wanted, "{text:?}");
    }
    // Once as they come, in batches of many lengths, and once in batches so small that each is alone.
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
    // A few of every kind: not every processor has instructions for this type.
    let some: Vec<usize> = (0..texts.len()).step_by(6).collect();
    let ids: Vec<Vec<u32>> = some.iter().map(|&at| wanted.ids[at].clone()).collect();
    for (&at, found) in some.iter().zip(embed(&folder, &options, &ids)) {
        let cosine = cosine(&found, &wanted.vectors[at]);
        assert!(cosine >= 0.999, "{cosine} for {:?}", texts[at]);
    }
}

#[test]
fn small_models_equal_transformers() {
    for (name, kinds) in [
        ("tiny-bert-cls", &[(TextKind::Document, "document")][..]),
        ("tiny-e5", &[(TextKind::Document, "document"), (TextKind::Query, "query")]),
    ] {
        let folder: PathBuf = reference().join(name);
        let texts: Vec<String> = texts().into_iter().step_by(3).collect();
        // With nothing or a special token behind it, the space that ends a prefix is a token by itself. No
        // chunk is empty, and that token more or less in front of a literal `[CLS]` does not matter.
        let exempt = |text: &str, kind| {
            tokenizer(&folder).overhead(kind) > 2 && (text.is_empty() || text.starts_with("[CLS]"))
        };
        for &(kind, word) in kinds {
            let wanted = stored(&folder.join("reference.safetensors"), word);
            assert_eq!(wanted.vectors.len(), texts.len());
            let ids = frames(&folder, &texts, kind);
            for ((text, found), wanted) in texts.iter().zip(&ids).zip(&wanted.ids) {
                assert!(
                    found == wanted || exempt(text, kind),
                    "{name} {word} {text:?}: {found:?}, not {wanted:?}"
                );
            }
            let found = embed(&folder, &options(), &ids);
            for ((text, found), wanted) in texts.iter().zip(&found).zip(&wanted.vectors) {
                let error = largest_error(found, wanted);
                assert!(
                    error <= 1e-4 || exempt(text, kind),
                    "{name} {word}: off by {error} for {text:?}"
                );
            }
        }
    }
}
