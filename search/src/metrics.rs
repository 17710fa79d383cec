//! Names and labels of all metrics of searches and HTTP requests.

use std::time::Duration;

use pipeline::{register_counters, register_histograms};
use prometheus::{HistogramVec, IntCounterVec, Registry};

use crate::request::SearchMode;
use crate::results::SearchResults;

/// Buckets of the duration of a search in seconds, from a cached answer to an unusably slow one.
const SEARCH_SECONDS: [f64; 11] =
    [0.000_25, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 2.0];

/// Buckets of the duration of a part of a search in seconds; the project's own code takes less than
/// a millisecond.
const PART_SECONDS: [f64; 14] = [
    0.000_1, 0.000_2, 0.000_3, 0.000_5, 0.000_75, 0.001, 0.0015, 0.0025, 0.005, 0.01, 0.025, 0.05,
    0.1, 0.5,
];

/// Buckets of the duration of a request in seconds; a login hashes a password.
const REQUEST_SECONDS: [f64; 7] = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0];

/// The metrics. Clones share them.
#[derive(Clone, Debug)]
pub struct SearchMetrics {
    seconds: HistogramVec,
    parts: HistogramVec,
    failures: IntCounterVec,
    caches: IntCounterVec,
    requests: HistogramVec,
}

impl Default for SearchMetrics {
    /// Metrics that are not exposed.
    fn default() -> Self {
        Self::new(&Registry::new())
    }
}

impl SearchMetrics {
    /// Registers the metrics, with the counters at zero.
    pub fn new(registry: &Registry) -> Self {
        let metrics = Self {
            seconds: register_histograms(
                registry,
                "semantik_search_seconds",
                "Duration of a search, by the mode of its first collection",
                &["mode"],
                &SEARCH_SECONDS,
            ),
            parts: register_histograms(
                registry,
                "semantik_search_part_seconds",
                "Duration of the parts of a search: model, store and rest of the request",
                &["part"],
                &PART_SECONDS,
            ),
            failures: register_counters(
                registry,
                "semantik_search_failures_total",
                "Failed collections in searches",
                &[],
            ),
            caches: register_counters(
                registry,
                "semantik_search_cache_total",
                "Lookups in the caches of searches",
                &["cache", "result"],
            ),
            requests: register_histograms(
                registry,
                "semantik_http_request_seconds",
                "Duration of an HTTP request",
                &["route", "method", "status"],
                &REQUEST_SECONDS,
            ),
        };
        // Counters start at zero instead of being absent.
        metrics.failures.with_label_values::<&str>(&[]).inc_by(0);
        for cache in ["questions", "legs", "hits", "facets"] {
            for result in ["hit", "miss"] {
                metrics.caches.with_label_values(&[cache, result]).inc_by(0);
            }
        }
        metrics
    }

    /// Counts an answered search.
    pub fn record_search(&self, asked: Option<SearchMode>, answer: &SearchResults) {
        let mode = answer.searched.first().map(|it| it.mode).or(asked);
        let timings = answer.timings;
        let mode = mode.map_or("none", SearchMode::name);
        self.seconds.with_label_values(&[mode]).observe(timings.total.as_secs_f64());
        for (part, took) in [("embed", timings.embed), ("store", timings.store)] {
            self.parts.with_label_values(&[part]).observe(took.as_secs_f64());
        }
        self.failures.with_label_values::<&str>(&[]).inc_by(answer.failed.len() as u64);
    }

    /// Records the time of a search request outside model and store: authentication, authorisation,
    /// merging hits, and writing the response.
    pub fn record_overhead(&self, took: Duration) {
        self.parts.with_label_values(&["own"]).observe(took.as_secs_f64());
    }

    /// Counts a cache lookup.
    pub(crate) fn record_cache_lookup(&self, cache: &str, found: bool) {
        let result = if found { "hit" } else { "miss" };
        self.caches.with_label_values(&[cache, result]).inc();
    }

    /// Counts an answered request. `route` is the path pattern of the endpoint, so that the number
    /// of series is bounded.
    pub fn record_request(&self, route: &str, method: &str, status: u16, took: Duration) {
        let status = status.to_string();
        let labels = &[route, method, status.as_str()];
        self.requests.with_label_values(labels).observe(took.as_secs_f64());
    }
}
