//! The process that extracts documents, from the parent's end.
//!
//! A stage has one child, started when the first document has to be read and reused until the stage is dropped. The
//! requests of a batch are sent without waiting for answers, and the stage does its own work for an answer while the
//! child reads the documents after it. So a small document costs the longer of both times, and a few system
//! calls. Limits are those of each document: the clock of one starts when the answer to the one before
//! it is there. A child that exceeds it is killed; one that dies costs the document that it was reading, unless
//! it has read others before, whose doing that may be: then that document is tried once more in a new one. Either way
//! those before it keep their answers, and the rest go to a new child.
//!
//! The child can do nothing but compute ([`sandbox`]), gets an empty environment, and is not trusted ([`wire`]). It
//! ends when its input is closed, so it does not outlive its parent.

mod child;
mod filter;
mod probe;
mod sandbox;
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
use crate::extract::Limits;
use crate::extract::read::{Answer, Format, Refusal, Request};
use pipeline::ByteSize;

/// Names the sources that this crate was built from. Parent and child must be of one build.
pub const EXTRACT_BUILD: &str = env!("EXTRACT_BUILD");

/// How long a child may take to be ready; that is milliseconds, or what it takes to load libtorch.
const START: Duration = Duration::from_secs(60);

/// How much a pipe may hold, if the system allows it.
const PIPE: usize = 1 << 20;

/// The least room for what is read at once.
const AT_ONCE: usize = 64 << 10;

/// The parent's end: a child that is started when it is needed.
pub(crate) struct Worker {
    command: PathBuf,
    limits: Limits,
    /// Where the child finds its libraries, if it finds them by the environment alone.
    library_path: Option<OsString>,
    running: Option<Running>,
}

/// How an exchange with the child ended.
enum End {
    /// Everything was answered.
    Answered,
    /// The same, but the child is not to be asked again: it is gone, or said more than it was asked.
    Spent,
    /// The document that it is reading takes too long.
    TimedOut,
    /// The child is gone, or says what none does.
    Died,
}

impl Worker {
    pub(crate) fn new(command: &Path, limits: Limits) -> Self {
        Self { command: command.to_owned(), limits, library_path: None, running: None }
    }

