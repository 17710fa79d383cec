//! Walks the scanned folders: every file once, in order of name, with what `stat` says of it.
//!
//! It reads no file. What cannot be looked at (a folder without permission, a loop of links) comes out
//! as found, too, with the error, so that it is accounted for.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use globset::GlobSet;
use ignore::{DirEntry, WalkBuilder};
use pipeline::{DocError, Location, SetAside, Why};

use crate::uri;

/// Which files below a folder are wanted.
pub(crate) struct WalkOptions {
    pub(crate) include: GlobSet,
    pub(crate) exclude: GlobSet,
    pub(crate) gitignore: bool,
    pub(crate) hidden: bool,
    pub(crate) follow_symlinks: bool,
}

/// What the walk came upon.
pub(crate) enum Found {
    /// A regular file.
    File { path: PathBuf, location: Location },
    /// Something that could not be looked at.
    Trouble(SetAside),
}

impl Found {
    pub(crate) fn location(&self) -> &Location {
        match self {
            Self::File { location, .. } => location,
            Self::Trouble(document) => &document.location,
        }
    }
}

/// A walk through several folders and files, one after the other.
pub(crate) struct Walk {
    include: GlobSet,
    roots: std::vec::IntoIter<(PathBuf, ignore::Walk)>,
    current: Option<(PathBuf, ignore::Walk)>,
}

impl Walk {
    /// Opens a walk through these roots, which are absolute. A root below another one is walked as
    /// itself only, so that no file is met twice.
    pub(crate) fn open(roots: &[PathBuf], options: WalkOptions) -> Self {
        let walks: Vec<_> =
            roots.iter().map(|root| (root.clone(), walk_of(root, roots, &options, None))).collect();
        Self { include: options.include, roots: walks.into_iter(), current: None }
    }

    /// Opens a walk that goes to one path below one of the roots, by the same rules.
    pub(crate) fn to(path: &Path, root: &Path, roots: &[PathBuf], options: &WalkOptions) -> Self {
        let walk = walk_of(root, roots, options, Some(path.to_owned()));
        let include = options.include.clone();
        Self { include, roots: vec![(root.to_owned(), walk)].into_iter(), current: None }
    }
}

fn walk_of(
    root: &Path,
    roots: &[PathBuf],
    options: &WalkOptions,
    only: Option<PathBuf>,
) -> ignore::Walk {
    let others: Vec<PathBuf> =
        roots.iter().filter(|other| *other != root && other.starts_with(root)).cloned().collect();
    let exclude = options.exclude.clone();
    let below = root.to_owned();
    let real_root = fs_err::canonicalize(root).ok();
    WalkBuilder::new(root)
        .standard_filters(false)
        .hidden(!options.hidden)
        .git_ignore(options.gitignore)
        .git_exclude(options.gitignore)
        .parents(options.gitignore)
        .require_git(false)
        .follow_links(options.follow_symlinks)
        .sort_by_file_name(Ord::cmp)
        .filter_entry(move |entry| {
            if entry.depth() == 0 {
                return true;
            }
            let path = entry.path();
            let relative = path.strip_prefix(&below).unwrap_or(path);
            only.as_ref().is_none_or(|only| only.starts_with(path))
                && !exclude.is_match(relative)
                && !others.iter().any(|other| other == path)
                && (!entry.path_is_symlink() || leads_inside(path, real_root.as_deref()))
        })
        .build()
}

/// Whether a link leads to something below the root. One that leads nowhere counts as inside, so that
/// the walk reports it.
fn leads_inside(link: &Path, real_root: Option<&Path>) -> bool {
    match (fs_err::canonicalize(link), real_root) {
        (Ok(target), Some(root)) => target.starts_with(root),
        (Err(_), _) => true,
        (Ok(_), None) => false,
    }
}

impl Iterator for Walk {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        loop {
            if self.current.is_none() {
                self.current = Some(self.roots.next()?);
            }
            let (root, walk) = self.current.as_mut().expect("it was set above");
            let Some(entry) = walk.next() else {
                self.current = None;
                continue;
            };
            if let Some(found) = found(root, entry, &self.include) {
                return Some(found);
            }
        }
    }
}

/// What an entry of the walk is to us; `None` for a folder, a device, or a file that is not wanted.
fn found(root: &Path, entry: Result<DirEntry, ignore::Error>, include: &GlobSet) -> Option<Found> {
    let entry = match entry {
        Ok(entry) => entry,
        Err(error) => return trouble(root, &error).map(Found::Trouble),
    };
    let kind = entry.file_type()?;
    let is_root = entry.depth() == 0;
    // A root that is a link stands for what it leads to; any other link that is still a link here was
    // not to be followed.
    if kind.is_dir() || (kind.is_symlink() && !is_root) {
        return None;
    }
    if !is_root && !include.is_empty() {
        let relative = entry.path().strip_prefix(root).unwrap_or(entry.path());
        if !include.is_match(relative) {
            return None;
        }
    }
    let stat =
        if is_root { fs_err::metadata(entry.path()).map_err(Into::into) } else { entry.metadata() };
    let stat = match stat {
        Ok(stat) => stat,
        Err(error) => return Some(Found::Trouble(unreadable(root, entry.path(), cause(&error)))),
    };
    if !stat.is_file() {
        return None;
    }
    let location = location(root, entry.path(), &stat);
    Some(Found::File { path: entry.into_path(), location })
}

fn location(root: &Path, path: &Path, stat: &Metadata) -> Location {
    let micros = |seconds: i64, nanos: i64| Some(seconds.saturating_mul(1_000_000) + nanos / 1000);
    Location {
        uri: uri::of_path(path),
        source: uri::of_path(root),
        size: stat.len(),
        mtime: micros(stat.mtime(), stat.mtime_nsec()),
        ctime: micros(stat.ctime(), stat.ctime_nsec()),
        inode: Some(stat.ino()),
    }
}

/// What an error of the walk says of a file or folder; `None` if it is about none, but about a pattern
/// of a `.gitignore`, which Git passes over as well.
fn trouble(root: &Path, error: &ignore::Error) -> Option<SetAside> {
    match error {
        ignore::Error::WithPath { path, err } => {
            err.io_error().map(|_| unreadable(root, path, cause(err)))
        }
        ignore::Error::WithDepth { err, .. } => trouble(root, err),
        ignore::Error::Loop { ancestor, child } => {
            let cause =
                format!("it is a symbolic link to {}, in which it lies", ancestor.display());
            Some(unreadable(root, child, cause))
        }
        ignore::Error::Io(_) => Some(unreadable(root, root, cause(error))),
        ignore::Error::Partial(_)
        | ignore::Error::WithLineNumber { .. }
        | ignore::Error::Glob { .. }
        | ignore::Error::UnrecognizedFileType(_)
        | ignore::Error::InvalidDefinition => None,
    }
}

/// What the system said, without the path, which the document's uri says.
fn cause(error: &ignore::Error) -> String {
    match error.io_error() {
        Some(error) => crate::scan::read::cause(error),
        None => error.to_string(),
    }
}

fn unreadable(root: &Path, path: &Path, cause: String) -> SetAside {
    SetAside {
        location: Location {
            uri: uri::of_path(path),
            source: uri::of_path(root),
            size: 0,
            mtime: None,
            ctime: None,
            inode: None,
        },
        content_hash: None,
        why: Why::Failed(DocError::Unreadable { cause }),
    }
}
