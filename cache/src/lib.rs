//! Cache of computed results in a folder of this machine, shared by all runs; implements [`Cache`].
//!
//! The cache has two generations, each a SQLite file of at most half the limit. New values go to
//! the young generation. When it is full, the old one is deleted, the young one becomes the old
//! one, and a new one is created; a value found in the old generation is copied to the young one.
//! So eviction removes the values that were not requested since the last change of generations, and
//! costs the deletion of one file.
//!
//! Several processes share a folder. The file names contain the generation numbers, which only
//! grow; each call first checks whether another process has created a newer generation. A killed
//! process leaves the values of all calls that had returned. A crash of the machine can destroy the
//! cache, because writes are not synced. A corrupt cache is deleted and recreated.
//!
//! The content of values is opaque to the cache, and its calls never fail: see [`Cache`].

mod generation;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use fs_err as fs;
use pipeline::{Cache, CacheKey, Remedy, StoreError, lock};

use crate::generation::{CacheError, CacheGeneration};

/// Maximum bytes per transaction, and maximum size of a value. A transaction can grow the
/// write-ahead log beyond its usual size by this much.
const MAX_VALUE_BYTES: u64 = 16 << 20;

/// Retries if the newest generation disappears before it is opened; each time, other processes have
/// filled two generations.
const MAX_OPEN_ATTEMPTS: usize = 100;

/// A cache in a folder.
///
/// ```
/// use cache::DiskCache;
/// use pipeline::{BoxError, Cache as _, CacheKey};
///
/// let folder = tempfile::tempdir()?;
/// let (key, other) = (CacheKey::new("text 1", &[b"a"]), CacheKey::new("text 1", &[b"b"]));
/// let cache = DiskCache::open(folder.path(), DiskCache::DEFAULT_LIMIT)?;
/// cache.put(&[(key, b"result".to_vec())]);
/// drop(cache);
///
/// let cache = DiskCache::open(folder.path(), DiskCache::DEFAULT_LIMIT)?;
/// assert_eq!(cache.get(&[key, other]), [Some(b"result".to_vec()), None]);
/// # Ok::<_, BoxError>(())
/// ```
pub struct DiskCache(Mutex<CacheState>);

struct CacheState {
    folder: CacheFolder,
    generations: GenerationPair,
    /// `true` if the last call failed, so that a lasting error is logged as a warning only once.
    is_failing: bool,
}

impl DiskCache {
    /// Default limit in bytes.
    pub const DEFAULT_LIMIT: u64 = 4 << 30;

    /// Opens the cache of a folder, creating it if necessary. Its files take at most `limit` bytes,
    /// plus a few megabytes of write-ahead logs.
    ///
    /// # Errors
    /// If the folder is not writable.
    pub fn open(folder: &Path, limit: u64) -> Result<Self, StoreError> {
        let folder = CacheFolder { path: folder.to_owned(), generation_bytes: limit / 2 };
        let opened = folder.open().or_else(|trouble| match trouble {
            CacheError::Corrupt(cause) => folder.reset(&cause),
            other @ (CacheError::Full | CacheError::Failed(_)) => Err(other),
        });
        let generations = opened.map_err(|trouble| StoreError {
            doing: "open the cache",
            remedy: Remedy::GiveUp,
            source: trouble.into(),
        })?;
        Ok(Self(Mutex::new(CacheState { folder, generations, is_failing: false })))
    }
}

impl Cache for DiskCache {
    fn get(&self, keys: &[CacheKey]) -> Vec<Option<Vec<u8>>> {
        let mut state = lock(&self.0);
        let found = state.try_or_log(|state| state.get(keys));
        let Some((values, from_old)) = found else { return vec![None; keys.len()] };
        // An error while copying does not affect the values found.
        if !from_old.is_empty() {
            state.try_or_log(|state| state.put(&from_old));
        }
        values
    }

    fn put(&self, entries: &[(CacheKey, Vec<u8>)]) {
        let mut state = lock(&self.0);
        state.try_or_log(|state| state.put(entries));
    }
}

/// Values of the requested keys, and the entries among them that came from the old generation.
type Lookup = (Vec<Option<Vec<u8>>>, Vec<(CacheKey, Vec<u8>)>);

impl CacheState {
    fn get(&self, keys: &[CacheKey]) -> Result<Lookup, CacheError> {
        let mut values = self.generations.young.get(keys)?;
        let missing: Vec<usize> = (0..keys.len()).filter(|&at| values[at].is_none()).collect();
        let (Some(old), false) = (&self.generations.old, missing.is_empty()) else {
            return Ok((values, Vec::new()));
        };
        let keys: Vec<CacheKey> = missing.iter().map(|&at| keys[at]).collect();
        let mut from_old = Vec::new();
        for ((at, key), value) in missing.into_iter().zip(keys.iter()).zip(old.get(&keys)?) {
            from_old.extend(value.iter().map(|value| (*key, value.clone())));
            values[at] = value;
        }
        Ok((values, from_old))
    }

