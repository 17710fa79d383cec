//! What a model's folder says, read once: shape, pooling, limits and prompts.
//!
//! The folder has the Hugging Face layout with sentence-transformers' files beside it. Both generations
//! of these are read: `pooling_mode_mean_tokens: true` and `pooling_mode: "mean"`, a limit in
//! `sentence_bert_config.json` and one in `tokenizer_config.json`. A folder without `modules.json` is
//! taken as sentence-transformers takes it: mean pooling, no normalisation. Whatever the folder asks
//! for that this engine does not do is refused by name; nothing is left out silently.
//!
//! Weights are not read here, so describing a model is cheap however large it is.

use std::path::{Path, PathBuf};

use fs_err as fs;
use pipeline::ModelInfo;
use serde::Deserialize;
use serde_json::Value;

use crate::fingerprint::fingerprint;
use crate::prompts::Prompts;
use crate::short_name::short_name;

/// The architectures that can be run, as `config.json` names them. The last two are BERT with a head for
/// its training on top, which an embedding does not use.
pub(crate) const ARCHITECTURES: &[&str] = &["BertModel", "BertForMaskedLM", "BertForPreTraining"];

/// A model's folder, understood.
pub(crate) struct Folder {
    pub(crate) info: ModelInfo,
    pub(crate) config: Config,
    pub(crate) pooling: Pooling,
    /// Whether vectors are scaled to length one.
    pub(crate) normalize: bool,
    pub(crate) prompts: Prompts,
}

/// `config.json`, as far as BERT's shape goes.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Config {
    #[serde(default, rename = "_name_or_path")]
    name_or_path: String,
    pub(crate) vocab_size: usize,
    pub(crate) hidden_size: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) num_hidden_layers: usize,
    pub(crate) num_attention_heads: usize,
    pub(crate) max_position_embeddings: usize,
    #[serde(default = "usual_types")]
    pub(crate) type_vocab_size: usize,
    #[serde(default = "usual_eps")]
    pub(crate) layer_norm_eps: f64,
    pub(crate) hidden_act: String,
    #[serde(default)]
    position_embedding_type: Option<String>,
}

fn usual_types() -> usize {
    2
}

fn usual_eps() -> f64 {
    1e-12
}

/// How the vectors of a sequence's tokens become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pooling {
    /// Their mean.
    Mean,
    /// The first one.
    Cls,
}

/// Why a folder is not a model that can be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    #[error("there is no model folder at `{}`", .0.display())]
    NoFolder(PathBuf),
    #[error("`{}` is missing from the model's folder `{}`", .file, .folder.display())]
    Missing { folder: PathBuf, file: &'static str },
    #[error("`{}` cannot be read", .file.display())]
    Unreadable { file: PathBuf, source: std::io::Error },
    #[error("`{}` is not as expected", .file.display())]
    Malformed { file: PathBuf, source: serde_json::Error },
    #[error("architecture `{named}` is not supported; supported are: {}", ARCHITECTURES.join(", "))]
    Architecture { named: String },
    #[error("`{}` asks for {what}, which is not supported", .folder.display())]
    Unsupported { folder: PathBuf, what: String },
}

impl Folder {
    /// Reads a folder.
    ///
    /// # Errors
    /// If it is no model, or asks for something that is not supported.
    pub(crate) fn read(path: &Path) -> Result<Self, FolderError> {
        if !path.is_dir() {
            return Err(FolderError::NoFolder(path.to_owned()));
        }
        // The name of the architecture comes first: the rest of the file means something only then.
        let config: Value = needed(path, "config.json")?;
        supported(&config)?;
        let config: Config = serde_json::from_value(config)
            .map_err(|source| FolderError::Malformed { file: path.join("config.json"), source })?;
        if config.position_embedding_type.as_deref().is_some_and(|kind| kind != "absolute") {
            let kind = config.position_embedding_type.unwrap_or_default();
            return Err(unsupported(path, format!("position embeddings of type `{kind}`")));
        }
        present(path, "tokenizer.json")?;
        if !path.join("model.safetensors.index.json").is_file() {
            present(path, "model.safetensors")?;
        }

        let modules = Modules::read(path)?;
        let prompts = Prompts::read(path, &config.name_or_path)?;
        let info = ModelInfo {
            path: path.to_owned(),
            short_name: short_name(path),
            dim: config.hidden_size,
            max_tokens: max_tokens(path, &config)?,
            fingerprint: fingerprint(path, &prompts)
                .map_err(|source| FolderError::Unreadable { file: path.to_owned(), source })?,
        };
        let Modules { pooling, normalize } = modules;
        Ok(Self { info, config, pooling, normalize, prompts })
    }
}

