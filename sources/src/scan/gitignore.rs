//! What `.gitignore` files leave out.
//!
//! The patterns are those of the crate `ignore`. The files are opened here, because its own walk opens whatever has
//! the name, and would wait for the writer of a FIFO.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::open::read_small;

/// More of a `.gitignore` file is not read.
const MOST_BYTES: u64 = 1 << 20;

/// The patterns that hold in the folders that a walk is in.
pub(crate) struct Ignored {
    root: PathBuf,
    /// Of the folders above the root, the nearest first.
    above: Vec<Gitignore>,
    /// Of the folders from the root down to the one that was asked about last.
    within: Mutex<Vec<(PathBuf, Gitignore)>>,
}

impl Ignored {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            above: root.ancestors().skip(1).map(patterns_of).collect(),
            within: Mutex::default(),
        }
    }

    /// Whether an entry below the root is left out. Entries are asked about in the order of a walk: no folder is
    /// read twice then.
    pub(crate) fn leaves_out(&self, path: &Path, is_folder: bool) -> bool {
        let Some(parent) = path.parent() else { return false };
        let mut within = self.within.lock().unwrap_or_else(PoisonError::into_inner);
        while within.last().is_some_and(|(folder, _)| !parent.starts_with(folder)) {
            within.pop();
        }
        let mut folders: Vec<&Path> =
            parent.ancestors().take_while(|it| it.starts_with(&self.root)).collect();
        folders.reverse();
        for folder in folders.into_iter().skip(within.len()) {
            within.push((folder.to_owned(), patterns_of(folder)));
        }
        let mut patterns = within.iter().rev().map(|(_, patterns)| patterns).chain(&self.above);
        let decided = patterns.find_map(|patterns| match patterns.matched(path, is_folder) {
            Match::None => None,
            Match::Ignore(_) => Some(true),
            Match::Whitelist(_) => Some(false),
        });
        decided.unwrap_or(false)
    }
}

/// The patterns of one folder. A pattern that is none is passed over, as Git does.
fn patterns_of(folder: &Path) -> Gitignore {
    let mut builder = GitignoreBuilder::new(folder);
    // The later pattern wins.
    for name in [".git/info/exclude", ".gitignore"] {
        let path = folder.join(name);
        let Some(bytes) = read_small(&path, MOST_BYTES) else { continue };
        let text = String::from_utf8_lossy(&bytes);
        for line in text.trim_start_matches('\u{feff}').lines() {
            builder.add_line(Some(path.clone()), line).ok();
        }
    }
    builder.build().unwrap_or_else(|_| Gitignore::empty())
}
