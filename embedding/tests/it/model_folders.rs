//! Parsing of model folders, and the errors for invalid ones.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use embedding::EmbeddingEngine;
use pipeline::{EmbedderOptions, ModelProvider, TextKind};
use serde_json::{Value, json};

use crate::{copy, edit, minilm, options, reference, tokenizer};

/// The error of `describe` for a changed copy of a model, with the folder's path replaced.
fn describe_error(change: impl FnOnce(&Path)) -> String {
    let folder = copy("tiny-e5");
    change(folder.path());
    let error = EmbeddingEngine::new().describe(folder.path()).unwrap_err();
    error.to_string().replace(&folder.path().display().to_string(), "MODEL")
}

#[test]
fn minilm_is_described() {
    let info = EmbeddingEngine::new().describe(&minilm()).unwrap();
    assert_eq!((info.dim, info.max_tokens, info.short_name.as_str()), (384, 256, "minilml6"));
    assert_eq!(info.fingerprint.len(), 64);
    let tokenizer = tokenizer(&minilm());
    assert_eq!(tokenizer.max_tokens(), 256);
    assert_eq!(tokenizer.num_added_tokens(), 2);
    assert_eq!(tokenizer.add_special_tokens(&[7, 8]), [101, 7, 8, 102]);
}

#[test]
fn the_limit_is_the_smallest_that_any_file_names() {
    // 104 positions, of which the tokenizer's configuration allows 96.
    assert_eq!(
        EmbeddingEngine::new().describe(&reference().join("tiny-e5")).unwrap().max_tokens,
        96
    );
    let limit = |file: &str, content: Value| {
        let folder = copy("tiny-e5");
        fs_err::write(folder.path().join(file), content.to_string()).unwrap();
        EmbeddingEngine::new().describe(folder.path()).unwrap().max_tokens
    };
    assert_eq!(
        limit("sentence_bert_config.json", json!({"max_seq_length": 50, "do_lower_case": false})),
        50
    );
    assert_eq!(limit("sentence_bert_config.json", json!({"max_seq_length": 5000})), 104);
    // The file name of older models.
    let folder = copy("tiny-e5");
    let file = |name: &str| folder.path().join(name);
    fs_err::rename(file("sentence_bert_config.json"), file("sentence_roberta_config.json"))
        .unwrap();
    edit(folder.path(), "sentence_roberta_config.json", |json| json["max_seq_length"] = json!(40));
    assert_eq!(EmbeddingEngine::new().describe(folder.path()).unwrap().max_tokens, 40);
    // RoBERTa's positions start after the padding id; positions beyond the training length are not
    // used.
    let whole = |name: &str, key: &str, value: Value| {
        let folder = copy(name);
        fs_err::write(folder.path().join("tokenizer_config.json"), "{}").unwrap();
        edit(folder.path(), "config.json", |config| {
            config[key] = value;
            config["max_trained_positions"] = json!(100);
        });
        EmbeddingEngine::new().describe(folder.path()).unwrap().max_tokens
    };
    assert_eq!(whole("tiny-xlm-roberta", "max_position_embeddings", json!(514)), 512);
    assert_eq!(whole("tiny-mpnet", "max_position_embeddings", json!(514)), 512);
    assert_eq!(whole("tiny-nomic", "rotary_scaling_factor", Value::Null), 160);
    assert_eq!(whole("tiny-nomic", "rotary_scaling_factor", json!(2)), 100);
    assert_eq!(limit("tokenizer_config.json", json!({"model_max_length": 1e30})), 104);
    assert_eq!(limit("tokenizer_config.json", json!({})), 104);
}

#[test]
fn prompts_are_put_in_front() {
    let tokenizer = tokenizer(&reference().join("tiny-e5"));
    let text = tokenizer.encode("the river").unwrap().ids;
    let prefixed = |prefix: &str| {
        let mut ids = vec![2];
        ids.extend(tokenizer.encode(&format!("{prefix}the river")).unwrap().ids);
        ids.push(3);
        ids
    };
    assert_eq!(tokenizer.add_special_tokens(&text), prefixed("passage: "));
    assert_eq!(
        tokenizer.add_special_tokens(&text).len(),
        text.len() + tokenizer.num_added_tokens()
    );
    for (kind, prefix) in [(TextKind::Query, "query: "), (TextKind::Document, "passage: ")] {
        let reading = tokenizer.encode_input("the river", kind).unwrap();
        assert_eq!((reading.ids, reading.truncated), (prefixed(prefix), false));
    }
    let long = tokenizer.encode_input(&"river ".repeat(200), TextKind::Query).unwrap();
    assert!(long.truncated && long.ids.len() == tokenizer.max_tokens());
    assert_eq!((long.ids[0], *long.ids.last().unwrap()), (2, 3));
}

