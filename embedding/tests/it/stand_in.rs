//! The stand-in is selected only by its name, and its vectors are good enough for retrieval.

use std::path::Path;
use std::sync::Arc;

use embedding::{EmbeddingEngine, is_stand_in};
use pipeline::{Embedder, ModelProvider};
use proptest::prelude::*;

use crate::options;

fn stand_in(word: &str) -> Arc<dyn Embedder> {
    EmbeddingEngine::new().embedder(Path::new(word), &options()).unwrap()
}

fn vector(text: &str) -> Vec<f32> {
    let tokenizer = EmbeddingEngine::new().tokenizer(Path::new("stand-in:64")).unwrap();
    let ids = tokenizer.add_special_tokens(&tokenizer.encode(text).unwrap().ids);
    stand_in("stand-in:64").embed(&[&ids]).unwrap()
}

fn cosine(a: &str, b: &str) -> f32 {
    vector(a).iter().zip(vector(b)).map(|(a, b)| a * b).sum()
}

#[test]
fn it_is_asked_for_by_name_only() {
    for word in ["stand-in:64", "/work/pipelines/stand-in:8"] {
        assert!(is_stand_in(Path::new(word)), "{word}");
    }
    for word in ["stand-in", "models/all-MiniLM-L6-v2", "stand-in:64/model"] {
        assert!(!is_stand_in(Path::new(word)), "{word}");
        if word != "models/all-MiniLM-L6-v2" {
            assert!(EmbeddingEngine::new().describe(Path::new(word)).is_err());
        }
    }
    // A rate does not change the model.
    let [slow, fast] = ["stand-in:64@9", "stand-in:64"]
        .map(|word| EmbeddingEngine::new().describe(Path::new(word)).unwrap().fingerprint);
    assert_eq!(slow, fast);
    for word in ["stand-in:64@", "stand-in:64@0", "stand-in:64@fast", "stand-in:@9"] {
        assert!(EmbeddingEngine::new().describe(Path::new(word)).is_err(), "{word}");
    }
    let info = EmbeddingEngine::new().describe(Path::new("stand-in:64")).unwrap();
    assert_eq!((info.dim, info.short_name.as_str(), info.max_tokens), (64, "standin", 512));
    insta::assert_snapshot!(EmbeddingEngine::new().describe(Path::new("stand-in:0")).unwrap_err(), @"invalid stand-in `stand-in:0`: expected `stand-in:DIM` with a dimension from 1 to 4096");
    insta::assert_snapshot!(EmbeddingEngine::new().describe(Path::new("stand-in:many")).unwrap_err(), @"invalid stand-in `stand-in:many`: expected `stand-in:DIM` with a dimension from 1 to 4096");
}

#[test]
fn texts_that_share_words_are_similar() {
    let question = "how does the kernel keep pages?";
    let same = cosine(question, "The kernel: how pages are kept.");
    let other = cosine(question, "bread, butter and a cup of tea");
    assert!(same > 0.3 && same > other + 0.2, "{same} against {other}");
    assert!((cosine("Tea!", "tea !") - 1.0).abs() < 1e-5);
    assert!((cosine("", "") - 1.0).abs() < 1e-5, "a text without words has a direction");
}

proptest! {
    #[test]
    fn it_keeps_the_contract_of_a_tokenizer(text in "\\PC{0,60}") {
        let tokenizer = EmbeddingEngine::new().tokenizer(Path::new("stand-in:8")).unwrap();
        let tokens = tokenizer.encode(&text).unwrap();
        for (at, span) in tokens.offsets.iter().enumerate() {
            prop_assert!(tokens.can_split_before[at]);
            prop_assert_eq!(tokenizer.encode(&text[..span.start]).unwrap().ids, &tokens.ids[..at]);
            prop_assert_eq!(tokenizer.encode(&text[span.start..]).unwrap().ids, &tokens.ids[at..]);
        }
        let framed = tokenizer.add_special_tokens(&tokens.ids);
        prop_assert_eq!(framed.len(), tokens.ids.len() + tokenizer.num_added_tokens());
    }
}
