//! Slows down password guessing without locking an account for long.
//!
//! Every attempt counts as failed before the password is verified and is forgiven afterwards if it
//! was right, so concurrent attempts are no cheaper than sequential ones. Failures are counted
//!
//! - per account and network: a network that guesses at an account has to wait for that account;
//! - per account, over all networks: many networks that guess at one account have to wait together.
//!   A network from which the account has logged in before is exempt, so that guesses from
//!   elsewhere do not lock out the owner;
//! - per network, over all accounts.
//!
//! The delay doubles with each failure, up to [`MAX_WAIT`]. An attempt during a delay is
//! refused without being counted, so it does not extend the delay. A count restarts [`WINDOW`]
//! after its first failure, however many followed. Unknown accounts are treated like existing ones.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use metadata::Accounts;
use moka::ops::compute::Op;
use moka::sync::Cache;

use super::problem::{HandlerResult, Problem, ProblemCode};
use super::rate::{ClientId, whole_seconds};
use super::secret;

/// Failed attempts at an account without delay, by one network and by all networks.
const ACCOUNT_FAILURES: u32 = 5;
/// Failed attempts of a network without delay; many users may share a network.
const NETWORK_FAILURES: u32 = 20;
/// Longest delay; a longer one would allow attackers to lock out an account.
const MAX_WAIT: Duration = Duration::from_secs(5 * 60);
/// Lifetime of a count, from its first failure on.
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// How long a network from which an account has logged in is known.
const KNOWN_NETWORK_AGE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How long the store is not asked again about a network.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(60);
/// Capacity of each cache.
const MAX_ENTRIES: u64 = 100_000;

/// Subject of a count of failures.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum FailureKey {
    /// An account by the digest of its name, so that long names take no memory.
    Account(String),
    Network(ClientId),
    Pair(String, ClientId),
}

impl FailureKey {
    fn free_failures(&self) -> u32 {
        match self {
            Self::Account(_) | Self::Pair(..) => ACCOUNT_FAILURES,
            Self::Network(_) => NETWORK_FAILURES,
        }
    }
}

/// Failures of a subject.
#[derive(Clone, Copy)]
struct FailureCount {
    failures: u32,
    /// Time of the first failure.
    since: Instant,
    /// Attempts before this time are refused.
    wait_until: Instant,
}

/// Counts failed logins.
pub(crate) struct LoginThrottle {
    counts: Cache<FailureKey, FailureCount>,
    /// Accounts with the networks from which they have logged in.
    known_networks: Cache<(String, ClientId), ()>,
    /// Accounts with networks for which the store has no login.
    unknown_networks: Cache<(String, ClientId), ()>,
}

/// An attempt that counts as failed until one of its methods is called.
pub(super) struct LoginAttempt<'a> {
    throttle: &'a LoginThrottle,
    account: String,
    client: ClientId,
    /// `true` if it also counts for the account over all networks.
    counts_for_account: bool,
}

impl LoginThrottle {
    /// Without any counts.
    pub(crate) fn new() -> Self {
        Self {
            counts: Cache::builder().max_capacity(MAX_ENTRIES).time_to_idle(WINDOW).build(),
            known_networks: Cache::builder()
                .max_capacity(MAX_ENTRIES)
                .time_to_live(KNOWN_NETWORK_AGE)
                .build(),
            unknown_networks: Cache::builder()
                .max_capacity(MAX_ENTRIES)
                .time_to_live(LOOKUP_INTERVAL)
                .build(),
        }
    }

