//! File descriptors: each connection takes one, and the limit that a shell gives is often 1,024.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Streams of events that are open at once, however many descriptors there are.
const MOST_STREAMS: u64 = 1000;

/// Raises the soft limit to the hard one; gives what holds then, `None` where there is no limit.
pub(super) fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files stays as it is");
            current
        }
    }
}

/// How many streams leave enough descriptors for everything else.
pub(super) fn for_streams(descriptors: Option<u64>) -> usize {
    let streams = descriptors.map_or(MOST_STREAMS, |all| (all / 4).clamp(1, MOST_STREAMS));
    usize::try_from(streams).expect("a thousand at most")
}
