//! Exclusion by `.gitignore` files.
//!
//! Patterns are those of the crate `ignore`. The files are opened here, because the crate's walk
//! opens any entry with that name and would block on a FIFO without a writer.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use pipeline::lock;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::open::read_small;

/// Bytes of a `.gitignore` file that are read; the rest is ignored.
const MAX_BYTES: u64 = 1 << 20;

/// The patterns that apply in the current folders of a walk.
pub(crate) struct GitignoreStack {
    root: PathBuf,
    /// Patterns of the folders above the root, nearest first.
    ancestors: Vec<Gitignore>,
    /// Patterns of the folders from the root to the parent of the last entry.
    descendants: Mutex<Vec<(PathBuf, Gitignore)>>,
}

impl GitignoreStack {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            ancestors: root.ancestors().skip(1).map(load_patterns).collect(),
            descendants: Mutex::default(),
        }
    }

    /// `true` if an entry below the root is excluded. Calls must be in walk order, so that each
    /// folder is read once.
    pub(crate) fn is_ignored(&self, path: &Path, is_folder: bool) -> bool {
        let Some(parent) = path.parent() else { return false };
        let mut within = lock(&self.descendants);
        while within.last().is_some_and(|(folder, _)| !parent.starts_with(folder)) {
            within.pop();
        }
        let mut folders: Vec<&Path> =
            parent.ancestors().take_while(|it| it.starts_with(&self.root)).collect();
        folders.reverse();
        for folder in folders.into_iter().skip(within.len()) {
            within.push((folder.to_owned(), load_patterns(folder)));
        }
        let mut patterns = within.iter().rev().map(|(_, patterns)| patterns).chain(&self.ancestors);
        let decided = patterns.find_map(|patterns| match patterns.matched(path, is_folder) {
            Match::None => None,
            Match::Ignore(_) => Some(true),
            Match::Whitelist(_) => Some(false),
        });
        decided.unwrap_or(false)
    }
}

/// The patterns of one folder. Invalid patterns are skipped, as in Git.
fn load_patterns(folder: &Path) -> Gitignore {
    let mut builder = GitignoreBuilder::new(folder);
    // Later patterns take precedence.
    for name in [".git/info/exclude", ".gitignore"] {
        let path = folder.join(name);
        let Some(bytes) = read_small(&path, MAX_BYTES) else { continue };
        let text = String::from_utf8_lossy(&bytes);
        for line in text.trim_start_matches('\u{feff}').lines() {
            builder.add_line(Some(path.clone()), line).ok();
        }
    }
    builder.build().unwrap_or_else(|_| Gitignore::empty())
}
