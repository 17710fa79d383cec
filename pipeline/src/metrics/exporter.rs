//! Metrics of a process that outlives its runs: its own metrics and those of every run in it.
//!
//! A run counts from zero, so its report and its live display use its counters directly. A server
//! or worker executes many runs, and Prometheus takes a falling counter for a restart. Counters and
//! histograms of ended runs are therefore kept as a sum, to which those of active runs are added.
//! Gauges show the current state; those of an ended run are dropped.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use prometheus::Registry;
use prometheus::proto::{Bucket, Counter, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use super::Metrics;
use super::register::text;
use crate::lock::lock;

/// The metrics of a process. Clones share them.
#[derive(Clone, Default)]
pub struct MetricsExporter(Arc<ExporterState>);

#[derive(Default)]
struct ExporterState {
    registry: Registry,
    runs: Mutex<Runs>,
}

#[derive(Default)]
struct Runs {
    active: Vec<Arc<Metrics>>,
    finished: Families,
}

/// Metric families by name, each with its metrics by labels.
#[derive(Clone, Default)]
struct Families(BTreeMap<String, (MetricFamily, BTreeMap<Labels, Metric>)>);

/// Labels with their values, in order.
type Labels = Vec<(String, String)>;

/// Exposes the metrics of a run until it is dropped; then they are added to those of ended runs.
pub struct ExportedRun {
    exporter: MetricsExporter,
    metrics: Arc<Metrics>,
}

impl MetricsExporter {
    /// An exposition without metrics.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registry for the metrics of the process that do not belong to one run.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// Exposes the metrics of a run until the returned value is dropped.
    pub fn export(&self, metrics: &Arc<Metrics>) -> ExportedRun {
        self.runs().active.push(Arc::clone(metrics));
        ExportedRun { exporter: self.clone(), metrics: Arc::clone(metrics) }
    }

    /// All metrics in the text format of Prometheus.
    pub fn encode_text(&self) -> String {
        let mut families = {
            let runs = self.runs();
            let mut families = runs.finished.clone();
            runs.active.iter().for_each(|run| families.add(run.registry().gather()));
            families
        };
        families.add(self.0.registry.gather());
        text(&families.into_families())
    }

    fn runs(&self) -> std::sync::MutexGuard<'_, Runs> {
        lock(&self.0.runs)
    }
}

impl Drop for ExportedRun {
    fn drop(&mut self) {
        let mut runs = self.exporter.runs();
        runs.active.retain(|run| !Arc::ptr_eq(run, &self.metrics));
        let families = self.metrics.registry().gather();
        let lasting = families.into_iter().filter(|it| it.get_field_type() != MetricType::GAUGE);
        runs.finished.add(lasting.collect());
    }
}

impl Families {
    fn add(&mut self, families: Vec<MetricFamily>) {
        for mut family in families {
            let kind = family.get_field_type();
            let metrics = family.take_metric();
            let name = family.name().to_owned();
            let (_, by_labels) = self.0.entry(name).or_insert_with(|| (family, BTreeMap::new()));
            for metric in metrics {
                let labels = metric.get_label().iter().map(label_pair).collect();
                let sum = match by_labels.remove(&labels) {
                    Some(before) => merge(kind, &before, metric),
                    None => metric,
                };
                by_labels.insert(labels, sum);
            }
        }
    }

    fn into_families(self) -> Vec<MetricFamily> {
        let filled = self.0.into_values().filter(|(_, metrics)| !metrics.is_empty());
        let whole = filled.map(|(mut family, metrics)| {
            family.set_metric(metrics.into_values().collect());
            family
        });
        whole.collect()
    }
}

fn label_pair(label: &LabelPair) -> (String, String) {
    (label.name().to_owned(), label.value().to_owned())
}

/// Merges two metrics of the same name and labels. Runs of one pipeline never overlap, so of two
/// gauges the later one is current.
fn merge(kind: MetricType, before: &Metric, mut metric: Metric) -> Metric {
    match kind {
        MetricType::COUNTER => {
            let mut counter = Counter::default();
            counter.set_value(before.get_counter().get_value() + metric.get_counter().get_value());
            metric.set_counter(counter);
        }
        MetricType::HISTOGRAM => {
            let (one, other) = (before.get_histogram(), metric.get_histogram());
            let mut histogram = Histogram::default();
            histogram.set_sample_count(one.get_sample_count() + other.get_sample_count());
            histogram.set_sample_sum(one.get_sample_sum() + other.get_sample_sum());
            let buckets = one.get_bucket().iter().zip(other.get_bucket()).map(|(one, other)| {
                let mut bucket = Bucket::default();
                bucket.set_upper_bound(one.upper_bound());
                bucket.set_cumulative_count(one.cumulative_count() + other.cumulative_count());
                bucket
            });
            histogram.set_bucket(buckets.collect());
            metric.set_histogram(histogram);
        }
        MetricType::GAUGE | MetricType::SUMMARY | MetricType::UNTYPED => {}
    }
    metric
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use arrow::array::RecordBatch;
    use arrow::datatypes::Schema;

    use super::*;

    fn value(text: &str, line: &str) -> f64 {
        let found = text.lines().find_map(|it| it.strip_prefix(line));
        found.unwrap_or_else(|| panic!("no `{line}` in:\n{text}")).trim().parse().unwrap()
    }

    #[test]
    fn counters_never_fall_and_gauges_end_with_their_run() {
        let exposition = MetricsExporter::new();
        let (rows, batches) = (
            r#"semantik_node_rows_in_total{node="hash",pipeline="p"}"#,
            r#"semantik_node_batch_seconds_count{node="hash",pipeline="p"}"#,
        );
        let queue = r#"semantik_node_queue_bytes{node="hash",pipeline="p"}"#;
        for run in 1..=3 {
            let metrics = Arc::new(Metrics::new("p"));
            let exposed = exposition.export(&metrics);
            let node = metrics.node_metrics("hash");
            node.enqueued(7, &RecordBatch::new_empty(Arc::new(Schema::empty())));
            drop(node.start_batch(10));
            let text = exposition.encode_text();
            assert_eq!(value(&text, rows), f64::from(run * 10));
            assert_eq!(value(&text, batches), f64::from(run));
            assert_eq!(value(&text, queue), 7.0);
            drop(exposed);
            let text = exposition.encode_text();
            assert_eq!(value(&text, rows), f64::from(run * 10), "an ended run keeps its counts");
            assert_eq!(value(&text, batches), f64::from(run));
            assert!(!text.contains(queue), "gauges of an ended run are dropped");
        }
    }

    #[test]
    fn runs_of_two_pipelines_stand_beside_each_other() {
        let exposition = MetricsExporter::new();
        let (one, other) = (Arc::new(Metrics::new("one")), Arc::new(Metrics::new("other")));
        let _both = (exposition.export(&one), exposition.export(&other));
        one.node_metrics("hash").add_busy(Duration::from_secs(1));
        other.node_metrics("hash").add_busy(Duration::from_secs(2));
        let text = exposition.encode_text();
        let busy = |name| {
            value(
                &text,
                &format!("semantik_node_busy_seconds_total{{node=\"hash\",pipeline=\"{name}\"}}"),
            )
        };
        assert_eq!((busy("one"), busy("other")), (1.0, 2.0));
        assert_eq!(text.matches("# TYPE semantik_node_busy_seconds_total").count(), 1);
    }
}
