//! How often a client may come: a rate for each class of endpoints, and patience at the login that wears off.
//!
//! Rates are counted in this process by client: the key or the account, and the address where neither is known. Logins
//! that fail are counted by account and by address, whether or not there is such an account; what is refused by that
//! is not even checked. Both forget what has not been seen for a while, and neither can be made to grow without end.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use moka::sync::Cache;

use super::problem::{Answer, Code, Problem};

/// Endpoints that cost about the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// What costs nothing: health, the description of the API.
    Light,
    /// Logins and whatever else checks a secret.
    Login,
    /// Searches.
    Search,
    /// Looking.
    Look,
    /// Changing.
    Change,
}

/// How many requests a client may send: so many a second, and so many at once after a rest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Requests a second; 0 is any number.
    pub per_second: f64,
    /// Requests at once.
    pub burst: u32,
}

/// The classes by the words that people use, with what holds unless something else is said.
pub const CLASSES: [(&str, Class, Rate); 5] = [
    ("light", Class::Light, Rate { per_second: 50.0, burst: 200 }),
    ("login", Class::Login, Rate { per_second: 0.2, burst: 10 }),
    ("search", Class::Search, Rate { per_second: 20.0, burst: 60 }),
    ("look", Class::Look, Rate { per_second: 50.0, burst: 200 }),
    ("change", Class::Change, Rate { per_second: 5.0, burst: 40 }),
];

/// Who is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Client {
    /// An account, or a key by its own id.
    Known(uuid::Uuid),
    /// An address; of IPv6 the network, since a household has a /64.
    Address(IpAddr),
}

impl Client {
    pub(super) fn at(address: IpAddr) -> Self {
        Self::Address(match address {
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                Some(v4) => IpAddr::V4(v4),
                None => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
            },
            IpAddr::V4(_) => address,
        })
    }
}

/// Counts requests.
pub(crate) struct Rates {
    limiters: HashMap<Class, DefaultKeyedRateLimiter<Client>>,
    swept: Mutex<Instant>,
    clock: DefaultClock,
}

impl Rates {
    /// With these rates in the place of the usual ones.
    pub(crate) fn new(others: &[(Class, Rate)]) -> Self {
        let limiters = CLASSES.iter().filter_map(|(_, class, usual)| {
            let other = others.iter().rev().find(|(it, _)| it == class);
            let rate = other.map_or(*usual, |(_, rate)| *rate);
            Some((*class, RateLimiter::keyed(quota(rate)?)))
        });
        Self {
            limiters: limiters.collect(),
            swept: Mutex::new(Instant::now()),
            clock: DefaultClock::default(),
        }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// If it is one too many; says when to come again.
    pub(super) fn count(&self, class: Class, client: Client) -> Answer<()> {
        let Some(limiter) = self.limiters.get(&class) else { return Ok(()) };
        self.sweep();
        limiter.check_key(&client).map_err(|not_yet| {
            let wait = not_yet.wait_time_from(self.clock.now());
            Problem::later(Code::RateLimited, whole_seconds(wait))
        })
    }

    /// Forgets clients that have rested, once a minute.
    fn sweep(&self) {
        let mut swept = self.swept.lock().expect("nobody panics while holding it");
        if swept.elapsed() > Duration::from_secs(60) {
            *swept = Instant::now();
            self.limiters.values().for_each(RateLimiter::retain_recent);
        }
    }
}

fn quota(rate: Rate) -> Option<Quota> {
    let between = Duration::try_from_secs_f64(1.0 / rate.per_second).ok()?;
    Some(Quota::with_period(between)?.allow_burst(NonZeroU32::new(rate.burst.max(1))?))
}

fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + 1
}

/// Failed logins that are forgiven before the next one has to wait.
const ACCOUNT_FAILURES: u32 = 5;
/// Of an address, behind which there may be many people.
const ADDRESS_FAILURES: u32 = 20;
/// The longest wait; longer ones would let anybody lock somebody else out.
const LONGEST_WAIT: Duration = Duration::from_secs(5 * 60);
/// After this long without a failure everything is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(60 * 60);
/// Accounts and addresses that are remembered at most.
const REMEMBERED: u64 = 100_000;

/// Slows down whoever guesses passwords.
pub(crate) struct Throttle {
    failures: Cache<Subject, (u32, Instant)>,
}

/// What failures are counted of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Account(String),
    Address(Client),
}