#[test]
fn a_prefix_may_be_one_word_with_the_question_but_not_with_a_passage() {
    let joined = |kind: &'static str| {
        let folder = copy("tiny-qwen3");
        edit(folder.path(), "config_sentence_transformers.json", |config| {
            config["prompts"] = json!({ kind: "Query:" });
        });
        EmbeddingEngine::new().tokenizer(folder.path())
    };
    let tokenizer = joined("query").unwrap();
    let mut wanted = tokenizer.encode("Query:why").unwrap().ids;
    wanted.push(0);
    assert_eq!(tokenizer.encode_input("why", TextKind::Query).unwrap().ids, wanted);
    insta::assert_snapshot!(joined("document").err().unwrap(), @"unsupported prompt `Query:`: it merges with the first token of a text");
}

#[test]
fn families_are_known_by_name() {
    let overheads = |name: &str, was: &str| {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join(name);
        let model = copy("tiny-bert-cls");
        edit(model.path(), "config.json", |config| config["_name_or_path"] = json!(was));
        fs_err::rename(model.path(), &folder).unwrap();
        let tokenizer = tokenizer(&folder);
        [TextKind::Query, TextKind::Document]
            .map(|kind| tokenizer.encode_input("a", kind).unwrap().ids.len() > 3)
    };
    assert_eq!(overheads("e5-small-v2", ""), [true, true]);
    assert_eq!(overheads("bge-small-en-v1.5", ""), [true, false]);
    assert_eq!(overheads("nomic-embed-text-v1.5", ""), [true, true]);
    assert_eq!(overheads("my-model", "intfloat/multilingual-e5-base"), [true, true]);
    assert_eq!(overheads("e5-large-instruct", ""), [false, false]);
    assert_eq!(overheads("my-model", ""), [false, false]);
}

#[test]
fn the_fingerprint_follows_what_vectors_depend_on() {
    let of = |change: &dyn Fn(&Path)| {
        let folder = copy("tiny-e5");
        change(folder.path());
        EmbeddingEngine::new().describe(folder.path()).unwrap().fingerprint
    };
    let original = of(&|_| {});
    assert_eq!(original, of(&|_| {}), "the path does not matter");
    assert_eq!(original, of(&|folder| fs_err::write(folder.join("README.md"), "a model").unwrap()));
    let edited =
        |file: &'static str, change: fn(&mut Value)| of(&|folder| edit(folder, file, change));
    let damaged = of(&|folder| {
        let path = folder.join("model.safetensors");
        let mut bytes = fs_err::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs_err::write(path, bytes).unwrap();
    });
    let changes = [
        damaged,
        edited("config.json", |json| json["layer_norm_eps"] = json!(1e-6)),
        edited("1_Pooling/config.json", |json| json["pooling_mode"] = json!("cls")),
        edited("config_sentence_transformers.json", |json| json["prompts"]["query"] = json!("q: ")),
        edited("tokenizer.json", |json| json["model"]["vocab"][9][1] = json!(-1.0)),
    ];
    for (nth, change) in changes.into_iter().enumerate() {
        assert_ne!(original, change, "change {nth}");
    }
    // The pooling configuration can be in any folder.
    let elsewhere = |mode: &str| {
        of(&|folder| {
            fs_err::rename(folder.join("1_Pooling"), folder.join("pool")).unwrap();
            edit(folder, "modules.json", |modules| modules[1]["path"] = json!("pool"));
            edit(folder, "pool/config.json", |json| json["pooling_mode"] = json!(mode));
        })
    };
    assert_ne!(elsewhere("mean"), elsewhere("cls"));
}

