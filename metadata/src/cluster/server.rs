//! The programs of PostgreSQL for one cluster: create, start, stop, and read its state.
//!
//! All functions run while `start.lock` is held. The server writes its state to `postmaster.pid`,
//! so the usual case, a running server, costs one read of a small file.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::paths::{ClusterPaths, SOCKET_LOCK};
use super::process;
use super::{DATABASE_NAME, EmbeddedError, io_error};
use pipeline::private_files;

/// Timeout for the recovery of a server after a crash.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// A log above this size is renamed at the next start.
const MAX_LOG_BYTES: u64 = 4 << 20;

#[derive(Debug)]
pub(super) struct Server {
    paths: ClusterPaths,
    bin: PathBuf,
}

/// State of a server according to its `postmaster.pid`.
#[derive(Debug, PartialEq, Eq)]
enum ServerState {
    Stopped,
    Ready,
    /// Starting or stopping.
    Transitioning,
}

impl Server {
    pub(super) fn new(place: ClusterPaths) -> Result<Self, EmbeddedError> {
        let made_by = fs_err::read_to_string(place.data().join("PG_VERSION")).ok();
        let bin = binaries(made_by.as_deref().map(str::trim), &place.cluster)?;
        Ok(Self { paths: place, bin })
    }

    pub(super) fn url(&self) -> String {
        let socket = self.paths.socket.display();
        format!("postgres://{DATABASE_NAME}@localhost/{DATABASE_NAME}?host={socket}")
    }

    /// Returns when the server accepts connections and the database exists.
    pub(super) fn ensure_running(&self) -> Result<(), EmbeddedError> {
        if !self.paths.data().exists() {
            self.init_cluster()?;
        }
        let deadline = Instant::now() + START_TIMEOUT;
        let mut failure = None;
        while Instant::now() < deadline {
            match self.state() {
                ServerState::Ready => return self.create_database(),
                ServerState::Transitioning => sleep(Duration::from_millis(10)),
                ServerState::Stopped => match self.start() {
                    Ok(()) => {}
                    // Child processes of a killed server may hold its shared memory for a moment.
                    Err(error) if failure.is_none() => {
                        failure = Some(error);
                        sleep(Duration::from_secs(1));
                    }
                    Err(error) => return Err(error),
                },
            }
        }
        Err(EmbeddedError::Program {
            program: "postgres",
            output: format!(
                "it is not ready after {} s{}",
                START_TIMEOUT.as_secs(),
                self.log_tail()
            ),
        })
    }

    /// Stops the server and waits until it has written everything and exited.
    pub(super) fn stop(&self) -> Result<(), EmbeddedError> {
        if self.state() == ServerState::Stopped {
            return Ok(());
        }
        let mut command = self.command("pg_ctl");
        command.args(["stop", "-s", "-w", "-m", "fast", "-D", "data"]);
        self.run("pg_ctl", command).map(drop)
    }

    fn state(&self) -> ServerState {
        let data = self.paths.data();
        let Ok(text) = fs_err::read_to_string(data.join("postmaster.pid")) else {
            return ServerState::Stopped;
        };
        match process::parse_pid(&text) {
            Some(pid) if process::is_postmaster(pid, &data) => {}
            None if process::is_in_use(&data) => return ServerState::Transitioning,
            _ => return ServerState::Stopped,
        }
        // The eighth line is the status; a server that just started has not written it yet.
        match text.lines().nth(7).map(str::trim) {
            Some("ready") => ServerState::Ready,
            _ => ServerState::Transitioning,
        }
    }

    fn start(&self) -> Result<(), EmbeddedError> {
        let data = self.paths.data();
        let socket_lock = self.paths.socket.join(SOCKET_LOCK);
        process::remove_stale_locks(&data, &[&data.join("postmaster.pid"), &socket_lock])
            .map_err(|e| io_error("remove the lock files of a dead server", e))?;
        let log = self.paths.cluster.join("log");
        if fs_err::metadata(&log).is_ok_and(|log| log.len() > MAX_LOG_BYTES) {
            fs_err::rename(&log, log.with_extension("old"))
                .map_err(|e| io_error("rename the log", e))?;
        }
        let conf = data.join("semantik.conf");
        private_files::write_private_file(&conf, &settings(&self.paths.socket))
            .and_then(|()| {
                self.paths.user.map_or(Ok(()), |user| chown(&conf, Some(user.uid), Some(user.gid)))
            })
            .map_err(|e| io_error("write the server's settings", e))?;
        let mut command = self.command("pg_ctl");
        let patience = START_TIMEOUT.as_secs().to_string();
        command.args(["start", "-s", "-w", "-t", &patience, "-l", "log", "-D", "data"]);
        self.run("pg_ctl", command).map(drop)
    }

