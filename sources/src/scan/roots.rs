//! The source roots of a scan, and warnings about them before a run.

use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};

use pipeline::{BoxError, SourceWarning};

use super::ScanOptions;
use super::walk::Walk;

/// Error for a path that cannot be scanned.
#[derive(Debug, thiserror::Error)]
#[error("{message}; {remedy}")]
struct RootError {
    message: String,
    remedy: String,
}

/// The scheme if the path is a URL.
pub(super) fn scheme_of(path: &Path) -> Option<&str> {
    let (scheme, _) = path.to_str()?.split_once("://")?;
    let mut letters = scheme.chars();
    let begins = letters.next().is_some_and(|first| first.is_ascii_alphabetic());
    let goes_on = letters.all(|it| it.is_ascii_alphanumeric() || matches!(it, '+' | '-' | '.'));
    (begins && goes_on).then_some(scheme)
}

/// The absolute form of an existing path. Links stay as written, unless the path contains `..`,
/// which only the file system can resolve.
pub(super) fn absolute_root(path: &Path) -> Result<PathBuf, BoxError> {
    try_root_of(path).map_err(Into::into)
}

fn try_root_of(path: &Path) -> Result<PathBuf, RootError> {
    let shown = path.display();
    if let Some(scheme) = scheme_of(path) {
        let message = format!("`{shown}` is a URL, but `scan` reads only local files and folders");
        let remedy = match scheme {
            "file" => format!("write it as a path: `{}`", shown.to_string().replace("file://", "")),
            _ => "download or mount its content and use the local folder".to_owned(),
        };
        return Err(RootError { message, remedy });
    }
    let refused = |what: String, remedy: &str| RootError {
        message: format!("cannot scan `{shown}`: {what}"),
        remedy: remedy.to_owned(),
    };
    let unknown = |error: std::io::Error| {
        let cause = super::cause::io_cause(&error);
        refused(cause, "grant read access to the user that runs the pipeline")
    };
    let kind = match fs_err::metadata(path) {
        Ok(stat) => stat.file_type(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(refused(
                "no such file or folder".to_owned(),
                "create or mount it, or correct `paths` (relative to the pipeline file)",
            ));
        }
        Err(error) => return Err(unknown(error)),
    };
    if !kind.is_file() && !kind.is_dir() {
        return Err(refused(
            "not a file or a folder".to_owned(),
            "use the folder that contains the documents",
        ));
    }
    let absolute = std::path::absolute(path).map_err(unknown)?;
    if absolute.components().any(|part| part == Component::ParentDir) {
        return fs_err::canonicalize(&absolute).map_err(unknown);
    }
    // Rebuilt from its components, because `/a/b/` and `/a/b` are the same folder.
    Ok(absolute.components().collect())
}

/// Warnings about the paths at this moment: paths that cannot be scanned, and paths below which no
/// file matches. A folder is walked only until the first document.
pub(super) fn warnings(scan: &ScanOptions) -> Vec<SourceWarning> {
    let option = |index: usize| format!("paths/{index}");
    let mut warnings = Vec::new();
    let mut found = Vec::new();
    let Ok(options) = scan.walk_options() else { return warnings };
    let roots = scan.lenient_roots();
    for (index, path) in scan.paths.iter().enumerate() {
        match try_root_of(path) {
            Err(RootError { message, remedy }) => {
                warnings.push(SourceWarning { option: option(index), message, help: remedy });
            }
            Ok(root) => {
                let mut walk = Walk::of_root(&root, &roots, &options);
                let is_empty = walk.next().is_none();
                found.push((index, root, is_empty, walk.exclusions().counts()));
            }
        }
    }
    let is_empty = |root: &Path| {
        found.iter().all(|(_, other, is_empty, _)| *is_empty || !other.starts_with(root))
    };
    for (index, root, _, left_out) in found.iter().filter(|(_, root, ..)| is_empty(root)) {
        let message = format!("no file below `{}` matches", root.display());
        let help = if left_out.is_empty() {
            "the folder contains no files".to_owned()
        } else {
            let mut help = "all its entries are left out:".to_owned();
            for (by, count) in left_out {
                write!(help, " {count} by `{by}`,").expect("writing to a string cannot fail");
            }
            help.trim_end_matches(',').to_owned()
        };
        warnings.push(SourceWarning { option: option(*index), message, help });
    }
    warnings
}