#[test]
fn what_is_no_model_is_refused_by_name() {
    insta::assert_snapshot!(EmbeddingEngine::new().describe(Path::new("/no/such")).unwrap_err(), @"model folder `/no/such` does not exist");
    let hub = EmbeddingEngine::new()
        .describe(&std::env::temp_dir().join("no-such-org/no-such-model"))
        .unwrap_err();
    assert!(hub.to_string().ends_with("`hf:no-such-org/no-such-model`"), "{hub}");
    let cut = |length: u64| {
        let folder = copy("tiny-e5");
        let file =
            fs_err::OpenOptions::new().write(true).open(folder.path().join("model.safetensors"));
        file.unwrap().set_len(length).unwrap();
        pipeline::error_chain(EmbeddingEngine::new().describe(folder.path()).unwrap_err().as_ref())
    };
    // The header reveals every incomplete length; the error contains both lengths.
    let whole = fs_err::metadata(reference().join("tiny-e5/model.safetensors")).unwrap().len();
    for length in [0, 7, 8, 100, whole / 2, whole - 1] {
        let said = cut(length);
        assert!(said.contains("/model.safetensors` is truncated"), "{said}");
        assert!(said.contains(&format!(": {length} of ")), "{said}");
    }
    insta::assert_snapshot!(describe_error(|folder| fs_err::remove_file(folder.join("config.json")).unwrap()), @"missing file `config.json` in model folder `MODEL`");
    insta::assert_snapshot!(describe_error(|folder| fs_err::remove_file(folder.join("tokenizer.json")).unwrap()), @"missing file `tokenizer.json` in model folder `MODEL`");
    insta::assert_snapshot!(describe_error(|folder| fs_err::remove_file(folder.join("model.safetensors")).unwrap()), @"missing file `model.safetensors` in model folder `MODEL`");
    insta::assert_snapshot!(describe_error(|folder| fs_err::write(folder.join("config.json"), "{").unwrap()), @"invalid content in `MODEL/config.json`");
    let changed = |file: &'static str, change: &'static dyn Fn(&mut Value)| {
        describe_error(|folder| edit(folder, file, change))
    };
    insta::assert_snapshot!(changed("config.json", &|config| config["architectures"] = json!(["T5EncoderModel"])), @"unsupported architecture `T5EncoderModel`: expected one of BertModel, XLMRobertaModel, MPNetModel, NomicBertModel, ModernBertModel, Qwen3ForCausalLM");
    insta::assert_snapshot!(changed("config.json", &|config| config["position_embedding_type"] = json!("relative_key")), @"model `MODEL` requires position embeddings of type `relative_key`, which is not supported");
    insta::assert_snapshot!(changed("1_Pooling/config.json", &|config| config["pooling_mode"] = json!("max")), @"model `MODEL` requires pooling by `max`, which is not supported");
    insta::assert_snapshot!(changed("modules.json", &|modules| modules[1]["path"] = json!("../pool")), @"model `MODEL` requires a module in `../pool`, outside its folder, which is not supported");
    let lower_case = |normalizer: Value| {
        let folder = copy("tiny-e5");
        edit(folder.path(), "sentence_bert_config.json", |json| {
            json["do_lower_case"] = json!(true);
        });
        edit(folder.path(), "tokenizer.json", |json| json["normalizer"] = normalizer);
        let described = EmbeddingEngine::new().describe(folder.path());
        described
            .map_err(|error| error.to_string().replace(folder.path().to_str().unwrap(), "MODEL"))
    };
    insta::assert_snapshot!(lower_case(json!({"type": "NFC"})).unwrap_err(), @"model `MODEL` requires lower-casing before its tokenizer (sentence_bert_config.json), which is not supported");
    assert!(lower_case(json!({"type": "Lowercase"})).is_ok());
    insta::assert_snapshot!(
        changed("modules.json", &|modules| modules[2]["type"] = json!("sentence_transformers.models.LSTM")), @"model `MODEL` requires a module `LSTM` after the transformer, which is not supported"
    );
}

