//! Metrics of store calls. The caller of a store reports the call; stores do not count.

use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec, Registry};

use super::register::{register_counters, register_gauges, register_histograms};

/// Bucket bounds in seconds: from an answer out of memory to one after a restart of the server.
const CALL_SECONDS: [f64; 9] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];

/// Metrics of the store calls of one process.
#[derive(Clone)]
pub struct StoreMetrics {
    seconds: HistogramVec,
    errors: IntCounterVec,
    retries: IntCounterVec,
    in_flight: IntGaugeVec,
}

impl StoreMetrics {
    /// Registers the metrics, all at zero.
    pub fn new(registry: &Registry) -> Self {
        let call = &["store", "call"];
        Self {
            seconds: register_histograms(
                registry,
                "semantik_store_call_seconds",
                "Duration of store calls, including retries",
                call,
                &CALL_SECONDS,
            ),
            errors: register_counters(
                registry,
                "semantik_store_errors_total",
                "Store calls that failed, after all retries",
                call,
            ),
            retries: register_counters(
                registry,
                "semantik_store_retries_total",
                "Retries of store calls",
                &["store"],
            ),
            in_flight: register_gauges(
                registry,
                "semantik_store_calls_under_way",
                "Store calls in progress, including those that wait for a connection",
                &["store"],
            ),
        }
    }

    /// Records the start of a call.
    pub fn call_started(&self, store: &str) {
        // Exports the counter as 0 before the first retry.
        let _none_yet = self.retries.with_label_values(&[store]);
        self.in_flight.with_label_values(&[store]).inc();
    }

    /// Records a retry.
    pub fn count_retry(&self, store: &str) {
        self.retries.with_label_values(&[store]).inc();
    }

    /// Records the end of a call.
    pub fn call_finished(&self, store: &str, call: &str, took: Duration, failed: bool) {
        self.in_flight.with_label_values(&[store]).dec();
        self.seconds.with_label_values(&[store, call]).observe(took.as_secs_f64());
        self.errors.with_label_values(&[store, call]).inc_by(failed.into());
    }
}
