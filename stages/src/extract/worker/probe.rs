//! Attempts, inside the sandbox, everything that a worker must not be able to do, and prints the
//! results: for tests, and for operators who check a machine.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use rustix::process::{
    DumpableBehavior, Pid, Resource, Rlimit, Signal, dumpable_behavior, getppid, getrlimit,
    kill_process, setrlimit,
};
use serde_json::{Map, Value, json};

use crate::extract::worker::sandbox::Sandbox;

/// State from before the sandbox was set up.
pub(super) struct ProbeTargets {
    parent: Option<Pid>,
    command: Option<std::path::PathBuf>,
}

pub(super) fn probe_targets() -> ProbeTargets {
    ProbeTargets { parent: getppid(), command: std::env::current_exe().ok() }
}

/// Prints a line of JSON: for each attempt its error, or `null` if it succeeded.
pub(super) fn probe(before: &ProbeTargets, sandbox: &Sandbox, memory: u64) -> io::Result<()> {
    let own = before.command.as_deref();
    let folder = std::env::temp_dir();
    let attempts: [(&str, io::Result<()>); 16] = [
        ("read a file", File::open("/etc/passwd").map(drop)),
        ("read its own program", own.map_or(Ok(()), |own| File::open(own).map(drop))),
        ("list a folder", std::fs::read_dir("/").map(drop)),
        ("look at a file", std::fs::metadata("/etc/passwd").map(drop)),
        ("create a file", create(&folder.join("semantik-extract-probe"))),
        ("remove a file", std::fs::remove_file(folder.join("semantik-extract-probe"))),
        ("listen", TcpListener::bind("127.0.0.1:0").map(drop)),
        ("connect", TcpStream::connect("127.0.0.1:9").map(drop)),
        ("send a datagram", UdpSocket::bind("127.0.0.1:0").map(drop)),
        ("make a pair of sockets", UnixStream::pair().map(drop)),
        ("make a pipe", io::pipe().map(drop)),
        ("start a program", start()),
        ("start a thread", thread()),
        ("signal its parent", before.parent.map_or(Ok(()), signal)),
        ("raise a limit", raise()),
        ("take more memory", allocate(memory)),
    ];
    let attempts: Map<String, Value> = attempts
        .into_iter()
        .map(|(what, result)| (what.to_owned(), result.err().map(|it| it.to_string()).into()))
        .collect();
    let limit = |resource| getrlimit(resource).maximum;
    let said = json!({
        "attempts": attempts,
        "missing": sandbox.missing,
        "environment": std::env::vars_os().count(),
        "inherited_descriptors": inherited(sandbox),
        "can_be_dumped": dumpable_behavior().ok() == Some(DumpableBehavior::Dumpable),
        "hard_limits": {
            "address_space": limit(Resource::As),
            "core": limit(Resource::Core),
            "file_size": limit(Resource::Fsize),
            "open_files": limit(Resource::Nofile),
            "processes": limit(Resource::Nproc),
            "processor_seconds": limit(Resource::Cpu),
        },
    });
    writeln!(io::stdout(), "{said}")
}

/// Number of descriptors beside the standard ones, without the one of the listing.
fn inherited(sandbox: &Sandbox) -> usize {
    sandbox.descriptors.iter().filter(|it| **it >= 3).count().saturating_sub(1)
}

fn create(path: &std::path::Path) -> io::Result<()> {
    OpenOptions::new().write(true).create(true).truncate(true).open(path).map(drop)
}

fn start() -> io::Result<()> {
    let child = Command::new("/bin/true").stdin(Stdio::inherit()).spawn();
    child.and_then(|mut child| child.wait()).map(drop)
}

fn thread() -> io::Result<()> {
    let thread = std::thread::Builder::new().spawn(|| {})?;
    thread.join().map_err(|_| io::Error::other("it panicked"))
}

/// Sends SIGURG, which processes ignore by default.
fn signal(parent: Pid) -> io::Result<()> {
    Ok(kill_process(parent, Signal::URG)?)
}

fn raise() -> io::Result<()> {
    Ok(setrlimit(Resource::Core, Rlimit { current: Some(1), maximum: Some(1) })?)
}

fn allocate(memory: u64) -> io::Result<()> {
    let bytes = usize::try_from(memory).map_err(io::Error::other)?;
    let mut much: Vec<u8> = Vec::new();
    much.try_reserve_exact(bytes.saturating_add(256 << 20)).map_err(io::Error::other)?;
    drop(std::hint::black_box(much));
    Ok(())
}
