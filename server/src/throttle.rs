//! Slows down guessing of passwords, without locking anybody out for long.
//!
//! Every try is counted as failed before the password is checked, and forgiven afterwards if it was right, so that tries
//! that come at once are no cheaper than those that come one after the other. Counts are kept of
//!
//! - an account and a network together: a network that guesses at an account has to wait for that account;
//! - an account, over all networks: many networks that guess at one account have to wait together. A network from which
//!   the account has logged in before passes this count, so that guessing elsewhere does not keep its owner out;
//! - a network, over all accounts.
//!
//! A wait doubles with each failure and never exceeds [`LONGEST_WAIT`]. A try during a wait is refused without being
//! counted, so it does not extend the wait. A count begins anew [`WINDOW`] after its first failure, however many came
//! since. Whether there is such an account makes no difference.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use moka::ops::compute::Op;
use moka::sync::Cache;

use super::ports::Accounts;
use super::problem::{Answer, Code, Problem};
use super::rate::{Client, whole_seconds};
use super::secret;

/// Failed tries at an account that are forgiven, by one network and by all of them.
const ACCOUNT_FAILURES: u32 = 5;
/// Failed tries by a network, behind which there may be many people.
const NETWORK_FAILURES: u32 = 20;
/// The longest wait; longer ones would let anybody lock somebody else out.
const LONGEST_WAIT: Duration = Duration::from_secs(5 * 60);
/// How long failures count, from the first one on.
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// How long a network is known by which an account has logged in.
const KNOWN: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How long the store is not asked again about a network.
const ASKED: Duration = Duration::from_secs(60);
/// Accounts, networks and pairs that are remembered at most.
const REMEMBERED: u64 = 100_000;

/// What failures are counted of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    /// An account by the digest of its name, so that a name of a megabyte costs no memory.
    Account(String),
    Network(Client),
    Pair(String, Client),
}

impl Subject {
    fn forgiven(&self) -> u32 {
        match self {
            Self::Account(_) | Self::Pair(..) => ACCOUNT_FAILURES,
            Self::Network(_) => NETWORK_FAILURES,
        }
    }
}

/// The failures of a subject.
#[derive(Clone, Copy)]
struct Count {
    failures: u32,
    /// When the first one came.
    since: Instant,
    /// No further try before this.
    wait_until: Instant,
}

/// Counts failed logins.
pub(crate) struct Throttle {
    counts: Cache<Subject, Count>,
    /// Accounts with the networks from which they have logged in.
    known: Cache<(String, Client), ()>,
    /// Those of which the store has said that they have not.
    strangers: Cache<(String, Client), ()>,
}

/// A try that is counted as failed until something else is said.
pub(super) struct Try<'a> {
    throttle: &'a Throttle,
    account: String,
    client: Client,
    /// Whether it was counted for the account over all networks, too.
    counts_for_account: bool,
}

impl Throttle {
    /// Remembers nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            counts: Cache::builder().max_capacity(REMEMBERED).time_to_idle(WINDOW).build(),
            known: Cache::builder().max_capacity(REMEMBERED).time_to_live(KNOWN).build(),
            strangers: Cache::builder().max_capacity(REMEMBERED).time_to_live(ASKED).build(),
        }
    }

    /// Counts a try. Where other networks have failed too often, the store is asked whether the account has logged in from
    /// this one before: this process may be younger than that.
    ///
    /// # Errors
    /// If it has to wait; says how long. If the store cannot be reached.
    pub(super) async fn begin(
        &self,
        accounts: &dyn Accounts,
        username: &str,
        address: IpAddr,
    ) -> Answer<Try<'_>> {
        let pair = (account(username), Client::at(address));
        let is_held = self.wait(&Subject::Account(pair.0.clone()), Instant::now()).is_some();
        if is_held && !self.known.contains_key(&pair) && !self.strangers.contains_key(&pair) {
            let logins = accounts.login_addresses(username).await?;
            let mut networks = logins.iter().filter_map(|it| it.parse().ok()).map(Client::at);
            match networks.any(|network| network == pair.1) {
                true => self.known.insert(pair, ()),
                false => self.strangers.insert(pair, ()),
            }
        }
        self.begin_at(username, address, Instant::now())
    }

    fn begin_at(&self, username: &str, address: IpAddr, now: Instant) -> Answer<Try<'_>> {
        let (account, client) = (account(username), Client::at(address));
        let mut subjects = vec![Subject::Network(client), Subject::Pair(account.clone(), client)];
        let counts_for_account = !self.known.contains_key(&(account.clone(), client));
        if counts_for_account {
            subjects.push(Subject::Account(account.clone()));
        }
        let longest = subjects.iter().filter_map(|subject| self.wait(subject, now)).max();
        if let Some(wait) = longest {
            return Err(Problem::later(Code::RateLimited, whole_seconds(wait)));
        }
        for subject in subjects {
            self.count(subject, now);
        }
        Ok(Try { throttle: self, account, client, counts_for_account })
    }

    /// How long a subject has to wait, if it has to.
    fn wait(&self, subject: &Subject, now: Instant) -> Option<Duration> {
        let wait = self.counts.get(subject)?.wait_until.saturating_duration_since(now);
        (!wait.is_zero()).then_some(wait)
    }

    fn count(&self, subject: Subject, now: Instant) {
        let forgiven = subject.forgiven();
        self.counts.entry(subject).and_upsert_with(|entry| {
            let before = entry.map(|entry| entry.into_value());
            let before = before.filter(|count| now.duration_since(count.since) < WINDOW);
            let (failures, since) = before.map_or((0, now), |count| (count.failures, count.since));
            let failures = failures.saturating_add(1);
            Count { failures, since, wait_until: now + wait_after(failures, forgiven) }
        });
    }

    /// Takes failures back that were none.
    fn forgive(&self, subject: Subject, failures: u32) {
        let forgiven = subject.forgiven();
        self.counts.entry(subject).and_compute_with(|entry| {
            let Some(count) = entry.map(|entry| entry.into_value()) else { return Op::Nop };
            let left = count.failures.saturating_sub(failures);
            if left == 0 {
                return Op::Remove;
            }
            // A wait that failures of others have brought about stays.
            let wait_until = if left < forgiven { count.since } else { count.wait_until };
            Op::Put(Count { failures: left, wait_until, ..count })
        });
    }
}

