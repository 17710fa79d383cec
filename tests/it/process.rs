//! The command as a process.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

pub(crate) const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The result of a command.
pub(crate) struct CommandOutput {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The command, isolated from variables of this environment that affect it.
pub(crate) fn command_with_libtorch(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_semantik"));
    command.args(args);
    for variable in ["SEMANTIK_LOG", "SEMANTIK_DATA", "DATABASE_URL"] {
        command.env_remove(variable);
    }
    command.env_remove("NO_COLOR").env("SEMANTIK_LOG_FORMAT", "json");
    command
}

pub(crate) fn ran(output: Output) -> CommandOutput {
    CommandOutput {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Polls until `look` returns a value; panics with `what` after a timeout.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let asked = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(asked.elapsed() < Duration::from_secs(120), "timeout while waiting for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
