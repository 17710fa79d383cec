//! Says what a scan would make of one path, and which options leave it out.
//!
//! It has no rules of its own. It walks as a scan does, only down to the path; where the path does not come
//! out, options are taken away until it does, and those without which it does not are what leaves it out.
//! Nothing behind a link that leads out of the scanned folder is looked at, so that the answer tells nothing of it.

use std::path::{Component, Path};

use pipeline::{BoxError, Verdict};

use crate::real_path;
use crate::scan::decide::{Decision, decide};
use crate::scan::walk::{Found, Walk};
use crate::scan::{Scan, globs};

/// What the scan would make of an absolute path, looked at now.
pub(super) fn verdict(scan: &Scan, path: &Path) -> Result<Verdict, BoxError> {
    // Only the file system could say where such a path leads.
    if path.components().any(|part| part == Component::ParentDir) {
        return Ok(Verdict::Elsewhere);
    }
    let roots = scan.roots_as_far_as_possible();
    // Of roots in one another, the inner one is walked.
    let above = roots.iter().filter(|root| path.starts_with(root));
    let Some(root) = above.max_by_key(|root| root.components().count()) else {
        return Ok(Verdict::Elsewhere);
    };
    if is_behind_a_way_out(path, root) {
        let words = "a link on the way to it leads out of the scanned folder";
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
        // It has come to be since the walk looked for it.
        Ok(stat) if stat.is_file() => Verdict::NotThere,
        Ok(_) => Verdict::LeftOut(vec!["it is no regular file".to_owned()]),
    })
}

/// Whether a part of the path below the root is a link that leads out of it. No part behind that one is looked at.
fn is_behind_a_way_out(path: &Path, root: &Path) -> bool {
    let real_root = real_path::resolve(root);
    let below = path.strip_prefix(root).unwrap_or(path);
    let mut at = root.to_owned();
    below.components().any(|part| {
        at.push(part);
        fs_err::read_link(&at).is_ok() && !real_path::resolve(&at).starts_with(&real_root)
    })
}

/// An option that may leave files out.
struct LeavesOut {
    /// What it says of a file that it leaves out.
    words: String,
    /// Has it leave nothing out.
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
            &format!("`exclude` has the glob `{glob}`, which matches it"),
            Box::new(move |scan| scan.exclude.retain(|other| other.text() != own)),
        );
    }
    if !scan.include.is_empty() {
        add("no glob of `include` matches it", Box::new(|scan| scan.include.clear()));
    }
    if !scan.hidden {
        add(
            "its name, or that of a folder it lies in, begins with a dot (`hidden: true` takes such in)",
            Box::new(|scan| scan.hidden = true),
        );
    }
    if scan.gitignore {
        add(
            "a `.gitignore` file names it (`gitignore: false` does not heed them)",
            Box::new(|scan| scan.gitignore = false),
        );
    }
    if !scan.follow_symlinks {
        add(
            "it is a symbolic link, or lies behind one (`follow_symlinks: true` follows those)",
            Box::new(|scan| scan.follow_symlinks = true),
        );
    }
    options
}
