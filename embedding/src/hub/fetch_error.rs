//! Errors and progress of a fetch.

use std::io;

use pipeline::HubModel;

use super::download::DownloadError;
use crate::folder_files::FolderError;

/// Progress of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchProgress {
    /// Another process fetches the same model; this one waits for it.
    Waiting,
    /// Download progress.
    Downloading {
        /// Bytes present of the missing files, including parts of earlier attempts.
        bytes: u64,
        /// Total size of all files known to be missing; grows as the fetch discovers files.
        total_bytes: u64,
    },
}

/// Errors of a fetch.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("cannot fetch `hf:{0}`: HF_HUB_OFFLINE is set")]
    Offline(HubModel),
    #[error("no cache folder for `hf:{0}`: the user has no home folder; set HF_HOME")]
    NoCacheDir(HubModel),
    #[error("model `{model}` not found at {hub} (HTTP 404): check its name and revision")]
    NotFound { model: HubModel, hub: String },
    #[error(
        "{hub} denies access to `{model}` (HTTP {status}): it does not exist, is private or requires consent; {}",
        if *.token { "the token in use is not sufficient" } else { "set HF_TOKEN to a token with access" }
    )]
    AccessDenied { model: HubModel, hub: String, status: u16, token: bool },
    #[error(
        "cannot fetch `hf:{model}` from {hub}; the next attempt resumes the download. \
         Without network access, use a local model folder"
    )]
    Hub { model: HubModel, hub: String, source: DownloadError },
    #[error("{hub} sent an invalid description of `{model}`")]
    Description { model: HubModel, hub: String, source: serde_json::Error },
    #[error("{hub} sent commit `{commit}` for `{model}`: it is invalid or not the requested one")]
    Commit { model: HubModel, hub: String, commit: String },
    #[error("`hf:{model}` has no file `{file}`, which is required")]
    MissingFile { model: HubModel, file: String },
    #[error(
        "`{file}` of `hf:{model}` does not match the description of {hub} ({what}): download discarded"
    )]
    Damaged { model: HubModel, hub: String, file: String, what: &'static str },
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("cannot store `hf:{model}`")]
    Io { model: HubModel, source: io::Error },
}
