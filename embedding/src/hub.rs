//! Models of the Hugging Face hub that are on this machine.
//!
//! They lie where Python's `huggingface_hub` keeps them, so what one of both has fetched the other needs not fetch again:
//! `models--ORG--NAME/snapshots/COMMIT/` below the hub's cache, each file a link to its content in `blobs/`. Such a folder
//! does not tell whether it is whole: Python fetches files as it needs them, and without its `modules.json` a model
//! would be taken for another one. So what `fetch.rs` has found whole stands in a record beside it, which also
//! holds a branch to the commit that it was when it was fetched: a model does not change by itself.

use std::io;
use std::path::PathBuf;

use fs_err as fs;
use pipeline::HubModel;
use serde::{Deserialize, Serialize};

mod download;
mod fetch;

pub use fetch::{Progress, fetch, fetch_again};

/// A revision of a model that is here, whole.
#[derive(Deserialize, Serialize)]
struct Record {
    repository: String,
    revision: String,
    /// The commit that it was.
    commit: String,
    /// The files that are needed of it.
    files: Vec<String>,
}

/// A model that is here.
pub(crate) struct Found {
    pub(crate) folder: PathBuf,
    /// Its name with the commit that its branch was when it was fetched: what that names is the same for ever.
    pub(crate) pinned: HubModel,
}

/// A model that was fetched, if it is still there as it was.
pub(crate) fn find(model: &HubModel) -> Option<Found> {
    let place = Place::of(model)?;
    let Record { commit, files, .. } = place.record()?;
    let folder = place.snapshot(&commit);
    let is_whole = files.iter().all(|file| folder.join(file).is_file());
    is_whole.then(|| Found { folder, pinned: model.at(&commit) })
}

/// Where a model is kept on this machine.
struct Place {
    model: HubModel,
    folder: PathBuf,
}

impl Place {
    /// `None` where nothing says where models are kept.
    fn of(model: &HubModel) -> Option<Self> {
        let name = format!("models--{}", model.repository().replace('/', "--"));
        Some(Self { model: model.clone(), folder: cache()?.join(name) })
    }

    fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    fn blobs(&self) -> PathBuf {
        self.folder.join("blobs")
    }

    /// The folder of our records.
    fn records(&self) -> PathBuf {
        self.folder.join("semantik")
    }

    fn record_file(&self, revision: &str) -> PathBuf {
        // A `%` stands in no revision.
        self.records().join(format!("{}.json", revision.replace('/', "%2F")))
    }

    fn record(&self) -> Option<Record> {
        let record = fs::read(self.record_file(self.model.revision())).ok()?;
        let record: Record = serde_json::from_slice(&record).ok()?;
        let is_it = record.repository == self.model.repository()
            && record.revision == self.model.revision()
            && is_hash(&record.commit);
        is_it.then_some(record)
    }

    /// Records that a revision is here, by its own name and by that of its commit; and tells Python's libraries.
    fn write_records(&self, commit: &str, files: &[String]) -> io::Result<()> {
        let revision = self.model.revision();
        for revision in [commit, revision] {
            let record = Record {
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
            // We do without it.
            tracing::debug!(%error, "Python's libraries could not be told what a branch is");
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

/// The hub's cache on this machine, where `huggingface_hub` has it: `HF_HUB_CACHE`, or `hub` in [`home`].
fn cache() -> Option<PathBuf> {
    path_set("HF_HUB_CACHE").or_else(|| Some(home()?.join("hub")))
}

/// `HF_HOME`, or `huggingface` where the user's caches are.
fn home() -> Option<PathBuf> {
    let caches = || {
        let xdg = path_set("XDG_CACHE_HOME");
        Some(xdg.or_else(|| Some(std::env::home_dir()?.join(".cache")))?.join("huggingface"))
    };
    path_set("HF_HOME").or_else(caches)
}

/// The value of a variable of the environment; none where it is empty, or no text.
fn set(variable: &str) -> Option<String> {
    let value = std::env::var(variable).ok()?.trim().to_owned();
    (!value.is_empty()).then_some(value)
}

/// The same for a path, which may begin with `~/`.
fn path_set(variable: &str) -> Option<PathBuf> {
    let value = set(variable)?;
    match value.strip_prefix("~/") {
        Some(below) => Some(std::env::home_dir()?.join(below)),
        None => Some(value.into()),
    }
}

/// Whether it is a hash of git or SHA-256, and so may stand in a path.
fn is_hash(text: &str) -> bool {
    [40, 64].contains(&text.len()) && text.bytes().all(|it| it.is_ascii_hexdigit())
}