    /// Counts an attempt. If other networks have failed too often, the store is asked for earlier
    /// logins of the account from this network, which may precede the start of this process.
    ///
    /// # Errors
    /// [`ProblemCode::RateLimited`] during a delay, with the remaining time; otherwise if the store
    /// cannot be reached.
    pub(super) async fn begin(
        &self,
        accounts: &Accounts<'_>,
        username: &str,
        address: IpAddr,
    ) -> HandlerResult<LoginAttempt<'_>> {
        let pair = (account_key(username), ClientId::from_address(address));
        let is_held =
            self.remaining_wait(&FailureKey::Account(pair.0.clone()), Instant::now()).is_some();
        if is_held
            && !self.known_networks.contains_key(&pair)
            && !self.unknown_networks.contains_key(&pair)
        {
            let logins = accounts.login_addresses(username).await?;
            let mut networks =
                logins.iter().filter_map(|it| it.parse().ok()).map(ClientId::from_address);
            match networks.any(|network| network == pair.1) {
                true => self.known_networks.insert(pair, ()),
                false => self.unknown_networks.insert(pair, ()),
            }
        }
        self.begin_at(username, address, Instant::now())
    }

    fn begin_at(
        &self,
        username: &str,
        address: IpAddr,
        now: Instant,
    ) -> HandlerResult<LoginAttempt<'_>> {
        let (account, client) = (account_key(username), ClientId::from_address(address));
        let mut subjects =
            vec![FailureKey::Network(client), FailureKey::Pair(account.clone(), client)];
        let counts_for_account = !self.known_networks.contains_key(&(account.clone(), client));
        if counts_for_account {
            subjects.push(FailureKey::Account(account.clone()));
        }
        let longest = subjects.iter().filter_map(|subject| self.remaining_wait(subject, now)).max();
        if let Some(wait) = longest {
            return Err(Problem::retry_later(ProblemCode::RateLimited, whole_seconds(wait)));
        }
        for subject in subjects {
            self.count(subject, now);
        }
        Ok(LoginAttempt { throttle: self, account, client, counts_for_account })
    }

    /// The remaining delay of a subject; `None` without one.
    fn remaining_wait(&self, subject: &FailureKey, now: Instant) -> Option<Duration> {
        let wait = self.counts.get(subject)?.wait_until.saturating_duration_since(now);
        (!wait.is_zero()).then_some(wait)
    }

    fn count(&self, subject: FailureKey, now: Instant) {
        let forgiven = subject.free_failures();
        self.counts.entry(subject).and_upsert_with(|entry| {
            let before = entry.map(|entry| entry.into_value());
            let before = before.filter(|count| now.duration_since(count.since) < WINDOW);
            let (failures, since) = before.map_or((0, now), |count| (count.failures, count.since));
            let failures = failures.saturating_add(1);
            FailureCount { failures, since, wait_until: now + backoff(failures, forgiven) }
        });
    }

    /// Removes failures from the count of a subject.
    fn forgive(&self, subject: FailureKey, failures: u32) {
        let forgiven = subject.free_failures();
        self.counts.entry(subject).and_compute_with(|entry| {
            let Some(count) = entry.map(|entry| entry.into_value()) else { return Op::Nop };
            let left = count.failures.saturating_sub(failures);
            if left == 0 {
                return Op::Remove;
            }
            // A delay that was caused by other failures stays.
            let wait_until = if left < forgiven { count.since } else { count.wait_until };
            Op::Put(FailureCount { failures: left, wait_until, ..count })
        });
    }
}

impl Default for LoginThrottle {
    fn default() -> Self {
        Self::new()
    }
}

impl LoginAttempt<'_> {
    /// The password was right: the failures of this network at this account are forgiven, and the
    /// network becomes known for the account. Other failures of the network stay counted; otherwise
    /// an attacker with an account of its own could reset the count by logging in.
    pub(super) fn succeeded(self) {
        let pair = FailureKey::Pair(self.account.clone(), self.client);
        let failed = self.throttle.counts.remove(&pair).map_or(1, |count| count.failures);
        if self.counts_for_account {
            self.throttle.forgive(FailureKey::Account(self.account.clone()), failed);
        }
        self.throttle.forgive(FailureKey::Network(self.client), 1);
        self.throttle.known_networks.insert((self.account, self.client), ());
    }

    /// The password was not verified, so the attempt revealed nothing.
    pub(super) fn withdraw(self) {
        self.throttle.forgive(FailureKey::Pair(self.account.clone(), self.client), 1);
        if self.counts_for_account {
            self.throttle.forgive(FailureKey::Account(self.account), 1);
        }
        self.throttle.forgive(FailureKey::Network(self.client), 1);
    }
}

/// Digest of a user name; names are case-insensitive.
fn account_key(username: &str) -> String {
    secret::digest(&username.to_lowercase())
}

