//! The download of the files of one revision.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use fs_err as fs;
use pipeline::is_plain_name;
use sha2::{Digest as _, Sha256};

use super::download::{DownloadError, HubClient};
use super::fetch_error::{FetchError, FetchProgress};
use super::revision::{RemoteFile, RevisionInfo, file_digest, verify_content};
use super::{ModelCacheDir, env_path, env_value, hf_home, is_hex_hash};
use crate::folder;
use crate::folder_files::{FolderError, TEXT_SETTINGS_FILES};
use crate::modules::{Module, Modules};
use crate::weights;

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

/// A fetch of one revision.
pub(super) struct ModelDownload<'a> {
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
    pub(super) fn begin(
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
    pub(super) fn download_all(mut self) -> Result<(), FetchError> {
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
        folder::check_architecture(&folder)?;
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