impl Default for Throttle {
    fn default() -> Self {
        Self::new()
    }
}

impl Try<'_> {
    /// The password was right: what this network has failed at this account is forgiven, and from now on it is known to
    /// the account. The count of the network keeps its other failures, or an account of one's own would buy as many
    /// guesses as one likes.
    pub(super) fn succeeded(self) {
        let pair = Subject::Pair(self.account.clone(), self.client);
        let failed = self.throttle.counts.remove(&pair).map_or(1, |count| count.failures);
        if self.counts_for_account {
            self.throttle.forgive(Subject::Account(self.account.clone()), failed);
        }
        self.throttle.forgive(Subject::Network(self.client), 1);
        self.throttle.known.insert((self.account, self.client), ());
    }

    /// The password was not checked, so nothing was learnt from the try.
    pub(super) fn withdraw(self) {
        self.throttle.forgive(Subject::Pair(self.account.clone(), self.client), 1);
        if self.counts_for_account {
            self.throttle.forgive(Subject::Account(self.account), 1);
        }
        self.throttle.forgive(Subject::Network(self.client), 1);
    }
}

/// Names are compared without regard to case.
fn account(username: &str) -> String {
    secret::digest(&username.to_lowercase())
}

/// A second after the first failure that is not forgiven, twice as long after each further one.
fn wait_after(failures: u32, forgiven: u32) -> Duration {
    match failures.checked_sub(forgiven) {
        None => Duration::ZERO,
        Some(beyond) => Duration::from_secs(1 << beyond.min(20)).min(LONGEST_WAIT),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(n: u8) -> IpAddr {
        IpAddr::from([198, 51, 100, n])
    }

    /// Whether a try is let through; it fails then.
    fn fails(throttle: &Throttle, name: &str, from: u8, now: Instant) -> bool {
        throttle.begin_at(name, address(from), now).is_ok()
    }

    #[test]
    fn tries_at_once_are_counted_before_they_end() {
        let (throttle, now) = (Throttle::new(), Instant::now());
        let tries: Vec<_> =
            (0..200).filter_map(|n| throttle.begin_at("Ada", address(n), now).ok()).collect();
        assert_eq!(tries.len(), 5, "whatever the address, and whether or not they have ended");
        // All of them were right after all.
        tries.into_iter().for_each(Try::succeeded);
        assert!(fails(&throttle, "ada", 201, now));
    }

    #[test]
    fn a_try_that_was_not_checked_does_not_count() {
        let (throttle, now) = (Throttle::new(), Instant::now());
        for _ in 0..100 {
            throttle.begin_at("ada", address(1), now).expect("none counts").withdraw();
        }
    }

    #[test]
    fn guessing_elsewhere_does_not_keep_the_owner_out() {
        let (throttle, start) = (Throttle::new(), Instant::now());
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
        let (throttle, now) = (Throttle::new(), Instant::now());
        throttle.begin_at("ada", address(1), now).expect("the first").succeeded();
        assert_eq!((0..20).filter(|_| fails(&throttle, "ada", 1, now)).count(), 5);
        // Another account from there, until the network has failed too often.
        let others = (0..40).filter(|n| fails(&throttle, &n.to_string(), 1, now)).count();
        assert_eq!(others, 15);
    }

    #[test]
    fn a_try_that_is_refused_extends_nothing() {
        let (throttle, start) = (Throttle::new(), Instant::now());
        (0..5).for_each(|_| drop(throttle.begin_at("ada", address(1), start)));
        let refused = throttle.begin_at("ada", address(1), start).err().expect("it has to wait");
        assert_eq!(refused.retry_after, Some(2));
        for tenth in 0..10 {
            let now = start + Duration::from_millis(tenth * 100);
            assert!(!fails(&throttle, "ada", 2, now), "the account waits for other networks, too");
        }
        assert!(fails(&throttle, "ada", 2, start + Duration::from_secs(1)));
    }

    proptest! {
        /// However many guess, and however often: nobody waits longer than the longest wait, and the count begins anew.
        #[test]
        fn no_wait_is_longer_than_it_may_be(
            tries in prop::collection::vec((0_u64..400, 0_u8..4, 0_u8..3), 1..200)
        ) {
            let (throttle, start) = (Throttle::new(), Instant::now());
            let mut now = start;
            for (after, from, name) in tries {
                now += Duration::from_secs(after);
                if let Err(refused) = throttle.begin_at(&name.to_string(), address(from), now) {
                    let wait = Duration::from_secs(refused.retry_after.expect("it says when"));
                    prop_assert!(wait <= LONGEST_WAIT + Duration::from_secs(1));
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