#[test]
fn weights_that_do_not_fit_are_refused() {
    let folder = copy("tiny-e5");
    edit(folder.path(), "config.json", |config| config["intermediate_size"] = json!(65));
    let error = EmbeddingEngine::new().embedder(folder.path(), &options()).err().unwrap();
    insta::assert_snapshot!(error, @"tensor `encoder.layer.0.intermediate.dense.weight` has shape [64, 32], but the configuration requires [65, 32]");
    edit(folder.path(), "config.json", |config| config["intermediate_size"] = json!(64));
    edit(folder.path(), "config.json", |config| config["num_hidden_layers"] = json!(3));
    let error = EmbeddingEngine::new().embedder(folder.path(), &options()).err().unwrap();
    insta::assert_snapshot!(error, @"missing tensor `encoder.layer.2.attention.self.query.weight` in the weights");
    edit(folder.path(), "config.json", |config| config["num_hidden_layers"] = json!(2));
    edit(folder.path(), "config.json", |config| config["hidden_act"] = json!("softsign"));
    let error = EmbeddingEngine::new().embedder(folder.path(), &options()).err().unwrap();
    insta::assert_snapshot!(error, @"unsupported activation `softsign`");
}

#[test]
fn vectors_may_be_shortened() {
    let folder = reference().join("tiny-e5");
    let whole = EmbeddingEngine::new().embedder(&folder, &options()).unwrap();
    let short = EmbedderOptions { dim: Some(8), ..options() };
    let short = EmbeddingEngine::new().embedder(&folder, &short).unwrap();
    assert_eq!(*short.info(), whole.info().clone().with_truncated_dim(Some(8)));
    assert_eq!(short.info().dim, 8);
    assert_ne!(short.info().fingerprint, whole.info().fingerprint);
    let sequences: [&[u32]; 2] = [&[2, 9, 3], &[2, 10, 11, 3]];
    let (found, all) = (short.embed(&sequences).unwrap(), whole.embed(&sequences).unwrap());
    for (found, all) in found.chunks_exact(8).zip(all.chunks_exact(32)) {
        let length = all[..8].iter().map(|number| number * number).sum::<f32>().sqrt();
        for (found, all) in found.iter().zip(all) {
            assert!((found - all / length).abs() < 1e-6);
        }
    }
    let long = EmbedderOptions { dim: Some(64), ..options() };
    let error = EmbeddingEngine::new().embedder(&folder, &long).err().unwrap();
    insta::assert_snapshot!(error, @"invalid dimension 64: model `tinye5` has 32 dimensions");
}

#[test]
fn devices_that_are_not_there_are_refused() {
    let asked = |device: &str, dtype: &str| {
        let options = EmbedderOptions { device: device.into(), dtype: dtype.into(), ..options() };
        EmbeddingEngine::new()
            .embedder(&reference().join("tiny-e5"), &options)
            .err()
            .map(|error| error.to_string())
    };
    insta::assert_snapshot!(asked("tpu", "auto").unwrap(), @"invalid device `tpu`: expected auto, cpu, cuda, cuda:N, cuda:N,M or mps");
    insta::assert_snapshot!(asked("cpu", "int3").unwrap(), @"invalid dtype `int3`: expected auto, float32, bfloat16, float16 or int8");
    assert_eq!(asked("auto", "auto"), None);
    let absent = asked("cuda:99", "auto").unwrap();
    assert!(absent.starts_with("device `cuda:99` not found: available are cpu"), "{absent}");
}

#[test]
fn a_model_is_loaded_once() {
    let engine = EmbeddingEngine::new();
    let folder = reference().join("tiny-e5");
    let first = engine.embedder(&folder, &options()).unwrap();
    let dotted = folder.join("../tiny-e5");
    assert!(Arc::ptr_eq(&first, &engine.embedder(&dotted, &options()).unwrap()));
    // `auto` is resolved before models are compared.
    let auto = EmbedderOptions { dtype: "auto".into(), ..options() };
    assert!(Arc::ptr_eq(&first, &engine.embedder(&folder, &auto).unwrap()));
    let other = EmbedderOptions { tokens_per_batch: Some(64), ..options() };
    assert!(!Arc::ptr_eq(&first, &engine.embedder(&folder, &other).unwrap()));

    let sequences: [&[u32]; 3] = [&[2, 9, 3], &[2, 10, 11, 3], &[2, 9, 3]];
    let vectors = first.embed(&sequences).unwrap();
    assert_eq!(vectors.len(), 3 * 32);
    assert_eq!(vectors[..32], vectors[64..]);
    let usage = engine.embedder(&folder, &options()).unwrap().usage();
    // The third sequence repeats the first, and 7 tokens are computed as 8.
    assert_eq!(
        (usage.sequences, usage.tokens, usage.padding_tokens, usage.forward_passes),
        (2, 7, 1, 1)
    );
    assert!(usage.busy_seconds > 0.0);
}

