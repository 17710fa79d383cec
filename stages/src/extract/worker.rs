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
mod sandbox;
mod seccomp;
mod wire;

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, IoSlice, Write as _};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use pipeline::BoxError;
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::fcntl_setpipe_size;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

pub use self::child::extract_worker;
use crate::extract::ExtractLimits;
use crate::extract::read::{ExtractErrorKind, ExtractRequest, ExtractResult, Format};
use pipeline::ByteSize;

/// Hash of the sources of this crate. Parent and child must be of the same build.
pub const EXTRACT_BUILD: &str = env!("EXTRACT_BUILD");

/// Time limit for the start of a child. It takes milliseconds, or the time to load libtorch.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Requested size of a pipe buffer.
const PIPE_BYTES: usize = 1 << 20;

/// Minimum free capacity of the buffer for one read, in bytes.
const MAX_READ: usize = 64 << 10;

/// The parent side: a child that is started on demand.
pub(crate) struct WorkerClient {
    command: PathBuf,
    limits: ExtractLimits,
    /// Value of `LD_LIBRARY_PATH` for the child; set if the child did not start without it.
    library_path: Option<OsString>,
    process: Option<WorkerProcess>,
}

/// The end of an exchange with the child.
enum ExchangeEnd {
    /// All requests were answered.
    Answered,
    /// The same, but the child must be replaced: it ended, or sent more than the answers.
    Exhausted,
    /// The current document exceeds the time limit.
    TimedOut,
    /// The child ended, or sent invalid data.
    Died,
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
            let format =
                requests.get(answered).and_then(|it| Format::from_mime_type(&it.mime_type));
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
            take(Err(refusal.with_format(format)));
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

/// The signal that ends a child.
const SIGKILL: i32 = rustix::process::Signal::KILL.as_raw();

/// The variable with which the loader finds libraries outside its default folders.
const LIBRARY_PATH: &str = "LD_LIBRARY_PATH";

struct WorkerProcess {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    /// `None` once it is closed.
    errors: Option<ChildStderr>,
    /// Output that is not parsed yet.
    received: Vec<u8>,
    /// The last output on standard error.
    stderr_tail: Vec<u8>,
    /// `true` once the child has sent its ready line.
    is_ready: bool,
    /// Number of answers from this child.
    answered: usize,
}

impl WorkerProcess {
    fn from_child(mut child: Child) -> Result<Self, BoxError> {
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(input), Some(output), Some(errors)) = pipes else {
            unreachable!("all three are piped")
        };
        for pipe in [input.as_fd(), output.as_fd(), errors.as_fd()] {
            fcntl_setfl(pipe, fcntl_getfl(pipe)? | OFlags::NONBLOCK)?;
        }
        for pipe in [input.as_fd(), output.as_fd()] {
            // The system limits the pipe buffers per user; smaller ones only cost more switches.
            fcntl_setpipe_size(pipe, PIPE_BYTES).ok();
        }
        let (received, said) = (Vec::new(), Vec::new());
        let errors = Some(errors);
        Ok(Self {
            child,
            input,
            output,
            errors,
            received,
            stderr_tail: said,
            is_ready: false,
            answered: 0,
        })
    }

