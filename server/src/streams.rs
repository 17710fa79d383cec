//! How many streams of events are open: of an account, of an address, and in all. Each holds a connection and a
//! descriptor for as long as its client likes, so there have to be limits that no rate gives.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::problem::{Answer, Code, Problem};
use super::rate::Client;

/// Streams of one account, with its keys; and of one address of which nobody is logged in.
const OF_CLIENT: usize = 20;
/// Streams of one address, whoever is logged in there.
const OF_ADDRESS: usize = 100;
/// Seconds after which a client that was refused may try again.
const AGAIN: u64 = 5;

/// Who holds streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Holder {
    Account(Uuid),
    /// An address of which nobody is logged in.
    Anonymous(Client),
    Address(Client),
}

impl Holder {
    fn limit(self) -> usize {
        match self {
            Self::Account(_) | Self::Anonymous(_) => OF_CLIENT,
            Self::Address(_) => OF_ADDRESS,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Account(_) => "this account",
            Self::Anonymous(_) | Self::Address(_) => "this address",
        }
    }
}

/// Counts open streams. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Streams {
    open: Arc<Mutex<HashMap<Holder, usize>>>,
    most: usize,
}

/// A stream that is open. It is counted until the value is dropped.
pub(super) struct OpenStream {
    streams: Streams,
    holders: [Holder; 2],
}

impl Streams {
    /// So many at most, of all clients together.
    pub(crate) fn new(most: usize) -> Self {
        Self { open: Arc::default(), most }
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// If its client, or the server, has as many as they may.
    pub(super) fn open(&self, account: Option<Uuid>, address: IpAddr) -> Answer<OpenStream> {
        let client = Client::at(address);
        let own = account.map_or(Holder::Anonymous(client), Holder::Account);
        let holders = [own, Holder::Address(client)];
        let mut open = self.lock();
        for holder in holders {
            if open.get(&holder).is_some_and(|count| *count >= holder.limit()) {
                let detail = format!(
                    "{} event streams are open for {}: close one first",
                    holder.limit(),
                    holder.words()
                );
                return Err(refused(Code::RateLimited, detail));
            }
        }
        // Every stream has one address.
        let addresses = open.iter().filter(|(holder, _)| matches!(holder, Holder::Address(_)));
        if addresses.map(|(_, count)| count).sum::<usize>() >= self.most {
            let detail = format!("the server has {} event streams open", self.most);
            return Err(refused(Code::Unavailable, detail));
        }
        for holder in holders {
            *open.entry(holder).or_default() += 1;
        }
        drop(open);
        Ok(OpenStream { streams: self.clone(), holders })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Holder, usize>> {
        // A count is whole, whoever panicked while it was held.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
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

fn refused(code: Code, detail: String) -> Problem {
    Problem { detail: Some(detail), ..Problem::later(code, AGAIN) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u8) -> IpAddr {
        IpAddr::from([198, 51, 100, n])
    }

    #[test]
    fn each_limit_holds_and_what_is_closed_counts_no_more() {
        let streams = Streams::new(150);
        let account = |n: u128| Some(Uuid::from_u128(n));
        let open = |account, from| streams.open(account, address(from));
        let mut held: Vec<_> = (0..20).map(|n| open(account(1), n).expect("its own 20")).collect();
        assert_eq!(open(account(1), 50).err().expect("one too many").code, Code::RateLimited);
        held.pop();
        held.push(open(account(1), 50).expect("one was closed"));

        held.extend((0..20).map(|_| open(None, 60).expect("of nobody")));
        assert!(open(None, 60).is_err() && open(account(2), 60).is_ok() && open(None, 61).is_ok());

        held.extend((0..80).map(|n| open(account(100 + n), 60).expect("of the address")));
        assert!(open(account(3), 60).is_err());
        held.extend((0..30).map(|n| open(account(200 + n), 70).expect("of the server")));
        assert_eq!(open(account(4), 71).err().expect("150 are open").code, Code::Unavailable);
        drop(held);
        assert!(streams.lock().is_empty());
    }
}
