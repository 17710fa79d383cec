//! Selects the extract worker: the small program installed beside this one, or this program itself.
//!
//! `semantik-extract-worker` starts in milliseconds, whereas this program loads libtorch first,
//! even as a worker. Both behave the same if they were built from the same sources, which is
//! checked before the small one is used.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

const WORKER_PROGRAM: &str = "semantik-extract-worker";

/// The program to start; `None` if the path of the current executable is unknown.
pub(crate) fn worker_program() -> Option<PathBuf> {
    static WORKER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = WORKER.get_or_init(|| {
        let own = std::env::current_exe().ok()?;
        let small = own.with_file_name(WORKER_PROGRAM);
        Some(if is_of_this_build(&small) { small } else { own })
    });
    found.clone()
}

fn is_of_this_build(small: &Path) -> bool {
    let asked = Command::new(small)
        .args(["extract-worker", "--build"])
        .env_clear()
        .stdin(Stdio::null())
        .output();
    let is_same = asked
        .is_ok_and(|said| String::from_utf8_lossy(&said.stdout).trim() == stages::EXTRACT_BUILD);
    if !is_same {
        tracing::debug!(
            program = %small.display(),
            "the extract worker is missing or from another build; using this program instead, \
             which starts more slowly"
        );
    }
    is_same
}