    /// Sends requests, and passes their answers to `take` as they arrive. It also reads while it
    /// still writes, so the processes cannot deadlock.
    fn exchange(
        &mut self,
        requests: &[ExtractRequest<'_>],
        limits: ExtractLimits,
        take: &mut dyn FnMut(ExtractResult),
    ) -> Result<ExchangeEnd, BoxError> {
        let mut missing = requests.len();
        let heads: Vec<Vec<u8>> =
            requests.iter().map(wire::encode_request).collect::<Result<_, _>>()?;
        let parts = heads.iter().zip(requests);
        let mut unsent: VecDeque<&[u8]> = parts
            .flat_map(|(head, request)| [head.as_slice(), request.bytes.as_ref()])
            .filter(|part| !part.is_empty())
            .collect();
        let time = |is_ready| if is_ready { limits.time } else { START_TIMEOUT };
        let mut deadline = Instant::now() + time(self.is_ready);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(ExchangeEnd::TimedOut);
            }
            let ready = self.poll_pipes(!unsent.is_empty(), left)?;
            if ready.input {
                send(&mut self.input, &mut unsent)?;
            }
            if ready.errors {
                self.read_stderr()?;
            }
            if !ready.output {
                continue;
            }
            let ended = receive(&self.output, &mut self.received)?;
            let before = (self.is_ready, missing);
            let sound = self.parse_answers(limits.memory, &mut missing, take);
            if missing == 0 {
                let is_well = sound.is_ok() && self.received.is_empty() && !ended;
                return Ok(if is_well { ExchangeEnd::Answered } else { ExchangeEnd::Exhausted });
            }
            if ended || sound.is_err() {
                return Ok(ExchangeEnd::Died);
            }
            if before != (self.is_ready, missing) {
                deadline = Instant::now() + limits.time;
            }
        }
    }

    /// Waits until a pipe can be written to or read from.
    fn poll_pipes(&self, writes: bool, left: Duration) -> Result<PipeReadiness, BoxError> {
        let writes = if writes { PollFlags::OUT } else { PollFlags::empty() };
        let mut pipes = vec![PollFd::new(&self.output, PollFlags::IN)];
        // A pipe whose other end is closed is always ready, so unused pipes are not polled.
        let input = if writes.is_empty() { None } else { Some(pipes.len()) };
        pipes.extend(input.map(|_| PollFd::new(&self.input, writes)));
        let errors = self.errors.as_ref().map(|errors| (pipes.len(), errors));
        pipes.extend(errors.map(|(_, errors)| PollFd::new(errors, PollFlags::IN)));
        match poll(&mut pipes, Some(&Timespec::try_from(left)?)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let is_ready = |at: usize| !pipes[at].revents().is_empty();
        Ok(PipeReadiness {
            output: is_ready(0),
            input: input.is_some_and(is_ready),
            errors: errors.is_some_and(|(at, _)| is_ready(at)),
        })
    }

    /// Parses the received bytes.
    fn parse_answers(
        &mut self,
        most: u64,
        missing: &mut usize,
        take: &mut dyn FnMut(ExtractResult),
    ) -> Result<(), wire::ProtocolError> {
        let mut at = 0;
        if !self.is_ready {
            let end = self.received.iter().take(wire::MAX_LINE).position(|byte| *byte == b'\n');
            let Some(end) = end else {
                let is_line = self.received.len() < wire::MAX_LINE;
                return if is_line { Ok(()) } else { Err(wire::ProtocolError) };
            };
            let line = String::from_utf8_lossy(&self.received[..end]);
            let lacks = line.strip_prefix(wire::READY_PREFIX).ok_or(wire::ProtocolError)?.trim();
            if !lacks.is_empty() {
                tracing::debug!(
                    missing = lacks,
                    "extract worker runs without some kernel restrictions"
                );
            }
            self.is_ready = true;
            at = end + 1;
        }
        while *missing > 0 {
            let Some((answer, length)) = wire::decode_answer(&self.received[at..], most)? else {
                break;
            };
            *missing -= 1;
            self.answered += 1;
            at += length;
            take(answer);
        }
        self.received.drain(..at);
        Ok(())
    }

    /// Reads standard error; the last 4 KiB are kept.
    fn read_stderr(&mut self) -> Result<(), BoxError> {
        if let Some(errors) = &mut self.errors {
            let ended = receive(&*errors, &mut self.stderr_tail)?;
            self.stderr_tail.drain(..self.stderr_tail.len().saturating_sub(4096));
            if ended {
                self.errors = None;
            }
        }
        Ok(())
    }

    /// The last standard error, and the exit status; `None` if the child had to be killed.
    fn into_stderr_tail(mut self) -> (String, Option<ExitStatus>) {
        let has_ended = exits_soon(&self.child);
        // A child that has ended keeps its status.
        drop(self.child.kill());
        let status = self.child.wait().ok();
        let status = status.filter(|status| has_ended || status.signal() != Some(SIGKILL));
        drop(self.read_stderr());
        (String::from_utf8_lossy(&self.stderr_tail).into_owned(), status)
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        // If the child has ended already, this only collects its status.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// `true` if a child ends within a second. The kernel closes its descriptors before its status is
/// available.
fn exits_soon(child: &Child) -> bool {
    let Ok(process) = pidfd_open(Pid::from_child(child), PidfdFlags::empty()) else { return false };
    let second = Timespec { tv_sec: 1, tv_nsec: 0 };
    poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&second)).is_ok_and(|ended| ended > 0)
}

/// The pipes that are ready for writing (`input`) or reading.
struct PipeReadiness {
    input: bool,
    output: bool,
    errors: bool,
}

/// Writes as much as the pipe accepts.
fn send(input: &mut ChildStdin, unsent: &mut VecDeque<&[u8]>) -> Result<(), BoxError> {
    while !unsent.is_empty() {
        let parts: Vec<IoSlice<'_>> =
            unsent.iter().take(64).map(|part| IoSlice::new(part)).collect();
        let mut count = match input.write_vectored(&parts) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                unsent.clear();
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        while let Some(part) = unsent.front_mut() {
            if count < part.len() {
                *part = &part[count..];
                break;
            }
            count -= part.len();
            unsent.pop_front();
        }
    }
    Ok(())
}

/// Reads once; `true` at the end of the pipe.
fn receive(from: impl AsFd, into: &mut Vec<u8>) -> Result<bool, BoxError> {
    into.reserve(MAX_READ);
    match rustix::io::read(from, spare_capacity(into)) {
        Ok(count) => Ok(count == 0),
        Err(Errno::AGAIN | Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
