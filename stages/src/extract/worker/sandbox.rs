//! Takes from the worker process what it does not need to extract documents: files, connections, other
//! processes, its parent's descriptors and privileges, and the means to get any of them back.
//!
//! In this order, since each step takes away what the ones before it needed: inherited descriptors are closed,
//! capabilities dropped, Landlock denies files and TCP, limits are set as *hard* limits, and seccomp allows the
//! few system calls that are left ([`crate::extract::worker::filter`]). Where the kernel lacks one of them, the
//! rest holds all the same, and the parent is told.
//!
//! Documents are read on a thread whose stack has a size of its own, whatever the limit that was inherited. The main
//! thread waits for the parent to go away, and then ends the process at once: `PR_SET_PDEATHSIG` cannot be used,
//! since it fires when the *thread* that started the child ends, and the threads of a pool come and go.

use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, RawFd};
use std::process::exit;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, Ruleset, RulesetAttr as _, RulesetError, RulesetStatus,
    Scope,
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};

use crate::extract::worker::filter;

/// The stack on which documents are read.
const STACK: usize = 16 << 20;

/// Processor time after which a worker is replaced, in seconds; the clock of its parent limits each document.
const LIFETIME: u64 = 3600;

/// Standard input, output and error.
const DESCRIPTORS: u64 = 3;

/// What holds for the process.
#[derive(Debug, Default)]
pub(super) struct Sandbox {
    /// Protections that could not be had, in words.
    pub(super) missing: Vec<String>,
    /// Descriptors that are open.
    pub(super) descriptors: Vec<RawFd>,
}

impl Sandbox {
    fn note<T, E: std::fmt::Display>(&mut self, what: &str, result: Result<T, E>) {
        if let Err(error) = result {
            self.missing.push(format!("{what}: {error}"));
        }
    }
}

/// Runs `work` where it can do nothing but compute, read standard input and write standard output and error, in its
/// first memory and so many bytes more. Ends the process when `work` does, or, if it is to watch its input, when
/// that is closed.
///
/// # Errors
/// If the thread cannot be started.
pub(super) fn run<W>(memory: u64, seconds: u64, watch: bool, work: W) -> io::Result<()>
where
    W: FnOnce(Sandbox) -> io::Result<()> + Send + 'static,
{
    let mut sandbox = Sandbox::default();
    close_inherited();
    sandbox.descriptors = open_descriptors();
    let statm = fs_err::File::open("/proc/self/statm");
    sandbox.note("dumpable", set_dumpable_behavior(DumpableBehavior::NotDumpable));
    sandbox.note("no_new_privs", set_no_new_privs(true));
    let nothing = CapabilitySet::empty();
    let nothing = CapabilitySets { effective: nothing, permitted: nothing, inheritable: nothing };
    sandbox.note("capabilities", set_capabilities(None, nothing));
    match landlock() {
        Ok(RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced) => {}
        Ok(RulesetStatus::NotEnforced) => {
            sandbox.missing.push("landlock: the kernel has none".to_owned());
        }
        Err(error) => sandbox.missing.push(format!("landlock: {error}")),
    }
    let reader = move || {
        // The allocator may set address space aside for a thread; that is none of the document's.
        drop(std::hint::black_box(vec![0_u8; 4096]));
        let own = statm.and_then(|statm| address_space(&statm)).ok();
        limit(&mut sandbox, own, memory, seconds);
        sandbox.note("seccomp", filter::apply());
        if let Err(error) = work(sandbox) {
            writeln!(io::stderr(), "extract-worker: {error}").ok();
            exit(1);
        }
        exit(0);
    };
    let reader =
        std::thread::Builder::new().name("extract".to_owned()).stack_size(STACK).spawn(reader)?;
    if watch {
        until_closed();
    }
    // It ends the process itself, unless it panics.
    drop(reader.join());
    exit(1);
}

/// Closes every descriptor but the standard ones: whoever started the parent may have left some open in it.
fn close_inherited() {
    for descriptor in open_descriptors() {
        if descriptor >= 3 {
            // Among them is the one by which they were listed, which is closed already.
            nix::unistd::close(descriptor).ok();
        }
    }
}

/// All of them, and the one by which they are listed.
fn open_descriptors() -> Vec<RawFd> {
    let Ok(listed) = fs_err::read_dir("/proc/self/fd") else { return Vec::new() };
    let names = listed.flatten().map(|entry| entry.file_name());
    names.filter_map(|name| name.to_str()?.parse().ok()).collect()
}

/// Denies every file, and TCP, and signals and sockets of other processes, as far as the kernel can.
fn landlock() -> Result<RulesetStatus, RulesetError> {
    let abi = ABI::V6;
    let rules = Ruleset::default()
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .scope(Scope::from_all(abi))?;
    Ok(rules.create()?.restrict_self()?.ruleset)
}

/// How much address space this process has taken.
fn address_space(statm: &fs_err::File) -> io::Result<u64> {
    let mut text = [0; 128];
    let length = rustix::io::read(statm.as_fd(), &mut text)?;
    let text = std::str::from_utf8(&text[..length]).map_err(io::Error::other)?;
    let pages = text.split(' ').next().and_then(|pages| pages.parse::<u64>().ok());
    let pages = pages.ok_or(io::ErrorKind::InvalidData)?;
    Ok(pages * rustix::param::page_size() as u64)
}

/// Lowers the hard limits, which the process cannot raise again without a capability.
fn limit(sandbox: &mut Sandbox, own: Option<u64>, memory: u64, seconds: u64) {
    // Address space counts what is mapped already; without `/proc`, what is written to is counted.
    let memory = match own {
        Some(own) => (Resource::As, own.saturating_add(memory)),
        None => (Resource::Data, memory),
    };
    let limits = [
        memory,
        (Resource::Cpu, LIFETIME.saturating_add(seconds)),
        (Resource::Core, 0),
        (Resource::Fsize, 0),
        (Resource::Memlock, 0),
        (Resource::Msgqueue, 0),
        (Resource::Nofile, DESCRIPTORS),
        (Resource::Nproc, 0),
    ];
    for (resource, most) in limits {
        let now = rustix::process::getrlimit(resource);
        let most = Some(now.maximum.map_or(most, |now| now.min(most)));
        let limit = Rlimit { current: most, maximum: most };
        sandbox.note("limits", rustix::process::setrlimit(resource, limit));
    }
}

/// Returns when the other end of standard input is closed: the parent has what it wanted, or is gone.
fn until_closed() {
    let input = io::stdin();
    loop {
        let mut polled = [PollFd::new(&input, PollFlags::empty())];
        match poll(&mut polled, None) {
            Ok(_) if polled[0].revents().is_empty() => {}
            Ok(_) => exit(0),
            Err(rustix::io::Errno::INTR) => {}
            // The reader notices the end of the input by itself, after the document that it reads.
            Err(_) => return,
        }
    }
}
