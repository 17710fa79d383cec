//! A process that a test kills: the test binary once more, with one test that writes for ever.

use std::io::{BufRead as _, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// A running process. It is killed when the value goes, and at the latest then.
pub struct Doomed {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Doomed {
    /// Runs one test, which knows by the variable that it is the child, and where it is to write.
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

    /// Waits for the next line that has this word, and gives what follows it.
    pub fn says(&mut self, word: &str) -> Option<String> {
        self.lines.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, rest) = line.split_once(word)?;
            Some(rest.trim().to_owned())
        })
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Kills it, and waits until it is gone.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        // A test that fails leaves no process behind; one that is gone already is no matter.
        drop(self.child.kill());
    }
}
