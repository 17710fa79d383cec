//! Cache of computed results in a folder of this machine, shared by all runs; implements [`Memo`].
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
//! The content of values is opaque to the cache, and its calls never fail: see [`Memo`].

mod generation;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use fs_err as fs;
use pipeline::{Memo, MemoKey, Remedy, StoreError};

use crate::generation::{Generation, Trouble};

/// Maximum bytes per transaction, and maximum size of a value. A transaction can grow the
/// write-ahead log beyond its usual size by this much.
const LARGEST: u64 = 16 << 20;

/// Retries if the newest generation disappears before it is opened; each time, other processes have
/// filled two generations.
const ATTEMPTS: usize = 100;

/// A cache in a folder.
pub struct DiskMemo(Mutex<State>);

struct State {
    folder: Folder,
    generations: Generations,
    /// `true` if the last call failed, so that a lasting error is logged as a warning only once.
    in_trouble: bool,
}

impl DiskMemo {
    /// Default limit in bytes.
    pub const USUAL_LIMIT: u64 = 4 << 30;

    /// Opens the cache of a folder, creating it if necessary. Its files take at most `limit` bytes,
    /// plus a few megabytes of write-ahead logs.
    ///
    /// # Errors
    /// If the folder is not writable.
    pub fn open(folder: &Path, limit: u64) -> Result<Self, StoreError> {
        let folder = Folder { path: folder.to_owned(), share: limit / 2 };
        let opened = folder.open().or_else(|trouble| match trouble {
            Trouble::Broken(cause) => folder.begin_anew(&cause),
            other @ (Trouble::Full | Trouble::Failed(_)) => Err(other),
        });
        let generations = opened.map_err(|trouble| StoreError {
            doing: "open the cache",
            remedy: Remedy::GiveUp,
            source: trouble.into(),
        })?;
        Ok(Self(Mutex::new(State { folder, generations, in_trouble: false })))
    }
}

impl Memo for DiskMemo {
    fn get(&self, keys: &[MemoKey]) -> Vec<Option<Vec<u8>>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = state.attempt(|state| state.get(keys));
        let Some((values, from_old)) = found else { return vec![None; keys.len()] };
        // An error while copying does not affect the values found.
        if !from_old.is_empty() {
            state.attempt(|state| state.put(&from_old));
        }
        values
    }

    fn put(&self, entries: &[(MemoKey, Vec<u8>)]) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.attempt(|state| state.put(entries));
    }
}

/// Values of the requested keys, and the entries among them that came from the old generation.
type Found = (Vec<Option<Vec<u8>>>, Vec<(MemoKey, Vec<u8>)>);

impl State {
    fn get(&self, keys: &[MemoKey]) -> Result<Found, Trouble> {
        let mut values = self.generations.young.get(keys)?;
        let missing: Vec<usize> = (0..keys.len()).filter(|&at| values[at].is_none()).collect();
        let (Some(old), false) = (&self.generations.old, missing.is_empty()) else {
            return Ok((values, Vec::new()));
        };
        let keys: Vec<MemoKey> = missing.iter().map(|&at| keys[at]).collect();
        let mut from_old = Vec::new();
        for ((at, key), value) in missing.into_iter().zip(keys.iter()).zip(old.get(&keys)?) {
            from_old.extend(value.iter().map(|value| (*key, value.clone())));
            values[at] = value;
        }
        Ok((values, from_old))
    }

    fn put(&mut self, entries: &[(MemoKey, Vec<u8>)]) -> Result<(), Trouble> {
        for piece in pieces(entries, LARGEST.min(self.folder.share / 8)) {
            match self.generations.young.put(piece) {
                Err(Trouble::Full) => {
                    self.generations = self.folder.begin_next(self.generations.young.number)?;
                    self.generations.young.put(piece)?;
                }
                done => done?,
            }
        }
        Ok(())
    }

