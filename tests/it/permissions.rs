//! The data folder is readable by its owner only.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::support::TestProject;

/// A folder and everything below it.
fn everything(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    for entry in std::fs::read_dir(folder).unwrap() {
        // Deleted by the server during the walk.
        let Ok(entry) = entry else { continue };
        let is_folder = entry.file_type().is_ok_and(|it| it.is_dir());
        if is_folder { found.extend(everything(&entry.path())) } else { found.push(entry.path()) }
    }
    found
}

/// Asserts that group and others have no access to a data folder. If root runs the command,
/// PostgreSQL runs as another user, whose group may traverse two folders but not list them.
fn assert_private(data: &Path) {
    let passed = [data.to_owned(), data.join("postgres")];
    for path in everything(data) {
        let Ok(found) = std::fs::symlink_metadata(&path) else { continue };
        if found.is_symlink() || found.file_type().is_socket_like() {
            continue;
        }
        let may_pass = rustix::process::geteuid().is_root() && passed.contains(&path);
        let open = found.mode() & if may_pass { 0o067 } else { 0o077 };
        assert_eq!(open, 0, "{} has mode {:o}", path.display(), found.mode());
    }
}

trait SocketLike {
    fn is_socket_like(&self) -> bool;
}

impl SocketLike for std::fs::FileType {
    /// The folder of a socket restricts access to it.
    fn is_socket_like(&self) -> bool {
        std::os::unix::fs::FileTypeExt::is_socket(self)
    }
}

#[test]
fn the_data_folder_is_closed_to_others() {
    let place = TestProject::with("model: 'stand-in:16'", "");
    let data = place.path().join(".semantik");
    for number in 0..5 {
        place.write(&format!("{number}.txt"), format!("the text of document {number}"));
    }
    place.run();
    assert_private(&data);
    let lock = std::fs::metadata(data.join("postgres/start.lock")).unwrap();
    assert_eq!(lock.mode() & 0o777, 0o600);

    // A folder of an earlier version gets private modes at its next use, also without changes to
    // store.
    let cluster = data.join("postgres/cluster");
    for path in everything(&data).into_iter().filter(|path| !path.starts_with(&cluster)) {
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    place.run();
    assert_private(&data);
    assert_eq!(place.search("document", 10).len(), 5);
    assert_private(&data);
}

#[test]
fn files_of_others_in_a_data_folder_keep_their_modes() {
    let place = TestProject::with("model: 'stand-in:16'", "stores: { data: . }");
    place.write("1.txt", "the text of a document");
    place.run();
    for (path, mode) in [(place.path().to_owned(), 0o755), (place.corpus().join("1.txt"), 0o644)] {
        let found = std::fs::metadata(&path).unwrap().mode() & 0o777;
        assert_eq!(found, mode, "{}", path.display());
    }
    assert_eq!(std::fs::metadata(place.path().join("vectors")).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn folders_above_a_data_folder_get_the_default_mode() {
    let place = TestProject::with("model: 'stand-in:16'", "stores: { data: new/folders/data }");
    place.write("1.txt", "the text of a document");
    let by_default = place.path().join("by-default");
    std::fs::create_dir(&by_default).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
    place.run();
    for above in ["new", "new/folders"] {
        assert_eq!(mode(&place.path().join(above)), mode(&by_default), "{above}");
    }
    assert_private(&place.path().join("new/folders/data"));
}
