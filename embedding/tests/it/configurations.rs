//! Configurations of each architecture: accepted formats, and rejected options.

use embedding::EmbeddingEngine;
use pipeline::ModelProvider;
use serde_json::{Value, json};

use crate::{copy, edit, options};

#[test]
fn configurations_of_both_generations_give_the_same_vectors() {
    type Newer = fn(&mut Value);
    let newer: [(&str, Newer); 3] = [
        ("tiny-modernbert", |config| {
            let kinds = ["full", "sliding", "sliding", "full"];
            config["layer_types"] = json!(kinds.map(|kind| format!("{kind}_attention")));
            config["rope_parameters"] = json!({
                "full_attention": {"rope_theta": 160000.0, "rope_type": "default"},
                "sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"},
            });
            let old = ["global_attn_every_n_layers", "global_rope_theta", "local_rope_theta"];
            config.as_object_mut().unwrap().retain(|key, _| !old.contains(&key.as_str()));
        }),
        ("tiny-nomic", |config| {
            *config = json!({
                "architectures": ["NomicBertModel"], "hidden_act": "silu", "hidden_size": 32,
                "intermediate_size": 48, "layer_norm_eps": 1e-12, "max_position_embeddings": 160,
                "model_type": "nomic_bert", "num_attention_heads": 4, "num_hidden_layers": 3,
                "rope_parameters": {"rope_theta": 1000.0, "rope_type": "default"},
                "type_vocab_size": 2, "vocab_size": 420,
            });
        }),
        ("tiny-qwen3", |config| {
            config.as_object_mut().unwrap().remove("rope_theta");
            config["rope_parameters"] = json!({"rope_theta": 1000000.0, "rope_type": "default"});
            config["architectures"] = json!(["Qwen3ForCausalLM"]);
        }),
    ];
    for (name, change) in newer {
        let folder = copy(name);
        let vector = || {
            let model = EmbeddingEngine::new().embedder(folder.path(), &options()).unwrap();
            model.embed(&[&(5..90).collect::<Vec<u32>>()]).unwrap()
        };
        let before = vector();
        edit(folder.path(), "config.json", change);
        assert_eq!(before, vector(), "{name}");
    }
}

#[test]
fn an_angle_that_is_null_is_that_of_the_other_layers() {
    let vector = |value: Value| {
        let folder = copy("tiny-modernbert");
        edit(folder.path(), "config.json", |config| {
            config["global_rope_theta"] = json!(500.0);
            config["local_rope_theta"] = value;
        });
        let model = EmbeddingEngine::new().embedder(folder.path(), &options()).unwrap();
        model.embed(&[&(5..90).collect::<Vec<u32>>()]).unwrap()
    };
    assert_eq!(vector(Value::Null), vector(json!(500.0)));
    assert_ne!(vector(Value::Null), vector(json!(10_000.0)));
}

#[test]
fn what_an_architecture_may_ask_for_and_is_not_done_is_refused_by_name() {
    let asks = |model: &str, key: &str, value: Value| {
        let folder = copy(model);
        edit(folder.path(), "config.json", |config| config[key] = value);
        let error = EmbeddingEngine::new().describe(folder.path()).unwrap_err();
        error.to_string().replace(&folder.path().display().to_string(), "MODEL")
    };
    insta::assert_snapshot!(asks("tiny-nomic", "activation_function", json!("gelu")), @r#"model `MODEL` requires `activation_function: "gelu"`, which is not supported"#);
    insta::assert_snapshot!(asks("tiny-qwen3", "rope_scaling", json!({"rope_type": "yarn"})), @r#"model `MODEL` requires `rope_scaling: {"rope_type":"yarn"}`, which is not supported"#);
    insta::assert_snapshot!(asks("tiny-qwen3", "num_key_value_heads", json!(3)), @"model `MODEL` requires 4 attention heads with 3 key heads, which is not supported");
    insta::assert_snapshot!(asks("tiny-modernbert", "layer_types", json!(["chunked_attention"])), @"model `MODEL` requires layers of type `chunked_attention`, which is not supported");
}

#[test]
fn a_dense_layer_decides_the_dimension_and_is_in_the_fingerprint() {
    let folder = copy("tiny-xlm-roberta");
    let describe = || EmbeddingEngine::new().describe(folder.path()).unwrap();
    let before = describe();
    assert_eq!((before.dim, before.max_tokens), (24, 128));
    let weights = folder.path().join("2_Dense/model.safetensors");
    let mut bytes = fs_err::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs_err::write(&weights, bytes).unwrap();
    assert_ne!(before.fingerprint, describe().fingerprint);
    edit(folder.path(), "2_Dense/config.json", |config| {
        config["activation_function"] = json!("torch.nn.modules.activation.SELU");
    });
    let error = EmbeddingEngine::new().describe(folder.path()).unwrap_err().to_string();
    assert!(error.contains("a dense layer with `SELU`, which is not supported"), "{error}");
}
