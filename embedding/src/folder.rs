//! Parses a model folder: shape, modules, limits and prompts.
//!
//! The folder has the Hugging Face layout, optionally with the files of sentence-transformers
//! (`modules.rs`). A token limit can be in `sentence_bert_config.json` (or an older name of it) or
//! in `tokenizer_config.json`. Unsupported options are errors that name the option; none is ignored
//! silently.
//!
//! Weights are not read, so this is cheap for models of any size.

use std::path::{Path, PathBuf};

use fs_err as fs;
use pipeline::{BoxError, HubModel, ModelInfo};
use serde::Deserialize;
use serde_json::Value;

use crate::architecture::{self, Config, ModelShape};
use crate::cross_encoder;
use crate::fingerprint::fingerprint;
use crate::folder_files::{
    FolderError, TEXT_SETTINGS_FILES, read_optional_json, read_required_json, require_file,
    unsupported,
};
use crate::hub;
use crate::modules::Modules;
use crate::prompts::Prompts;
use crate::short_name::short_name;
use crate::stand_in::is_stand_in;

/// A parsed model folder.
pub(crate) struct ModelFolder {
    pub(crate) info: ModelInfo,
    /// The folder that holds the files. For a model of the hub it differs from `info.path`.
    pub(crate) path: PathBuf,
    pub(crate) config: Box<dyn Config>,
    pub(crate) modules: Modules,
    pub(crate) prompts: Prompts,
}

impl ModelFolder {
    /// Parses the folder of a model, given by path or by its name on the hub.
    ///
    /// # Errors
    /// If it is not a supported model, or has not been fetched.
    pub(crate) fn read(model: &Path) -> Result<Self, FolderError> {
        let LocatedModel { path: at, pinned_path: pinned, name, requested_name: typed } =
            locate(model)?;
        let path = at.as_path();
        let (json, config) = read_config(path)?;
        require_file(path, "tokenizer.json")?;
        require_weights(path)?;

        check_lower_case(path)?;

        let modules = Modules::read(path)?;
        for dense in modules.dense() {
            require_file(&path.join(&dense.folder), "model.safetensors")?;
        }
        let named_before = json["_name_or_path"].as_str().unwrap_or_default();
        let prompts = Prompts::read(path, [&typed, &name, named_before])?;
        let shape = config.shape();
        let info = ModelInfo {
            path: pinned,
            short_name: short_name(&name),
            dim: modules.dim(shape.hidden_size),
            max_tokens: max_tokens(path, shape)?,
            fingerprint: fingerprint(path, &prompts, &modules)
                .map_err(|source| FolderError::Unreadable { file: path.to_owned(), source })?,
        };
        Ok(Self { info, path: at, config, modules, prompts })
    }
}

/// `true` if a model can be described on this machine: its folder exists, it has been fetched, or
/// it is the stand-in.
pub fn is_available_locally(model: &Path) -> bool {
    is_stand_in(model)
        || !matches!(locate(model), Err(FolderError::NoFolder(_) | FolderError::NotFetched(_)))
}

/// The folder that holds the files of a model.
///
/// # Errors
/// If the folder does not exist, or the model has not been fetched.
pub fn model_folder(model: &Path) -> Result<PathBuf, BoxError> {
    Ok(locate(model)?.path)
}

/// Location and names of a model.
pub(crate) struct LocatedModel {
    pub(crate) path: PathBuf,
    /// The model's folder, or its name on the hub with the commit.
    pub(crate) pinned_path: PathBuf,
    /// Name of the canonical folder, or of the repository on the hub.
    pub(crate) name: String,
    /// Name of the folder as given; differs from `name` if it is a symbolic link.
    requested_name: String,
}

/// Finds a model given by path or by its name on the hub.
pub(crate) fn locate(model: &Path) -> Result<LocatedModel, FolderError> {
    if let Some(named) = HubModel::from_path(model) {
        let named = named?;
        let name = named.name().to_owned();
        let found = hub::find(&named).ok_or(FolderError::NotFetched(named))?;
        let (at, pinned) = (found.folder, found.pinned.to_path());
        return Ok(LocatedModel {
            path: at,
            pinned_path: pinned,
            requested_name: name.clone(),
            name,
        });
    }
    if !model.is_dir() {
        return Err(FolderError::NoFolder(model.to_owned()));
    }
    let last = |path: &Path| {
        path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    };
    // Canonical, so that `models/x/` and `.` yield a name.
    let canonical = fs::canonicalize(model).unwrap_or_else(|_| model.to_owned());
    let (at, pinned) = (model.to_owned(), model.to_owned());
    Ok(LocatedModel {
        path: at,
        pinned_path: pinned,
        name: last(&canonical),
        requested_name: last(model),
    })
}

/// `config.json` of a model folder, raw and parsed by its architecture.
pub(crate) fn read_config(path: &Path) -> Result<(Value, Box<dyn Config>), FolderError> {
    let json: Value = read_required_json(path, "config.json")?;
    let config =
        architecture::parse(&json).map_err(|error| architecture::folder_error(path, error))?;
    Ok((json, config))
}

/// Checks that a folder with `config.json` is a model of a supported architecture: one that embeds,
/// or a cross-encoder.
pub(crate) fn check_architecture(path: &Path) -> Result<(), FolderError> {
    match read_config(path) {
        Err(FolderError::CrossEncoder { .. }) => cross_encoder::read_config(path).map(drop),
        read => read.map(drop),
    }
}

/// Fails if the weights are missing.
pub(crate) fn require_weights(path: &Path) -> Result<(), FolderError> {
    if path.join("model.safetensors.index.json").is_file() {
        return Ok(());
    }
    require_file(path, "model.safetensors")
}

/// Rejects a model that lower-cases its texts before the tokenizer, unless the tokenizer does it.
fn check_lower_case(path: &Path) -> Result<(), FolderError> {
    #[derive(Deserialize)]
    struct Reading {
        #[serde(default)]
        do_lower_case: bool,
    }
    let Some(file) = TEXT_SETTINGS_FILES.iter().find(|file| path.join(file).is_file()) else {
        return Ok(());
    };
    if !read_required_json::<Reading>(path, file)?.do_lower_case {
        return Ok(());
    }
    let tokenizer: Value = read_required_json(path, "tokenizer.json")?;
    let normalizer = tokenizer["normalizer"].to_string();
    if ["\"lowercase\":true", "\"Lowercase\""].iter().any(|it| normalizer.contains(it)) {
        return Ok(());
    }
    Err(unsupported(path, format!("lower-casing before its tokenizer ({file})")))
}

/// Token limit of the model: that of sentence-transformers, else of the tokenizer, at most the
/// number of positions.
pub(crate) fn max_tokens(path: &Path, shape: ModelShape) -> Result<usize, FolderError> {
    #[derive(Deserialize)]
    struct Limit {
        #[serde(alias = "model_max_length")]
        max_seq_length: Option<f64>,
    }
    let positions = shape.max_positions;
    for file in TEXT_SETTINGS_FILES.iter().copied().chain(["tokenizer_config.json"]) {
        // Tokenizers without a limit store 1e30.
        let limit = read_optional_json::<Limit>(path, file)?.and_then(|limit| limit.max_seq_length);
        if let Some(limit) = limit.filter(|limit| *limit >= 1.0) {
            #[expect(clippy::cast_possible_truncation, reason = "bounded by `positions`")]
            let limit = limit.min(positions as f64) as usize;
            return Ok(limit);
        }
    }
    Ok(positions)
}
