//! Location of a private cluster and its socket, and the user that the server runs as.
//!
//! A command of an ordinary user runs the server as that user. PostgreSQL refuses to run as root,
//! so a command of root runs it as `postgres` (or `nobody`), in a folder owned by that user. If
//! that user cannot reach the data folder (for example below `/root`), the cluster is in
//! `/var/lib/semantik/<id>`, and a note in the data folder records the path. Deleting the data
//! folder deletes the note and thus the reference to the old cluster: metadata never outlives the
//! vectors stored next to it.

use std::fmt::Write as _;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{EmbeddedError, io_error};
use pipeline::private_files;

/// A Unix socket address holds 108 bytes including the final zero.
const MAX_SOCKET_PATH: usize = 107;
/// File name of PostgreSQL's socket for port 5432.
const SOCKET_FILE: &str = ".s.PGSQL.5432";
/// Lock file of the socket.
pub(super) const SOCKET_LOCK: &str = ".s.PGSQL.5432.lock";
/// Folder for clusters of root whose data folder the server's user cannot reach.
const ROOT_CLUSTER_BASE: &str = "/var/lib/semantik";

/// The user that the server runs as, if it differs from the user of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ServerUser {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// The folders of one cluster.
#[derive(Debug)]
pub(super) struct ClusterPaths {
    /// The folder owned by the server's user: `data`, `log`, usually `socket`.
    pub(super) cluster: PathBuf,
    pub(super) socket: PathBuf,
    /// `None`: the server runs as the user of this process.
    pub(super) user: Option<ServerUser>,
}

impl ClusterPaths {
    /// Locates the cluster of a data folder (an absolute path) and creates its folders.
    pub(super) fn resolve(folder: &Path) -> Result<Self, EmbeddedError> {
        let (cluster, user) = if rustix::process::geteuid().is_root() {
            paths_for_root(folder)?
        } else {
            (folder.join("cluster"), None)
        };
        create_private_folder(&cluster, user)?;
        let socket = socket_folder(&cluster);
        create_private_folder(&socket, user)?;
        Ok(Self { cluster, socket, user })
    }

    pub(super) fn data(&self) -> PathBuf {
        self.cluster.join("data")
    }
}

fn paths_for_root(folder: &Path) -> Result<(PathBuf, Option<ServerUser>), EmbeddedError> {
    let here = folder.join("cluster");
    // A cluster of an ordinary user keeps its owner.
    if let Ok(data) = fs_err::metadata(here.join("data"))
        && data.uid() != 0
    {
        let user = ServerUser { uid: data.uid(), gid: data.gid() };
        if !can_traverse(folder, user) {
            grant_traversal(folder, user)?;
        }
        return Ok((here, Some(user)));
    }
    let users = fs_err::read_to_string("/etc/passwd").map_err(|e| io_error("list the users", e))?;
    let user = ["postgres", "nobody"].iter().find_map(|name| find_user(&users, name));
    let user = user.ok_or(EmbeddedError::NoServerUser)?;
    if can_traverse(folder, user) {
        return Ok((here, Some(user)));
    }
    let note = folder.join("cluster-is-at");
    if let Ok(path) = fs_err::read_to_string(&note) {
        return Ok((PathBuf::from(path.trim_end()), Some(user)));
    }
    grant_traversal(folder, user)?;
    if can_traverse(folder, user) {
        return Ok((here, Some(user)));
    }
    let cluster = Path::new(ROOT_CLUSTER_BASE).join(Uuid::new_v4().to_string());
    tracing::info!(
        data_folder = %folder.display(), cluster = %cluster.display(),
        "the user that runs PostgreSQL cannot reach the data folder; the cluster is in another folder"
    );
    fs_err::create_dir_all(ROOT_CLUSTER_BASE)
        .map_err(|e| io_error("create a folder for the cluster", e))?;
    private_files::write_private_file(&note, &format!("{}\n", cluster.display()))
        .map_err(|e| io_error("record the location of the cluster", e))?;
    Ok((cluster, Some(user)))
}