    /// Reads documents in the child. Calls `take` with one answer for each, in their order, as soon as
    /// it arrives; the child computes meanwhile, and the time of `take` is charged to no document.
    ///
    /// # Errors
    /// If a child cannot be started.
    pub(crate) fn read(
        &mut self,
        requests: &[Request<'_>],
        take: &mut dyn FnMut(Answer),
    ) -> Result<(), BoxError> {
        let mut answered = 0;
        while answered < requests.len() {
            let mut running = match self.running.take() {
                Some(running) => running,
                None => self.start()?,
            };
            let end = running.exchange(&requests[answered..], self.limits, &mut |answer| {
                answered += 1;
                take(answer);
            })?;
            let format = requests.get(answered).and_then(|it| Format::of(&it.mime_type));
            let refusal = match end {
                End::Answered => {
                    self.running = Some(running);
                    continue;
                }
                End::Spent => continue,
                End::TimedOut if running.is_ready => {
                    let limit = format!("{} s (max_seconds)", self.limits.time.as_secs());
                    Refusal::Limit(limit)
                }
                End::TimedOut | End::Died if !running.is_ready => {
                    self.not_started(running)?;
                    continue;
                }
                // Documents that it read before may have damaged it, so this one is tried again.
                End::TimedOut | End::Died if running.answered > 0 => continue,
                End::TimedOut | End::Died => self.death(running),
            };
            answered += 1;
            take(Err(refusal.of(format)));
        }
        Ok(())
    }

    fn start(&self) -> Result<Running, BoxError> {
        let mut command = Command::new(&self.command);
        command
            .arg("extract-worker")
            .arg(format!("--max-memory={}", self.limits.memory))
            .arg(format!("--max-seconds={}", self.limits.time.as_secs()))
            // Variables may be secrets, and none is of use to it.
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C in the terminal is for the command, which lets a document in work be finished.
            .process_group(0);
        if let Some(path) = &self.library_path {
            command.env(LIBRARY_PATH, path);
        }
        let child = command.spawn().map_err(|error| {
            format!("cannot start {} extract-worker: {error}", self.command.display())
        })?;
        Running::of(child)
    }

    /// Says why a child did not start, unless that may be because it did not find its libraries.
    fn not_started(&mut self, running: Running) -> Result<(), BoxError> {
        if self.library_path.is_none() {
            self.library_path = std::env::var_os(LIBRARY_PATH);
            if self.library_path.is_some() {
                return Ok(());
            }
        }
        let (said, status) = running.last_words();
        let status = status.map_or_else(|| "no status".to_owned(), |status| status.to_string());
        Err(format!(
            "{} extract-worker did not start ({status}): {}",
            self.command.display(),
            said.trim()
        )
        .into())
    }

    /// What the end of a child means.
    fn death(&self, running: Running) -> Refusal {
        let (said, status) = running.last_words();
        if said.contains("memory allocation of") {
            return Refusal::Limit(format!(
                "{} of memory (max_memory)",
                ByteSize(self.limits.memory)
            ));
        }
        if said.contains("overflowed its stack") {
            return Refusal::Corrupt("it is nested too deeply".to_owned());
        }
        match status.and_then(|status| status.signal()) {
            Some(signal) => Refusal::Corrupt(format!("its reader was ended by signal {signal}")),
            None => Refusal::Corrupt("its reader crashed".to_owned()),
        }
    }
}

/// What a child that has to be ended is ended by.
const SIGKILL: i32 = rustix::process::Signal::KILL.as_raw();

/// The variable by which the loader finds libraries that are in no usual place.
const LIBRARY_PATH: &str = "LD_LIBRARY_PATH";

struct Running {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    /// `None` once it is closed.
    errors: Option<ChildStderr>,
    /// What it has said and nobody has looked at.
    received: Vec<u8>,
    /// The end of what it wrote to standard error.
    said: Vec<u8>,
    /// Whether it has said that it can begin.
    is_ready: bool,
    /// Documents that it has answered for.
    answered: usize,
}

impl Running {
    fn of(mut child: Child) -> Result<Self, BoxError> {
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(input), Some(output), Some(errors)) = pipes else {
            unreachable!("all three are piped")
        };
        for pipe in [input.as_fd(), output.as_fd(), errors.as_fd()] {
            fcntl_setfl(pipe, fcntl_getfl(pipe)? | OFlags::NONBLOCK)?;
        }
        for pipe in [input.as_fd(), output.as_fd()] {
            // A user has so much room for pipes; with less of it the processes take turns more often.
            fcntl_setpipe_size(pipe, PIPE).ok();
        }
        let (received, said) = (Vec::new(), Vec::new());
        let errors = Some(errors);
        Ok(Self { child, input, output, errors, received, said, is_ready: false, answered: 0 })
    }

