//! A running child: sends requests and receives answers at the same time.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write as _};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, ExitStatus};
use std::time::{Duration, Instant};

use pipeline::BoxError;
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::fcntl_setpipe_size;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::extract::limits::ExtractLimits;
use crate::extract::read::{ExtractRequest, ExtractResult};
use crate::extract::worker::wire;

/// Time limit for the start of a child. It takes milliseconds, or the time to load libtorch.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Requested size of a pipe buffer.
const PIPE_BYTES: usize = 1 << 20;

/// Minimum free capacity of the buffer for one read, in bytes.
const MAX_READ: usize = 64 << 10;

/// The signal that ends a child.
const SIGKILL: i32 = rustix::process::Signal::KILL.as_raw();

/// The end of an exchange with the child.
pub(super) enum ExchangeEnd {
    /// All requests were answered.
    Answered,
    /// The same, but the child must be replaced: it ended, or sent more than the answers.
    Exhausted,
    /// The current document exceeds the time limit.
    TimedOut,
    /// The child ended, or sent invalid data.
    Died,
}

/// A child with its pipes.
pub(super) struct WorkerProcess {
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
    pub(super) is_ready: bool,
    /// Number of answers from this child.
    pub(super) answered: usize,
}

impl WorkerProcess {
    /// A started child, whose pipes do not block.
    pub(super) fn from_child(mut child: Child) -> Result<Self, BoxError> {
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
    pub(super) fn exchange(
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
    pub(super) fn into_stderr_tail(mut self) -> (String, Option<ExitStatus>) {
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
