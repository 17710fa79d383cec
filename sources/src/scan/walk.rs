//! Walks the scanned folders: every file once, in order of name, with its `stat` data.
//!
//! It opens no document. Entries that cannot be accessed (a folder without permission, a loop of
//! links) are returned with the error, so that they are accounted for.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use globset::GlobSet;
use ignore::{DirEntry, WalkBuilder};
use pipeline::{DocumentError, Location, RejectReason, Rejection};

use crate::scan::cause::io_cause;
use crate::scan::filter::{EntryFilter, ExclusionCounts, WalkOptions};
use crate::scan::open::{Root, timestamps};
use pipeline::uri;

/// An item of the walk.
pub(crate) enum WalkEntry {
    /// A regular file.
    File {
        path: PathBuf,
        location: Location,
        /// The root through which the file is opened.
        root: Arc<Root>,
        /// The device of the file.
        device: u64,
    },
    /// An entry that cannot be accessed.
    Error(Rejection),
}

impl WalkEntry {
    pub(crate) fn location(&self) -> &Location {
        match self {
            Self::File { location, .. } => location,
            Self::Error(document) => &document.location,
        }
    }
}

/// A walk through several source roots, one after the other.
pub(crate) struct Walk {
    include: GlobSet,
    follow_symlinks: bool,
    roots: std::vec::IntoIter<(Arc<EntryFilter>, ignore::Walk)>,
    current: Option<RootWalk>,
    /// Completed roots, and whether a file was found below each.
    finished_roots: Vec<(PathBuf, bool)>,
    exclusions: Arc<ExclusionCounts>,
}

/// The walk through one root.
struct RootWalk {
    filter: Arc<EntryFilter>,
    root: Arc<Root>,
    walk: ignore::Walk,
    has_found: bool,
}

impl Walk {
    /// A walk through these roots, which must be absolute. A root below another one is walked only
    /// as itself, so that no file occurs twice.
    pub(crate) fn open(roots: &[PathBuf], options: &WalkOptions) -> Self {
        Self::new(roots, roots, None, options)
    }

    /// A walk restricted to one path below one of the roots, by the same rules.
    pub(crate) fn to_path(
        path: &Path,
        root: &Path,
        roots: &[PathBuf],
        options: &WalkOptions,
    ) -> Self {
        Self::new(&[root.to_owned()], roots, Some(path), options)
    }

    /// A walk through one of the roots.
    pub(crate) fn of_root(root: &Path, roots: &[PathBuf], options: &WalkOptions) -> Self {
        Self::new(&[root.to_owned()], roots, None, options)
    }

    fn new(
        walked: &[PathBuf],
        roots: &[PathBuf],
        only: Option<&Path>,
        options: &WalkOptions,
    ) -> Self {
        let left_out = Arc::new(ExclusionCounts::default());
        let walks = walked.iter().map(|root| {
            let filter = Arc::new(EntryFilter::new(root, roots, options, only, &left_out));
            let walk = build_walk(&filter);
            (filter, walk)
        });
        Self {
            include: options.include.clone(),
            follow_symlinks: options.follow_symlinks,
            roots: walks.collect::<Vec<_>>().into_iter(),
            current: None,
            finished_roots: Vec::new(),
            exclusions: left_out,
        }
    }

    /// Counts of excluded entries so far.
    pub(crate) fn exclusions(&self) -> &ExclusionCounts {
        &self.exclusions
    }

    /// Completed roots without a file. Files of a nested root also count for the outer root.
    pub(crate) fn empty_roots(&self) -> Vec<&Path> {
        let has_found = |root: &Path| {
            self.finished_roots.iter().any(|(it, found)| *found && it.starts_with(root))
        };
        let roots = self.finished_roots.iter().map(|(root, _)| root.as_path());
        roots.filter(|root| !has_found(root)).collect()
    }
}

fn build_walk(filter: &Arc<EntryFilter>) -> ignore::Walk {
    let entries = Arc::clone(filter);
    WalkBuilder::new(&filter.root)
        .standard_filters(false)
        .follow_links(filter.follow_symlinks)
        .sort_by_file_name(Ord::cmp)
        .filter_entry(move |entry| {
            let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
            entry.depth() == 0 || entries.accepts(entry.path(), is_folder, entry.path_is_symlink())
        })
        .build()
}

impl Iterator for Walk {
    type Item = WalkEntry;

