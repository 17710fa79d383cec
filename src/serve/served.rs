//! The pipeline files that a server was given: what it searches and works on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pipeline::{BoxError, PipelineSpec, Plan, PostgresSpec};

use crate::wiring;

/// One file, read and checked.
pub(super) struct Pipeline {
    pub(super) path: PathBuf,
    pub(super) spec: PipelineSpec,
    pub(super) plan: Plan,
}

/// The files by the owner and the name of their collection.
pub(super) struct Served {
    by_collection: BTreeMap<(String, String), Pipeline>,
}

impl Served {
    /// Reads and checks files.
    ///
    /// # Errors
    /// If one is faulty, two fill the same collection, or they do not have the same metadata store.
    pub(super) fn read(files: &[PathBuf], engine: &embedding::Engine) -> Result<Self, BoxError> {
        let mut by_collection = BTreeMap::new();
        let mut first: Option<(PathBuf, String)> = None;
        for path in files {
            let (spec, plan) = wiring::load(path, engine)?;
            let store = store_of(&spec)?;
            match &first {
                None => first = Some((path.clone(), store)),
                Some((other, its)) if *its != store => {
                    return Err(different(other, path).into());
                }
                Some(_) => {}
            }
            let key = (spec.file.owner.clone(), spec.file.collection.clone());
            let pipeline = Pipeline { path: path.clone(), spec, plan };
            if let Some(other) = by_collection.insert(key, pipeline) {
                let (other, path) = (other.path.display(), path.display());
                return Err(format!("{other} and {path} fill the same collection").into());
            }
        }
        Ok(Self { by_collection })
    }

    /// Whether a file fills this collection.
    pub(super) fn has(&self, owner: &str, collection: &str) -> bool {
        self.find(owner, collection).is_some()
    }

    /// The file that fills this collection.
    pub(super) fn find(&self, owner: &str, collection: &str) -> Option<&Pipeline> {
        self.by_collection.get(&(owner.to_owned(), collection.to_owned()))
    }

    /// All files.
    pub(super) fn all(&self) -> impl Iterator<Item = &Pipeline> {
        self.by_collection.values()
    }

    /// Any of the files, for what they have in common.
    pub(super) fn first(&self) -> &Pipeline {
        self.by_collection.values().next().expect("the command asks for one file at least")
    }
}

/// Which metadata store a file has: a URL, or the folder of an embedded one. Never shown, since a URL may hold a
/// password.
fn store_of(spec: &PipelineSpec) -> Result<String, BoxError> {
    Ok(match &spec.file.stores.postgres {
        PostgresSpec::Url(url) if url.reveal() != "embedded" => url.reveal().to_owned(),
        PostgresSpec::Url(_) | PostgresSpec::Embedded => {
            std::path::absolute(spec.data_folder())?.to_string_lossy().into_owned()
        }
    })
}

fn different(one: &Path, other: &Path) -> String {
    let (one, other) = (one.display(), other.display());
    format!("{one} and {other} have different metadata stores; a server has one")
}
