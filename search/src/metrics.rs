//! Every metric of the front end, its name and its labels, once.

use std::time::Duration;

use pipeline::{counters, histograms};
use prometheus::{HistogramVec, IntCounterVec, Registry};

use crate::answer::Answer;
use crate::request::Mode;

/// Seconds of a search: from an answer out of a cache to one that nobody waits for.
const SEARCH_SECONDS: [f64; 11] =
    [0.000_25, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 2.0];

/// Seconds of a part of a search; our own code takes less than one of them.
const PART_SECONDS: [f64; 14] = [
    0.000_1, 0.000_2, 0.000_3, 0.000_5, 0.000_75, 0.001, 0.0015, 0.0025, 0.005, 0.01, 0.025, 0.05,
    0.1, 0.5,
];

/// Seconds of a request; a login hashes a password.
const REQUEST_SECONDS: [f64; 7] = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0];

/// What the front end counts. Clones are the same one.
#[derive(Clone, Debug)]
pub struct SearchMetrics {
    seconds: HistogramVec,
    parts: HistogramVec,
    failures: IntCounterVec,
    caches: IntCounterVec,
    requests: HistogramVec,
}

impl Default for SearchMetrics {
    /// For whoever exposes none.
    fn default() -> Self {
        Self::new(&Registry::new())
    }
}

impl SearchMetrics {
    /// Metrics at zero.
    pub fn new(registry: &Registry) -> Self {
        let metrics = Self {
            seconds: histograms(
                registry,
                "semantik_search_seconds",
                "Time of a search, by the mode of its first collection",
                &["mode"],
                &SEARCH_SECONDS,
            ),
            parts: histograms(
                registry,
                "semantik_search_part_seconds",
                "Parts of the time of a search: the model, the store, and the rest of the request",
                &["part"],
                &PART_SECONDS,
            ),
            failures: counters(
                registry,
                "semantik_search_failures_total",
                "Collections that failed in a search which was answered for the others",
                &[],
            ),
            caches: counters(
                registry,
                "semantik_search_cache_total",
                "Look-ups of what was computed before",
                &["cache", "result"],
            ),
            requests: histograms(
                registry,
                "semantik_http_request_seconds",
                "Time of a request",
                &["route", "method", "status"],
                &REQUEST_SECONDS,
            ),
        };
        // What has not happened yet is a zero, not a gap.
        metrics.failures.with_label_values::<&str>(&[]).inc_by(0);
        for cache in ["questions", "hits", "facets"] {
            for result in ["hit", "miss"] {
                metrics.caches.with_label_values(&[cache, result]).inc_by(0);
            }
        }
        metrics
    }

    /// A search was answered.
    pub fn answered(&self, asked: Option<Mode>, answer: &Answer) {
        let mode = answer.searched.first().map(|it| it.mode).or(asked);
        let timings = answer.timings;
        let mode = mode.map_or("none", Mode::name);
        self.seconds.with_label_values(&[mode]).observe(timings.total.as_secs_f64());
        for (part, took) in [("embed", timings.embed), ("store", timings.store)] {
            self.parts.with_label_values(&[part]).observe(took.as_secs_f64());
        }
        self.failures.with_label_values::<&str>(&[]).inc_by(answer.failed.len() as u64);
    }

    /// The request of a search was answered; what neither the model nor the store has taken of it: who asks, what they
    /// may, putting hits together, and writing the answer.
    pub fn own(&self, took: Duration) {
        self.parts.with_label_values(&["own"]).observe(took.as_secs_f64());
    }

    /// A cache was asked.
    pub(crate) fn looked_up(&self, cache: &str, found: bool) {
        let result = if found { "hit" } else { "miss" };
        self.caches.with_label_values(&[cache, result]).inc();
    }

    /// A request was answered. The route is the pattern of the path, of which there are as many as endpoints.
    pub fn served(&self, route: &str, method: &str, status: u16, took: Duration) {
        let status = status.to_string();
        let labels = &[route, method, status.as_str()];
        self.requests.with_label_values(labels).observe(took.as_secs_f64());
    }
}
