//! Resolves symbolic links in a path, including paths that do not exist.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Limit of links while resolving a path, as in the kernel; more are treated as a loop.
const MAX_LINKS: usize = 40;

/// Resolves all links of an absolute path; `..` applies after resolving. A component that does not
/// exist or is not accessible is kept as written, so that the result depends on nothing below it.
///
/// ```
/// use std::path::Path;
///
/// use sources::real_path::resolve;
///
/// assert_eq!(resolve(Path::new("/no/such/../folder/./file")), Path::new("/no/folder/file"));
/// ```
pub fn resolve(path: &Path) -> PathBuf {
    let parts_of = |path: &Path| -> Vec<OsString> {
        path.components().rev().map(|part| part.as_os_str().to_owned()).collect()
    };
    let mut resolved = PathBuf::from("/");
    let mut todo = parts_of(path);
    let mut links = 0;
    while let Some(part) = todo.pop() {
        match part.as_encoded_bytes() {
            b"/" => resolved = PathBuf::from("/"),
            b"." => {}
            b".." => drop(resolved.pop()),
            _ => {
                resolved.push(&part);
                if links < MAX_LINKS
                    && let Ok(target) = fs_err::read_link(&resolved)
                {
                    links += 1;
                    resolved.pop();
                    todo.extend(parts_of(&target));
                }
            }
        }
    }
    resolved
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn existing_paths_lead_where_the_system_says_and_others_as_they_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs_err::canonicalize(folder.path()).unwrap();
        fs_err::create_dir_all(root.join("a/b")).unwrap();
        fs_err::write(root.join("a/b/file"), "").unwrap();
        symlink("a/b", root.join("relative")).unwrap();
        symlink(root.join("relative"), root.join("absolute")).unwrap();
        symlink("../absolute/..", root.join("a/up")).unwrap();
        symlink("round", root.join("round")).unwrap();
        for path in ["a/b/file", "relative/file", "absolute/../b/file", "a/up/b/../b/file", "a/."] {
            let path = root.join(path);
            assert_eq!(resolve(&path), fs_err::canonicalize(&path).unwrap(), "{}", path.display());
        }
        for (path, leads_to) in [
            ("relative/none/x", "a/b/none/x"),
            ("none/../a/up/none", "a/none"),
            ("round/x", "round/x"),
        ] {
            assert_eq!(resolve(&root.join(path)), root.join(leads_to), "{path}");
        }
    }
}
