//! Cross-encoders: scores equal those of sentence-transformers, which
//! `tests/reference/cross_encoders.py` stores in files.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use embedding::EmbeddingEngine;
use pipeline::{ModelProvider, Reranker, RerankerOptions};
use serde_json::{Value, json};
use tch::Tensor;

use crate::{copy, edit, options, reference};

const MODELS: [&str; 3] =
    ["tiny-bert-reranker", "tiny-xlm-roberta-reranker", "tiny-modernbert-reranker"];

/// Pairs with the score of the reference.
struct Pairs {
    pairs: Vec<(String, String)>,
    scores: Vec<f32>,
}

fn stored(folder: &Path, variant: &str) -> Pairs {
    let tensors: HashMap<String, Tensor> =
        Tensor::read_safetensors(folder.join("reference.safetensors"))
            .unwrap()
            .into_iter()
            .collect();
    let lines = fs_err::read_to_string(reference().join("texts.jsonl")).unwrap();
    let texts: Vec<String> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let texts_of = |name: &str| {
        let at: Vec<i64> = tensors[name].shallow_clone().try_into().unwrap();
        at.into_iter().map(|at| texts[usize::try_from(at).unwrap()].clone()).collect::<Vec<_>>()
    };
    Pairs {
        pairs: texts_of("query").into_iter().zip(texts_of("passage")).collect(),
        scores: tensors[&format!("{variant}scores")].shallow_clone().try_into().unwrap(),
    }
}

fn cpu(dtype: &str) -> RerankerOptions {
    RerankerOptions { device: "cpu".to_owned(), dtype: dtype.to_owned() }
}

fn later() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

fn reranker(folder: &Path, dtype: &str) -> Arc<dyn Reranker> {
    EmbeddingEngine::new().reranker(folder, &cpu(dtype)).unwrap()
}

/// The scores of all pairs, one call per query.
fn scores(reranker: &dyn Reranker, pairs: &[(String, String)]) -> Vec<f32> {
    let mut scores = Vec::new();
    for pairs in pairs.chunk_by(|one, other| one.0 == other.0) {
        let passages: Vec<&str> = pairs.iter().map(|(_, passage)| &**passage).collect();
        scores.extend(reranker.score(&pairs[0].0, &passages, later()).unwrap());
    }
    scores.into_iter().map(|score| score.expect("there was time")).collect()
}

fn largest_error(found: &[f32], wanted: &[f32]) -> f32 {
    assert_eq!(found.len(), wanted.len());
    let errors = found.iter().zip(wanted).map(|(a, b)| (a - b).abs());
    errors.fold(0.0, |most, error| if error <= most { most } else { error })
}

fn spread(scores: &[f32]) -> f32 {
    let mean = scores.iter().sum::<f32>() / scores.len() as f32;
    let squares = scores.iter().map(|score| (score - mean).powi(2)).sum::<f32>();
    (squares / scores.len() as f32).sqrt()
}

/// Compares all scores with the reference. The limits are in units of the spread of the scores, so
/// that they compare between models; random weights make the errors of int8 large.
fn check_scores(limits: &[(&str, f32)]) {
    for name in MODELS {
        let folder = reference().join(name);
        let Pairs { pairs, scores: wanted } = stored(&folder, "");
        assert!(pairs.len() > 90);
        let spread = spread(&wanted);
        for &(dtype, most) in limits {
            let error =
                largest_error(&scores(&*reranker(&folder, dtype), &pairs), &wanted) / spread;
            println!("{name}: off by {error:.1e} in {dtype}");
            assert!(error <= most, "{name}: off by {error} in {dtype}");
        }
    }
}

#[test]
fn scores_equal_those_of_sentence_transformers() {
    check_scores(&[("float32", 1e-4), ("float16", 0.1), ("int8", 3.0)]);
}

#[test]
fn scores_in_bfloat16_are_close() {
    check_scores(&[("bfloat16", 0.2)]);
}

