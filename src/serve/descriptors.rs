//! File descriptors: each connection needs one, and the soft limit of a shell is often 1,024.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Maximum number of concurrent event streams, regardless of the descriptors.
const MAX_STREAMS: u64 = 1000;

/// Raises the soft limit to the hard one and returns the resulting limit; `None` if unlimited.
pub(super) fn raise_limit() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit of open files");
            current
        }
    }
}

/// Number of event streams that leaves three quarters of the descriptors for other uses.
pub(super) fn max_streams(descriptors: Option<u64>) -> usize {
    let streams = descriptors.map_or(MAX_STREAMS, |all| (all / 4).clamp(1, MAX_STREAMS));
    usize::try_from(streams).expect("at most a thousand")
}