    /// Calls `act` on the newest generations. Logs errors, because callers do not see them.
    fn attempt<T>(&mut self, act: impl FnOnce(&mut Self) -> Result<T, Trouble>) -> Option<T> {
        let done = self.follow().and_then(|()| act(self));
        let trouble = match done {
            Ok(done) => {
                self.in_trouble = false;
                return Some(done);
            }
            Err(Trouble::Broken(cause)) => match self.folder.begin_anew(&cause) {
                Ok(generations) => {
                    self.generations = generations;
                    return None;
                }
                Err(trouble) => trouble,
            },
            Err(trouble) => trouble,
        };
        if self.in_trouble {
            tracing::debug!(%trouble, "the cache still fails");
        } else {
            let folder = self.folder.path.display();
            tracing::warn!(%trouble, %folder, "cannot use the cache; results are computed without it");
        }
        self.in_trouble = true;
        None
    }

    /// Opens the newest generations if another process has created some.
    fn follow(&mut self) -> Result<(), Trouble> {
        if self.folder.numbers()?.into_iter().max() != Some(self.generations.young.number) {
            self.generations = self.folder.open()?;
        }
        Ok(())
    }
}

/// Splits entries into slices of at most `most` bytes; skips larger entries.
fn pieces(
    entries: &[(MemoKey, Vec<u8>)],
    most: u64,
) -> impl Iterator<Item = &[(MemoKey, Vec<u8>)]> {
    let mut rest = entries;
    std::iter::from_fn(move || {
        let too_large = |entry: &(MemoKey, Vec<u8>)| entry.1.len() as u64 > most;
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

struct Generations {
    young: Generation,
    old: Option<Generation>,
}

/// The folder with the files of the cache.
struct Folder {
    path: PathBuf,
    /// Maximum bytes of one generation.
    share: u64,
}

impl Folder {
    /// Opens the newest generations; creates the first one if necessary.
    fn open(&self) -> Result<Generations, Trouble> {
        pipeline::private::folder(&self.path)?;
        // Another process may delete a listed file, but only after creating a newer one.
        for _ in 0..ATTEMPTS {
            let Some(newest) = self.numbers()?.into_iter().max() else {
                Generation::make(&self.path, 1)?;
                continue;
            };
            let Some(young) = Generation::open(&self.path, newest, self.share)? else { continue };
            let old = Generation::open(&self.path, newest - 1, self.share)?;
            if young.is_too_large()?
                || old.as_ref().is_some_and(|old| old.is_too_large().unwrap_or(true))
            {
                return Err(Trouble::Broken("the cache exceeds its new size limit".to_owned()));
            }
            return Ok(Generations { young, old });
        }
        Err(Trouble::Failed("other processes keep replacing its files".into()))
    }

    /// Creates the generation after `full` and deletes outdated ones.
    fn begin_next(&self, full: u64) -> Result<Generations, Trouble> {
        Generation::make(&self.path, full + 1)?;
        let generations = self.open()?;
        for number in self.numbers()? {
            if number + 1 < generations.young.number {
                Generation::delete(&self.path, number)?;
            }
        }
        Ok(generations)
    }

    /// Deletes all generations and creates one with a new number, so that other processes notice.
    fn begin_anew(&self, cause: &str) -> Result<Generations, Trouble> {
        let folder = self.path.display();
        tracing::warn!(cause, %folder, "the cache is corrupt; recreating it");
        let numbers = self.numbers()?;
        Generation::make(&self.path, numbers.iter().max().unwrap_or(&0) + 1)?;
        for number in numbers {
            Generation::delete(&self.path, number)?;
        }
        self.open()
    }

    /// The numbers of the generations, unordered; empty if the folder was deleted.
    fn numbers(&self) -> Result<Vec<u64>, Trouble> {
        let mut numbers = Vec::new();
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(numbers),
            entries => entries?,
        };
        for entry in entries {
            numbers.extend(Generation::number_of(&entry?.file_name()));
        }
        Ok(numbers)
    }
}