#[test]
fn modernbert_pools_as_its_configuration_says() {
    let folder = copy("tiny-modernbert-reranker");
    let Pairs { pairs, scores: wanted } = stored(folder.path(), "mean.");
    edit(folder.path(), "config.json", |config| config["classifier_pooling"] = json!("mean"));
    let error = largest_error(&scores(&*reranker(folder.path(), "float32"), &pairs), &wanted);
    assert!(error <= 1e-4, "off by {error}");
}

#[test]
fn a_score_does_not_depend_on_the_other_passages() {
    let folder = reference().join(MODELS[0]);
    let reranker = reranker(&folder, "float32");
    let Pairs { pairs, .. } = stored(&folder, "");
    let together = scores(&*reranker, &pairs);
    for (at, (query, passage)) in pairs.iter().enumerate().step_by(7) {
        let alone = reranker.score(query, &[passage], later()).unwrap()[0].unwrap();
        assert!((alone - together[at]).abs() < 1e-4, "{passage:?}");
    }
    assert_eq!(reranker.score("no passages", &[], later()).unwrap(), []);
}

#[test]
fn what_the_deadline_leaves_is_the_end_of_the_list() {
    let reranker = reranker(&reference().join(MODELS[0]), "float32");
    let passages: Vec<String> =
        (0..2000).map(|at| format!("the river {at} flows past the mill")).collect();
    let passages: Vec<&str> = passages.iter().map(String::as_str).collect();
    let passed = Instant::now();
    assert_eq!(reranker.score("river", &passages, passed).unwrap(), vec![None; passages.len()]);
    assert_eq!(reranker.usage().sequences, 0);

    let all = reranker.score("river", &passages, later()).unwrap();
    assert!(all.iter().all(Option::is_some));
    let soon = Instant::now() + Duration::from_millis(20);
    let some = reranker.score("river", &passages, soon).unwrap();
    let scored = some.iter().take_while(|score| score.is_some()).count();
    assert!(some[scored..].iter().all(Option::is_none), "the first passages are scored");
    assert_eq!(some.len(), passages.len());
    let near = |(a, b): (&Option<f32>, &Option<f32>)| (a.unwrap() - b.unwrap()).abs() < 1e-4;
    assert!(some[..scored].iter().zip(&all).all(near), "as without a deadline");
}

#[test]
fn a_separator_in_a_query_does_not_end_it() {
    let reranker = reranker(&reference().join(MODELS[0]), "float32");
    let score = |query: &str| reranker.score(query, &["the river"], later()).unwrap();
    assert_eq!(score("the [SEP] mill"), score("the mill"));
}

#[test]
fn the_function_of_the_scores_is_that_of_the_folder() {
    let sigmoid = |score: f32| 1.0 / (1.0 + (-score).exp());
    let score = |change: &dyn Fn(&Path)| {
        let folder = copy(MODELS[0]);
        change(folder.path());
        reranker(folder.path(), "float32").score("river", &["the mill"], later()).unwrap()[0]
            .unwrap()
    };
    let plain = score(&|_| {});
    let named = |key: &'static str, value: Value| {
        score(&|folder| {
            edit(folder, "config.json", |config| {
                config["sentence_transformers"] = Value::Null;
                config[key] = value.clone();
            });
        })
    };
    let older = "sbert_ce_default_activation_function";
    assert_eq!(named(older, json!("torch.nn.modules.linear.Identity")), plain);
    // Without an entry, sentence-transformers applies a sigmoid.
    for value in [Value::Null, json!("torch.nn.modules.activation.Sigmoid")] {
        assert!((named(older, value) - sigmoid(plain)).abs() < 1e-6);
    }
    // The file of sentence-transformers has precedence.
    let newer = score(&|folder| {
        let settings = json!({"activation_fn": "torch.nn.modules.activation.Sigmoid"});
        fs_err::write(folder.join("config_sentence_transformers.json"), settings.to_string())
            .unwrap();
    });
    assert!((newer - sigmoid(plain)).abs() < 1e-6);
}

