//! How often a client may come: a rate for each class of endpoints.
//!
//! Rates are counted in this process by client: the key or the account, and the address where neither is known. What has
//! not been seen for a while is forgotten, so that the counts cannot be made to grow without end. Logins that fail are
//! counted in `throttle.rs`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, InsufficientCapacity, Quota, RateLimiter};
use moka::sync::Cache;

use super::problem::{Answer, Code, Problem};

/// Endpoints that cost about the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// What costs nothing: health.
    Light,
    /// Logins and whatever else checks a secret.
    Login,
    /// Searches.
    Search,
    /// Looking; also the files of the page and the description of the API.
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

/// Clients over the rate of logins that are remembered at most.
const REMEMBERED: u64 = 100_000;
/// For how long at most.
const FORGOTTEN: Duration = Duration::from_secs(60 * 60);

/// Counts requests.
pub(crate) struct Rates {
    limiters: HashMap<Class, DefaultKeyedRateLimiter<Client>>,
    /// Until when clients are over the rate of [`Class::Login`].
    over: Cache<Client, Instant>,
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
            over: Cache::builder().max_capacity(REMEMBERED).time_to_live(FORGOTTEN).build(),
            swept: Mutex::new(Instant::now()),
            clock: DefaultClock::default(),
        }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// If it is one too many; says when to come again.
    pub(super) fn count(&self, class: Class, client: Client) -> Answer<()> {
        self.count_many(class, client, 1)
    }

    /// Counts a request that costs as much as several. One that costs more than a client may have at once takes all of
    /// that; one place is the request's own, which was counted when it came in.
    ///
    /// # Errors
    /// If the client has not so many left; says when to come again.
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

    /// Takes as many places as are left of these, for something that has cost more than was known before.
    pub(super) fn take(&self, class: Class, client: Client, places: u32) {
        let mut places = places;
        while places > 0 && self.count_many(class, client, places).is_err() {
            places /= 2;
        }
    }

    /// Whether a client has tried so many credentials that no further ones are looked at.
    ///
    /// # Errors
    /// If so; says when to come again.
    pub(super) fn may_try(&self, client: Client) -> Answer<()> {
        let left = |until: Instant| until.saturating_duration_since(Instant::now());
        match self.over.get(&client).map(left) {
            Some(left) if !left.is_zero() => {
                Err(Problem::later(Code::RateLimited, whole_seconds(left)))
            }
            Some(_) | None => Ok(()),
        }
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
        // More than a client may have at once: all but the place that the request has taken itself.
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
