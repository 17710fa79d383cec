//! Explains what a scan would do with one path, and which options exclude it.
//!
//! It has no rules of its own. It walks like a scan, restricted to the path; if the walk finds the
//! path only with relaxed options, every option that excludes it on its own is a reason. Nothing
//! behind a link out of the scanned folder is accessed, so the answer reveals nothing about it.

use std::path::{Component, Path};

use pipeline::{BoxError, Verdict};

use crate::real_path;
use crate::scan::decide::{Decision, decide};
use crate::scan::walk::{Found, Walk};
use crate::scan::{Scan, globs};

/// The outcome of an absolute path in a scan at this moment.
pub(super) fn verdict(scan: &Scan, path: &Path) -> Result<Verdict, BoxError> {
    // Resolving `..` would require access to the file system.
    if path.components().any(|part| part == Component::ParentDir) {
        return Ok(Verdict::Elsewhere);
    }
    let roots = scan.roots_as_far_as_possible();
    // Of nested roots, the walk uses the innermost.
    let above = roots.iter().filter(|root| path.starts_with(root));
    let Some(root) = above.max_by_key(|root| root.components().count()) else {
        return Ok(Verdict::Elsewhere);
    };
    if is_behind_a_way_out(path, root) {
        let words = "a link in its path leads outside the scanned folder";
        return Ok(Verdict::LeftOut(vec![words.to_owned()]));
    }
    let find = |scan: &Scan| -> Result<Option<Found>, BoxError> {
        Ok(Walk::to(path, root, &roots, &scan.walk_options()?).next())
    };
    if let Some(found) = find(scan)? {
        return Ok(match decide(found, None, scan.max_size.0) {
            Decision::Read(file) => Verdict::Given(file.location),
            Decision::SetAside(document) => Verdict::SetAside(document),
        });
    }
    let options = options(scan);
    let without = |kept: Option<usize>| {
        let mut relaxed = scan.clone();
        let taken = options.iter().enumerate().filter(|(index, _)| Some(*index) != kept);
        taken.for_each(|(_, option)| (option.take_away)(&mut relaxed));
        relaxed
    };
    if find(&without(None))?.is_some() {
        let mut words = Vec::new();
        for (index, option) in options.iter().enumerate() {
            if find(&without(Some(index)))?.is_none() {
                words.push(option.words.clone());
            }
        }
        return Ok(Verdict::LeftOut(words));
    }
    Ok(match fs_err::metadata(path) {
        Err(_) => Verdict::NotThere,
        Ok(stat) if stat.is_dir() => Verdict::LeftOut(vec!["it is a folder".to_owned()]),
        // The file was created after the walk.
        Ok(stat) if stat.is_file() => Verdict::NotThere,
        Ok(_) => Verdict::LeftOut(vec!["it is not a regular file".to_owned()]),
    })
}

/// `true` if a component of the path below the root is a link that leads outside. Components after
/// that link are not accessed.
fn is_behind_a_way_out(path: &Path, root: &Path) -> bool {
    let real_root = real_path::resolve(root);
    let below = path.strip_prefix(root).unwrap_or(path);
    let mut at = root.to_owned();
    below.components().any(|part| {
        at.push(part);
        fs_err::read_link(&at).is_ok() && !real_path::resolve(&at).starts_with(&real_root)
    })
}

/// An option that can exclude files.
struct LeavesOut {
    /// Reason for the user.
    words: String,
    /// Relaxes the option so that it excludes nothing.
    take_away: Box<dyn Fn(&mut Scan)>,
}

fn options(scan: &Scan) -> Vec<LeavesOut> {
    let mut options = Vec::new();
    let mut add = |words: &str, take_away: Box<dyn Fn(&mut Scan)>| {
        options.push(LeavesOut { words: words.to_owned(), take_away });
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
