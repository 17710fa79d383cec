//! The sockets in a data folder on which servers answer the commands of their own user.
//!
//! `sockets/` has mode 0700, so only the user who owns the data, and root, can connect: access to
//! the folder is the credential. Each server has a socket of its own, because several servers may
//! serve different files with one data folder. A socket whose server has died refuses connections.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use pipeline::{BoxError, PipelineSpec, VectorsSpec, private_files};
use uuid::Uuid;

/// Folder of the sockets in a data folder.
const FOLDER: &str = "sockets";

/// The address of a socket holds 108 bytes, including a final zero.
const MAX_ADDRESS: usize = 107;

/// `true` if the vectors of a file are embedded; one process at a time writes to them.
pub(crate) fn has_embedded_vectors(spec: &PipelineSpec) -> bool {
    match spec.file.stores.vectors {
        VectorsSpec::Embedded | VectorsSpec::Word(_) => true,
        VectorsSpec::Server(_) => false,
    }
}

/// Creates a socket in a data folder, and deletes those of dead servers.
///
/// # Errors
/// If the folder cannot be written to, or its file system has no sockets.
pub(crate) fn bind(data: &Path) -> io::Result<(PathBuf, UnixListener)> {
    let folder = data.join(FOLDER);
    private_files::create_private_folder(&folder)?;
    private_files::remove_permissions(&folder, 0o077)?;
    for socket in sockets_in(&folder)? {
        if connect(&socket).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            drop(fs_err::remove_file(&socket));
        }
    }
    let path = folder.join(Uuid::new_v4().simple().to_string());
    let listener = with_address(&path, |address| UnixListener::bind(address))?;
    Ok((path, listener))
}

/// Connects to a socket.
pub(crate) fn connect(path: &Path) -> io::Result<UnixStream> {
    with_address(path, |address| UnixStream::connect(address))
}

/// The sockets of the servers of a data folder, of living and dead ones; empty without a folder.
///
/// # Errors
/// If another user can replace the sockets: a command would send its query to that user, and print
/// the answer.
pub(crate) fn list(data: &Path) -> Result<Vec<PathBuf>, BoxError> {
    let folder = data.join(FOLDER);
    let Ok(found) = std::fs::symlink_metadata(&folder) else { return Ok(Vec::new()) };
    let user = rustix::process::geteuid();
    let is_private = found.is_dir() && found.mode() & 0o077 == 0;
    if !is_private || !(user.is_root() || found.uid() == user.as_raw()) {
        return Err(format!(
            "other users of this machine may answer in place of the server: {} must be a folder \
             with mode 0700 that belongs to you; delete it and restart the server",
            folder.display()
        )
        .into());
    }
    // A socket of another user was created while the folder was open to others.
    let is_own = |socket: &PathBuf| {
        std::fs::symlink_metadata(socket).is_ok_and(|it| it.uid() == found.uid())
    };
    let mut sockets = sockets_in(&folder)?;
    sockets.retain(is_own);
    Ok(sockets)
}

fn sockets_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_socket() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Calls `action` with an address of the socket. A path that is too long is replaced by one through
/// the open folder.
fn with_address<T>(path: &Path, action: impl Fn(&Path) -> io::Result<T>) -> io::Result<T> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    if path.as_os_str().len() <= MAX_ADDRESS || !cfg!(target_os = "linux") {
        return action(path);
    }
    let folder = File::open(folder)?;
    action(&Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_socket_is_found_and_used_at_any_path() {
        let data = tempfile::tempdir().expect("a folder");
        for name in ["data", &"long".repeat(50)] {
            let data = data.path().join(name);
            assert!(list(&data).expect("no folder yet").is_empty());
            let (path, listener) = bind(&data).expect("a socket");
            let mode = std::fs::metadata(data.join(FOLDER)).expect("a folder").permissions().mode();
            assert_eq!(mode & 0o777, 0o700);
            assert_eq!(list(&data).expect("the folder is private"), std::slice::from_ref(&path));
            connect(&path).expect("the listener lives");
            drop(listener);
            let error = connect(&path).expect_err("the listener has ended");
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
            let (next, _listener) = bind(&data).expect("another socket");
            assert_eq!(list(&data).expect("the folder is private"), [next]);
        }
    }

    #[test]
    fn a_folder_that_others_may_change_is_refused() {
        let data = tempfile::tempdir().expect("a folder");
        let (_, _listener) = bind(data.path()).expect("a socket");
        let folder = data.path().join(FOLDER);
        for mode in [0o770, 0o702, 0o755] {
            std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(mode))
                .expect("it is mine");
            assert!(list(data.path()).is_err(), "{mode:o}");
        }
        std::fs::remove_dir_all(&folder).expect("it is mine");
        std::os::unix::fs::symlink("/tmp", &folder).expect("a link");
        assert!(list(data.path()).is_err(), "a link leads elsewhere");
    }
}
