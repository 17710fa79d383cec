//! The process that reads risky documents, from both of its ends.
//!
//! A request is a length-prefixed head in JSON and the length-prefixed bytes of the document; an answer
//! is length-prefixed JSON. The child limits its own address space and processor time; the parent limits
//! the time by the clock, and kills a child that exceeds it. A child that dies costs the document that
//! it was reading, and the next document starts another one. It ends when its input does, so it does not
//! outlive its parent.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use pipeline::BoxError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

use crate::byte_size::ByteSize;
use crate::extract::document::Document;
use crate::extract::{Format, Limits, Refusal, read};

/// What the child is told about a document.
#[derive(Serialize, Deserialize)]
struct Head {
    format: Format,
    max_memory: u64,
    max_seconds: u64,
    unpacked: u64,
}

type Answer = Result<Document, Refusal>;

/// Reads documents from standard input until it ends, and answers on standard output; the body of the
/// process that [`pipeline::Resources::extract_worker`] names.
///
/// # Errors
/// If the parent does not speak the protocol, or has gone before it was answered.
pub fn extract_worker() -> io::Result<()> {
    // What a parser panics with goes into the answer.
    std::panic::set_hook(Box::new(|_| {}));
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let own = address_space()?;
    while let Some(head) = read_frame(&mut input)? {
        let head: Head = serde_json::from_slice(&head)?;
        let Some(bytes) = read_frame(&mut input)? else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        limit(own, &head)?;
        let answer = read(head.format, &bytes, head.unpacked);
        drop(bytes);
        let answer = serde_json::to_vec(&answer)?;
        output.write_all(&(answer.len() as u64).to_le_bytes())?;
        output.write_all(&answer)?;
        output.flush()?;
    }
    Ok(())
}

/// The next frame; `None` at the end of the input.
fn read_frame(input: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 8];
    match input.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = u64::from_le_bytes(length);
    let mut frame = Vec::with_capacity(usize::try_from(length).map_err(io::Error::other)?);
    input.take(length).read_to_end(&mut frame)?;
    if (frame.len() as u64) < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(frame))
}

/// How much of its address space this process has taken.
fn address_space() -> io::Result<u64> {
    let statm = fs_err::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split(' ').next().and_then(|pages| pages.parse().ok()).unwrap_or(0);
    Ok(pages * rustix::param::page_size() as u64)
}

/// Limits this process to what it had at first and what a document may take. The limit of processor
/// time is for a parser that runs on after the parent is gone; the parent's clock strikes before it.
fn limit(own: u64, head: &Head) -> io::Result<()> {
    set_soft_limit(Resource::As, own.saturating_add(head.max_memory))?;
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime).tv_sec;
    let used = u64::try_from(used).unwrap_or(0);
    set_soft_limit(Resource::Cpu, used + 2 * head.max_seconds + 2)
}

/// The hard limit stays, so that the soft one can be raised for the next document.
fn set_soft_limit(resource: Resource, most: u64) -> io::Result<()> {
    let maximum = getrlimit(resource).maximum;
    let current = Some(maximum.map_or(most, |maximum| maximum.min(most)));
    Ok(setrlimit(resource, Rlimit { current, maximum })?)
}

/// The parent's end: a child that is started when it is needed.
pub(crate) struct Worker {
    command: PathBuf,
    limits: Limits,
    running: Option<Running>,
}

struct Running {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    errors: ChildStderr,
    /// Documents that it has answered for.
    answered: usize,
}

/// What became of an exchange with the child.
enum Exchange {
    Answered(Vec<u8>),
    /// The child is gone; the last that it wrote to standard error.
    Died(String),
    TimedOut,
}

impl Worker {
    pub(crate) fn new(command: &Path, limits: Limits) -> Self {
        Self { command: command.to_owned(), limits, running: None }
    }

    /// Reads one document in the child.
    ///
    /// # Errors
    /// If the child cannot be started, or does not speak the protocol.
    pub(crate) fn read(&mut self, format: Format, bytes: &[u8]) -> Result<Answer, BoxError> {
        let head = Head {
            format,
            max_memory: self.limits.memory,
            max_seconds: self.limits.time.as_secs(),
            unpacked: self.limits.unpacked(),
        };
        let head = serde_json::to_vec(&head)?;
        let (head_length, length) =
            ((head.len() as u64).to_le_bytes(), (bytes.len() as u64).to_le_bytes());
        let request = [&head_length, head.as_slice(), &length, bytes];
        loop {
            let mut running = match self.running.take() {
                Some(running) => running,
                None => Running::start(&self.command)?,
            };
            match running.exchange(&request, Instant::now() + self.limits.time)? {
                Exchange::Answered(answer) => {
                    running.answered += 1;
                    self.running = Some(running);
                    return Ok(serde_json::from_slice(&answer)?);
                }
                Exchange::TimedOut => {
                    let limit = format!("{} s (max_seconds)", self.limits.time.as_secs());
                    return Ok(Err(Refusal::Limit(limit)));
                }
                // What other documents have left behind in it is not this one's fault.
                Exchange::Died(_) if running.answered > 0 => {}
                Exchange::Died(errors) => return Ok(Err(self.death(&errors))),
            }
        }
    }

