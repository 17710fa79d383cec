//! Fetches a model from the hub: the files of it that the engine reads, all of one commit, checked against the hub's
//! checksums. What is here is not fetched again. See `docs/adr/0021-hugging-face-hub-models.md`.

use std::collections::BTreeMap;
use std::fs::TryLockError;
use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use pipeline::{BoxError, HubModel, is_plain_name};
use serde::Deserialize;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::download::{Client, DownloadError};
use super::{Place, find, home, is_hash, path_set, set};
use crate::fingerprint::hexadecimal;
use crate::folder::{self, FolderError, READING};
use crate::modules::{Module, Modules};
use crate::weights;

/// How the fetching of a model gets on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Another process fetches it, and is waited for.
    Waits,
    /// So many bytes are here of those that have to come.
    Comes {
        /// Bytes that are here.
        bytes: u64,
        /// Bytes of all files that are known to be missing.
        of: u64,
    },
}

/// Where models are, unless `HF_ENDPOINT` names another hub.
const HUB: &str = "https://huggingface.co";

/// The small files of a model that the engine reads, those of its modules and [`READING`] aside.
const FILES: &[&str] = &[
    "config.json",
    "config_sentence_transformers.json",
    "modules.json",
    "tokenizer.json",
    "tokenizer_config.json",
    INDEX,
];

const INDEX: &str = "model.safetensors.index.json";
const WEIGHTS: &str = "model.safetensors";

/// Why a model could not be fetched.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("`hf:{0}` has not been fetched, and HF_HUB_OFFLINE forbids it")]
    Offline(HubModel),
    #[error(
        "nothing says where `hf:{0}` is to be kept: this user has no home; set HF_HOME to a folder"
    )]
    NoPlace(HubModel),
    #[error(
        "there is no model `{model}` at {hub} (HTTP 404); is it written so, and the revision too?"
    )]
    Unknown { model: HubModel, hub: String },
    #[error(
        "{hub} does not show `{model}` (HTTP {status}): it is not there, or private, or asks for consent, for which {}",
        if *.token { "the token that was shown does not suffice" } else { "HF_TOKEN has to hold a token" }
    )]
    Locked { model: HubModel, hub: String, status: u16, token: bool },
    #[error(
        "`hf:{model}` could not be fetched from {hub}; what has come stays, and the next attempt goes on from there. \
         Where there is no network, name a folder that holds the model"
    )]
    Hub { model: HubModel, hub: String, source: DownloadError },
    #[error("{hub} describes `{model}` in a form that is not known here")]
    Description { model: HubModel, hub: String, source: serde_json::Error },
    #[error(
        "{hub} describes `{model}` with the commit `{commit}`, which is none, or not the one that was asked for"
    )]
    Commit { model: HubModel, hub: String, commit: String },
    #[error("`hf:{model}` has no `{file}`, without which it cannot be run")]
    Without { model: HubModel, file: String },
    #[error(
        "`{file}` of `hf:{model}` did not come as {hub} describes it ({what}); it is thrown away"
    )]
    Damaged { model: HubModel, hub: String, file: String, what: &'static str },
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("`hf:{model}` cannot be kept")]
    Kept { model: HubModel, source: io::Error },
}

/// What the hub says of a revision.
#[derive(Deserialize)]
struct Description {
    sha: String,
    siblings: Vec<File>,
}

/// A file of a model, as the hub describes it. Not every hub does.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    rfilename: String,
    size: Option<u64>,
    /// SHA-1 as git has it.
    blob_id: Option<String>,
    lfs: Option<Large>,
}

#[derive(Clone, Deserialize)]
struct Large {
    sha256: String,
}

impl File {
    /// The hash by which its content is known.
    fn hash(&self) -> Option<&str> {
        let hash = self.lfs.as_ref().map(|large| &*large.sha256).or(self.blob_id.as_deref());
        hash.filter(|hash| is_hash(hash))
    }
}

