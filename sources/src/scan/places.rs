//! The paths of a scan: what each stands for, and what a person should know about it before a run.

use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};

use pipeline::{BoxError, SourceWarning};

use super::Scan;
use super::walk::Walk;

/// Why a path cannot be scanned.
#[derive(Debug, thiserror::Error)]
#[error("{message}; {remedy}")]
struct NoRoot {
    message: String,
    /// What to do about it.
    remedy: String,
}

/// The scheme of something that is a URL, and no path.
pub(super) fn scheme_of(path: &Path) -> Option<&str> {
    let (scheme, _) = path.to_str()?.split_once("://")?;
    let mut letters = scheme.chars();
    let begins = letters.next().is_some_and(|first| first.is_ascii_alphabetic());
    let goes_on = letters.all(|it| it.is_ascii_alphanumeric() || matches!(it, '+' | '-' | '.'));
    (begins && goes_on).then_some(scheme)
}

/// The absolute form of a path that is there. Links in it stay as the user wrote them, unless there is
/// a `..` behind one, which only the file system can resolve.
pub(super) fn root_of(path: &Path) -> Result<PathBuf, BoxError> {
    try_root_of(path).map_err(Into::into)
}

fn try_root_of(path: &Path) -> Result<PathBuf, NoRoot> {
    let shown = path.display();
    if let Some(scheme) = scheme_of(path) {
        let message =
            format!("`{shown}` is a URL, and `scan` reads folders and files of this machine");
        let remedy = match scheme {
            "file" => format!("write it as a path: `{}`", shown.to_string().replace("file://", "")),
            _ => "fetch or mount what is there, and name the folder".to_owned(),
        };
        return Err(NoRoot { message, remedy });
    }
    let refused = |what: String, remedy: &str| NoRoot {
        message: format!("cannot scan {shown}: {what}"),
        remedy: remedy.to_owned(),
    };
    let unknown = |error: std::io::Error| {
        let cause = super::read::cause(&error);
        refused(cause, "see that it may be looked at by the user who runs the pipeline")
    };
    let kind = match fs_err::metadata(path) {
        Ok(stat) => stat.file_type(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(refused(
                "there is no such file or folder".to_owned(),
                "make or mount it, or correct `paths` (they are relative to the pipeline file)",
            ));
        }
        Err(error) => return Err(unknown(error)),
    };
    if !kind.is_file() && !kind.is_dir() {
        return Err(refused(
            "it is neither a file nor a folder".to_owned(),
            "name the folder that has the documents",
        ));
    }
    let absolute = std::path::absolute(path).map_err(unknown)?;
    if absolute.components().any(|part| part == Component::ParentDir) {
        return fs_err::canonicalize(&absolute).map_err(unknown);
    }
    // Rebuilt from its parts, because `/a/b/` and `/a/b` are one folder.
    Ok(absolute.components().collect())
}

/// What a person should know about the paths, looked at now: one that cannot be scanned, and one below which nothing matches.
/// Of a folder only so much is walked as it takes to find one document.
pub(super) fn warnings(scan: &Scan) -> Vec<SourceWarning> {
    let option = |index: usize| format!("paths/{index}");
    let mut warnings = Vec::new();
    let mut found = Vec::new();
    let Ok(options) = scan.walk_options() else { return warnings };
    let roots = scan.roots_as_far_as_possible();
    for (index, path) in scan.paths.iter().enumerate() {
        match try_root_of(path) {
            Err(NoRoot { message, remedy }) => {
                warnings.push(SourceWarning { option: option(index), message, help: remedy });
            }
            Ok(root) => {
                let mut walk = Walk::of_root(&root, &roots, &options);
                let is_empty = walk.next().is_none();
                found.push((index, root, is_empty, walk.left_out().counts()));
            }
        }
    }
    let is_empty = |root: &Path| {
        found.iter().all(|(_, other, is_empty, _)| *is_empty || !other.starts_with(root))
    };
    for (index, root, _, left_out) in found.iter().filter(|(_, root, ..)| is_empty(root)) {
        let message = format!("nothing below `{}` matches", root.display());
        let help = if left_out.is_empty() {
            "there is no file in the folder".to_owned()
        } else {
            let mut help = "what is there is left out:".to_owned();
            for (by, count) in left_out {
                write!(help, " {count} by `{by}`,").expect("a string takes all that is written");
            }
            help.trim_end_matches(',').to_owned()
        };
        warnings.push(SourceWarning { option: option(*index), message, help });
    }
    warnings
}
