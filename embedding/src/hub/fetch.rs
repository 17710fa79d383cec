//! Fetches a model from the hub: the files that the engine reads, all of one commit, verified
//! against the hub's checksums. Local files are not downloaded again. See
//! `docs/adr/0021-hugging-face-hub-models.md`.

use std::collections::BTreeMap;
use std::fs::TryLockError;
use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use pipeline::{BoxError, HubModel, is_plain_name};
use serde::Deserialize;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::download::{DownloadError, HubClient};
use super::{ModelCacheDir, env_path, env_value, find, hf_home, is_hex_hash};
use crate::fingerprint::to_hex;
use crate::folder::{self, FolderError, TEXT_SETTINGS_FILES};
use crate::modules::{Module, Modules};
use crate::weights;

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

/// Default hub; `HF_ENDPOINT` overrides it.
const DEFAULT_HUB_URL: &str = "https://huggingface.co";

/// Small files of a model that the engine reads, except those of modules and
/// [`TEXT_SETTINGS_FILES`].
const SMALL_FILES: &[&str] = &[
    "config.json",
    "config_sentence_transformers.json",
    "modules.json",
    "tokenizer.json",
    "tokenizer_config.json",
    WEIGHTS_INDEX_FILE,
];

const WEIGHTS_INDEX_FILE: &str = "model.safetensors.index.json";
const WEIGHTS_FILE: &str = "model.safetensors";

/// Errors of a fetch.
#[derive(Debug, thiserror::Error)]
enum FetchError {
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

/// The hub's response for a revision.
#[derive(Deserialize)]
struct RevisionInfo {
    sha: String,
    siblings: Vec<RemoteFile>,
}

/// A file of a model in the hub's response. Some hubs omit sizes and hashes.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RemoteFile {
    rfilename: String,
    size: Option<u64>,
    /// SHA-1 of git's blob object.
    blob_id: Option<String>,
    lfs: Option<LfsInfo>,
}

#[derive(Clone, Deserialize)]
struct LfsInfo {
    sha256: String,
}

impl RemoteFile {
    /// Hash of the content; `None` if the hub sent no valid one.
    fn hash(&self) -> Option<&str> {
        let hash = self.lfs.as_ref().map(|large| &*large.sha256).or(self.blob_id.as_deref());
        hash.filter(|hash| is_hex_hash(hash))
    }
}

/// Fetches a model of the hub unless it is complete on this machine; does nothing for a folder.
/// Concurrent fetches of the same model wait for each other. Blocks until the download ends.
///
/// # Errors
/// If the model does not exist, cannot be downloaded, or is not supported by this engine.
pub fn fetch(model: &Path, tell: &dyn Fn(FetchProgress)) -> Result<(), BoxError> {
    with_hub(model, |named, place| {
        if find(named).is_some() {
            return Ok(());
        }
        let _alone = lock_download(place, tell)?;
        if find(named).is_some() {
            Ok(())
        } else {
            ModelDownload::begin(place, tell)?.download_all()
        }
    })
}

/// Fetches the current commit of a model of the hub: a branch may have moved since the last fetch.
///
/// # Errors
/// As [`fetch`].
pub fn fetch_latest(model: &Path, tell: &dyn Fn(FetchProgress)) -> Result<(), BoxError> {
    with_hub(model, |_, place| {
        let _alone = lock_download(place, tell)?;
        ModelDownload::begin(place, tell)?.download_all()
    })
}

fn with_hub(
    model: &Path,
    fetch: impl FnOnce(&HubModel, &ModelCacheDir) -> Result<(), FetchError>,
) -> Result<(), BoxError> {
    let Some(named) = HubModel::from_path(model) else { return Ok(()) };
    let named = named?;
    let place =
        ModelCacheDir::for_model(&named).ok_or_else(|| FetchError::NoCacheDir(named.clone()))?;
    Ok(fetch(&named, &place)?)
}

/// Locks this model against other fetches for as long as the returned file is open.
fn lock_download(
    place: &ModelCacheDir,
    tell: &dyn Fn(FetchProgress),
) -> Result<fs::File, FetchError> {
    let offline = env_value("HF_HUB_OFFLINE")
        .is_some_and(|it| ["1", "ON", "YES", "TRUE"].contains(&it.to_uppercase().as_str()));
    if offline {
        return Err(FetchError::Offline(place.model.clone()));
    }
    let open = || {
        fs::create_dir_all(place.records())?;
        let lock = fs::File::create(place.records().join("lock"))?;
        match lock.file().try_lock() {
            Err(TryLockError::WouldBlock) => {
                tell(FetchProgress::Waiting);
                lock.file().lock()?;
            }
            Err(TryLockError::Error(error)) => return Err(error),
            Ok(()) => {}
        }
        Ok(lock)
    };
    open().map_err(|source| FetchError::Io { model: place.model.clone(), source })
}