/// Whether this process has a thread of the model with this short name.
fn has_threads(short_name: &str) -> bool {
    // Linux keeps 15 bytes of a name.
    let expected: String = format!("model {short_name}").chars().take(15).collect();
    let tasks = fs_err::read_dir("/proc/self/task").unwrap();
    let mut names =
        tasks.flatten().filter_map(|it| fs_err::read_to_string(it.path().join("comm")).ok());
    names.any(|name| name.trim_end() == expected)
}

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What `action` logs.
fn logged(action: impl FnOnce()) -> String {
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, action);
    let log = log.0.lock().unwrap();
    String::from_utf8_lossy(&log).into_owned()
}

#[test]
fn engines_beside_one_another_have_one_model_and_accounts_of_their_own() {
    // The folder, and with it the name of the threads, belongs to this test alone.
    let folder = copy("tiny-e5");
    let searches = EmbeddingEngine::new();
    let operations = searches.sharing_models(None);
    let (mut search, mut operation) = (None, None);
    let log = logged(|| {
        search = Some(searches.embedder(folder.path(), &options()).unwrap());
        operation = Some(operations.embedder(folder.path(), &options()).unwrap());
    });
    assert_eq!(log.matches("model loaded").count(), 1, "{log}");
    let (search, operation) = (search.unwrap(), operation.unwrap());
    operation.embed(&[&[2, 9, 3], &[2, 10, 11, 3]]).unwrap();
    assert_eq!((operation.usage().sequences, search.usage().sequences), (2, 0));
    let short_name = search.info().short_name.clone();
    assert!(has_threads(&short_name));
    // The model lives as long as one of the engines uses it.
    drop((search, searches));
    assert_eq!(operation.embed(&[&[2, 9, 3]]).unwrap().len(), 32);
    drop((operation, operations));
    // The kernel removes the entry of a thread shortly after the thread was joined.
    let deadline = Instant::now() + Duration::from_secs(10);
    while has_threads(&short_name) {
        assert!(Instant::now() < deadline, "the model outlives both engines");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn another_model_in_the_same_folder_is_another_model() {
    let folder = copy("tiny-e5");
    let engine = EmbeddingEngine::new();
    let before = engine.embedder(folder.path(), &options()).unwrap();
    edit(folder.path(), "config.json", |config| config["layer_norm_eps"] = json!(1e-5));
    let after = engine.sharing_models(None).embedder(folder.path(), &options()).unwrap();
    assert_ne!(before.info().fingerprint, after.info().fingerprint);
}

#[test]
fn questions_are_answered_while_an_operation_embeds() {
    const ROUNDS: usize = 20;
    let folder = reference().join("tiny-e5");
    let searches = EmbeddingEngine::new();
    let operations = searches.sharing_models(None);
    let search = searches.embedder(&folder, &options()).unwrap();
    let operation = operations.embedder(&folder, &options()).unwrap();
    let chunks: Vec<Vec<u32>> = (0..40_000_u32)
        .map(|nth| {
            [2].into_iter()
                .chain((0..60).map(|place| 5 + (nth * 7 + place * place * nth) % 50))
                .collect()
        })
        .collect();
    let chunks: Vec<&[u32]> = chunks.iter().map(Vec::as_slice).collect();
    // A query that waits for the chunks would be answered after them: at most one per round.
    let (mut answered, mut rounds) = (0, 0);
    while answered <= ROUNDS && rounds < ROUNDS {
        rounds += 1;
        thread::scope(|scope| {
            let embedding = scope.spawn(|| operation.embed(&chunks).unwrap().len());
            while !embedding.is_finished() {
                search.embed(&[&[2, 9, 3]]).unwrap();
                answered += usize::from(!embedding.is_finished());
            }
        });
    }
    assert!(answered > ROUNDS, "{answered} in {rounds} rounds");
}