    fn put(&mut self, entries: &[(CacheKey, Vec<u8>)]) -> Result<(), CacheError> {
        for piece in batches(entries, MAX_VALUE_BYTES.min(self.folder.generation_bytes / 8)) {
            match self.generations.young.put(piece) {
                Err(CacheError::Full) => {
                    self.generations = self.folder.rotate(self.generations.young.number)?;
                    self.generations.young.put(piece)?;
                }
                done => done?,
            }
        }
        Ok(())
    }

    /// Calls `act` on the newest generations. Logs errors, because callers do not see them.
    fn try_or_log<T>(&mut self, act: impl FnOnce(&mut Self) -> Result<T, CacheError>) -> Option<T> {
        let done = self.reload_generations().and_then(|()| act(self));
        let trouble = match done {
            Ok(done) => {
                self.is_failing = false;
                return Some(done);
            }
            Err(CacheError::Corrupt(cause)) => match self.folder.reset(&cause) {
                Ok(generations) => {
                    self.generations = generations;
                    return None;
                }
                Err(trouble) => trouble,
            },
            Err(trouble) => trouble,
        };
        if self.is_failing {
            tracing::debug!(%trouble, "the cache still fails");
        } else {
            let folder = self.folder.path.display();
            tracing::warn!(%trouble, %folder, "cannot use the cache; results are computed without it");
        }
        self.is_failing = true;
        None
    }

    /// Opens the newest generations if another process has created some.
    fn reload_generations(&mut self) -> Result<(), CacheError> {
        if self.folder.generation_numbers()?.into_iter().max()
            != Some(self.generations.young.number)
        {
            self.generations = self.folder.open()?;
        }
        Ok(())
    }
}

/// Splits entries into slices of at most `most` bytes; skips larger entries.
fn batches(
    entries: &[(CacheKey, Vec<u8>)],
    most: u64,
) -> impl Iterator<Item = &[(CacheKey, Vec<u8>)]> {
    let mut rest = entries;
    std::iter::from_fn(move || {
        let too_large = |entry: &(CacheKey, Vec<u8>)| entry.1.len() as u64 > most;
        let skipped = rest.iter().take_while(|entry| too_large(entry)).count();
        rest = &rest[skipped..];
        let mut room = most;
        let count = rest.iter().take_while(|entry| {
            let left = room.checked_sub(entry.1.len() as u64);
            room = left.unwrap_or(0);
            left.is_some()
        });
        let (piece, others) = rest.split_at(count.count());
        rest = others;
        (!piece.is_empty()).then_some(piece)
    })
}

struct GenerationPair {
    young: CacheGeneration,
    old: Option<CacheGeneration>,
}

/// The folder with the files of the cache.
struct CacheFolder {
    path: PathBuf,
    /// Maximum bytes of one generation.
    generation_bytes: u64,
}

impl CacheFolder {
    /// Opens the newest generations; creates the first one if necessary.
    fn open(&self) -> Result<GenerationPair, CacheError> {
        pipeline::private_files::create_private_folder(&self.path)?;
        // Another process may delete a listed file, but only after creating a newer one.
        for _ in 0..MAX_OPEN_ATTEMPTS {
            let Some(newest) = self.generation_numbers()?.into_iter().max() else {
                CacheGeneration::create(&self.path, 1)?;
                continue;
            };
            let Some(young) = CacheGeneration::open(&self.path, newest, self.generation_bytes)?
            else {
                continue;
            };
            let old = CacheGeneration::open(&self.path, newest - 1, self.generation_bytes)?;
            if young.exceeds_limit()?
                || old.as_ref().is_some_and(|old| old.exceeds_limit().unwrap_or(true))
            {
                return Err(CacheError::Corrupt("the cache exceeds its new size limit".to_owned()));
            }
            return Ok(GenerationPair { young, old });
        }
        Err(CacheError::Failed("other processes keep replacing its files".into()))
    }

    /// Creates the generation after `full` and deletes outdated ones.
    fn rotate(&self, full: u64) -> Result<GenerationPair, CacheError> {
        CacheGeneration::create(&self.path, full + 1)?;
        let generations = self.open()?;
        for number in self.generation_numbers()? {
            if number + 1 < generations.young.number {
                CacheGeneration::delete(&self.path, number)?;
            }
        }
        Ok(generations)
    }

    /// Deletes all generations and creates one with a new number, so that other processes notice.
    fn reset(&self, cause: &str) -> Result<GenerationPair, CacheError> {
        let folder = self.path.display();
        tracing::warn!(cause, %folder, "the cache is corrupt; recreating it");
        let numbers = self.generation_numbers()?;
        CacheGeneration::create(&self.path, numbers.iter().max().unwrap_or(&0) + 1)?;
        for number in numbers {
            CacheGeneration::delete(&self.path, number)?;
        }
        self.open()
    }

    /// The numbers of the generations, unordered; empty if the folder was deleted.
    fn generation_numbers(&self) -> Result<Vec<u64>, CacheError> {
        let mut numbers = Vec::new();
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(numbers),
            entries => entries?,
        };
        for entry in entries {
            numbers.extend(CacheGeneration::number_of(&entry?.file_name()));
        }
        Ok(numbers)
    }
}