    /// What the last words of a child mean.
    fn death(&self, errors: &str) -> Refusal {
        if errors.contains("memory allocation of") {
            return Refusal::Limit(format!(
                "{} of memory (max_memory)",
                ByteSize(self.limits.memory)
            ));
        }
        if errors.contains("overflowed its stack") {
            return Refusal::Corrupt("it is nested too deeply".to_owned());
        }
        Refusal::Corrupt("its reader crashed".to_owned())
    }
}

impl Running {
    fn start(command: &Path) -> Result<Self, BoxError> {
        let child = Command::new(command)
            .arg("extract-worker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C in the terminal is for the command, which lets a document in work be finished.
            .process_group(0)
            .spawn();
        let mut child = child.map_err(|error| {
            format!("cannot start {} extract-worker: {error}", command.display())
        })?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(input), Some(output), Some(errors)) = pipes else {
            unreachable!("all three are piped")
        };
        for pipe in [input.as_fd(), output.as_fd(), errors.as_fd()] {
            fcntl_setfl(pipe, fcntl_getfl(pipe)? | OFlags::NONBLOCK)?;
        }
        Ok(Self { child, input, output, errors, answered: 0 })
    }

    /// Sends a request and receives the answer. Reads whenever there is something to read, also while it
    /// still writes, so neither side waits for the other for ever.
    fn exchange(&mut self, request: &[&[u8]], deadline: Instant) -> Result<Exchange, BoxError> {
        let mut unsent: Vec<&[u8]> = request.iter().rev().copied().collect();
        let (mut answer, mut errors) = (Vec::new(), Vec::new());
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Exchange::TimedOut);
            }
            let writing = if unsent.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            let mut pipes = [
                PollFd::new(&self.input, writing),
                PollFd::new(&self.output, PollFlags::IN),
                PollFd::new(&self.errors, PollFlags::IN),
            ];
            match poll(&mut pipes, Some(&Timespec::try_from(left)?)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let ready = pipes.map(|pipe| !pipe.revents().is_empty());
            if ready[0] {
                send(&mut self.input, &mut unsent)?;
            }
            if ready[2] {
                receive(&mut self.errors, &mut errors)?;
                // The last words are what counts.
                errors.drain(..errors.len().saturating_sub(4096));
            }
            if ready[1] {
                let ended = receive(&mut self.output, &mut answer)?;
                if let Some(answer) = whole(&mut answer)? {
                    return Ok(Exchange::Answered(answer));
                }
                if ended {
                    receive(&mut self.errors, &mut errors)?;
                    return Ok(Exchange::Died(String::from_utf8_lossy(&errors).into_owned()));
                }
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already; then there is nobody to kill, and only its status to collect.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Writes what the pipe takes.
fn send(input: &mut ChildStdin, unsent: &mut Vec<&[u8]>) -> Result<(), BoxError> {
    while let Some(part) = unsent.last_mut() {
        if part.is_empty() {
            unsent.pop();
            continue;
        }
        match input.write(part) {
            Ok(count) => *part = &part[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => unsent.clear(),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Reads what there is; says whether the pipe has ended.
fn receive(output: &mut impl Read, into: &mut Vec<u8>) -> Result<bool, BoxError> {
    let mut some = [0; 1 << 16];
    loop {
        match output.read(&mut some) {
            Ok(0) => return Ok(true),
            Ok(count) => into.extend_from_slice(&some[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The answer, once all of it is there.
fn whole(answer: &mut Vec<u8>) -> Result<Option<Vec<u8>>, BoxError> {
    let Some(length) = answer.first_chunk() else { return Ok(None) };
    let end = 8 + usize::try_from(u64::from_le_bytes(*length))?;
    if answer.len() < end {
        return Ok(None);
    }
    if answer.len() > end {
        return Err("the extract worker said more than it was asked".into());
    }
    Ok(Some(answer.split_off(8)))
}