fn find_user(passwd: &str, name: &str) -> Option<ServerUser> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some(ServerUser { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
}

/// Lets the group of the server's user traverse the folder and the data folder above it, if they
/// are closed to others, without the right to list them. A data folder with other files in it is
/// not changed.
fn grant_traversal(folder: &Path, user: ServerUser) -> Result<(), EmbeddedError> {
    let open = |(level, path): (usize, &Path)| {
        let found = fs_err::metadata(path)?;
        let is_closed = found.uid() == 0 && found.mode() & 0o067 == 0;
        if is_closed && (level == 0 || private_files::is_semantik_folder(path)?) {
            chown(path, None, Some(user.gid))?;
            fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o710))?;
        }
        Ok(())
    };
    let opened = folder.ancestors().take(2).enumerate().try_for_each(open);
    opened.map_err(|e| io_error("let the server's user reach its folder", e))
}

/// `true` if the user may traverse every folder of the path. Checks permission bits only: if an
/// access control list differs, the cluster is created elsewhere or `initdb` fails.
fn can_traverse(folder: &Path, user: ServerUser) -> bool {
    folder.ancestors().all(|ancestor| {
        fs_err::metadata(ancestor).is_ok_and(|of| {
            let bit = if of.uid() == user.uid {
                0o100
            } else if of.gid() == user.gid {
                0o010
            } else {
                0o001
            };
            of.mode() & bit != 0
        })
    })
}

/// The folder inside the cluster if the address is short enough and needs no quoting, else a folder
/// in `/tmp`.
fn socket_folder(cluster: &Path) -> PathBuf {
    let inside = cluster.join("socket");
    let bytes = inside.as_os_str().as_bytes();
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"/._-".contains(b);
    if bytes.len() + 1 + SOCKET_FILE.len() <= MAX_SOCKET_PATH && bytes.iter().all(plain) {
        return inside;
    }
    let digest = Sha256::digest(cluster.as_os_str().as_bytes());
    let id = digest[..8].iter().fold(String::new(), |mut id, byte| {
        write!(id, "{byte:02x}").expect("writing to a String cannot fail");
        id
    });
    PathBuf::from(format!("/tmp/semantik-{id}"))
}

/// Creates a folder that only the server's user can enter. An existing folder must have that owner
/// and mode: in `/tmp` any user can create it.
fn create_private_folder(path: &Path, user: Option<ServerUser>) -> Result<(), EmbeddedError> {
    let doing = || format!("create the folder {}", path.display());
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(io_error(doing(), e)),
    }
    let me = rustix::process::geteuid().as_raw();
    let owner = user.map_or(me, |user| user.uid);
    let found = fs_err::symlink_metadata(path).map_err(|e| io_error(doing(), e))?;
    let open_to_others = found.permissions().mode() & 0o077 != 0;
    // A folder owned by root was created a moment ago, or just before a kill.
    if !found.is_dir() || open_to_others || (found.uid() != owner && found.uid() != me) {
        return Err(EmbeddedError::InsecureFolder { folder: path.to_owned() });
    }
    match user {
        Some(user) if found.uid() != owner => {
            chown(path, Some(user.uid), Some(user.gid)).map_err(|e| io_error(doing(), e))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_path_always_fits() {
        assert_eq!(socket_folder(Path::new("/data/c")), Path::new("/data/c/socket"));
        let odd = ["/data/it's, \"here\"/c".to_owned(), format!("/{}", "long/".repeat(40))];
        for path in odd {
            let socket = socket_folder(Path::new(&path)).join(SOCKET_FILE);
            assert!(socket.as_os_str().len() <= MAX_SOCKET_PATH, "{}", socket.display());
            assert!(socket.starts_with("/tmp"), "{}", socket.display());
        }
    }

    #[test]
    fn users_are_read_from_the_list() {
        let passwd =
            "root:x:0:0::/root:/bin/sh\npostgres:x:101:104:,,,:/var/lib/postgresql:/bin/bash\n";
        assert_eq!(find_user(passwd, "postgres"), Some(ServerUser { uid: 101, gid: 104 }));
        assert_eq!(find_user(passwd, "nobody"), None);
    }

    #[test]
    fn a_folder_in_tmp_that_others_can_enter_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let error = create_private_folder(folder.path(), None).unwrap_err();
        assert!(matches!(error, EmbeddedError::InsecureFolder { .. }), "{error}");
    }
}