#[test]
fn old_names_of_norms_are_accepted() {
    let folder = copy(MODELS[0]);
    let file = folder.path().join("model.safetensors");
    let tensors: Vec<(String, Tensor)> = Tensor::read_safetensors(&file).unwrap();
    let old = |name: &str| {
        let name = name.replace("LayerNorm.weight", "LayerNorm.gamma");
        name.replace("LayerNorm.bias", "LayerNorm.beta")
    };
    let renamed: Vec<(String, &Tensor)> =
        tensors.iter().map(|(name, tensor)| (old(name), tensor)).collect();
    assert!(renamed.iter().any(|(name, _)| name.ends_with(".gamma")));
    Tensor::write_safetensors(&renamed, &file).unwrap();
    let score =
        |folder: &Path| reranker(folder, "float32").score("river", &["mill"], later()).unwrap();
    assert_eq!(score(folder.path()), score(&reference().join(MODELS[0])));
}

/// The error of `describe_reranker` for a changed copy of a model.
fn refused(model: &str, change: impl FnOnce(&Path)) -> String {
    let folder = copy(model);
    change(folder.path());
    let error = EmbeddingEngine::new().describe_reranker(folder.path()).unwrap_err();
    error.to_string().replace(&folder.path().display().to_string(), "MODEL")
}

#[test]
fn what_is_no_reranker_is_refused_by_name() {
    let config =
        |change: fn(&mut Value)| refused(MODELS[0], |folder| edit(folder, "config.json", change));
    insta::assert_snapshot!(refused("tiny-e5", |_| {}), @"model `MODEL` is no reranker: `BertModel` creates vectors; expected one of BertForSequenceClassification, XLMRobertaForSequenceClassification, ModernBertForSequenceClassification");
    insta::assert_snapshot!(config(|config| config["architectures"] = json!(["DebertaV2ForSequenceClassification"])), @"unsupported architecture `DebertaV2ForSequenceClassification` for a reranker: expected one of BertForSequenceClassification, XLMRobertaForSequenceClassification, ModernBertForSequenceClassification");
    insta::assert_snapshot!(config(|config| config["id2label"] = json!({"0": "contradiction", "1": "entailment", "2": "neutral"})), @"model `MODEL` has 3 labels: a reranker has one, its score");
    insta::assert_snapshot!(config(|config| config["sentence_transformers"]["activation_fn"] = json!("torch.nn.Softplus")), @"model `MODEL` requires the activation `torch.nn.Softplus` of its scores, which is not supported");
    insta::assert_snapshot!(refused(MODELS[2], |folder| edit(folder, "config.json", |config| config["classifier_pooling"] = json!("max"))), @"model `MODEL` requires pooling by `max`, which is not supported");
    insta::assert_snapshot!(EmbeddingEngine::new().describe_reranker(Path::new("stand-in:8")).unwrap_err(), @"model `stand-in:8` is no reranker: it creates vectors");

    // The reverse: a cross-encoder creates no vectors.
    let folder = reference().join(MODELS[0]);
    let error = EmbeddingEngine::new().describe(&folder).unwrap_err().to_string();
    let error = error.replace(&folder.display().to_string(), "MODEL");
    insta::assert_snapshot!(error, @"model `MODEL` is a cross-encoder (`BertForSequenceClassification`): it scores pairs of texts and creates no vectors, so it can only be a reranker");
    assert!(EmbeddingEngine::new().embedder(&folder, &options()).is_err());
}

#[test]
fn a_reranker_is_described_and_loaded_once() {
    let engine = EmbeddingEngine::new();
    let folder = reference().join(MODELS[1]);
    let info = engine.describe_reranker(&folder).unwrap();
    assert_eq!((info.max_tokens, &*info.short_name), (128, "tinyxlmrobertareranker"));
    assert_eq!(info.fingerprint.len(), 64);
    let (one, other) = (
        engine.reranker(&folder, &cpu("float32")).unwrap(),
        engine.reranker(&folder, &cpu("float32")).unwrap(),
    );
    assert!(Arc::ptr_eq(&one, &other));
    assert_eq!(*one.info(), info);
    one.score("river", &["the mill", "the mill"], later()).unwrap();
    assert_eq!((other.usage().sequences, other.usage().reused_sequences), (1, 1));
}
