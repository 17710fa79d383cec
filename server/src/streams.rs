//! Limits the open event streams per account, per address and in total. A stream holds a connection
//! and a file descriptor for as long as its client likes, which a rate limit does not bound.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use pipeline::lock;

use uuid::Uuid;

use super::problem::{HandlerResult, Problem, ProblemCode};
use super::rate::ClientId;

/// Streams per account with its keys, and per address of anonymous callers.
const MAX_PER_CLIENT: usize = 20;
/// Streams per address, of all callers.
const MAX_PER_ADDRESS: usize = 100;
/// `Retry-After` of a refused request, in seconds.
const RETRY_AFTER_SECONDS: u64 = 5;

/// A subject with a limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Holder {
    Account(Uuid),
    /// Anonymous callers of an address.
    Anonymous(ClientId),
    Address(ClientId),
}

impl Holder {
    fn limit(self) -> usize {
        match self {
            Self::Account(_) | Self::Anonymous(_) => MAX_PER_CLIENT,
            Self::Address(_) => MAX_PER_ADDRESS,
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::Account(_) => "this account",
            Self::Anonymous(_) | Self::Address(_) => "this address",
        }
    }
}

/// Counters of open streams. Clones share them.
#[derive(Clone)]
pub(crate) struct StreamLimiter {
    open: Arc<Mutex<HashMap<Holder, usize>>>,
    max: usize,
}

/// An open stream, counted until the value is dropped.
pub(super) struct OpenStream {
    streams: StreamLimiter,
    holders: [Holder; 2],
}

impl StreamLimiter {
    /// At most `most` streams of all clients together.
    pub(crate) fn new(most: usize) -> Self {
        Self { open: Arc::default(), max: most }
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// [`ProblemCode::RateLimited`] at the limit of the client, [`ProblemCode::Unavailable`] at
    /// that of the server.
    pub(super) fn open(&self, account: Option<Uuid>, address: IpAddr) -> HandlerResult<OpenStream> {
        let client = ClientId::from_address(address);
        let own = account.map_or(Holder::Anonymous(client), Holder::Account);
        let holders = [own, Holder::Address(client)];
        let mut open = self.lock();
        for holder in holders {
            if open.get(&holder).is_some_and(|count| *count >= holder.limit()) {
                let detail = format!(
                    "{} event streams are open for {}: close one before opening another",
                    holder.limit(),
                    holder.description()
                );
                return Err(too_many_streams(ProblemCode::RateLimited, detail));
            }
        }
        // Every stream counts for exactly one address.
        let addresses = open.iter().filter(|(holder, _)| matches!(holder, Holder::Address(_)));
        if addresses.map(|(_, count)| count).sum::<usize>() >= self.max {
            let detail = format!(
                "the server has reached its limit of {} open event streams: try again later",
                self.max
            );
            return Err(too_many_streams(ProblemCode::Unavailable, detail));
        }
        for holder in holders {
            *open.entry(holder).or_default() += 1;
        }
        drop(open);
        Ok(OpenStream { streams: self.clone(), holders })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Holder, usize>> {
        // The counts are consistent even if a thread panicked with the lock.
        lock(&self.open)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut open = self.streams.lock();
        for holder in self.holders {
            if let Some(count) = open.get_mut(&holder) {
                *count -= 1;
                if *count == 0 {
                    open.remove(&holder);
                }
            }
        }
    }
}

fn too_many_streams(code: ProblemCode, detail: String) -> Problem {
    Problem { detail: Some(detail), ..Problem::retry_later(code, RETRY_AFTER_SECONDS) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u8) -> IpAddr {
        IpAddr::from([198, 51, 100, n])
    }

    #[test]
    fn each_limit_holds_and_what_is_closed_counts_no_more() {
        let streams = StreamLimiter::new(150);
        let account = |n: u128| Some(Uuid::from_u128(n));
        let open = |account, from| streams.open(account, address(from));
        let mut held: Vec<_> = (0..20).map(|n| open(account(1), n).expect("its own 20")).collect();
        assert_eq!(
            open(account(1), 50).err().expect("one too many").code,
            ProblemCode::RateLimited
        );
        held.pop();
        held.push(open(account(1), 50).expect("one was closed"));

        held.extend((0..20).map(|_| open(None, 60).expect("of nobody")));
        assert!(open(None, 60).is_err() && open(account(2), 60).is_ok() && open(None, 61).is_ok());

        held.extend((0..80).map(|n| open(account(100 + n), 60).expect("of the address")));
        assert!(open(account(3), 60).is_err());
        held.extend((0..30).map(|n| open(account(200 + n), 70).expect("of the server")));
        assert_eq!(
            open(account(4), 71).err().expect("150 are open").code,
            ProblemCode::Unavailable
        );
        drop(held);
        assert!(streams.lock().is_empty());
    }
}