/// Fetches a model of the hub if it is not here; a folder is left as it is. Who wants the same one at the same time
/// waits. Blocks for as long as it takes.
///
/// # Errors
/// If there is no such model, it cannot be had, or this engine does not run it.
pub fn fetch(model: &Path, tell: &dyn Fn(Progress)) -> Result<(), BoxError> {
    with_hub(model, |named, place| {
        if find(named).is_some() {
            return Ok(());
        }
        let _alone = alone(place, tell)?;
        if find(named).is_some() { Ok(()) } else { Fetching::begin(place, tell)?.all() }
    })
}

/// Fetches what a model of the hub is now: a branch may have moved since it was fetched.
///
/// # Errors
/// As [`fetch`].
pub fn fetch_again(model: &Path, tell: &dyn Fn(Progress)) -> Result<(), BoxError> {
    with_hub(model, |_, place| {
        let _alone = alone(place, tell)?;
        Fetching::begin(place, tell)?.all()
    })
}

fn with_hub(
    model: &Path,
    fetch: impl FnOnce(&HubModel, &Place) -> Result<(), FetchError>,
) -> Result<(), BoxError> {
    let Some(named) = HubModel::named(model) else { return Ok(()) };
    let named = named?;
    let place = Place::of(&named).ok_or_else(|| FetchError::NoPlace(named.clone()))?;
    Ok(fetch(&named, &place)?)
}

/// Waits until nobody else fetches this model, for as long as the file is open.
fn alone(place: &Place, tell: &dyn Fn(Progress)) -> Result<fs::File, FetchError> {
    let offline = set("HF_HUB_OFFLINE")
        .is_some_and(|it| ["1", "ON", "YES", "TRUE"].contains(&it.to_uppercase().as_str()));
    if offline {
        return Err(FetchError::Offline(place.model.clone()));
    }
    let open = || {
        fs::create_dir_all(place.records())?;
        let lock = fs::File::create(place.records().join("lock"))?;
        match lock.file().try_lock() {
            Err(TryLockError::WouldBlock) => {
                tell(Progress::Waits);
                lock.file().lock()?;
            }
            Err(TryLockError::Error(error)) => return Err(error),
            Ok(()) => {}
        }
        Ok(lock)
    };
    open().map_err(|source| FetchError::Kept { model: place.model.clone(), source })
}

/// A revision that is being fetched.
struct Fetching<'a> {
    place: &'a Place,
    tell: &'a dyn Fn(Progress),
    client: Client,
    /// Address of the hub.
    hub: String,
    commit: String,
    files: BTreeMap<String, File>,
    /// Those that the model needs, as far as they are here.
    here: Vec<String>,
    /// Bytes that have come, and those that had to.
    come: u64,
    of: u64,
}

impl<'a> Fetching<'a> {
    /// Asks the hub what there is.
    fn begin(place: &'a Place, tell: &'a dyn Fn(Progress)) -> Result<Self, FetchError> {
        let hub = set("HF_ENDPOINT").unwrap_or_else(|| HUB.to_owned());
        let mut it = Self {
            place,
            tell,
            client: Client::new(token()),
            hub: hub.trim_end_matches('/').to_owned(),
            commit: String::new(),
            files: BTreeMap::new(),
            here: Vec::new(),
            come: 0,
            of: 0,
        };
        let (repository, revision) = (place.model.repository(), place.model.revision());
        let revision_asked = revision;
        let revision = revision.replace('/', "%2F");
        let url = format!("{}/api/models/{repository}/revision/{revision}?blobs=true", it.hub);
        let described = it.client.text(&url).map_err(|error| it.failed(error))?;
        let described = serde_json::from_str(&described);
        let Description { sha, siblings } = described.map_err(|source| {
            FetchError::Description { model: place.model.clone(), hub: it.shown(), source }
        })?;
        let is_another = is_hash(revision_asked) && sha != revision_asked;
        if !is_hash(&sha) || is_another {
            let (model, hub) = (place.model.clone(), it.shown());
            return Err(FetchError::Commit { model, hub, commit: sha });
        }
        // From here on by the commit: a branch may move while its files come.
        it.commit = sha;
        it.files = siblings.into_iter().map(|file| (file.rfilename.clone(), file)).collect();
        Ok(it)
    }

