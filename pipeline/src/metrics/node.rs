//! The metrics of the nodes of a run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use prometheus::core::{AtomicF64, GenericCounter};
use prometheus::{
    CounterVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
};

use super::register::{register_counters, register_gauges, register_histograms, register_seconds};
use crate::chunk_counts::token_count;
use crate::lock::lock;
use crate::node_state::NodeState;

/// Bucket bounds in seconds: from a database query to a batch of thousands of chunks on one core.
const BATCH_SECONDS: [f64; 9] = [0.001, 0.004, 0.016, 0.064, 0.25, 1.0, 4.0, 16.0, 64.0];

const LABELS: &[&str] = &["pipeline", "node"];

pub(super) struct NodeVecs {
    rows_in: IntCounterVec,
    rows_out: IntCounterVec,
    bytes_in: IntCounterVec,
    batches: IntCounterVec,
    batch_seconds: HistogramVec,
    set_aside: IntCounterVec,
    queue_bytes: IntGaugeVec,
    queue_batches: IntGaugeVec,
    queue_limit: IntGaugeVec,
    busy: CounterVec,
    starved: CounterVec,
    blocked: CounterVec,
    ended: IntGaugeVec,
    /// Keyed by node id.
    active: Mutex<HashMap<String, Arc<Mutex<ActiveBatches>>>>,
}

/// Counters of one node. A node is busy while it processes a batch, starved while it waits for
/// input, and blocked while it waits for the nodes after it.
pub(crate) struct NodeMetrics {
    pub rows_in: IntCounter,
    pub rows_out: IntCounter,
    pub batches: IntCounter,
    batch_seconds: Histogram,
    bytes_in: IntCounter,
    set_aside: IntCounterVec,
    queue_bytes: IntGauge,
    queue_batches: IntGauge,
    queue_limit: IntGauge,
    busy: GenericCounter<AtomicF64>,
    starved: GenericCounter<AtomicF64>,
    blocked: GenericCounter<AtomicF64>,
    ended: IntGauge,
    labels: [String; 2],
    active: Arc<Mutex<ActiveBatches>>,
}

/// Batches in progress. A batch may take a minute, so progress displays include unfinished batches.
#[derive(Default)]
struct ActiveBatches {
    batches: HashMap<u64, (Instant, u64)>,
    next_id: u64,
    /// Batches of a model share one device, so the time of overlapping batches is counted once.
    runs_model: bool,
    /// End of the counted time of a node that runs a model.
    counted_until: Option<Instant>,
    /// Documents enqueued for a node that runs a model, and the tokens of their chunks.
    queued_for_model: (u64, u64),
}

impl ActiveBatches {
    /// Seconds of the batches in progress that are not counted yet.
    fn uncounted_seconds(&self) -> f64 {
        let since = self.batches.values().map(|(since, _)| *since);
        if self.runs_model {
            return since.min().map_or(0.0, |since| self.uncounted_since(since).as_secs_f64());
        }
        since.map(|since| since.elapsed().as_secs_f64()).sum()
    }

    /// Time since `since` that is not counted yet.
    fn uncounted_since(&self, since: Instant) -> Duration {
        self.counted_until.map_or(since, |counted| counted.max(since)).elapsed()
    }

    fn rows(&self) -> u64 {
        self.batches.values().map(|(_, rows)| rows).sum()
    }
}

/// A batch in progress; the node is busy until it is dropped.
pub(crate) struct BatchTimer {
    metrics: Arc<NodeMetrics>,
    batch: u64,
}

impl Drop for BatchTimer {
    fn drop(&mut self) {
        let mut under_way = lock(&self.metrics.active);
        if let Some((since, _)) = under_way.batches.remove(&self.batch) {
            if under_way.runs_model {
                self.metrics.add_busy(under_way.uncounted_since(since));
                under_way.counted_until = Some(Instant::now());
            } else {
                self.metrics.add_busy(since.elapsed());
            }
            self.metrics.batch_seconds.observe(since.elapsed().as_secs_f64());
        }
    }
}