impl Subject {
    fn forgiven(&self) -> u32 {
        match self {
            Self::Account(_) => ACCOUNT_FAILURES,
            Self::Address(_) => ADDRESS_FAILURES,
        }
    }

    fn both(username: &str, address: IpAddr) -> [Self; 2] {
        // Digested, so that a name of a megabyte costs no memory.
        let account = super::secret::digest(&username.to_lowercase());
        [Self::Account(account), Self::Address(Client::at(address))]
    }
}

impl Throttle {
    /// Remembers nothing yet.
    pub(crate) fn new() -> Self {
        let failures = Cache::builder().max_capacity(REMEMBERED).time_to_idle(FORGOTTEN).build();
        Self { failures }
    }

    /// Whether somebody may try.
    ///
    /// # Errors
    /// If they have to wait; says how long.
    pub(super) fn may_try(&self, username: &str, address: IpAddr) -> Answer<()> {
        for subject in Subject::both(username, address) {
            let Some((failures, last)) = self.failures.get(&subject) else { continue };
            let left = wait(failures, subject.forgiven()).saturating_sub(last.elapsed());
            if !left.is_zero() {
                return Err(Problem::later(Code::RateLimited, whole_seconds(left)));
            }
        }
        Ok(())
    }

    /// Notes that a login failed.
    pub(super) fn failed(&self, username: &str, address: IpAddr) {
        for subject in Subject::both(username, address) {
            self.failures.entry(subject).and_upsert_with(|entry| {
                let before = entry.map_or(0, |entry| entry.into_value().0);
                (before.saturating_add(1), Instant::now())
            });
        }
    }

    /// Notes that one went well: that account is forgiven. Its address is not, or an account of their own would
    /// buy somebody as many guesses as they like.
    pub(super) fn succeeded(&self, username: &str, address: IpAddr) {
        let [account, _] = Subject::both(username, address);
        self.failures.invalidate(&account);
    }
}

impl Default for Throttle {
    fn default() -> Self {
        Self::new()
    }
}

/// A second after the first failure that is not forgiven, twice as long after each further one.
fn wait(failures: u32, forgiven: u32) -> Duration {
    match failures.checked_sub(forgiven) {
        None => Duration::ZERO,
        Some(beyond) => Duration::from_secs(1 << beyond.min(20)).min(LONGEST_WAIT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn a_client_has_its_burst_and_its_own_count() {
        let rates = Rates::new(&[(Class::Search, Rate { per_second: 0.01, burst: 2 })]);
        let (one, other) = (Client::at(HERE), Client::Known(uuid::Uuid::nil()));
        assert!(rates.count(Class::Search, one).is_ok() && rates.count(Class::Search, one).is_ok());
        let refused = rates.count(Class::Search, one).expect_err("that is one too many");
        assert!((90..=101).contains(&refused.retry_after.expect("it says when")), "{refused:?}");
        assert!(rates.count(Class::Search, other).is_ok());
        assert!(rates.count(Class::Look, one).is_ok());
        let free = Rates::new(&[(Class::Login, Rate { per_second: 0.0, burst: 0 })]);
        assert!((0..1000).all(|_| free.count(Class::Login, one).is_ok()));
    }

    #[test]
    fn neighbours_of_one_household_are_one_client() {
        let at = |text: &str| Client::at(text.parse().expect("an address"));
        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:1"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_eq!(at("::ffff:10.0.0.1"), at("10.0.0.1"));
    }

    #[test]
    fn guessing_gets_slower_for_known_and_unknown_names_alike() {
        assert_eq!(
            [4, 5, 6, 10, 30, 40].map(|n| wait(n, ACCOUNT_FAILURES).as_secs()),
            [0, 1, 2, 32, 300, 300]
        );
        let throttle = Throttle::new();
        (0..12).for_each(|_| throttle.failed("Ada", HERE));
        let elsewhere = "10.0.0.1".parse().expect("an address");
        assert!(throttle.may_try("ada", elsewhere).is_err(), "the account has to wait");
        assert!(throttle.may_try("bob", HERE).is_ok(), "the address is still forgiven");
        throttle.succeeded("ada", elsewhere);
        assert!(throttle.may_try("ada", elsewhere).is_ok());
        (0..12).for_each(|n| throttle.failed(&n.to_string(), HERE));
        assert!(throttle.may_try("bob", HERE).is_err(), "the address has to wait");
    }
}
