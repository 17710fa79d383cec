//! What a model's folder says, read once: shape, modules, limits and prompts.
//!
//! The folder has the Hugging Face layout with sentence-transformers' files beside it (`modules.rs`). A limit
//! may stand in `sentence_bert_config.json` or in `tokenizer_config.json`. Whatever the folder asks
//! for that this engine does not do is refused by name; nothing is left out silently.
//!
//! Weights are not read here, so describing a model is cheap however large it is.

use std::path::{Path, PathBuf};

use fs_err as fs;
use pipeline::ModelInfo;
use serde::Deserialize;
use serde_json::Value;

use crate::architecture::{self, Config, ConfigError, Shape};
use crate::fingerprint::fingerprint;
use crate::modules::Modules;
use crate::prompts::Prompts;
use crate::short_name::short_name;

/// A model's folder, understood.
pub(crate) struct Folder {
    pub(crate) info: ModelInfo,
    pub(crate) config: Box<dyn Config>,
    pub(crate) modules: Modules,
    pub(crate) prompts: Prompts,
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
    #[error(
        "architecture `{named}` is not supported; supported are: {}",
        architecture::supported()
    )]
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
        let json: Value = needed(path, "config.json")?;
        let config = architecture::read(&json).map_err(|error| match error {
            ConfigError::Unknown(named) => FolderError::Architecture { named },
            ConfigError::Unsupported(what) => unsupported(path, what),
            ConfigError::Malformed(source) => {
                FolderError::Malformed { file: path.join("config.json"), source }
            }
        })?;
        present(path, "tokenizer.json")?;
        if !path.join("model.safetensors.index.json").is_file() {
            present(path, "model.safetensors")?;
        }

        let modules = Modules::read(path)?;
        let named = json["_name_or_path"].as_str().unwrap_or_default();
        let prompts = Prompts::read(path, named)?;
        let shape = config.shape();
        let info = ModelInfo {
            path: path.to_owned(),
            short_name: short_name(path),
            dim: modules.dim(shape.width),
            max_tokens: max_tokens(path, shape)?,
            fingerprint: fingerprint(path, &prompts, &modules)
                .map_err(|source| FolderError::Unreadable { file: path.to_owned(), source })?,
        };
        Ok(Self { info, config, modules, prompts })
    }
}

/// The most tokens the model reads: what sentence-transformers was told, or else the tokenizer, and
/// never more than there are positions.
fn max_tokens(path: &Path, shape: Shape) -> Result<usize, FolderError> {
    #[derive(Deserialize)]
    struct Limit {
        #[serde(alias = "model_max_length")]
        max_seq_length: Option<f64>,
    }
    let positions = shape.positions;
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

pub(crate) fn unsupported(folder: &Path, what: String) -> FolderError {
    FolderError::Unsupported { folder: folder.to_owned(), what }
}

fn present(folder: &Path, file: &'static str) -> Result<(), FolderError> {
    if folder.join(file).is_file() {
        return Ok(());
    }
    Err(FolderError::Missing { folder: folder.to_owned(), file })
}

/// Reads a JSON file that must be there.
pub(crate) fn needed<T: for<'de> Deserialize<'de>>(
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
