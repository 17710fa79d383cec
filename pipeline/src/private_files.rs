//! Files and folders that only their owner can access, because vectors and cache contain passages
//! of documents.
//!
//! New files and folders get their mode at creation, whatever the umask is; those of an earlier
//! version get it at their next use. Files of other programs stay unchanged, because a data folder
//! may contain them.

use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use fs_err::os::unix::fs::OpenOptionsExt as _;

/// Folders of semantik in a data folder.
const OWN_ENTRIES: [&str; 4] = ["memo", "postgres", "sockets", "vectors"];

/// Permissions of group and others.
const GROUP_AND_OTHERS: u32 = 0o077;

/// The same, without the right of the group to enter a folder.
const GROUP_AND_OTHERS_BUT_TRAVERSAL: u32 = 0o067;

/// Creates a folder with mode 0700, and its missing parents.
///
/// # Errors
/// If one of them cannot be created; the message names the folder.
pub fn create_private_folder(path: &Path) -> io::Result<()> {
    let above = match data_folder(path).parent() {
        Some(above) => std::fs::DirBuilder::new().recursive(true).create(above),
        None => Ok(()),
    };
    let made =
        above.and_then(|()| std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path));
    made.map_err(|error| {
        let words = crate::io_error_text(&error);
        io::Error::new(error.kind(), format!("cannot create {}: {words}", path.display()))
    })
}

/// The data folder of a path: the parent of the innermost component of [`OWN_ENTRIES`], or the path
/// itself without one.
fn data_folder(path: &Path) -> &Path {
    let is_ours =
        |it: &&Path| it.file_name().is_some_and(|name| OWN_ENTRIES.iter().any(|our| name == *our));
    path.ancestors().find(is_ours).and_then(Path::parent).unwrap_or(path)
}

/// Makes a file that only its owner can read, or empties one that is there.
///
/// # Errors
/// If it cannot be created.
pub fn create_private_file(path: &Path) -> io::Result<fs_err::File> {
    let mut options = fs_err::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    remove_permissions(path, GROUP_AND_OTHERS)?;
    Ok(file)
}

/// Writes a file with mode 0600.
///
/// # Errors
/// If it cannot be written.
pub fn write_private_file(path: &Path, content: &str) -> io::Result<()> {
    create_private_file(path)?.write_all(content.as_bytes())
}

/// Removes the permissions of group and others in a data folder. `has_server`: the folder holds the
/// cluster of PostgreSQL, whose user must be able to enter it if root runs the command. A folder
/// with files of other programs keeps its mode.
///
/// # Errors
/// If a mode cannot be changed; files of other users are skipped.
pub fn restrict_data_folder(data: &Path, has_server: bool) -> io::Result<()> {
    if !data.is_dir() {
        return Ok(());
    }
    for name in ["memo", "sockets", "vectors"] {
        let folder = data.join(name);
        if has_permissions(&folder, GROUP_AND_OTHERS) {
            restrict_contents(&folder)?;
            remove_permissions(&folder, GROUP_AND_OTHERS)?;
        }
    }
    let passed = has_server && rustix::process::geteuid().is_root();
    let kept = if passed { GROUP_AND_OTHERS_BUT_TRAVERSAL } else { GROUP_AND_OTHERS };
    let postgres = data.join("postgres");
    for file in ["start.lock", "users.lock", "cluster-is-at"] {
        remove_permissions(&postgres.join(file), GROUP_AND_OTHERS)?;
    }
    remove_permissions(&postgres, kept)?;
    if is_semantik_folder(data)? { remove_permissions(data, kept) } else { Ok(()) }
}

/// `true` if a data folder contains only folders of semantik.
///
/// # Errors
/// If it cannot be listed.
pub fn is_semantik_folder(data: &Path) -> io::Result<bool> {
    for entry in fs_err::read_dir(data)? {
        let name = entry?.file_name();
        if !OWN_ENTRIES.iter().any(|ours| name == *ours) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes these permissions from a file or folder that this process may change; missing paths and
/// links are skipped.
pub fn remove_permissions(path: &Path, taken: u32) -> io::Result<()> {
    if !has_permissions(path, taken) {
        return Ok(());
    }
    let mode = fs_err::symlink_metadata(path)?.permissions().mode() & 0o7777 & !taken;
    match fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Removes all permissions of group and others below a folder.
pub fn restrict_contents(folder: &Path) -> io::Result<()> {
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        if fs_err::symlink_metadata(&path).is_ok_and(|it| it.is_dir()) {
            restrict_contents(&path)?;
        }
        remove_permissions(&path, GROUP_AND_OTHERS)?;
    }
    Ok(())
}

/// `true` if the path grants one of these permissions and this process may change its mode.
fn has_permissions(path: &Path, permissions: u32) -> bool {
    let Ok(found) = fs_err::symlink_metadata(path) else { return false };
    let me = rustix::process::geteuid();
    let is_mine = me.is_root() || found.uid() == me.as_raw();
    is_mine && !found.is_symlink() && found.mode() & permissions != 0
}
