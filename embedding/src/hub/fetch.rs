//! Fetches a model from the hub: the files that the engine reads, all of one commit, verified
//! against the hub's checksums. Local files are not downloaded again. See
//! `docs/adr/0021-hugging-face-hub-models.md`.

use std::fs::TryLockError;
use std::path::Path;

use fs_err as fs;
use pipeline::{BoxError, HubModel};

use super::fetch_error::FetchError;
pub use super::fetch_error::FetchProgress;
use super::model_download::ModelDownload;
use super::{ModelCacheDir, env_value, find};

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