    /// Sends requests, and adds their answers as they come. Reads whenever there is something to read, also while
    /// it still writes, so neither side waits for the other for ever.
    fn exchange(
        &mut self,
        requests: &[Request<'_>],
        limits: Limits,
        take: &mut dyn FnMut(Answer),
    ) -> Result<End, BoxError> {
        let mut missing = requests.len();
        let heads: Vec<Vec<u8>> = requests.iter().map(wire::request).collect::<Result<_, _>>()?;
        let parts = heads.iter().zip(requests);
        let mut unsent: VecDeque<&[u8]> = parts
            .flat_map(|(head, request)| [head.as_slice(), request.bytes.as_ref()])
            .filter(|part| !part.is_empty())
            .collect();
        let time = |is_ready| if is_ready { limits.time } else { START };
        let mut deadline = Instant::now() + time(self.is_ready);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(End::TimedOut);
            }
            let ready = self.wait(!unsent.is_empty(), left)?;
            if ready.input {
                send(&mut self.input, &mut unsent)?;
            }
            if ready.errors {
                self.listen()?;
            }
            if !ready.output {
                continue;
            }
            let ended = receive(&self.output, &mut self.received)?;
            let before = (self.is_ready, missing);
            let sound = self.take(limits.memory, &mut missing, take);
            if missing == 0 {
                let is_well = sound.is_ok() && self.received.is_empty() && !ended;
                return Ok(if is_well { End::Answered } else { End::Spent });
            }
            if ended || sound.is_err() {
                return Ok(End::Died);
            }
            if before != (self.is_ready, missing) {
                deadline = Instant::now() + limits.time;
            }
        }
    }

    /// Waits until a pipe can be written to or read from.
    fn wait(&self, writes: bool, left: Duration) -> Result<Ready, BoxError> {
        let writes = if writes { PollFlags::OUT } else { PollFlags::empty() };
        let mut pipes = vec![PollFd::new(&self.output, PollFlags::IN)];
        // A pipe that is closed at the other end is ready for ever, so one of no use is not waited for.
        let input = if writes.is_empty() { None } else { Some(pipes.len()) };
        pipes.extend(input.map(|_| PollFd::new(&self.input, writes)));
        let errors = self.errors.as_ref().map(|errors| (pipes.len(), errors));
        pipes.extend(errors.map(|(_, errors)| PollFd::new(errors, PollFlags::IN)));
        match poll(&mut pipes, Some(&Timespec::try_from(left)?)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let is_ready = |at: usize| !pipes[at].revents().is_empty();
        Ok(Ready {
            output: is_ready(0),
            input: input.is_some_and(is_ready),
            errors: errors.is_some_and(|(at, _)| is_ready(at)),
        })
    }

    /// Takes what it has received apart.
    fn take(
        &mut self,
        most: u64,
        missing: &mut usize,
        take: &mut dyn FnMut(Answer),
    ) -> Result<(), wire::Nonsense> {
        let mut at = 0;
        if !self.is_ready {
            let end = self.received.iter().take(wire::LONGEST_LINE).position(|byte| *byte == b'\n');
            let Some(end) = end else {
                let is_line = self.received.len() < wire::LONGEST_LINE;
                return if is_line { Ok(()) } else { Err(wire::Nonsense) };
            };
            let line = String::from_utf8_lossy(&self.received[..end]);
            let lacks = line.strip_prefix(wire::READY).ok_or(wire::Nonsense)?.trim();
            if !lacks.is_empty() {
                tracing::debug!(
                    missing = lacks,
                    "the extract worker lacks protections of the kernel"
                );
            }
            self.is_ready = true;
            at = end + 1;
        }
        while *missing > 0 {
            let Some((answer, length)) = wire::first_answer(&self.received[at..], most)? else {
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

    /// Reads what it writes to standard error; the last words are what counts.
    fn listen(&mut self) -> Result<(), BoxError> {
        if let Some(errors) = &mut self.errors {
            let ended = receive(&*errors, &mut self.said)?;
            self.said.drain(..self.said.len().saturating_sub(4096));
            if ended {
                self.errors = None;
            }
        }
        Ok(())
    }

    /// What it said last, and how it ended, unless it had to be killed.
    fn last_words(mut self) -> (String, Option<ExitStatus>) {
        let has_ended = ends_soon(&self.child);
        // One that has ended keeps its status.
        drop(self.child.kill());
        let status = self.child.wait().ok();
        let status = status.filter(|status| has_ended || status.signal() != Some(SIGKILL));
        drop(self.listen());
        (String::from_utf8_lossy(&self.said).into_owned(), status)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already; then there is nobody to kill, and only its status to collect.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Whether a child whose output has ended has ended as well, or does within a second: its descriptors are closed before
/// it can be told how it ended.
fn ends_soon(child: &Child) -> bool {
    let Ok(process) = pidfd_open(Pid::from_child(child), PidfdFlags::empty()) else { return false };
    let second = Timespec { tv_sec: 1, tv_nsec: 0 };
    poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&second)).is_ok_and(|ended| ended > 0)
}

/// Which pipes can be written to or read from.
struct Ready {
    input: bool,
    output: bool,
    errors: bool,
}

/// Writes what the pipe takes.
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

/// Reads once; returns whether the pipe has ended.
fn receive(from: impl AsFd, into: &mut Vec<u8>) -> Result<bool, BoxError> {
    into.reserve(AT_ONCE);
    match rustix::io::read(from, spare_capacity(into)) {
        Ok(count) => Ok(count == 0),
        Err(Errno::AGAIN | Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