    fn next(&mut self) -> Option<WalkEntry> {
        loop {
            let current = match &mut self.current {
                Some(current) => current,
                none => {
                    let (filter, walk) = self.roots.next()?;
                    match Root::open(&filter.root, self.follow_symlinks) {
                        Ok(root) => {
                            let root = Arc::new(root);
                            none.insert(RootWalk { filter, root, walk, has_found: false })
                        }
                        Err(error) => {
                            let cause = io_cause(&error);
                            let found = unreadable(&filter.root, &filter.root, cause);
                            self.finished_roots.push((filter.root.clone(), true));
                            return Some(WalkEntry::Error(found));
                        }
                    }
                }
            };
            let Some(entry) = current.walk.next() else {
                let ended = self.current.take();
                self.finished_roots.extend(ended.map(|it| (it.filter.root.clone(), it.has_found)));
                continue;
            };
            if let Some(found) = current.classify(entry, &self.include) {
                current.has_found = true;
                return Some(found);
            }
        }
    }
}

impl RootWalk {
    /// Converts an entry; `None` for a folder, a device, or an excluded file.
    fn classify(
        &self,
        entry: Result<DirEntry, ignore::Error>,
        include: &GlobSet,
    ) -> Option<WalkEntry> {
        let root = self.filter.root.as_path();
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let (path, cause) = error_path(root, &error)?;
                // A dangling link is an error of the walk before the filter is called.
                let is_link = path != root && fs_err::read_link(path).is_ok();
                let is_taken = !is_link || self.filter.accepts(path, false, true);
                return is_taken.then(|| WalkEntry::Error(unreadable(root, path, cause)));
            }
        };
        let kind = entry.file_type()?;
        let is_root = entry.depth() == 0;
        // A root that is a link is followed; any other link that is still reported as a link was
        // excluded from following.
        if kind.is_dir() || (kind.is_symlink() && !is_root) {
            return None;
        }
        if !is_root && !include.is_empty() {
            let relative = entry.path().strip_prefix(root).unwrap_or(entry.path());
            if !include.is_match(relative) {
                self.filter.count_not_included();
                return None;
            }
        }
        let stat = if is_root {
            fs_err::metadata(entry.path()).map_err(Into::into)
        } else {
            entry.metadata()
        };
        let stat = match stat {
            Ok(stat) => stat,
            Err(error) => {
                return Some(WalkEntry::Error(unreadable(root, entry.path(), error_cause(&error))));
            }
        };
        if !stat.is_file() {
            return None;
        }
        let location = location(root, entry.path(), &stat);
        let (path, root) = (entry.into_path(), Arc::clone(&self.root));
        Some(WalkEntry::File { path, location, root, device: stat.dev() })
    }
}

fn location(root: &Path, path: &Path, stat: &Metadata) -> Location {
    let (mtime, ctime) = timestamps(stat);
    Location {
        uri: uri::of_path(path),
        source: uri::of_path(root),
        size: stat.len(),
        mtime,
        ctime,
        inode: Some(stat.ino()),
    }
}

/// The path and cause of an error of the walk; `None` for an invalid `.gitignore` pattern, which
/// Git skips, too.
fn error_path<'a>(root: &'a Path, error: &'a ignore::Error) -> Option<(&'a Path, String)> {
    match error {
        ignore::Error::WithPath { path, err } => {
            err.io_error().map(|_| (path.as_path(), error_cause(err)))
        }
        ignore::Error::WithDepth { err, .. } => error_path(root, err),
        ignore::Error::Loop { ancestor, child } => {
            let ancestor = ancestor.display();
            Some((child, format!("symbolic link to its own parent folder {ancestor}")))
        }
        ignore::Error::Io(_) => Some((root, error_cause(error))),
        ignore::Error::Partial(_)
        | ignore::Error::WithLineNumber { .. }
        | ignore::Error::Glob { .. }
        | ignore::Error::UnrecognizedFileType(_)
        | ignore::Error::InvalidDefinition => None,
    }
}

/// The system's message without the path, which is in the document's URI.
fn error_cause(error: &ignore::Error) -> String {
    match error.io_error() {
        Some(error) => io_cause(error),
        None => error.to_string(),
    }
}

fn unreadable(root: &Path, path: &Path, cause: String) -> Rejection {
    Rejection {
        location: Location {
            uri: uri::of_path(path),
            source: uri::of_path(root),
            size: 0,
            mtime: None,
            ctime: None,
            inode: None,
        },
        content_hash: None,
        reason: RejectReason::Failed(DocumentError::Unreadable { cause }),
    }
}