    fn init_cluster(&self) -> Result<(), EmbeddedError> {
        // A unique name: `initdb` outlives a killed command and continues in its folder.
        let name = format!("unfinished-{}", std::process::id());
        let unfinished = self.paths.cluster.join(&name);
        let mut command = self.command("initdb");
        // `trust` for every client of the socket, which only the server's user and root can reach.
        command.args([
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--username",
            DATABASE_NAME,
        ]);
        command.args(["--no-instructions", "-D", &name]);
        self.run("initdb", command)?;
        let conf = unfinished.join("postgresql.conf");
        let mut text =
            fs_err::read_to_string(&conf).map_err(|e| io_error("read postgresql.conf", e))?;
        text.push_str("\ninclude_if_exists = 'semantik.conf'\n");
        fs_err::write(&conf, text).map_err(|e| io_error("write postgresql.conf", e))?;
        fs_err::rename(&unfinished, self.paths.data())
            .map_err(|e| io_error("rename the new cluster", e))?;
        self.remove_unfinished();
        Ok(())
    }

    /// Removes folders left by killed commands, if no process writes there any more.
    fn remove_unfinished(&self) {
        let entries = fs_err::read_dir(&self.paths.cluster).into_iter().flatten().flatten();
        for entry in
            entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("unfinished-"))
        {
            if let Err(error) = fs_err::remove_dir_all(entry.path()) {
                tracing::debug!(%error, "failed to remove an unfinished cluster");
            }
        }
    }

    fn create_database(&self) -> Result<(), EmbeddedError> {
        let done = self.paths.cluster.join("has-database");
        if done.exists() {
            return Ok(());
        }
        let mut command = self.command("createdb");
        command.arg("-h").arg(&self.paths.socket).args(["-U", DATABASE_NAME, DATABASE_NAME]);
        match self.run("createdb", command) {
            Ok(_) => {}
            // The database was created just before a kill.
            Err(EmbeddedError::Program { output, .. }) if output.contains("already exists") => {}
            Err(error) => return Err(error),
        }
        private_files::write_private_file(&done, "")
            .map_err(|e| io_error("record that the database exists", e))
    }

    /// A command that runs a program of PostgreSQL as the server's user in the folder of the
    /// cluster. `pg_ctl` passes paths to a shell, so it gets only fixed names. The environment is
    /// cleared, because `PGDATA` or `LD_LIBRARY_PATH` would misdirect it.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command
            .env_clear()
            .env("LC_ALL", "C")
            .current_dir(&self.paths.cluster)
            .stdin(Stdio::null());
        if let Some(user) = self.paths.user {
            command.uid(user.uid).gid(user.gid);
        }
        command
    }

    fn run(&self, program: &'static str, mut command: Command) -> Result<Output, EmbeddedError> {
        let output = command.output().map_err(|e| io_error(format!("run `{program}`"), e))?;
        if output.status.success() {
            return Ok(output);
        }
        let said =
            [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)]
                .concat();
        let said = format!("{}{}", said.trim(), self.log_tail());
        tracing::debug!(program, said, "a program of PostgreSQL failed");
        let output = summary(&said, &self.paths.cluster);
        Err(EmbeddedError::Program { program, output })
    }

    fn log_tail(&self) -> String {
        let Ok(log) = fs_err::read_to_string(self.paths.cluster.join("log")) else {
            return String::new();
        };
        let lines: Vec<&str> = log.lines().collect();
        let end = &lines[lines.len().saturating_sub(5)..];
        if end.is_empty() { String::new() } else { format!("; its log ends:\n{}", end.join("\n")) }
    }
}

