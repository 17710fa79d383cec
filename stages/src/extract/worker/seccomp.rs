//! The permitted system calls of a worker: memory, time, thread synchronisation, and the standard
//! descriptors. All others fail with `EPERM`, so a library that attempts more continues without.

use std::fmt::{self, Display};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// Calls that are permitted with any arguments.
const ALLOWED_CALLS: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
];

/// The reason for a missing filter.
#[derive(Debug)]
pub(super) struct FilterError(String);

impl Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn filter_error(error: impl Display) -> FilterError {
    FilterError(error.to_string())
}

/// Restricts every thread of this process to the calls of this module.
pub(super) fn apply() -> Result<(), FilterError> {
    let arch: TargetArch = std::env::consts::ARCH.try_into().map_err(filter_error)?;
    let mut rules: Vec<(i64, Vec<SeccompRule>)> =
        ALLOWED_CALLS.iter().map(|call| (*call, Vec::new())).collect();
    let executable = u64::from(libc::PROT_EXEC.unsigned_abs());
    let own = u64::from(std::process::id());
    let is = |argument, value| low_half_equals(argument, SeccompCmpOp::Eq, value);
    // No executable memory, and no mapped files: a descriptor cannot be read this way either.
    let no_code = |argument| low_half_equals(argument, SeccompCmpOp::MaskedEq(executable), 0);
    let anonymous = u64::from(u32::MAX);
    rules.extend([
        (libc::SYS_read, vec![rule([is(0, 0)?])?]),
        (libc::SYS_readv, vec![rule([is(0, 0)?])?]),
        (libc::SYS_write, vec![rule([is(0, 1)?])?, rule([is(0, 2)?])?]),
        (libc::SYS_writev, vec![rule([is(0, 1)?])?, rule([is(0, 2)?])?]),
        (libc::SYS_mmap, vec![rule([no_code(2)?, is(4, anonymous)?])?]),
        (libc::SYS_mprotect, vec![rule([no_code(2)?])?]),
        // A fatal error, such as a stack overflow, ends the process by a signal to itself.
        (libc::SYS_tgkill, vec![rule([is(0, own)?])?]),
        // Limits can be read, not set.
        (libc::SYS_prlimit64, vec![rule([argument_equals(2, 0)?])?]),
    ]);
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let rules = rules.into_iter().collect();
    let filter =
        SeccompFilter::new(rules, refused, SeccompAction::Allow, arch).map_err(filter_error)?;
    let program: BpfProgram = filter.try_into().map_err(filter_error)?;
    seccompiler::apply_filter_all_threads(&program).map_err(filter_error)
}

fn rule<const N: usize>(conditions: [SeccompCondition; N]) -> Result<SeccompRule, FilterError> {
    SeccompRule::new(conditions.into()).map_err(filter_error)
}

/// A condition on the lower half of an argument; the kernel reads only this half of an `int`.
fn low_half_equals(
    argument: u8,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompCondition, FilterError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value).map_err(filter_error)
}

/// The condition that a 64-bit argument equals `value`.
fn argument_equals(argument: u8, value: u64) -> Result<SeccompCondition, FilterError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, value)
        .map_err(filter_error)
}
