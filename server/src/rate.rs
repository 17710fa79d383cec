//! Rate limits by client and class of endpoints.
//!
//! Rates are counted in this process by client: key or account, or the address of an anonymous
//! caller. Idle clients are dropped, so the memory of the counters is bounded. `throttle.rs` counts
//! failed logins.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, InsufficientCapacity, Quota, RateLimiter};
use moka::sync::Cache;

use super::problem::{Answer, Code, Problem};

/// Endpoints of similar cost, with a common rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Health checks.
    Light,
    /// Logins and other checks of a secret.
    Login,
    /// Searches.
    Search,
    /// Reads; also files of the web UI and the description of the API.
    Look,
    /// Changes.
    Change,
}

/// Rate limit of a client, as a token bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Requests per second; 0 means unlimited.
    pub per_second: f64,
    /// Requests in a burst after a pause.
    pub burst: u32,
}

/// Classes by their names in options, with the default rates.
pub const CLASSES: [(&str, Class, Rate); 5] = [
    ("light", Class::Light, Rate { per_second: 50.0, burst: 200 }),
    ("login", Class::Login, Rate { per_second: 0.2, burst: 10 }),
    ("search", Class::Search, Rate { per_second: 20.0, burst: 60 }),
    ("look", Class::Look, Rate { per_second: 50.0, burst: 200 }),
    ("change", Class::Change, Rate { per_second: 5.0, burst: 40 }),
];

/// Callers that are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Client {
    /// Id of an account or of a key.
    Known(uuid::Uuid),
    /// An address; for IPv6 its /64 network, the usual size for one household.
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

/// Capacity of the cache of clients over the login rate.
const REMEMBERED: u64 = 100_000;
/// Longest lifetime of an entry.
const FORGOTTEN: Duration = Duration::from_secs(60 * 60);

/// Rate limiters of all classes.
pub(crate) struct Rates {
    limiters: HashMap<Class, DefaultKeyedRateLimiter<Client>>,
    /// Time until which clients are over the rate of [`Class::Login`].
    over: Cache<Client, Instant>,
    swept: Mutex<Instant>,
    clock: DefaultClock,
}

impl Rates {
    /// Default rates, with `others` in place of those of the same class.
    pub(crate) fn new(others: &[(Class, Rate)]) -> Self {
        let limiters = CLASSES.iter().filter_map(|(_, class, usual)| {
            let other = others.iter().rev().find(|(it, _)| it == class);
            let rate = other.map_or(*usual, |(_, rate)| *rate);
            Some((*class, RateLimiter::keyed(quota(rate)?)))
        });
        Self {
            limiters: limiters.collect(),
            over: Cache::builder().max_capacity(REMEMBERED).time_to_live(FORGOTTEN).build(),
            swept: Mutex::new(Instant::now()),
            clock: DefaultClock::default(),
        }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// [`Code::RateLimited`] above the rate, with the time until the next request.
    pub(super) fn count(&self, class: Class, client: Client) -> Answer<()> {
        self.count_many(class, client, 1)
    }

    /// Counts a request as `places` requests. A request above the burst takes the whole burst,
    /// except the place that the request took when it arrived.
    ///
    /// # Errors
    /// [`Code::RateLimited`] above the rate, with the time until enough places are free.
    pub(super) fn count_many(&self, class: Class, client: Client, places: u32) -> Answer<()> {
        let Some(limiter) = self.limiters.get(&class) else { return Ok(()) };
        self.sweep();
        let Some(wanted) = NonZeroU32::new(places) else { return Ok(()) };
        let checked = match limiter.check_key_n(&client, wanted) {
            Ok(checked) => checked,
            Err(InsufficientCapacity(most)) => {
                let Some(all) = NonZeroU32::new(most.saturating_sub(1)) else { return Ok(()) };
                limiter.check_key_n(&client, all).unwrap_or(Ok(()))
            }
        };
        checked.map_err(|not_yet| {
            let wait = not_yet.wait_time_from(self.clock.now());
            if class == Class::Login {
                self.over.insert(client, Instant::now() + wait);
            }
            Problem::later(Code::RateLimited, whole_seconds(wait))
        })
    }

    /// Takes up to `places` places, as many as are left, for a request that cost more than
    /// estimated.
    pub(super) fn take(&self, class: Class, client: Client, places: u32) {
        let mut places = places;
        while places > 0 && self.count_many(class, client, places).is_err() {
            places /= 2;
        }
    }

    /// Checks that the client is not over the rate of failed credentials, before its next one is
    /// verified.
    ///
    /// # Errors
    /// [`Code::RateLimited`] if it is, with the remaining time.
    pub(super) fn may_try(&self, client: Client) -> Answer<()> {
        let left = |until: Instant| until.saturating_duration_since(Instant::now());
        match self.over.get(&client).map(left) {
            Some(left) if !left.is_zero() => {
                Err(Problem::later(Code::RateLimited, whole_seconds(left)))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Drops idle clients, at most once a minute.
    fn sweep(&self) {
        let mut swept = self.swept.lock().expect("no code panics with this lock");
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

pub(super) fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + 1
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
    fn an_expensive_request_takes_more_and_never_more_than_there_is() {
        let rates = Rates::new(&[(Class::Search, Rate { per_second: 0.001, burst: 10 })]);
        let client = |n: u128| Client::Known(uuid::Uuid::from_u128(n));
        let many = |n, places| rates.count_many(Class::Search, client(n), places);
        assert!(many(1, 7).is_ok() && many(1, 4).is_err() && many(1, 3).is_ok());
        // Above the burst: all places except the one that the request took itself.
        assert!(many(2, 1).is_ok() && many(2, 1000).is_ok() && many(2, 1).is_err());
        assert!(many(3, 6).is_ok());
        rates.take(Class::Search, client(3), 1000);
        assert!(many(3, 3).is_err());
    }

    #[test]
    fn who_is_over_the_rate_of_logins_is_known_before_the_next_try() {
        let rates = Rates::new(&[(Class::Login, Rate { per_second: 0.01, burst: 1 })]);
        let one = Client::at(HERE);
        assert!(rates.may_try(one).is_ok());
        assert!(rates.count(Class::Login, one).is_ok());
        assert!(rates.may_try(one).is_ok(), "it has not been refused yet");
        assert!(rates.count(Class::Login, one).is_err());
        assert!(rates.may_try(one).is_err());
    }
}