/// A fetch of one revision.
struct ModelDownload<'a> {
    cache_dir: &'a ModelCacheDir,
    on_progress: &'a dyn Fn(FetchProgress),
    client: HubClient,
    /// Base URL of the hub.
    hub: String,
    commit: String,
    files: BTreeMap<String, RemoteFile>,
    /// Required files that are complete on this machine.
    available: Vec<String>,
    /// Bytes downloaded, and total bytes of the missing files.
    received_bytes: u64,
    total_bytes: u64,
}

impl<'a> ModelDownload<'a> {
    /// Requests the commit and file list of the revision.
    fn begin(
        place: &'a ModelCacheDir,
        tell: &'a dyn Fn(FetchProgress),
    ) -> Result<Self, FetchError> {
        let hub = env_value("HF_ENDPOINT").unwrap_or_else(|| DEFAULT_HUB_URL.to_owned());
        let mut it = Self {
            cache_dir: place,
            on_progress: tell,
            client: HubClient::new(user_token()),
            hub: hub.trim_end_matches('/').to_owned(),
            commit: String::new(),
            files: BTreeMap::new(),
            available: Vec::new(),
            received_bytes: 0,
            total_bytes: 0,
        };
        let (repository, revision) = (place.model.repository(), place.model.revision());
        let revision_asked = revision;
        let revision = revision.replace('/', "%2F");
        let url = format!("{}/api/models/{repository}/revision/{revision}?blobs=true", it.hub);
        let described = it.client.text(&url).map_err(|error| it.hub_error(error))?;
        let described = serde_json::from_str(&described);
        let RevisionInfo { sha, siblings } = described.map_err(|source| {
            FetchError::Description { model: place.model.clone(), hub: it.display_url(), source }
        })?;
        let is_another = is_hex_hash(revision_asked) && sha != revision_asked;
        if !is_hex_hash(&sha) || is_another {
            let (model, hub) = (place.model.clone(), it.display_url());
            return Err(FetchError::Commit { model, hub, commit: sha });
        }
        // All files are requested by commit: a branch may move during the fetch.
        it.commit = sha;
        it.files = siblings.into_iter().map(|file| (file.rfilename.clone(), file)).collect();
        Ok(it)
    }

    /// Fetches all files. The small ones come first, so that an unsupported model is rejected
    /// before its weights are downloaded.
    fn download_all(mut self) -> Result<(), FetchError> {
        let folder = self.folder();
        let has = |name: &str| self.files.contains_key(name);
        for file in ["config.json", "tokenizer.json"] {
            if !has(file) {
                return Err(self.missing_file(file));
            }
        }
        if !has(WEIGHTS_FILE) && !has(WEIGHTS_INDEX_FILE) {
            return Err(self.missing_file(WEIGHTS_FILE));
        }
        let small = SMALL_FILES.iter().chain(TEXT_SETTINGS_FILES).copied();
        let small = small.filter(|name| has(name)).map(str::to_owned).collect();
        self.download_files(small)?;
        folder::read_config(&folder)?;
        let modules = Module::read_all(&folder)?;
        let configs = modules.iter().map(|module| format!("{}/config.json", module.path));
        let configs = configs.filter(|config| self.files.contains_key(config)).collect();
        self.download_files(configs)?;
        let modules = Modules::read(&folder)?;

        let index = folder.join(WEIGHTS_INDEX_FILE);
        let unreadable = |source| FolderError::Unreadable { file: index, source };
        let mut weights = weights::weight_files(&folder).map_err(unreadable)?;
        weights.extend(modules.dense().map(|dense| format!("{}/{WEIGHTS_FILE}", dense.folder)));
        self.download_files(weights)?;
        self.cache_dir
            .write_records(&self.commit, &self.available)
            .map_err(|source| self.io_error(source))
    }

    /// Downloads the missing ones of these files.
    fn download_files(&mut self, names: Vec<String>) -> Result<(), FetchError> {
        let mut missing = Vec::new();
        for name in names {
            let file = self.files.get(&name).filter(|_| is_plain_name(&name)).cloned();
            let file = file.ok_or_else(|| self.missing_file(&name))?;
            if !self.is_cached(&file).map_err(|source| self.io_error(source))? {
                self.total_bytes += file.size.unwrap_or_default();
                missing.push(file);
            }
            self.available.push(name);
        }
        missing.iter().try_for_each(|file| self.download_file(file))
    }

    /// `true` if the content of a file is present, from this snapshot or another one.
    fn is_cached(&self, file: &RemoteFile) -> io::Result<bool> {
        let Some(hash) = file.hash() else { return Ok(false) };
        let content = self.cache_dir.blobs().join(hash);
        if !content.is_file() {
            return Ok(false);
        }
        if verify_content(&content, file)?.is_some() {
            // The content does not match its name.
            fs::remove_file(content)?;
            return Ok(false);
        }
        self.link(file, hash)?;
        Ok(true)
    }