    /// Fetches all files. Whether the model can be run is seen from the small ones, before its weights come.
    fn all(mut self) -> Result<(), FetchError> {
        let folder = self.folder();
        let has = |name: &str| self.files.contains_key(name);
        for file in ["config.json", "tokenizer.json"] {
            if !has(file) {
                return Err(self.without(file));
            }
        }
        if !has(WEIGHTS) && !has(INDEX) {
            return Err(self.without(WEIGHTS));
        }
        let small = FILES.iter().chain(READING).copied();
        let small = small.filter(|name| has(name)).map(str::to_owned).collect();
        self.these(small)?;
        folder::config(&folder)?;
        let modules = Module::all(&folder)?;
        let configs = modules.iter().map(|module| format!("{}/config.json", module.path));
        let configs = configs.filter(|config| self.files.contains_key(config)).collect();
        self.these(configs)?;
        let modules = Modules::read(&folder)?;

        let index = folder.join(INDEX);
        let unreadable = |source| FolderError::Unreadable { file: index, source };
        let mut weights = weights::files(&folder).map_err(unreadable)?;
        weights.extend(modules.dense().map(|dense| format!("{}/{WEIGHTS}", dense.folder)));
        self.these(weights)?;
        self.place.write_records(&self.commit, &self.here).map_err(|source| self.kept(source))
    }

    /// Has these files be here.
    fn these(&mut self, names: Vec<String>) -> Result<(), FetchError> {
        let mut missing = Vec::new();
        for name in names {
            let file = self.files.get(&name).filter(|_| is_plain_name(&name)).cloned();
            let file = file.ok_or_else(|| self.without(&name))?;
            if !self.is_here(&file).map_err(|source| self.kept(source))? {
                self.of += file.size.unwrap_or_default();
                missing.push(file);
            }
            self.here.push(name);
        }
        missing.iter().try_for_each(|file| self.one(file))
    }

    /// Whether a file is here, in this snapshot or in another one.
    fn is_here(&self, file: &File) -> io::Result<bool> {
        let Some(hash) = file.hash() else { return Ok(false) };
        let content = self.place.blobs().join(hash);
        if !content.is_file() {
            return Ok(false);
        }
        if fault(&content, file)?.is_some() {
            // Whoever put it there: it is not what its name says.
            fs::remove_file(content)?;
            return Ok(false);
        }
        self.link(file, hash)?;
        Ok(true)
    }

    /// Fetches a file.
    fn one(&mut self, file: &File) -> Result<(), FetchError> {
        let (name, blobs) = (&file.rfilename, self.place.blobs());
        fs::create_dir_all(&blobs).map_err(|source| self.kept(source))?;
        let unique = match file.hash() {
            Some(hash) => hash.to_owned(),
            None => format!("{}-{}", self.commit, name.replace('/', "--")),
        };
        let part = blobs.join(format!("{unique}.semantik"));
        if file.hash().is_none() && part.exists() {
            // Nothing tells whether it is a part of what there is now.
            fs::remove_file(&part).map_err(|source| self.kept(source))?;
        }
        let url = format!(
            "{}/{}/resolve/{}/{name}",
            self.hub,
            self.place.model.repository(),
            self.commit
        );
        let (before, of, tell) = (self.come, self.of, self.tell);
        let mut come = |bytes| {
            let bytes = before + bytes;
            tell(Progress::Comes { bytes, of: of.max(bytes) });
        };
        let came = self.client.download(&url, &part, file.size, &mut come);
        came.map_err(|error| self.failed(error))?;
        if let Some(what) = fault(&part, file).map_err(|source| self.kept(source))? {
            fs::remove_file(part).map_err(|source| self.kept(source))?;
            return Err(FetchError::Damaged {
                model: self.place.model.clone(),
                hub: self.shown(),
                file: name.clone(),
                what,
            });
        }
        let keep = || {
            let hash = match file.hash() {
                Some(hash) => hash.to_owned(),
                None => digest(Sha256::new(), &part)?,
            };
            let length = fs::metadata(&part)?.len();
            fs::rename(&part, blobs.join(&hash))?;
            self.link(file, &hash)?;
            Ok(length)
        };
        self.come += keep().map_err(|source| self.kept(source))?;
        Ok(())
    }