/// One second after the first failure that is not forgiven, doubled by each further one.
fn backoff(failures: u32, forgiven: u32) -> Duration {
    match failures.checked_sub(forgiven) {
        None => Duration::ZERO,
        Some(beyond) => Duration::from_secs(1 << beyond.min(20)).min(MAX_WAIT),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(n: u8) -> IpAddr {
        IpAddr::from([198, 51, 100, n])
    }

    /// Returns true if an attempt is admitted; it then fails.
    fn fails(throttle: &LoginThrottle, name: &str, from: u8, now: Instant) -> bool {
        throttle.begin_at(name, address(from), now).is_ok()
    }

    #[test]
    fn tries_at_once_are_counted_before_they_end() {
        let (throttle, now) = (LoginThrottle::new(), Instant::now());
        let tries: Vec<_> =
            (0..200).filter_map(|n| throttle.begin_at("Ada", address(n), now).ok()).collect();
        assert_eq!(tries.len(), 5, "from any address, whether or not they have ended");
        // All of them were right after all.
        tries.into_iter().for_each(LoginAttempt::succeeded);
        assert!(fails(&throttle, "ada", 201, now));
    }

    #[test]
    fn a_try_that_was_not_checked_does_not_count() {
        let (throttle, now) = (LoginThrottle::new(), Instant::now());
        for _ in 0..100 {
            throttle.begin_at("ada", address(1), now).expect("no attempt counts").withdraw();
        }
    }

    #[test]
    fn guessing_elsewhere_does_not_keep_the_owner_out() {
        let (throttle, start) = (LoginThrottle::new(), Instant::now());
        throttle.begin_at("ada", address(1), start).expect("the first").succeeded();
        for second in 0..3600 {
            let now = start + Duration::from_secs(second);
            (2..10).for_each(|n| drop(throttle.begin_at("ada", address(n), now)));
            let owner = throttle.begin_at("ada", address(1), now);
            owner.unwrap_or_else(|_| panic!("locked out after {second} s")).succeeded();
        }
    }

    #[test]
    fn a_network_waits_for_its_own_failures_though_the_account_knows_it() {
        let (throttle, now) = (LoginThrottle::new(), Instant::now());
        throttle.begin_at("ada", address(1), now).expect("the first").succeeded();
        assert_eq!((0..20).filter(|_| fails(&throttle, "ada", 1, now)).count(), 5);
        // Attempts at other accounts from the same network, until the network has failed too often.
        let others = (0..40).filter(|n| fails(&throttle, &n.to_string(), 1, now)).count();
        assert_eq!(others, 15);
    }

    #[test]
    fn a_try_that_is_refused_extends_nothing() {
        let (throttle, start) = (LoginThrottle::new(), Instant::now());
        (0..5).for_each(|_| drop(throttle.begin_at("ada", address(1), start)));
        let refused = throttle.begin_at("ada", address(1), start).err().expect("it has to wait");
        assert_eq!(refused.retry_after, Some(2));
        for tenth in 0..10 {
            let now = start + Duration::from_millis(tenth * 100);
            assert!(
                !fails(&throttle, "ada", 2, now),
                "the delay of the account applies to other networks, too"
            );
        }
        assert!(fails(&throttle, "ada", 2, start + Duration::from_secs(1)));
    }

    proptest! {
        /// However many clients guess, and however often, no delay exceeds the longest one, and the
        /// count restarts.
        #[test]
        fn no_wait_is_longer_than_it_may_be(
            tries in prop::collection::vec((0_u64..400, 0_u8..4, 0_u8..3), 1..200)
        ) {
            let (throttle, start) = (LoginThrottle::new(), Instant::now());
            let mut now = start;
            for (after, from, name) in tries {
                now += Duration::from_secs(after);
                if let Err(refused) = throttle.begin_at(&name.to_string(), address(from), now) {
                    let wait = Duration::from_secs(refused.retry_after.expect("it says when"));
                    prop_assert!(wait <= MAX_WAIT + Duration::from_secs(1));
                    prop_assert!(fails(&throttle, &name.to_string(), from, now + wait));
                    now += wait;
                }
            }
            let later = now + WINDOW;
            for name in 0..3_u8 {
                let free = (0..5).filter(|_| fails(&throttle, &name.to_string(), 9, later)).count();
                prop_assert_eq!(free, 5);
            }
        }
    }
}
