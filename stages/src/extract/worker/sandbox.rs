//! Removes everything from the worker process that the extraction of documents does not need:
//! files, connections, other processes, the descriptors and privileges of its parent, and the means
//! to regain any of them.
//!
//! The order matters, since each step removes what the previous ones needed: inherited descriptors
//! are closed, capabilities dropped, Landlock denies files and TCP, limits are set as *hard*
//! limits, and seccomp permits only a few system calls ([`crate::extract::worker::seccomp`]). If
//! the kernel lacks one of these, the others still apply, and the ready line reports it to the
//! parent.
//!
//! Documents are extracted on a thread with a fixed stack size, independent of the inherited limit.
//! The main thread waits for the end of the parent, and then ends the process immediately.
//! `PR_SET_PDEATHSIG` is not suitable: it fires when the *thread* that started the child ends, and
//! threads of a pool end early.

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

use crate::extract::worker::seccomp;

/// Stack size of the thread that extracts documents.
const STACK_BYTES: usize = 16 << 20;

/// Processor time of a worker in seconds, after which it is replaced; the parent limits the time of
/// each document.
const MAX_CPU_SECONDS: u64 = 3600;

/// Standard input, output and error.
const MAX_DESCRIPTORS: u64 = 3;

/// The restrictions of the process.
#[derive(Debug, Default)]
pub(super) struct Sandbox {
    /// Restrictions that could not be enforced, with the reason.
    pub(super) missing: Vec<String>,
    /// Open descriptors after inherited ones were closed.
    pub(super) descriptors: Vec<RawFd>,
}

impl Sandbox {
    fn note<T, E: std::fmt::Display>(&mut self, what: &str, result: Result<T, E>) {
        if let Err(error) = result {
            self.missing.push(format!("{what}: {error}"));
        }
    }
}

/// Runs `work` in a sandbox where it can only compute, read standard input, and write standard
/// output and error, with `memory` bytes beyond the current address space. Ends the process when
/// `work` ends or, with `watch`, when standard input is closed.
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
            sandbox.missing.push("landlock: not supported by the kernel".to_owned());
        }
        Err(error) => sandbox.missing.push(format!("landlock: {error}")),
    }
    let reader = move || {
        // The allocator may reserve address space per thread, which must not count for the
        // document.
        drop(std::hint::black_box(vec![0_u8; 4096]));
        let own = statm.and_then(|statm| address_space(&statm)).ok();
        set_limits(&mut sandbox, own, memory, seconds);
        sandbox.note("seccomp", seccomp::apply());
        if let Err(error) = work(sandbox) {
            writeln!(io::stderr(), "extract-worker: {error}").ok();
            exit(1);
        }
        exit(0);
    };
    let reader = std::thread::Builder::new()
        .name("extract".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(reader)?;
    if watch {
        wait_for_close();
    }
    // The thread ends the process itself, unless it panics.
    drop(reader.join());
    exit(1);
}

/// Closes all descriptors except the standard ones: the parent may have inherited some from its
/// parent.
fn close_inherited() {
    for descriptor in open_descriptors() {
        if descriptor >= 3 {
            // The list contains its own descriptor, which is closed already.
            nix::unistd::close(descriptor).ok();
        }
    }
}

/// All open descriptors, including the one of the listing.
fn open_descriptors() -> Vec<RawFd> {
    let Ok(listed) = fs_err::read_dir("/proc/self/fd") else { return Vec::new() };
    let names = listed.flatten().map(|entry| entry.file_name());
    names.filter_map(|name| name.to_str()?.parse().ok()).collect()
}

/// Denies all files, TCP, and signals and sockets of other processes, as far as the kernel supports
/// it.
fn landlock() -> Result<RulesetStatus, RulesetError> {
    let abi = ABI::V6;
    let rules = Ruleset::default()
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .scope(Scope::from_all(abi))?;
    Ok(rules.create()?.restrict_self()?.ruleset)
}

/// Address space of this process in bytes.
fn address_space(statm: &fs_err::File) -> io::Result<u64> {
    let mut text = [0; 128];
    let length = rustix::io::read(statm.as_fd(), &mut text)?;
    let text = std::str::from_utf8(&text[..length]).map_err(io::Error::other)?;
    let pages = text.split(' ').next().and_then(|pages| pages.parse::<u64>().ok());
    let pages = pages.ok_or(io::ErrorKind::InvalidData)?;
    Ok(pages * rustix::param::page_size() as u64)
}

/// Lowers the hard limits; without a capability, the process cannot raise them again.
fn set_limits(sandbox: &mut Sandbox, own: Option<u64>, memory: u64, seconds: u64) {
    // The limit of address space includes existing mappings, whose size `/proc` gives. Without it,
    // private data is limited instead.
    let memory = match own {
        Some(own) => (Resource::As, own.saturating_add(memory)),
        None => (Resource::Data, memory),
    };
    let limits = [
        memory,
        (Resource::Cpu, MAX_CPU_SECONDS.saturating_add(seconds)),
        (Resource::Core, 0),
        (Resource::Fsize, 0),
        (Resource::Memlock, 0),
        (Resource::Msgqueue, 0),
        (Resource::Nofile, MAX_DESCRIPTORS),
        (Resource::Nproc, 0),
    ];
    for (resource, most) in limits {
        let now = rustix::process::getrlimit(resource);
        let most = Some(now.maximum.map_or(most, |now| now.min(most)));
        let limit = Rlimit { current: most, maximum: most };
        sandbox.note("limits", rustix::process::setrlimit(resource, limit));
    }
}

/// Ends the process when the other end of standard input is closed: the parent has finished or
/// died.
fn wait_for_close() {
    let input = io::stdin();
    loop {
        let mut polled = [PollFd::new(&input, PollFlags::empty())];
        match poll(&mut polled, None) {
            Ok(_) if polled[0].revents().is_empty() => {}
            Ok(_) => exit(0),
            Err(rustix::io::Errno::INTR) => {}
            // The extracting thread detects the end of the input itself, after the current
            // document.
            Err(_) => return,
        }
    }
}
