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

use super::problem::{HandlerResult, Problem, ProblemCode};

/// Endpoints of similar cost, with a common rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RateClass {
    /// Health checks.
    Light,
    /// Logins and other checks of a secret.
    Login,
    /// Searches.
    Search,
    /// Reads; also files of the web UI and the description of the API.
    ReadOnly,
    /// Changes.
    Change,
}

/// Rate limit of a client, as a token bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateLimit {
    /// Requests per second; 0 means unlimited.
    pub per_second: f64,
    /// Requests in a burst after a pause.
    pub burst: u32,
}

/// Classes by their names in options, with the default rates.
pub const RATE_CLASSES: [(&str, RateClass, RateLimit); 5] = [
    ("light", RateClass::Light, RateLimit { per_second: 50.0, burst: 200 }),
    ("login", RateClass::Login, RateLimit { per_second: 0.2, burst: 10 }),
    ("search", RateClass::Search, RateLimit { per_second: 20.0, burst: 60 }),
    ("look", RateClass::ReadOnly, RateLimit { per_second: 50.0, burst: 200 }),
    ("change", RateClass::Change, RateLimit { per_second: 5.0, burst: 40 }),
];

/// Callers that are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ClientId {
    /// Id of an account or of a key.
    Authenticated(uuid::Uuid),
    /// An address; for IPv6 its /64 network, the usual size for one household.
    Address(IpAddr),
    /// Commands of the user who runs the server. They have no limit.
    Local,
}

impl ClientId {
    pub(super) fn from_address(address: IpAddr) -> Self {
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
const MAX_REMEMBERED: u64 = 100_000;
/// Longest lifetime of an entry.
const REMEMBERED_FOR: Duration = Duration::from_secs(60 * 60);

/// Rate limiters of all classes.
pub(crate) struct RequestLimiter {
    limiters: HashMap<RateClass, DefaultKeyedRateLimiter<ClientId>>,
    /// Time until which clients are over the rate of [`RateClass::Login`].
    over_login_limit: Cache<ClientId, Instant>,
    last_sweep: Mutex<Instant>,
    clock: DefaultClock,
}

impl RequestLimiter {
    /// Default rates, with `others` in place of those of the same class.
    pub(crate) fn new(others: &[(RateClass, RateLimit)]) -> Self {
        let limiters = RATE_CLASSES.iter().filter_map(|(_, class, usual)| {
            let other = others.iter().rev().find(|(it, _)| it == class);
            let rate = other.map_or(*usual, |(_, rate)| *rate);
            Some((*class, RateLimiter::keyed(quota(rate)?)))
        });
        Self {
            limiters: limiters.collect(),
            over_login_limit: Cache::builder()
                .max_capacity(MAX_REMEMBERED)
                .time_to_live(REMEMBERED_FOR)
                .build(),
            last_sweep: Mutex::new(Instant::now()),
            clock: DefaultClock::default(),
        }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// [`ProblemCode::RateLimited`] above the rate, with the time until the next request.
    pub(super) fn check(&self, class: RateClass, client: ClientId) -> HandlerResult<()> {
        self.check_many(class, client, 1)
    }

    /// Counts a request as `places` requests. A request above the burst takes the whole burst,
    /// except the place that the request took when it arrived.
    ///
    /// # Errors
    /// [`ProblemCode::RateLimited`] above the rate, with the time until enough places are free.
    pub(super) fn check_many(
        &self,
        class: RateClass,
        client: ClientId,
        places: u32,
    ) -> HandlerResult<()> {
        if client == ClientId::Local {
            return Ok(());
        }
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
            if class == RateClass::Login {
                self.over_login_limit.insert(client, Instant::now() + wait);
            }
            Problem::retry_later(ProblemCode::RateLimited, whole_seconds(wait))
        })
    }

    /// Takes up to `places` places, as many as are left, for a request that cost more than
    /// estimated.
    pub(super) fn charge(&self, class: RateClass, client: ClientId, places: u32) {
        let mut places = places;
        while places > 0 && self.check_many(class, client, places).is_err() {
            places /= 2;
        }
    }

    /// Checks that the client is not over the rate of failed credentials, before its next one is
    /// verified.
    ///
    /// # Errors
    /// [`ProblemCode::RateLimited`] if it is, with the remaining time.
    pub(super) fn check_login_attempts(&self, client: ClientId) -> HandlerResult<()> {
        let left = |until: Instant| until.saturating_duration_since(Instant::now());
        match self.over_login_limit.get(&client).map(left) {
            Some(left) if !left.is_zero() => {
                Err(Problem::retry_later(ProblemCode::RateLimited, whole_seconds(left)))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Drops idle clients, at most once a minute.
    fn sweep(&self) {
        let mut swept = self.last_sweep.lock().expect("no code panics with this lock");
        if swept.elapsed() > Duration::from_secs(60) {
            *swept = Instant::now();
            self.limiters.values().for_each(RateLimiter::retain_recent);
        }
    }
}

fn quota(rate: RateLimit) -> Option<Quota> {
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
        let rates =
            RequestLimiter::new(&[(RateClass::Search, RateLimit { per_second: 0.01, burst: 2 })]);
        let (one, other) =
            (ClientId::from_address(HERE), ClientId::Authenticated(uuid::Uuid::nil()));
        assert!(
            rates.check(RateClass::Search, one).is_ok()
                && rates.check(RateClass::Search, one).is_ok()
        );
        let refused = rates.check(RateClass::Search, one).expect_err("that is one too many");
        assert!((90..=101).contains(&refused.retry_after.expect("it says when")), "{refused:?}");
        assert!(rates.check(RateClass::Search, other).is_ok());
        assert!(rates.check(RateClass::ReadOnly, one).is_ok());
        let free =
            RequestLimiter::new(&[(RateClass::Login, RateLimit { per_second: 0.0, burst: 0 })]);
        assert!((0..1000).all(|_| free.check(RateClass::Login, one).is_ok()));
    }

    #[test]
    fn neighbours_of_one_household_are_one_client() {
        let at = |text: &str| ClientId::from_address(text.parse().expect("an address"));
        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:1"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_eq!(at("::ffff:10.0.0.1"), at("10.0.0.1"));
    }

    #[test]
    fn an_expensive_request_takes_more_and_never_more_than_there_is() {
        let rates =
            RequestLimiter::new(&[(RateClass::Search, RateLimit { per_second: 0.001, burst: 10 })]);
        let client = |n: u128| ClientId::Authenticated(uuid::Uuid::from_u128(n));
        let many = |n, places| rates.check_many(RateClass::Search, client(n), places);
        assert!(many(1, 7).is_ok() && many(1, 4).is_err() && many(1, 3).is_ok());
        // Above the burst: all places except the one that the request took itself.
        assert!(many(2, 1).is_ok() && many(2, 1000).is_ok() && many(2, 1).is_err());
        assert!(many(3, 6).is_ok());
        rates.charge(RateClass::Search, client(3), 1000);
        assert!(many(3, 3).is_err());
    }

    #[test]
    fn who_is_over_the_rate_of_logins_is_known_before_the_next_try() {
        let rates =
            RequestLimiter::new(&[(RateClass::Login, RateLimit { per_second: 0.01, burst: 1 })]);
        let one = ClientId::from_address(HERE);
        assert!(rates.check_login_attempts(one).is_ok());
        assert!(rates.check(RateClass::Login, one).is_ok());
        assert!(rates.check_login_attempts(one).is_ok(), "it has not been refused yet");
        assert!(rates.check(RateClass::Login, one).is_err());
        assert!(rates.check_login_attempts(one).is_err());
    }
}
