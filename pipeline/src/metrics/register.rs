//! Registration of metrics, and their text format.

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{
    CounterVec, Encoder as _, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

/// Metric families in the text format of Prometheus; no family may be empty.
pub(super) fn text(families: &[MetricFamily]) -> String {
    let mut out = Vec::new();
    TextEncoder::new().encode(families, &mut out).expect("writing to a vector cannot fail");
    String::from_utf8(out).expect("the text format is UTF-8")
}

/// Registers counters of integers.
///
/// # Panics
/// If the name or a label is invalid, or the name is already registered.
pub fn register_counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> IntCounterVec {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

/// Registers counters of seconds.
pub(super) fn register_seconds(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> CounterVec {
    register(registry, CounterVec::new(Opts::new(name, help), labels))
}

/// Registers gauges of integers.
///
/// # Panics
/// As [`register_counters`].
pub fn register_gauges(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> IntGaugeVec {
    register(registry, IntGaugeVec::new(Opts::new(name, help), labels))
}

/// Registers histograms.
///
/// # Panics
/// As [`register_counters`], and if the buckets are not sorted.
pub fn register_histograms(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
    buckets: &[f64],
) -> HistogramVec {
    let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    register(registry, HistogramVec::new(options, labels))
}

fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: prometheus::Result<C>,
) -> C {
    let collector = collector.expect("the names in the code are valid");
    registry.register(Box::new(collector.clone())).expect("each name is registered once");
    collector
}