impl NodeVecs {
    pub(super) fn new(registry: &Registry) -> Self {
        let ints = |name, help| register_counters(registry, name, help, LABELS);
        let gauges = |name, help| register_gauges(registry, name, help, LABELS);
        let seconds = |name, help| register_seconds(registry, name, help, LABELS);
        Self {
            rows_in: ints("semantik_node_rows_in_total", "Documents received by a node"),
            rows_out: ints("semantik_node_rows_out_total", "Documents sent by a node"),
            bytes_in: ints("semantik_node_bytes_in_total", "Bytes received by a node"),
            batches: ints("semantik_node_batches_total", "Batches processed by a node"),
            batch_seconds: register_histograms(
                registry,
                "semantik_node_batch_seconds",
                "Processing time of a batch in a node",
                LABELS,
                &BATCH_SECONDS,
            ),
            set_aside: register_counters(
                registry,
                "semantik_node_set_aside_total",
                "Documents set aside by a node, by reason",
                &["pipeline", "node", "reason"],
            ),
            queue_bytes: gauges("semantik_node_queue_bytes", "Bytes in the queue of a node"),
            queue_batches: gauges("semantik_node_queue_batches", "Batches in the queue of a node"),
            queue_limit: gauges(
                "semantik_node_queue_limit_bytes",
                "Limit of the queue of a node in bytes",
            ),
            busy: seconds(
                "semantik_node_busy_seconds_total",
                "Time a node spent processing batches",
            ),
            starved: seconds(
                "semantik_node_starved_seconds_total",
                "Time a node spent waiting for input",
            ),
            blocked: seconds(
                "semantik_node_blocked_seconds_total",
                "Time a node spent waiting for the nodes after it",
            ),
            ended: gauges("semantik_node_ended", "1 once a node has ended"),
            active: Mutex::default(),
        }
    }

    pub(super) fn for_node(&self, pipeline: &str, node: &str) -> NodeMetrics {
        let labels = &[pipeline, node];
        NodeMetrics {
            rows_in: self.rows_in.with_label_values(labels),
            rows_out: self.rows_out.with_label_values(labels),
            batches: self.batches.with_label_values(labels),
            batch_seconds: self.batch_seconds.with_label_values(labels),
            bytes_in: self.bytes_in.with_label_values(labels),
            set_aside: self.set_aside.clone(),
            queue_bytes: self.queue_bytes.with_label_values(labels),
            queue_batches: self.queue_batches.with_label_values(labels),
            queue_limit: self.queue_limit.with_label_values(labels),
            busy: self.busy.with_label_values(labels),
            starved: self.starved.with_label_values(labels),
            blocked: self.blocked.with_label_values(labels),
            ended: self.ended.with_label_values(labels),
            labels: [pipeline.to_owned(), node.to_owned()],
            active: Arc::clone(lock(&self.active).entry(node.to_owned()).or_default()),
        }
    }
}

impl NodeMetrics {
    pub(crate) fn set_queue_limit(&self, bytes: u32) {
        self.queue_limit.set(bytes.into());
    }

    pub(crate) fn enqueued(&self, bytes: usize, rows: &RecordBatch) {
        self.queue_bytes.add(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.queue_batches.inc();
        let mut under_way = lock(&self.active);
        if under_way.runs_model {
            under_way.queued_for_model.0 += rows.num_rows() as u64;
            under_way.queued_for_model.1 += token_count(rows);
        }
    }

    /// Marks the node as one that runs a model.
    pub(crate) fn mark_runs_model(&self) {
        lock(&self.active).runs_model = true;
    }

    pub(crate) fn dequeued(&self, bytes: usize) {
        self.queue_bytes.sub(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.queue_batches.dec();
        self.bytes_in.inc_by(bytes as u64);
    }

    pub(crate) fn count_rejection(&self, reason: &str) {
        let [pipeline, node] = &self.labels;
        self.set_aside.with_label_values(&[pipeline, node, reason]).inc();
    }

    /// Starts a batch of this many documents, which ends when the returned value is dropped.
    pub(crate) fn start_batch(self: &Arc<Self>, rows: u64) -> BatchTimer {
        self.rows_in.inc_by(rows);
        self.batches.inc();
        let mut under_way = lock(&self.active);
        under_way.next_id += 1;
        let batch = under_way.next_id;
        under_way.batches.insert(batch, (Instant::now(), rows));
        BatchTimer { metrics: Arc::clone(self), batch }
    }

    pub(crate) fn add_busy(&self, time: Duration) {
        self.busy.inc_by(time.as_secs_f64());
    }

    pub(crate) fn add_starved(&self, time: Duration) {
        self.starved.inc_by(time.as_secs_f64());
    }

    pub(crate) fn add_blocked(&self, time: Duration) {
        self.blocked.inc_by(time.as_secs_f64());
    }

    pub(crate) fn mark_finished(&self) {
        self.ended.set(1);
    }

    pub(crate) fn state(&self) -> NodeState {
        let under_way = lock(&self.active);
        NodeState {
            id: self.labels[1].clone(),
            rows_in: self.rows_in.get(),
            rows_under_way: under_way.rows(),
            rows_given: under_way.queued_for_model.0,
            tokens_given: under_way.queued_for_model.1,
            rows_out: self.rows_out.get(),
            batches: self.batches.get(),
            bytes_in: self.bytes_in.get(),
            queue_bytes: u64::try_from(self.queue_bytes.get()).unwrap_or(0),
            busy: self.busy.get() + under_way.uncounted_seconds(),
            starved: self.starved.get(),
            blocked: self.blocked.get(),
            ended: self.ended.get() > 0,
        }
    }
}