    /// Gives content its name in the snapshot.
    fn link(&self, file: &File, hash: &str) -> io::Result<()> {
        let link = self.folder().join(&file.rfilename);
        let up = "../".repeat(2 + file.rfilename.matches('/').count());
        fs::create_dir_all(link.parent().unwrap_or(&link))?;
        if fs::symlink_metadata(&link).is_ok() {
            fs::remove_file(&link)?;
        }
        fs_err::os::unix::fs::symlink(format!("{up}blobs/{hash}"), link)
    }

    fn folder(&self) -> PathBuf {
        self.place.snapshot(&self.commit)
    }

    fn without(&self, file: &str) -> FetchError {
        FetchError::Without { model: self.place.model.clone(), file: file.to_owned() }
    }

    fn kept(&self, source: io::Error) -> FetchError {
        FetchError::Kept { model: self.place.model.clone(), source }
    }

    /// A failure of the hub, as what it means.
    fn failed(&self, source: DownloadError) -> FetchError {
        let (model, hub) = (self.place.model.clone(), self.shown());
        match source.status() {
            // Of a file it is the hub's own contradiction.
            Some(404) if self.commit.is_empty() => FetchError::Unknown { model, hub },
            Some(status @ (401 | 403)) => {
                FetchError::Locked { model, hub, status, token: self.client.has_token() }
            }
            _ => FetchError::Hub { model, hub, source },
        }
    }

    /// The hub's address without a password in it.
    fn shown(&self) -> String {
        let (scheme, rest) = self.hub.split_once("://").unwrap_or(("", &self.hub));
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        format!("{scheme}://{host}")
    }
}

/// The token that the user has for the hub: `HF_TOKEN`, or what `hf auth login` has left.
fn token() -> Option<String> {
    set("HF_TOKEN").or_else(|| {
        let file = path_set("HF_TOKEN_PATH").or_else(|| Some(home()?.join("token")))?;
        let token = fs::read_to_string(file).ok()?.trim().to_owned();
        (!token.is_empty()).then_some(token)
    })
}

/// What is wrong with a file that has come, if anything is.
fn fault(content: &Path, file: &File) -> io::Result<Option<&'static str>> {
    let length = fs::metadata(content)?.len();
    if file.size.is_some_and(|size| size != length) {
        return Ok(Some("its length is another one"));
    }
    let (wanted, found) = match (&file.lfs, &file.blob_id) {
        (Some(Large { sha256 }), _) => (sha256, digest(Sha256::new(), content)?),
        (None, Some(blob_id)) => {
            let head = Sha1::new_with_prefix(format!("blob {length}\0"));
            (blob_id, digest(head, content)?)
        }
        (None, None) => return Ok(None),
    };
    Ok((!found.eq_ignore_ascii_case(wanted)).then_some("its checksum is another one"))
}

/// The hash of a file, in hexadecimal digits.
fn digest<D: Digest + io::Write>(mut hash: D, path: &Path) -> io::Result<String> {
    io::copy(&mut fs::File::open(path)?, &mut hash)?;
    Ok(hexadecimal(&hash.finalize()))
}
