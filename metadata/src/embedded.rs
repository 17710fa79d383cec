//! `postgres: embedded`: a private PostgreSQL cluster below the data folder, run with the binaries of
//! the machine.
//!
//! It listens on a Unix socket in a folder that only its user can enter, never on the network. Several
//! processes share it: each holds a shared lock on `users.lock` while it needs the server, and the
//! last one out stops it. The kernel releases the lock of a process that was killed, and the server,
//! which is in a session of its own, just stays; the next command uses it. `start.lock` makes starting
//! and stopping one at a time. Nothing here knows a table, and nothing here downloads anything: see
//! `docs/adr/0006-embedded-postgres.md`.

mod place;
mod process;
mod server;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use place::Place;
use server::Server;

/// The database that the cluster is for, and the role that owns it.
const NAME: &str = "semantik";

/// A running private cluster. Dropping the last value in the last process stops the server.
#[derive(Debug)]
pub struct EmbeddedPostgres {
    server: Server,
    folder: PathBuf,
    users: File,
    url: String,
}

/// Why there is no private cluster.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// The machine has no PostgreSQL.
    #[error(
        "PostgreSQL is not installed here: there is no `initdb` in /usr/lib/postgresql/*/bin or on the \
         PATH (on Debian and Ubuntu: apt-get install postgresql)"
    )]
    NotInstalled,
    /// The cluster is there, but the binaries that can read it are not.
    #[error(
        "the cluster in {folder} was made by PostgreSQL {version}, which is not installed here (on \
         Debian and Ubuntu: apt-get install postgresql-{version})"
    )]
    OtherVersion {
        /// The folder of the cluster.
        folder: PathBuf,
        /// The major version that made it.
        version: String,
    },
    /// PostgreSQL refuses to run as root, and there is no user to run it as.
    #[error(
        "PostgreSQL does not run as root, and this machine has neither a user `postgres` nor `nobody`"
    )]
    NoUser,
    /// A folder of the cluster could be entered by others, or is theirs.
    #[error("the folder {folder} belongs to somebody else or is open to others")]
    NotPrivate {
        /// The folder.
        folder: PathBuf,
    },
    /// A file or folder could not be used.
    #[error("could not {doing}")]
    Io {
        /// What was being done: `make the folder /x/y`.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// A program of PostgreSQL failed.
    #[error("`{program}` failed: {output}")]
    Program {
        /// Its name.
        program: &'static str,
        /// What it said, and the end of the server's log.
        output: String,
    },
}

impl EmbeddedPostgres {
    /// Starts the cluster in this folder, or joins it where it runs already; makes it when it is not
    /// there. Blocks for as long as that takes: a second or two for the first time, a fraction of a
    /// second later.
    ///
    /// # Errors
    /// If PostgreSQL is not installed, or does not start.
    pub fn start(folder: &Path) -> Result<Self, EmbeddedError> {
        pipeline::private::folder(folder).map_err(|e| failed("make the data folder", e))?;
        let folder = fs_err::canonicalize(folder).map_err(|e| failed("find the data folder", e))?;
        let _one_at_a_time = starting(&folder)?;
        let users = open_lock(&folder.join("users.lock"))?;
        let place = Place::find(&folder)?;
        let server = Server::new(place)?;
        // While `start.lock` is held nobody asks whether this one is free, so it is ours at once.
        users.lock_shared().map_err(|e| failed("lock users.lock", e))?;
        server.ensure_running()?;
        let url = server.url();
        Ok(Self { server, folder, users, url })
    }

    /// Where to connect to: a `postgres:` URL that names the socket and holds no secret.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops the server if nobody else uses it.
    fn leave(&self) -> Result<(), EmbeddedError> {
        let _one_at_a_time = starting(&self.folder)?;
        // Asking for more than the shared lock gives that up first; nobody can come between, because
        // everybody who comes holds `start.lock`.
        if self.users.try_lock().is_err() {
            return Ok(());
        }
        self.server.stop()
    }
}

impl Drop for EmbeddedPostgres {
    fn drop(&mut self) {
        if let Err(error) = self.leave() {
            tracing::warn!(%error, "the embedded PostgreSQL server was not stopped");
        }
    }
}

fn starting(folder: &Path) -> Result<File, EmbeddedError> {
    let lock = open_lock(&folder.join("start.lock"))?;
    lock.lock().map_err(|e| failed("lock start.lock", e))?;
    Ok(lock)
}

/// Opens a file for the lock on it. Children of this process do not inherit it: the lock is on the
/// open file, and Rust opens files so that they close when another program is run.
fn open_lock(path: &Path) -> Result<File, EmbeddedError> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        // Whoever may open it could hold the lock, and with it every start.
        .mode(0o600)
        .open(path)
        .map_err(|e| failed(format!("open {}", path.display()), e))
}

fn failed(doing: impl Into<String>, source: io::Error) -> EmbeddedError {
    EmbeddedError::Io { doing: doing.into(), source }
}
