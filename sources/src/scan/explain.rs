//! Explains what a scan would do with one path, and which options exclude it.
//!
//! It has no rules of its own. It walks like a scan, restricted to the path; if the walk finds the
//! path only with relaxed options, every option that excludes it on its own is a reason. Nothing
//! behind a link out of the scanned folder is accessed, so the answer reveals nothing about it.

use std::path::{Component, Path};

use pipeline::{BoxError, SourceDecision};

use crate::real_path;
use crate::scan::decide::{Decision, decide};
use crate::scan::walk::{Walk, WalkEntry};
use crate::scan::{ScanOptions, globs};

/// The outcome of an absolute path in a scan at this moment.
pub(super) fn explain(scan: &ScanOptions, path: &Path) -> Result<SourceDecision, BoxError> {
    // Resolving `..` would require access to the file system.
    if path.components().any(|part| part == Component::ParentDir) {
        return Ok(SourceDecision::OutsideSource);
    }
    let roots = scan.lenient_roots();
    // Of nested roots, the walk uses the innermost.
    let above = roots.iter().filter(|root| path.starts_with(root));
    let Some(root) = above.max_by_key(|root| root.components().count()) else {
        return Ok(SourceDecision::OutsideSource);
    };
    if crosses_escaping_link(path, root) {
        let words = "a link in its path leads outside the scanned folder";
        return Ok(SourceDecision::Excluded(vec![words.to_owned()]));
    }
    let find = |scan: &ScanOptions| -> Result<Option<WalkEntry>, BoxError> {
        Ok(Walk::to_path(path, root, &roots, &scan.walk_options()?).next())
    };
    if let Some(found) = find(scan)? {
        return Ok(match decide(found, None, scan.max_size.0) {
            Decision::Read(file) => SourceDecision::Included(file.location),
            Decision::Reject(document) => SourceDecision::Rejected(document),
        });
    }
    let options = exclusion_rules(scan);
    let without = |kept: Option<usize>| {
        let mut relaxed = scan.clone();
        let taken = options.iter().enumerate().filter(|(index, _)| Some(*index) != kept);
        taken.for_each(|(_, option)| (option.disable)(&mut relaxed));
        relaxed
    };
    if find(&without(None))?.is_some() {
        let mut words = Vec::new();
        for (index, option) in options.iter().enumerate() {
            if find(&without(Some(index)))?.is_none() {
                words.push(option.description.clone());
            }
        }
        return Ok(SourceDecision::Excluded(words));
    }
    Ok(match fs_err::metadata(path) {
        Err(_) => SourceDecision::Missing,
        Ok(stat) if stat.is_dir() => SourceDecision::Excluded(vec!["it is a folder".to_owned()]),
        // The file was created after the walk.
        Ok(stat) if stat.is_file() => SourceDecision::Missing,
        Ok(_) => SourceDecision::Excluded(vec!["it is not a regular file".to_owned()]),
    })
}

/// `true` if a component of the path below the root is a link that leads outside. Components after
/// that link are not accessed.
fn crosses_escaping_link(path: &Path, root: &Path) -> bool {
    let real_root = real_path::resolve(root);
    let below = path.strip_prefix(root).unwrap_or(path);
    let mut at = root.to_owned();
    below.components().any(|part| {
        at.push(part);
        fs_err::read_link(&at).is_ok() && !real_path::resolve(&at).starts_with(&real_root)
    })
}

/// An option that can exclude files.
struct ExclusionRule {
    /// Reason for the user.
    description: String,
    /// Relaxes the option so that it excludes nothing.
    disable: Box<dyn Fn(&mut ScanOptions)>,
}

fn exclusion_rules(scan: &ScanOptions) -> Vec<ExclusionRule> {
    let mut options = Vec::new();
    let mut add = |words: &str, take_away: Box<dyn Fn(&mut ScanOptions)>| {
        options.push(ExclusionRule { description: words.to_owned(), disable: take_away });
    };
    for glob in scan.exclude.iter().map(globs::Glob::text) {
        let own = glob.to_owned();
        add(
            &format!("it matches the glob `{glob}` of `exclude`"),
            Box::new(move |scan| scan.exclude.retain(|other| other.text() != own)),
        );
    }
    if !scan.include.is_empty() {
        add("it matches no glob of `include`", Box::new(|scan| scan.include.clear()));
    }
    if !scan.hidden {
        add(
            "its name or that of a parent folder starts with a dot (set `hidden: true` to include it)",
            Box::new(|scan| scan.hidden = true),
        );
    }
    if scan.gitignore {
        add(
            "a `.gitignore` file excludes it (set `gitignore: false` to include it)",
            Box::new(|scan| scan.gitignore = false),
        );
    }
    if !scan.follow_symlinks {
        add(
            "it is a symbolic link or below one (set `follow_symlinks: true` to follow links)",
            Box::new(|scan| scan.follow_symlinks = true),
        );
    }
    options
}
