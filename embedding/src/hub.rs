//! Models of the Hugging Face hub on this machine.
//!
//! They are stored in the cache of Python's `huggingface_hub`, so both share downloads:
//! `models--ORG--NAME/snapshots/COMMIT/` below the hub's cache, each file a link to its content in
//! `blobs/`. Such a folder does not show whether it is complete: Python downloads files on demand,
//! and without its `modules.json` a model would be read as a different one. So `fetch.rs` writes a
//! record next to a complete snapshot. The record also pins a branch to its commit at download
//! time, so a model does not change without a new fetch.

use std::io;
use std::path::PathBuf;

use fs_err as fs;
use pipeline::HubModel;
use serde::{Deserialize, Serialize};

mod download;
mod fetch;
mod fetch_error;
mod model_download;
mod revision;

pub use fetch::{FetchProgress, fetch, fetch_latest};

/// Record of a complete revision of a model.
#[derive(Deserialize, Serialize)]
struct DownloadRecord {
    repository: String,
    revision: String,
    /// The commit of `revision` at download time.
    commit: String,
    /// The required files, relative to the snapshot.
    files: Vec<String>,
}

/// A model with a complete snapshot.
pub(crate) struct DownloadedModel {
    pub(crate) folder: PathBuf,
    /// The name with the commit that the branch had at download time; it always names the same
    /// content.
    pub(crate) pinned: HubModel,
}

/// The fetched model; `None` if it was not fetched or a file is missing.
pub(crate) fn find(model: &HubModel) -> Option<DownloadedModel> {
    let place = ModelCacheDir::for_model(model)?;
    let DownloadRecord { commit, files, .. } = place.record()?;
    let folder = place.snapshot(&commit);
    let is_whole = files.iter().all(|file| folder.join(file).is_file());
    is_whole.then(|| DownloadedModel { folder, pinned: model.with_revision(&commit) })
}

/// The cache folder of a model.
struct ModelCacheDir {
    model: HubModel,
    folder: PathBuf,
}

impl ModelCacheDir {
    /// `None` if no cache folder is configured and the user has no home.
    fn for_model(model: &HubModel) -> Option<Self> {
        let name = format!("models--{}", model.repository().replace('/', "--"));
        Some(Self { model: model.clone(), folder: hub_cache_dir()?.join(name) })
    }

    fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    fn blobs(&self) -> PathBuf {
        self.folder.join("blobs")
    }

    /// The folder of semantik's records, which `huggingface_hub` ignores.
    fn records(&self) -> PathBuf {
        self.folder.join("semantik")
    }

    fn record_file(&self, revision: &str) -> PathBuf {
        // Unambiguous: a revision contains no `%`.
        self.records().join(format!("{}.json", revision.replace('/', "%2F")))
    }

    fn record(&self) -> Option<DownloadRecord> {
        let record = fs::read(self.record_file(self.model.revision())).ok()?;
        let record: DownloadRecord = serde_json::from_slice(&record).ok()?;
        let is_it = record.repository == self.model.repository()
            && record.revision == self.model.revision()
            && is_hex_hash(&record.commit);
        is_it.then_some(record)
    }

    /// Records a complete revision under its own name and its commit, and updates the branch
    /// reference of `huggingface_hub`.
    fn write_records(&self, commit: &str, files: &[String]) -> io::Result<()> {
        let revision = self.model.revision();
        for revision in [commit, revision] {
            let record = DownloadRecord {
                repository: self.model.repository().to_owned(),
                revision: revision.to_owned(),
                commit: commit.to_owned(),
                files: files.to_owned(),
            };
            let file = self.record_file(revision);
            let new = file.with_extension("new");
            fs::write(&new, serde_json::to_vec_pretty(&record)?)?;
            fs::File::open(&new)?.sync_all()?;
            fs::rename(new, file)?;
        }
        if revision != commit
            && let Err(error) = self.write_reference(commit)
        {
            // Not required by semantik.
            tracing::debug!(%error, "cannot write the branch reference for huggingface_hub");
        }
        Ok(())
    }

    fn write_reference(&self, commit: &str) -> io::Result<()> {
        let reference = self.folder.join("refs").join(self.model.revision());
        fs::create_dir_all(reference.parent().unwrap_or(&self.folder))?;
        let new = self.records().join("reference.new");
        fs::write(&new, commit)?;
        fs::rename(new, reference)
    }
}

/// The cache of `huggingface_hub`: `HF_HUB_CACHE`, or `hub` in [`hf_home`].
fn hub_cache_dir() -> Option<PathBuf> {
    env_path("HF_HUB_CACHE").or_else(|| Some(hf_home()?.join("hub")))
}

/// `HF_HOME`, or `huggingface` in the user's cache folder.
fn hf_home() -> Option<PathBuf> {
    let caches = || {
        let xdg = env_path("XDG_CACHE_HOME");
        Some(xdg.or_else(|| Some(std::env::home_dir()?.join(".cache")))?.join("huggingface"))
    };
    env_path("HF_HOME").or_else(caches)
}

/// The trimmed value of an environment variable; `None` if it is empty or not UTF-8.
fn env_value(variable: &str) -> Option<String> {
    let value = std::env::var(variable).ok()?.trim().to_owned();
    (!value.is_empty()).then_some(value)
}

/// As [`env_value`], for a path that may start with `~/`.
fn env_path(variable: &str) -> Option<PathBuf> {
    let value = env_value(variable)?;
    match value.strip_prefix("~/") {
        Some(below) => Some(std::env::home_dir()?.join(below)),
        None => Some(value.into()),
    }
}

/// `true` for a hash of git or SHA-256, which is safe as a path component.
fn is_hex_hash(text: &str) -> bool {
    [40, 64].contains(&text.len()) && text.bytes().all(|it| it.is_ascii_hexdigit())
}
