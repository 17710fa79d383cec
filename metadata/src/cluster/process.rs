//! Processes of a cluster, identified by their working directory, the data folder. The process id
//! in a lock file is not enough: after a power failure another process may have it, and a killed
//! server keeps its id until its parent reaps it.

use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, test_kill_process};

/// Timeout for the child processes of a killed server to exit.
const EXIT_TIMEOUT: Duration = Duration::from_secs(10);

/// `true` if this process is the server of the cluster with this data folder.
pub(super) fn is_postmaster(pid: i32, data: &Path) -> bool {
    if !Path::new("/proc/self").exists() {
        return process_exists(pid);
    }
    // The link of a dead process or of another user's process is unreadable.
    fs_err::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == data)
}

/// `true` if any process works in this data folder. Without `/proc`, only PostgreSQL's own checks
/// apply.
pub(super) fn is_in_use(data: &Path) -> bool {
    let processes = fs_err::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|process| fs_err::read_link(process.path().join("cwd")).ok())
        .any(|cwd| cwd == data)
}

/// Removes lock files of a dead server that PostgreSQL would attribute to a live one: because their
/// process id belongs to another process or a zombie, or because they were truncated. PostgreSQL
/// itself handles a free process id. Waits first for the child processes of the dead server: while
/// one exists, PostgreSQL needs the lock file to refuse to start.
///
/// # Errors
/// If a file cannot be removed.
pub(super) fn remove_stale_locks(data: &Path, locks: &[&Path]) -> io::Result<()> {
    let stale: Vec<_> = locks.iter().filter(|lock| is_stale_lock(lock)).collect();
    if stale.is_empty() {
        return Ok(());
    }
    let since = Instant::now();
    while is_in_use(data) {
        if since.elapsed() > EXIT_TIMEOUT {
            return Ok(());
        }
        sleep(Duration::from_millis(20));
    }
    stale.into_iter().try_for_each(fs_err::remove_file)
}

fn is_stale_lock(lock: &Path) -> bool {
    fs_err::read_to_string(lock).is_ok_and(|text| parse_pid(&text).is_none_or(process_exists))
}

/// The process id in a lock file.
pub(super) fn parse_pid(lock: &str) -> Option<i32> {
    lock.lines().next()?.trim().parse().ok()
}

fn process_exists(pid: i32) -> bool {
    Pid::from_raw(pid.abs()).is_some_and(|pid| test_kill_process(pid).is_ok())
}
