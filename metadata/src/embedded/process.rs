//! Which processes belong to a cluster: those that work in its data folder. The number in a lock file
//! alone says little: after a power cut it may belong to anybody, and a server that was killed keeps its
//! number for as long as nobody has taken note of its death.

use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, test_kill_process};

/// How long processes of a server that was killed may take to notice.
const FAREWELL: Duration = Duration::from_secs(10);

/// Is this process the server of the cluster with this data folder?
pub(super) fn is_postmaster(pid: i32, data: &Path) -> bool {
    if !Path::new("/proc/self").exists() {
        return exists(pid);
    }
    // Of a process that is dead, or is somebody else's, nothing can be read here.
    fs_err::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == data)
}

/// Does any process work in this data folder? Where that cannot be seen, PostgreSQL's own checks have
/// to do.
pub(super) fn is_inhabited(data: &Path) -> bool {
    let processes = fs_err::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|process| fs_err::read_link(process.path().join("cwd")).ok())
        .any(|cwd| cwd == data)
}

/// Removes lock files of a server that is dead where PostgreSQL would take them for those of a live one:
/// because their number belongs to another process now, or to one that is dead but still listed, or
/// because they were cut short. It copes with a number that is free. Waits first for processes that the
/// dead server has left: as long as there is one, PostgreSQL must have its lock to refuse to start.
///
/// # Errors
/// If a file cannot be removed.
pub(super) fn forget_the_dead(data: &Path, locks: &[&Path]) -> io::Result<()> {
    let stale: Vec<_> = locks.iter().filter(|lock| is_misleading(lock)).collect();
    if stale.is_empty() {
        return Ok(());
    }
    let since = Instant::now();
    while is_inhabited(data) {
        if since.elapsed() > FAREWELL {
            return Ok(());
        }
        sleep(Duration::from_millis(20));
    }
    stale.into_iter().try_for_each(fs_err::remove_file)
}

fn is_misleading(lock: &Path) -> bool {
    fs_err::read_to_string(lock).is_ok_and(|text| number(&text).is_none_or(exists))
}

/// The number of the process that wrote a lock file.
pub(super) fn number(lock: &str) -> Option<i32> {
    lock.lines().next()?.trim().parse().ok()
}

fn exists(pid: i32) -> bool {
    Pid::from_raw(pid.abs()).is_some_and(|pid| test_kill_process(pid).is_ok())
}
