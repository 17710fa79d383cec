//! Filters the entries below a scanned folder, and counts the excluded ones by option.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use globset::GlobSet;

use crate::real_path;
use crate::scan::gitignore::GitignoreStack;

/// Options that select files below a folder.
pub(crate) struct WalkOptions {
    pub(crate) include: GlobSet,
    pub(crate) exclude: GlobSet,
    pub(crate) gitignore: bool,
    pub(crate) hidden: bool,
    pub(crate) follow_symlinks: bool,
}

/// Numbers of files and folders below the roots that the options excluded. A folder counts once,
/// regardless of its content.
#[derive(Debug, Default)]
pub(crate) struct ExclusionCounts {
    hidden: AtomicU64,
    globs: AtomicU64,
    gitignore: AtomicU64,
}

impl ExclusionCounts {
    /// Non-zero counts by option.
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        let Self { hidden, globs, gitignore } = self;
        let all = [("hidden", hidden), ("globs", globs), ("gitignore", gitignore)];
        let all = all.map(|(by, count)| (by.to_owned(), count.load(Ordering::Relaxed)));
        all.into_iter().filter(|(_, count)| *count > 0).collect()
    }
}

/// Selects the entries of a walk below a root.
pub(crate) struct EntryFilter {
    pub(crate) root: PathBuf,
    /// The root without symbolic links.
    real_root: PathBuf,
    /// Other roots below this one, which have their own walks.
    nested_roots: Vec<PathBuf>,
    /// Restricts the walk to the way to this path.
    target: Option<PathBuf>,
    exclude: GlobSet,
    hidden: bool,
    ignored: Option<GitignoreStack>,
    pub(crate) follow_symlinks: bool,
    exclusions: Arc<ExclusionCounts>,
}

impl EntryFilter {
    pub(crate) fn new(
        root: &Path,
        roots: &[PathBuf],
        options: &WalkOptions,
        only: Option<&Path>,
        left_out: &Arc<ExclusionCounts>,
    ) -> Self {
        let others = roots.iter().filter(|other| *other != root && other.starts_with(root));
        Self {
            root: root.to_owned(),
            real_root: real_path::resolve(root),
            nested_roots: others.cloned().collect(),
            target: only.map(Path::to_owned),
            exclude: options.exclude.clone(),
            hidden: options.hidden,
            ignored: options.gitignore.then(|| GitignoreStack::new(root)),
            follow_symlinks: options.follow_symlinks,
            exclusions: Arc::clone(left_out),
        }
    }

    /// `true` if the walk includes an entry below the root.
    pub(crate) fn accepts(&self, path: &Path, is_folder: bool, is_link: bool) -> bool {
        self.target.as_ref().is_none_or(|only| only.starts_with(path))
            && !self.nested_roots.iter().any(|other| other == path)
            && !self.is_excluded(path, is_folder)
            && (!self.follow_symlinks
                || !is_link
                || real_path::resolve(path).starts_with(&self.real_root))
    }

    fn is_excluded(&self, path: &Path, is_folder: bool) -> bool {
        let relative = path.strip_prefix(&self.root).unwrap_or(path);
        let is_hidden = path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"."));
        let by = if !self.hidden && is_hidden {
            &self.exclusions.hidden
        } else if self.exclude.is_match(relative) {
            &self.exclusions.globs
        } else if self.ignored.as_ref().is_some_and(|it| it.is_ignored(path, is_folder)) {
            &self.exclusions.gitignore
        } else {
            return false;
        };
        by.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Counts a file that no glob of `include` matches.
    pub(crate) fn count_not_included(&self) {
        self.exclusions.globs.fetch_add(1, Ordering::Relaxed);
    }
}
