//! A process for a test to kill: the test binary again, with one test that writes for ever.

use std::io::{BufRead as _, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// A running process; dropping the value kills it.
pub struct KillableChild {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl KillableChild {
    /// Starts one test as a child. The environment variable marks it as the child and holds the
    /// folder to write to.
    pub fn start(test: &str, variable: &str, folder: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture"])
            .env(variable, folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Waits for the next line that contains `word` and returns the rest of it; `None` at the end
    /// of output.
    pub fn wait_for_line(&mut self, word: &str) -> Option<String> {
        self.lines.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, rest) = line.split_once(word)?;
            Some(rest.trim().to_owned())
        })
    }

    /// `false` once the process has exited.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Kills the process and waits until it has exited.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for KillableChild {
    fn drop(&mut self) {
        // A failed test leaves no process behind; an error means that it has already exited.
        drop(self.child.kill());
    }
}
