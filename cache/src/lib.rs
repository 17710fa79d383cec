//! What was computed before, in a folder of this machine: the [`Memo`] of every run.
//!
//! A memo has two generations, each a SQLite file of at most half the limit. New values go into the young
//! one. When that is full, the old one is deleted, the young one becomes the old one, and a new one is
//! begun; a value that is found in the old one is copied into the young one. So what was not asked for
//! since the last change is what is forgotten, and forgetting half of it costs the deletion of a file.
//!
//! Several processes share a folder. The numbers of its files say which generations there are, and only
//! grow; before each call it is looked up whether another process has begun a new one. A killed process
//! leaves the values of the calls that had returned. A crash of the whole machine may cost the memo, since
//! nothing waits for the disk. A memo that cannot be read is deleted and begun anew.
//!
//! This knows nothing of what it keeps, and never fails: see [`Memo`].

mod generation;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use fs_err as fs;
use pipeline::{Memo, MemoKey, Remedy, StoreError};

use crate::generation::{Generation, Trouble};

/// The most bytes that are written at once, and the largest value that is kept. What is written at once
/// is how much a write-ahead log grows beyond its usual size.
const LARGEST: u64 = 16 << 20;

/// How often the newest generation may be gone before it is opened; each time, somebody has filled two.
const ATTEMPTS: usize = 100;

/// A memo in a folder.
pub struct DiskMemo(Mutex<State>);

struct State {
    folder: Folder,
    generations: Generations,
    /// Whether the last call failed; trouble that lasts is told once.
    in_trouble: bool,
}

impl DiskMemo {
    /// How much a memo holds, if nobody says otherwise.
    pub const USUAL_LIMIT: u64 = 4 << 30;

    /// Opens the memo of a folder, and makes it when it is not there. Its files take at most `limit` bytes;
    /// their write-ahead logs, of a few megabytes, come on top.
    ///
    /// # Errors
    /// If the folder cannot be written to.
    pub fn open(folder: &Path, limit: u64) -> Result<Self, StoreError> {
        let folder = Folder { path: folder.to_owned(), share: limit / 2 };
        let opened = folder.open().or_else(|trouble| match trouble {
            Trouble::Broken(cause) => folder.begin_anew(&cause),
            other @ (Trouble::Full | Trouble::Failed(_)) => Err(other),
        });
        let generations = opened.map_err(|trouble| StoreError {
            doing: "open the memo",
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
        // What cannot be copied has been found all the same.
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

/// The values of some keys, and those among them that the young generation does not have.
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

    /// Does something with the newest generations. Says what goes wrong, since nobody else will.
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
            tracing::debug!(%trouble, "the memo is still in trouble");
        } else {
            let folder = self.folder.path.display();
            tracing::warn!(%trouble, %folder, "the memo cannot be used; what it would save is computed");
        }
        self.in_trouble = true;
        None
    }

    /// Goes over to the generations that another process has begun.
    fn follow(&mut self) -> Result<(), Trouble> {
        if self.folder.numbers()?.into_iter().max() != Some(self.generations.young.number) {
            self.generations = self.folder.open()?;
        }
        Ok(())
    }
}

/// The entries in pieces of at most this many bytes; what is larger than that is left out.
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

/// The files of a memo.
struct Folder {
    path: PathBuf,
    /// Most bytes of one generation.
    share: u64,
}

impl Folder {
    /// The generations that there are; a first one where there is none.
    fn open(&self) -> Result<Generations, Trouble> {
        pipeline::private::folder(&self.path)?;
        // Another process may delete what was listed here, but only after it has made a newer one.
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
                return Err(Trouble::Broken("it is larger than it may be now".to_owned()));
            }
            return Ok(Generations { young, old });
        }
        Err(Trouble::Failed("its files come and go".into()))
    }

    /// The generations after this one is full.
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

    /// Deletes everything, and begins with a new number, so that other processes see it.
    fn begin_anew(&self, cause: &str) -> Result<Generations, Trouble> {
        let folder = self.path.display();
        tracing::warn!(cause, %folder, "the memo is deleted and begun anew");
        let numbers = self.numbers()?;
        Generation::make(&self.path, numbers.iter().max().unwrap_or(&0) + 1)?;
        for number in numbers {
            Generation::delete(&self.path, number)?;
        }
        self.open()
    }

    /// The numbers of the generations, in no order; none where somebody has deleted the folder.
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
