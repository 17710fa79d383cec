//! What a model's folder says, read once: shape, modules, limits and prompts.
//!
//! The folder has the Hugging Face layout with sentence-transformers' files beside it (`modules.rs`). A limit
//! may stand in `sentence_bert_config.json` (or an older name of it) or in `tokenizer_config.json`. Whatever the folder asks
//! for that this engine does not do is refused by name; nothing is left out silently.
//!
//! Weights are not read here, so describing a model is cheap however large it is.

use std::path::{Path, PathBuf};

use fs_err as fs;
use pipeline::{BoxError, HubModel, HubModelError, ModelInfo};
use serde::Deserialize;
use serde_json::Value;

use crate::architecture::{self, Config, ConfigError, Shape};
use crate::fingerprint::fingerprint;
use crate::hub;
use crate::modules::Modules;
use crate::prompts::Prompts;
use crate::short_name::short_name;
use crate::stand_in::is_stand_in;

/// A model's folder, understood.
pub(crate) struct Folder {
    pub(crate) info: ModelInfo,
    /// Where its files are. For a model of the hub that is not what it is named by.
    pub(crate) at: PathBuf,
    pub(crate) config: Box<dyn Config>,
    pub(crate) modules: Modules,
    pub(crate) prompts: Prompts,
}

/// Why a folder is not a model that can be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    #[error("there is no model folder at `{}`{}", .0.display(), hub_hint(.0))]
    NoFolder(PathBuf),
    #[error(transparent)]
    Name(#[from] HubModelError),
    #[error("`hf:{0}` has not been fetched yet; `semantik models fetch hf:{0}` does it")]
    NotFetched(HubModel),
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
    /// Reads the folder of a model that is named by it, or by its name on the hub.
    ///
    /// # Errors
    /// If it is no model, or asks for something that is not supported, or has not been fetched.
    pub(crate) fn read(model: &Path) -> Result<Self, FolderError> {
        let Located { at, pinned, name, typed } = locate(model)?;
        let path = at.as_path();
        let (json, config) = config(path)?;
        present(path, "tokenizer.json")?;
        if !path.join("model.safetensors.index.json").is_file() {
            present(path, "model.safetensors")?;
        }

        refuse_lower_case(path)?;

        let modules = Modules::read(path)?;
        for dense in modules.dense() {
            present(&path.join(&dense.folder), "model.safetensors")?;
        }
        let named_before = json["_name_or_path"].as_str().unwrap_or_default();
        let prompts = Prompts::read(path, [&typed, &name, named_before])?;
        let shape = config.shape();
        let info = ModelInfo {
            path: pinned,
            short_name: short_name(&name),
            dim: modules.dim(shape.width),
            max_tokens: max_tokens(path, shape)?,
            fingerprint: fingerprint(path, &prompts, &modules)
                .map_err(|source| FolderError::Unreadable { file: path.to_owned(), source })?,
        };
        Ok(Self { info, at, config, modules, prompts })
    }
}

/// Whether a model is on this machine, so that it can be described: its folder is there, or it has been fetched, or it is
/// the stand-in.
pub fn is_here(model: &Path) -> bool {
    is_stand_in(model)
        || !matches!(locate(model), Err(FolderError::NoFolder(_) | FolderError::NotFetched(_)))
}

/// The folder in which the files of a model are.
///
/// # Errors
/// If there is none, or the model has not been fetched.
pub fn folder_of(model: &Path) -> Result<PathBuf, BoxError> {
    Ok(locate(model)?.at)
}

/// What to write where a name of the hub was given without `hf:`: two plain parts, of which neither is a folder.
fn hub_hint(model: &Path) -> String {
    let last = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let parent = model.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.exists());
    // Below the folder of the pipeline file, or relative: what stands below the root is meant as a path.
    let parent = parent.filter(|parent| parent.parent().is_some_and(|it| it != Path::new("/")));
    let Some((parent, name)) = parent.and_then(last).zip(last(model)) else { return String::new() };
    let named = PathBuf::from(format!("hf:{parent}/{name}"));
    // A folder of models by its usual name is no organisation.
    if matches!(&*parent, "models" | "model") || !matches!(HubModel::named(&named), Some(Ok(_))) {
        return String::new();
    }
    format!("; a model of the Hugging Face hub is written as `{}`", named.display())
}

/// Where a model's files are, and what it is called.
struct Located {
    at: PathBuf,
    /// What the model is named by: its folder, or its name on the hub with the commit.
    pinned: PathBuf,
    /// What its folder, or its repository on the hub, is called.
    name: String,
    /// The name by which its folder was asked for, where that is a link.
    typed: String,
}

fn locate(model: &Path) -> Result<Located, FolderError> {
    if let Some(named) = HubModel::named(model) {
        let named = named?;
        let name = named.name().to_owned();
        let found = hub::find(&named).ok_or(FolderError::NotFetched(named))?;
        let (at, pinned) = (found.folder, found.pinned.path());
        return Ok(Located { at, pinned, typed: name.clone(), name });
    }
    if !model.is_dir() {
        return Err(FolderError::NoFolder(model.to_owned()));
    }
    let last = |path: &Path| {
        path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    };
    // `models/x/` and `.` name a folder too.
    let canonical = fs::canonicalize(model).unwrap_or_else(|_| model.to_owned());
    let (at, pinned) = (model.to_owned(), model.to_owned());
    Ok(Located { at, pinned, name: last(&canonical), typed: last(model) })
}

/// The configuration of the model in a folder, as it stands there and as its architecture reads it.
pub(crate) fn config(path: &Path) -> Result<(Value, Box<dyn Config>), FolderError> {
    let json: Value = needed(path, "config.json")?;
    let config = architecture::read(&json).map_err(|error| match error {
        ConfigError::Unknown(named) => FolderError::Architecture { named },
        ConfigError::Unsupported(what) => unsupported(path, what),
        ConfigError::Malformed(source) => {
            FolderError::Malformed { file: path.join("config.json"), source }
        }
    })?;
    Ok((json, config))
}

/// The files in which sentence-transformers says how it reads texts, the newest name first.
pub(crate) const READING: &[&str] = &[
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

/// Refuses a model whose texts are made lower case in front of a tokenizer that does not do it itself.
fn refuse_lower_case(path: &Path) -> Result<(), FolderError> {
    #[derive(Deserialize)]
    struct Reading {
        #[serde(default)]
        do_lower_case: bool,
    }
    let Some(file) = READING.iter().find(|file| path.join(file).is_file()) else { return Ok(()) };
    if !needed::<Reading>(path, file)?.do_lower_case {
        return Ok(());
    }
    let tokenizer: Value = needed(path, "tokenizer.json")?;
    let normalizer = tokenizer["normalizer"].to_string();
    if ["\"lowercase\":true", "\"Lowercase\""].iter().any(|it| normalizer.contains(it)) {
        return Ok(());
    }
    Err(unsupported(path, format!("lower case in front of its tokenizer ({file})")))
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
    for file in READING.iter().copied().chain(["tokenizer_config.json"]) {
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