fn supported(config: &Value) -> Result<(), FolderError> {
    let named = config["architectures"][0].as_str().or_else(|| config["model_type"].as_str());
    match named {
        Some(name) if ARCHITECTURES.contains(&name) || name == "bert" => Ok(()),
        named => {
            Err(FolderError::Architecture { named: named.unwrap_or("(none named)").to_owned() })
        }
    }
}

/// The most tokens the model reads: what sentence-transformers was told, or else the tokenizer, and
/// never more than there are positions.
fn max_tokens(path: &Path, config: &Config) -> Result<usize, FolderError> {
    #[derive(Deserialize)]
    struct Limit {
        #[serde(alias = "model_max_length")]
        max_seq_length: Option<f64>,
    }
    let positions = config.max_position_embeddings;
    for file in ["sentence_bert_config.json", "tokenizer_config.json"] {
        // Tokenizers that know no limit say 1e30.
        let limit = optional::<Limit>(path, file)?.and_then(|limit| limit.max_seq_length);
        if let Some(limit) = limit.filter(|limit| *limit >= 1.0) {
            #[expect(clippy::cast_possible_truncation, reason = "bounded by `positions`")]
            let limit = limit.min(positions as f64) as usize;
            return Ok(limit);
        }
    }
    Ok(positions)
}

/// What stands behind the transformer.
struct Modules {
    pooling: Pooling,
    normalize: bool,
}

impl Modules {
    fn read(path: &Path) -> Result<Self, FolderError> {
        #[derive(Deserialize)]
        struct Module {
            path: String,
            r#type: String,
        }
        let mut found = Self { pooling: Pooling::Mean, normalize: false };
        for module in optional::<Vec<Module>>(path, "modules.json")?.unwrap_or_default() {
            // `sentence_transformers.models.Pooling` and newer, longer paths end in the same word.
            match module.r#type.rsplit('.').next().unwrap_or_default() {
                "Transformer" => {}
                "Pooling" => found.pooling = pooling(path, &module.path)?,
                "Normalize" => found.normalize = true,
                other => {
                    return Err(unsupported(path, format!("a module `{other}` behind the model")));
                }
            }
        }
        Ok(found)
    }
}

fn pooling(path: &Path, module: &str) -> Result<Pooling, FolderError> {
    const PREFIX: &str = "pooling_mode_";
    let config: serde_json::Map<String, Value> = needed(&path.join(module), "config.json")?;
    if config.get("include_prompt") == Some(&Value::Bool(false)) {
        return Err(unsupported(path, "pooling without the prompt's tokens".to_owned()));
    }
    let flagged = config
        .iter()
        .filter(|(_, on)| **on == Value::Bool(true))
        .filter_map(|(key, _)| key.strip_prefix(PREFIX));
    let named = config.get("pooling_mode").and_then(Value::as_str);
    let modes: Vec<&str> = named.into_iter().chain(flagged).collect();
    match modes[..] {
        ["mean" | "mean_tokens"] => Ok(Pooling::Mean),
        ["cls" | "cls_token"] => Ok(Pooling::Cls),
        _ => Err(unsupported(path, format!("pooling by `{}`", modes.join("` and `")))),
    }
}

fn unsupported(folder: &Path, what: String) -> FolderError {
    FolderError::Unsupported { folder: folder.to_owned(), what }
}

fn present(folder: &Path, file: &'static str) -> Result<(), FolderError> {
    if folder.join(file).is_file() {
        return Ok(());
    }
    Err(FolderError::Missing { folder: folder.to_owned(), file })
}

fn needed<T: for<'de> Deserialize<'de>>(
    folder: &Path,
    file: &'static str,
) -> Result<T, FolderError> {
    optional(folder, file)?.ok_or_else(|| FolderError::Missing { folder: folder.to_owned(), file })
}

/// Reads a JSON file that may be absent.
pub(crate) fn optional<T: for<'de> Deserialize<'de>>(
    folder: &Path,
    file: &str,
) -> Result<Option<T>, FolderError> {
    let file = folder.join(file);
    match fs::read(&file) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| FolderError::Malformed { file, source }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FolderError::Unreadable { file, source }),
    }
}
