//! Finds the process that holds the lock of a folder, for error messages.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The id of the process that holds a `flock` on `folder`. `None` if it cannot be determined: its
/// files are not visible to this user or in this container, or it has just ended.
pub(super) fn of(folder: &Path) -> Option<u32> {
    let folder = fs_err::canonicalize(folder).ok()?;
    let inode = fs_err::metadata(&folder).ok()?.ino();
    let locks = fs_err::read_to_string("/proc/locks").ok()?;
    let holders = locks.lines().filter_map(|line| holder(line, inode));
    // Inodes of two file systems may have the same number.
    holders.into_iter().find(|process| {
        let files = fs_err::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
        files.filter_map(|file| fs_err::read_link(file.path()).ok()).any(|opened| opened == folder)
    })
}

/// The process id in a line of `/proc/locks`, if the lock is on this inode: `1: FLOCK ADVISORY
/// WRITE 4242 08:01:77 0 EOF`. A process that waits for a lock has `->` as second word.
fn holder(line: &str, inode: u64) -> Option<u32> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, "FLOCK", _, _, process, file, ..] = *words else { return None };
    let locked = file.rsplit(':').next()?.parse::<u64>().ok()?;
    if locked == inode { process.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::holder;

    #[test]
    fn only_the_holder_of_this_inode_counts() {
        assert_eq!(holder("1: FLOCK  ADVISORY  WRITE 4242 08:01:77 0 EOF", 77), Some(4242));
        assert_eq!(holder("1: FLOCK  ADVISORY  WRITE 4242 08:01:78 0 EOF", 77), None);
        assert_eq!(holder("1: -> FLOCK  ADVISORY  WRITE 4242 08:01:77 0 EOF", 77), None);
        assert_eq!(holder("1: POSIX  ADVISORY  WRITE 4242 08:01:77 0 EOF", 77), None);
        assert_eq!(holder("", 77), None);
    }
}
