//! The metrics of calls to the stores. Whoever calls a store reports the call; the stores do not count.

use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec, Registry};

use super::{counters, gauges, histograms};

/// Seconds that a call may take: from an answer out of memory to one after a restart of the server.
const CALL_SECONDS: [f64; 9] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];

/// The calls of one process to its stores.
#[derive(Clone)]
pub struct StoreMetrics {
    seconds: HistogramVec,
    errors: IntCounterVec,
    retries: IntCounterVec,
    under_way: IntGaugeVec,
}

impl StoreMetrics {
    /// Metrics at zero.
    pub fn new(registry: &Registry) -> Self {
        let call = &["store", "call"];
        Self {
            seconds: histograms(
                registry,
                "semantik_store_call_seconds",
                "Time until a store answered, its retries included",
                call,
                &CALL_SECONDS,
            ),
            errors: counters(
                registry,
                "semantik_store_errors_total",
                "Calls to a store that failed for good",
                call,
            ),
            retries: counters(
                registry,
                "semantik_store_retries_total",
                "Calls to a store that were made again",
                &["store"],
            ),
            under_way: gauges(
                registry,
                "semantik_store_calls_under_way",
                "Calls to a store that have no answer yet, those among them that wait for a connection",
                &["store"],
            ),
        }
    }

    /// A call begins.
    pub fn begins(&self, store: &str) {
        // What has not happened yet is a zero, not a gap.
        let _none_yet = self.retries.with_label_values(&[store]);
        self.under_way.with_label_values(&[store]).inc();
    }

    /// A call is made again.
    pub fn retries(&self, store: &str) {
        self.retries.with_label_values(&[store]).inc();
    }

    /// A call has ended.
    pub fn ended(&self, store: &str, call: &str, took: Duration, failed: bool) {
        self.under_way.with_label_values(&[store]).dec();
        self.seconds.with_label_values(&[store, call]).observe(took.as_secs_f64());
        self.errors.with_label_values(&[store, call]).inc_by(failed.into());
    }
}
