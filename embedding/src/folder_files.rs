//! The files of a model folder, and the errors of reading them.

use std::path::{Path, PathBuf};

use fs_err as fs;
use pipeline::{HubModel, HubModelError};
use serde::Deserialize;

use crate::{architecture, cross_encoder};

/// Files with the limits of sentence-transformers, newest name first.
pub(crate) const TEXT_SETTINGS_FILES: &[&str] = &[
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

/// Errors of a model folder.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    #[error("model folder `{}` does not exist{}", .0.display(), hub_hint(.0))]
    NoFolder(PathBuf),
    #[error(transparent)]
    HubName(#[from] HubModelError),
    #[error("model `hf:{0}` has not been fetched: run `semantik models fetch hf:{0}`")]
    NotFetched(HubModel),
    #[error("missing file `{}` in model folder `{}`", .file, .folder.display())]
    Missing { folder: PathBuf, file: &'static str },
    #[error("cannot read `{}`", .file.display())]
    Unreadable { file: PathBuf, source: std::io::Error },
    #[error("invalid content in `{}`", .file.display())]
    Malformed { file: PathBuf, source: serde_json::Error },
    #[error(
        "unsupported architecture `{named}`: expected one of {}",
        architecture::supported_names()
    )]
    Architecture { named: String },
    #[error(
        "model `{}` is a cross-encoder (`{named}`): it scores pairs of texts and creates no \
         vectors, so it can only be a reranker",
        .folder.display()
    )]
    CrossEncoder { folder: PathBuf, named: String },
    #[error(
        "model `{}` is no reranker: `{named}` creates vectors; expected one of {}",
        .folder.display(),
        cross_encoder::supported_names()
    )]
    NoReranker { folder: PathBuf, named: String },
    #[error(
        "unsupported architecture `{named}` for a reranker: expected one of {}",
        cross_encoder::supported_names()
    )]
    RerankerArchitecture { named: String },
    #[error(
        "model `{}` has {count} labels: a reranker has one, its score",
        .folder.display()
    )]
    Labels { folder: PathBuf, count: usize },
    #[error("model `{}` requires {what}, which is not supported", .folder.display())]
    Unsupported { folder: PathBuf, what: String },
}

/// The error of an option that is not supported.
pub(crate) fn unsupported(folder: &Path, what: String) -> FolderError {
    FolderError::Unsupported { folder: folder.to_owned(), what }
}

/// Fails if a file is missing.
pub(crate) fn require_file(folder: &Path, file: &'static str) -> Result<(), FolderError> {
    if folder.join(file).is_file() {
        return Ok(());
    }
    Err(FolderError::Missing { folder: folder.to_owned(), file })
}

/// Parses a required JSON file.
pub(crate) fn read_required_json<T: for<'de> Deserialize<'de>>(
    folder: &Path,
    file: &'static str,
) -> Result<T, FolderError> {
    read_optional_json(folder, file)?
        .ok_or_else(|| FolderError::Missing { folder: folder.to_owned(), file })
}

/// Parses a JSON file; `None` if it does not exist.
pub(crate) fn read_optional_json<T: for<'de> Deserialize<'de>>(
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

/// Suggests `hf:` for a path that looks like a hub name: two plain components, neither of them an
/// existing folder.
fn hub_hint(model: &Path) -> String {
    let last = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let parent = model.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.exists());
    // Relative, or below the folder of the pipeline file; a path directly below `/` is meant as a
    // path.
    let parent = parent.filter(|parent| parent.parent().is_some_and(|it| it != Path::new("/")));
    let Some((parent, name)) = parent.and_then(last).zip(last(model)) else { return String::new() };
    let named = PathBuf::from(format!("hf:{parent}/{name}"));
    // `models/x` is a local folder, not an organisation.
    if matches!(&*parent, "models" | "model") || !matches!(HubModel::from_path(&named), Some(Ok(_)))
    {
        return String::new();
    }
    format!("; for a model of the Hugging Face hub, write `{}`", named.display())
}
