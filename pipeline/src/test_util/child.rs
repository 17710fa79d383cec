//! A process for a test to kill: a small program of the crate, which writes until then.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A running process; dropping the value kills it.
pub struct KillableChild {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl KillableChild {
    /// Starts the process, which reports on its standard output.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
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