    /// Downloads and verifies a file.
    fn download_file(&mut self, file: &RemoteFile) -> Result<(), FetchError> {
        let (name, blobs) = (&file.rfilename, self.cache_dir.blobs());
        fs::create_dir_all(&blobs).map_err(|source| self.io_error(source))?;
        let unique = match file.hash() {
            Some(hash) => hash.to_owned(),
            None => format!("{}-{}", self.commit, name.replace('/', "--")),
        };
        let part = blobs.join(format!("{unique}.semantik"));
        if file.hash().is_none() && part.exists() {
            // Without a hash, the part may belong to an older version of the file.
            fs::remove_file(&part).map_err(|source| self.io_error(source))?;
        }
        let url = format!(
            "{}/{}/resolve/{}/{name}",
            self.hub,
            self.cache_dir.model.repository(),
            self.commit
        );
        let (before, of, tell) = (self.received_bytes, self.total_bytes, self.on_progress);
        let mut come = |bytes| {
            let bytes = before + bytes;
            tell(FetchProgress::Downloading { bytes, total_bytes: of.max(bytes) });
        };
        let came = self.client.download(&url, &part, file.size, &mut come);
        came.map_err(|error| self.hub_error(error))?;
        if let Some(what) = verify_content(&part, file).map_err(|source| self.io_error(source))? {
            fs::remove_file(part).map_err(|source| self.io_error(source))?;
            return Err(FetchError::Damaged {
                model: self.cache_dir.model.clone(),
                hub: self.display_url(),
                file: name.clone(),
                what,
            });
        }
        let keep = || {
            let hash = match file.hash() {
                Some(hash) => hash.to_owned(),
                None => file_digest(Sha256::new(), &part)?,
            };
            let length = fs::metadata(&part)?.len();
            fs::rename(&part, blobs.join(&hash))?;
            self.link(file, &hash)?;
            Ok(length)
        };
        self.received_bytes += keep().map_err(|source| self.io_error(source))?;
        Ok(())
    }

    /// Links the content into the snapshot.
    fn link(&self, file: &RemoteFile, hash: &str) -> io::Result<()> {
        let link = self.folder().join(&file.rfilename);
        let up = "../".repeat(2 + file.rfilename.matches('/').count());
        fs::create_dir_all(link.parent().unwrap_or(&link))?;
        if fs::symlink_metadata(&link).is_ok() {
            fs::remove_file(&link)?;
        }
        fs_err::os::unix::fs::symlink(format!("{up}blobs/{hash}"), link)
    }

    fn folder(&self) -> PathBuf {
        self.cache_dir.snapshot(&self.commit)
    }

    fn missing_file(&self, file: &str) -> FetchError {
        FetchError::MissingFile { model: self.cache_dir.model.clone(), file: file.to_owned() }
    }

    fn io_error(&self, source: io::Error) -> FetchError {
        FetchError::Io { model: self.cache_dir.model.clone(), source }
    }

    /// Maps a failed request to the error for the user.
    fn hub_error(&self, source: DownloadError) -> FetchError {
        let (model, hub) = (self.cache_dir.model.clone(), self.display_url());
        match source.status() {
            // For a file, 404 means that the hub contradicts its own list.
            Some(404) if self.commit.is_empty() => FetchError::NotFound { model, hub },
            Some(status @ (401 | 403)) => {
                FetchError::AccessDenied { model, hub, status, token: self.client.has_token() }
            }
            _ => FetchError::Hub { model, hub, source },
        }
    }

    /// The hub's URL without credentials.
    fn display_url(&self) -> String {
        let (scheme, rest) = self.hub.split_once("://").unwrap_or(("", &self.hub));
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        format!("{scheme}://{host}")
    }
}

/// The user's token for the hub: `HF_TOKEN`, or the file of `hf auth login`.
fn user_token() -> Option<String> {
    env_value("HF_TOKEN").or_else(|| {
        let file = env_path("HF_TOKEN_PATH").or_else(|| Some(hf_home()?.join("token")))?;
        let token = fs::read_to_string(file).ok()?.trim().to_owned();
        (!token.is_empty()).then_some(token)
    })
}

/// Compares size and checksum with the hub's; `None` if they match or the hub sent none.
fn verify_content(content: &Path, file: &RemoteFile) -> io::Result<Option<&'static str>> {
    let length = fs::metadata(content)?.len();
    if file.size.is_some_and(|size| size != length) {
        return Ok(Some("wrong length"));
    }
    let (wanted, found) = match (&file.lfs, &file.blob_id) {
        (Some(LfsInfo { sha256 }), _) => (sha256, file_digest(Sha256::new(), content)?),
        (None, Some(blob_id)) => {
            let head = Sha1::new_with_prefix(format!("blob {length}\0"));
            (blob_id, file_digest(head, content)?)
        }
        (None, None) => return Ok(None),
    };
    Ok((!found.eq_ignore_ascii_case(wanted)).then_some("wrong checksum"))
}

/// Hash of a file in hexadecimal digits.
fn file_digest<D: Digest + io::Write>(mut hash: D, path: &Path) -> io::Result<String> {
    io::copy(&mut fs::File::open(path)?, &mut hash)?;
    Ok(to_hex(&hash.finalize()))
}