/// The line of a program's output with the cause of the failure, and a hint. The rest is in the
/// cluster's log or only reports progress.
fn summary(said: &str, cluster: &Path) -> String {
    let level = |line: &&str| {
        let has = |words: &[&str]| words.iter().any(|it| line.contains(it));
        // Consequences of another failure.
        let is_consequence = has(&[
            "child process",
            "could not start server",
            "startup process",
            "aborting startup",
        ]);
        match () {
            () if is_consequence => 0,
            () if has(&["PANIC:", "FATAL:"]) => 3,
            () if has(&["ERROR:", "error:", "No space left"]) => 2,
            () if has(&["could not", "cannot"]) => 1,
            () => 0,
        }
    };
    // The first line of the highest level.
    let worst = said.lines().rev().max_by_key(level).filter(|line| level(line) > 0);
    let Some(line) = worst else { return said.trim().to_owned() };
    // Drop the timestamp before the level.
    let words = ["PANIC:", "FATAL:", "ERROR:"].iter().find_map(|it| line.find(it));
    let line = line[words.unwrap_or(0)..].split_whitespace().collect::<Vec<_>>().join(" ");
    let cluster = cluster.display();
    let deed = if said.contains("No space left on device") {
        format!(
            "the volume of {cluster} is full: free some space there, or put `stores.data` on another one"
        )
    } else if said.contains("Disk quota exceeded") {
        format!("the disk quota at {cluster} is used up: raise it, or put `stores.data` elsewhere")
    } else {
        format!("the server's log is {cluster}/log")
    };
    format!("{line}; {deed}")
}

/// The folder with the programs: of the version that created the cluster, else the newest.
fn binaries(made_by: Option<&str>, cluster: &Path) -> Result<PathBuf, EmbeddedError> {
    let mut versions: Vec<(u32, PathBuf)> = fs_err::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin")))
        })
        .filter(|(_, bin)| bin.join("initdb").exists())
        .collect();
    versions.sort();
    if let Some(version) = made_by
        && let Some((_, bin)) = versions.iter().find(|(found, _)| found.to_string() == version)
    {
        return Ok(bin.clone());
    }
    let on_path = || {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).find(|bin| bin.join("initdb").exists())
    };
    match (made_by, versions.pop()) {
        (None, Some((_, bin))) => Ok(bin),
        (None, None) => on_path().ok_or(EmbeddedError::NotInstalled),
        // The version on the PATH may match; if not, the server reports it.
        (Some(version), _) => on_path().ok_or_else(|| EmbeddedError::VersionMismatch {
            folder: cluster.to_owned(),
            version: version.to_owned(),
        }),
    }
}

/// Settings of a server that shares a machine with a model: little memory, full durability.
/// Parallel queries and shared memory outside the server's own are off, because containers have
/// little of it and some systems delete it when a user logs out.
fn settings(socket: &Path) -> String {
    let socket = socket.display();
    format!(
        "# Written by semantik at every start.
listen_addresses = ''
unix_socket_directories = '{socket}'
unix_socket_permissions = 0700
port = 5432
max_connections = 100
shared_buffers = 128MB
work_mem = 16MB
maintenance_work_mem = 128MB
dynamic_shared_memory_type = mmap
max_parallel_workers_per_gather = 0
synchronous_commit = on
wal_compression = on
max_wal_size = 1GB
checkpoint_timeout = 15min
random_page_cost = 1.1
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
log_checkpoints = off
log_min_messages = warning
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_matters_is_told_and_not_the_rest() {
        let initdb = "The files belonging to this database system will be owned by user \"postgres\".\n\
             creating directory unfinished-7 ... ok\n\
             running bootstrap script ... 2026-11-30 10:00:00.000 UTC [9] FATAL:  could not write to file \
             \"pg_wal/xlogtemp.9\": No space left on device\n\
             child process exited with exit code 1\n\
             initdb: removing data directory \"unfinished-7\"";
        assert_eq!(
            summary(initdb, Path::new("/data/postgres")),
            "FATAL: could not write to file \"pg_wal/xlogtemp.9\": No space left on device; the volume of \
             /data/postgres is full: free some space there, or put `stores.data` on another one"
        );
        let start = "pg_ctl: could not start server\nExamine the log output.; its log ends:\n\
             2026-11-30 10:00:00.000 UTC [9] LOG:  starting PostgreSQL 15\n\
             2026-11-30 10:00:00.000 UTC [9] PANIC:  could not locate a valid checkpoint record\n\
             2026-11-30 10:00:00.000 UTC [8] LOG:  aborting startup due to startup process failure";
        assert_eq!(
            summary(start, Path::new("/d")),
            "PANIC: could not locate a valid checkpoint record; the server's log is /d/log"
        );
        assert_eq!(summary("killed\n", Path::new("/d")), "killed");
    }
}
