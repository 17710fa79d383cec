//! The extract worker, parent side.
//!
//! A stage has one child, started for the first document and reused until the stage is dropped. The
//! requests of a batch are sent without waiting for answers, and the stage processes an answer
//! while the child extracts the next documents. A small document therefore takes the longer of both
//! times, and a few system calls. Limits apply per document: its time starts with the answer to the
//! previous one. A child that exceeds the time limit is killed. If a child dies, the current
//! document is refused, unless the child extracted others before, which may have caused the
//! failure: then the document is tried once more in a new child. Documents before it keep their
//! answers, and the rest go to a new child.
//!
//! The child can only compute ([`sandbox`]), has an empty environment, and is not trusted
//! ([`wire`]). It ends when its input is closed, so it does not outlive its parent.

mod child;
mod probe;
mod process;
mod sandbox;
mod seccomp;
mod wire;

use std::ffi::OsString;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pipeline::{BoxError, ByteSize};

pub use self::child::extract_worker;
pub use self::wire::EXTRACT_BUILD;
use crate::extract::error::ExtractErrorKind;
use crate::extract::formats::by_media_type;
use crate::extract::limits::ExtractLimits;
use crate::extract::read::{ExtractRequest, ExtractResult};
use crate::extract::worker::process::{ExchangeEnd, WorkerProcess};

/// The parent side: a child that is started on demand.
pub(crate) struct WorkerClient {
    command: PathBuf,
    limits: ExtractLimits,
    /// Value of `LD_LIBRARY_PATH` for the child; set if the child did not start without it.
    library_path: Option<OsString>,
    process: Option<WorkerProcess>,
}

impl WorkerClient {
    pub(crate) fn new(command: &Path, limits: ExtractLimits) -> Self {
        Self { command: command.to_owned(), limits, library_path: None, process: None }
    }

    /// Extracts documents in the child. Calls `take` with one answer per request, in order, as it
    /// arrives. The child continues during `take`, whose time does not count for any document.
    ///
    /// # Errors
    /// If a child cannot be started.
    pub(crate) fn read(
        &mut self,
        requests: &[ExtractRequest<'_>],
        take: &mut dyn FnMut(ExtractResult),
    ) -> Result<(), BoxError> {
        let mut answered = 0;
        while answered < requests.len() {
            let mut running = match self.process.take() {
                Some(running) => running,
                None => self.spawn()?,
            };
            let end = running.exchange(&requests[answered..], self.limits, &mut |answer| {
                answered += 1;
                take(answer);
            })?;
            let format = requests.get(answered).and_then(|it| by_media_type(&it.mime_type));
            let refusal = match end {
                ExchangeEnd::Answered => {
                    self.process = Some(running);
                    continue;
                }
                ExchangeEnd::Exhausted => continue,
                ExchangeEnd::TimedOut if running.is_ready => {
                    let limit = format!("{} s (max_seconds)", self.limits.time.as_secs());
                    ExtractErrorKind::LimitExceeded(limit)
                }
                ExchangeEnd::TimedOut | ExchangeEnd::Died if !running.is_ready => {
                    self.start_failure(running)?;
                    continue;
                }
                // Earlier documents may have damaged the child, so this one is tried again.
                ExchangeEnd::TimedOut | ExchangeEnd::Died if running.answered > 0 => continue,
                ExchangeEnd::TimedOut | ExchangeEnd::Died => self.exit_error(running),
            };
            answered += 1;
            take(Err(refusal.with_format(format.map(|it| it.name))));
        }
        Ok(())
    }

    fn spawn(&self) -> Result<WorkerProcess, BoxError> {
        let mut command = Command::new(&self.command);
        command
            .arg("extract-worker")
            .arg(format!("--max-memory={}", self.limits.memory))
            .arg(format!("--max-seconds={}", self.limits.time.as_secs()))
            // Variables may contain secrets, and the child needs none.
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C must reach only the parent, which lets the current document finish.
            .process_group(0);
        if let Some(path) = &self.library_path {
            command.env(LIBRARY_PATH, path);
        }
        let child = command.spawn().map_err(|error| {
            format!("cannot start {} extract-worker: {error}", self.command.display())
        })?;
        WorkerProcess::from_child(child)
    }

    /// The error of a child that did not start. The first time, returns `Ok` if `LD_LIBRARY_PATH`
    /// is set, to retry with it.
    fn start_failure(&mut self, running: WorkerProcess) -> Result<(), BoxError> {
        if self.library_path.is_none() {
            self.library_path = std::env::var_os(LIBRARY_PATH);
            if self.library_path.is_some() {
                return Ok(());
            }
        }
        let (said, status) = running.into_stderr_tail();
        let status = status.map_or_else(|| "no status".to_owned(), |status| status.to_string());
        Err(format!(
            "{} extract-worker did not start ({status}): {}",
            self.command.display(),
            said.trim()
        )
        .into())
    }

    /// The refusal of the document during which a child died.
    fn exit_error(&self, running: WorkerProcess) -> ExtractErrorKind {
        let (said, status) = running.into_stderr_tail();
        if said.contains("memory allocation of") {
            return ExtractErrorKind::LimitExceeded(format!(
                "{} of memory (max_memory)",
                ByteSize(self.limits.memory)
            ));
        }
        if said.contains("overflowed its stack") {
            return ExtractErrorKind::Corrupt("nested too deeply".to_owned());
        }
        match status.and_then(|status| status.signal()) {
            Some(signal) => {
                ExtractErrorKind::Corrupt(format!("the parser was ended by signal {signal}"))
            }
            None => ExtractErrorKind::Corrupt("the parser crashed".to_owned()),
        }
    }
}

/// The variable with which the loader finds libraries outside its default folders.
const LIBRARY_PATH: &str = "LD_LIBRARY_PATH";
