//! `postgres: embedded`: a private PostgreSQL cluster in the data folder, run with the binaries
//! that are installed on the machine.
//!
//! It listens on a Unix socket in a folder that only its user can enter, never on the network.
//! Several processes share it: each holds a shared lock on `users.lock` while it needs the server,
//! and the last one to exit stops it. The kernel releases the lock of a killed process; the server,
//! which runs in a separate session, stays and the next command uses it. `start.lock` serialises
//! starting and stopping. This module does not use any table and downloads nothing: see
//! `docs/adr/0006-embedded-postgres.md`.

mod paths;
mod process;
mod server;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use paths::ClusterPaths;
use server::Server;

/// Name of the database and of the role that owns it.
const DATABASE_NAME: &str = "semantik";

/// A running private cluster. Dropping the last value in the last process stops the server.
#[derive(Debug)]
pub struct EmbeddedPostgres {
    server: Server,
    folder: PathBuf,
    users_lock: File,
    url: String,
}

/// Failure to start or use the private cluster.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// PostgreSQL is not installed.
    #[error(
        "PostgreSQL is not installed: `initdb` is neither in /usr/lib/postgresql/*/bin nor on the \
         PATH (on Debian and Ubuntu: apt-get install postgresql)"
    )]
    NotInstalled,
    /// The binaries for the version of the cluster are not installed.
    #[error(
        "the cluster in {folder} was created by PostgreSQL {version}, which is not installed (on \
         Debian and Ubuntu: apt-get install postgresql-{version})"
    )]
    VersionMismatch {
        /// The folder of the cluster.
        folder: PathBuf,
        /// The major version that created the cluster.
        version: String,
    },
    /// PostgreSQL refuses to run as root, and the machine has no user to run it as.
    #[error(
        "PostgreSQL refuses to run as root, and this machine has neither a user `postgres` nor `nobody`"
    )]
    NoServerUser,
    /// Other users own or can enter a folder of the cluster.
    #[error("the folder {folder} belongs to another user or is open to others")]
    InsecureFolder {
        /// The folder.
        folder: PathBuf,
    },
    /// An operation on a file or folder failed.
    #[error("could not {doing}")]
    Io {
        /// The attempted action, such as `create the folder /x/y`.
        doing: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A program of PostgreSQL failed.
    #[error("`{program}` failed: {output}")]
    Program {
        /// Name of the program.
        program: &'static str,
        /// The relevant line of its output and of the server log, with a hint.
        output: String,
    },
}

impl EmbeddedPostgres {
    /// Starts the cluster in this folder, or joins it if it is running; creates it if it does not
    /// exist. Blocks for one or two seconds on creation, for a fraction of a second later.
    ///
    /// # Errors
    /// If PostgreSQL is not installed or does not start.
    pub fn start(folder: &Path) -> Result<Self, EmbeddedError> {
        pipeline::private_files::create_private_folder(folder)
            .map_err(|e| io_error("create the data folder", e))?;
        let folder =
            fs_err::canonicalize(folder).map_err(|e| io_error("find the data folder", e))?;
        let _one_at_a_time = lock_startup(&folder)?;
        let users = open_lock(&folder.join("users.lock"))?;
        let place = ClusterPaths::resolve(&folder)?;
        let server = Server::new(place)?;
        // Other processes test `users.lock` only while they hold `start.lock`, so this never
        // blocks.
        users.lock_shared().map_err(|e| io_error("lock users.lock", e))?;
        server.ensure_running()?;
        let url = server.url();
        Ok(Self { server, folder, users_lock: users, url })
    }

    /// The `postgres:` URL of the socket; it contains no secret.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops the server if no other process uses it.
    fn stop_if_unused(&self) -> Result<(), EmbeddedError> {
        let _one_at_a_time = lock_startup(&self.folder)?;
        // The upgrade from the shared lock releases it first; no other process can lock it in
        // between, because joining processes hold `start.lock`.
        if self.users_lock.try_lock().is_err() {
            return Ok(());
        }
        self.server.stop()
    }
}

impl Drop for EmbeddedPostgres {
    fn drop(&mut self) {
        if let Err(error) = self.stop_if_unused() {
            tracing::warn!(%error, "the embedded PostgreSQL server was not stopped");
        }
    }
}

fn lock_startup(folder: &Path) -> Result<File, EmbeddedError> {
    let lock = open_lock(&folder.join("start.lock"))?;
    lock.lock().map_err(|e| io_error("lock start.lock", e))?;
    Ok(lock)
}

/// Opens a lock file. Child processes do not inherit the lock: it belongs to the open file, which
/// Rust opens close-on-exec.
fn open_lock(path: &Path) -> Result<File, EmbeddedError> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        // Another user that could open the file could lock it and block every start.
        .mode(0o600)
        .open(path)
        .map_err(|e| io_error(format!("open {}", path.display()), e))
}

fn io_error(doing: impl Into<String>, source: io::Error) -> EmbeddedError {
    EmbeddedError::Io { doing: doing.into(), source }
}
