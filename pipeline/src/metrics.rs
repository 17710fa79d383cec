//! Every metric of a run, its name and its labels, once. The runtime counts; stages do not.
//!
//! The counters are also what the live view and the report of a run are read from, so that no figure is
//! kept twice.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus::core::{AtomicF64, Collector as _, GenericCounter};
use prometheus::{
    CounterVec, Encoder as _, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

/// The metrics of one run.
pub struct Metrics {
    registry: Registry,
    pipeline: String,
    node: NodeVecs,
    seen: IntCounter,
    documents: IntCounterVec,
    chunks: IntCounter,
    tokens: IntCounter,
    pool: IntGaugeVec,
    /// By node.
    under_way: Mutex<HashMap<String, Arc<Mutex<UnderWay>>>>,
}

struct NodeVecs {
    rows_in: IntCounterVec,
    rows_out: IntCounterVec,
    bytes_in: IntCounterVec,
    batches: IntCounterVec,
    set_aside: IntCounterVec,
    queue_bytes: IntGaugeVec,
    queue_batches: IntGaugeVec,
    busy: CounterVec,
    starved: CounterVec,
    blocked: CounterVec,
    ended: IntGaugeVec,
}

/// The counters of one node. A node is busy while it works on a batch, starved while it waits for input,
/// and blocked while it waits for the nodes behind it to take what it has.
pub(crate) struct NodeMetrics {
    pub rows_in: IntCounter,
    pub rows_out: IntCounter,
    pub batches: IntCounter,
    bytes_in: IntCounter,
    set_aside: IntCounterVec,
    queue_bytes: IntGauge,
    queue_batches: IntGauge,
    busy: GenericCounter<AtomicF64>,
    starved: GenericCounter<AtomicF64>,
    blocked: GenericCounter<AtomicF64>,
    ended: IntGauge,
    labels: [String; 2],
    under_way: Arc<Mutex<UnderWay>>,
}

/// What a node is working on at the moment; a batch may take a minute, and whoever watches wants to see it.
#[derive(Default)]
struct UnderWay {
    batches: HashMap<u64, (Instant, u64)>,
    next: u64,
}

impl UnderWay {
    fn seconds(&self) -> f64 {
        self.batches.values().map(|(since, _)| since.elapsed().as_secs_f64()).sum()
    }

    fn rows(&self) -> u64 {
        self.batches.values().map(|(_, rows)| rows).sum()
    }
}

/// A batch that a node works on; the time until it is dropped is the node's time of work.
pub(crate) struct Working {
    metrics: Arc<NodeMetrics>,
    batch: u64,
}

impl Drop for Working {
    fn drop(&mut self) {
        let mut under_way = locked(&self.metrics.under_way);
        if let Some((since, _)) = under_way.batches.remove(&self.batch) {
            self.metrics.busy(since.elapsed());
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a node has done so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeProgress {
    /// Documents that it was given.
    pub rows_in: u64,
    /// Documents that it works on at the moment, those among them.
    pub rows_under_way: u64,
    /// Documents that it gave on.
    pub rows_out: u64,
    /// Batches that it worked on.
    pub batches: u64,
    /// Bytes that it was given.
    pub bytes_in: u64,
    /// Bytes that wait in front of it.
    pub queue_bytes: u64,
    /// Seconds of work, summed over its workers, up to this moment.
    pub busy: f64,
    /// Seconds of waiting for input.
    pub starved: f64,
    /// Seconds of waiting for the nodes behind it.
    pub blocked: f64,
    /// Whether it has done all that it will do.
    pub ended: bool,
}

impl Metrics {
    /// The metrics of one run of a pipeline, all at zero.
    pub fn new(pipeline: &str) -> Self {
        let registry = Registry::new();
        let ints = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels);
            register(&registry, counter.expect("the names below are valid"))
        };
        let gauges = |name: &str, help: &str| {
            let gauge = IntGaugeVec::new(Opts::new(name, help), NODE);
            register(&registry, gauge.expect("the names below are valid"))
        };
        let seconds = |name: &str, help: &str| {
            let counter = CounterVec::new(Opts::new(name, help), NODE);
            register(&registry, counter.expect("the names below are valid"))
        };
        const NODE: &[&str] = &["pipeline", "node"];
        let node = NodeVecs {
            rows_in: ints("semantik_node_rows_in_total", "Documents given to a node", NODE),
            rows_out: ints("semantik_node_rows_out_total", "Documents given on by a node", NODE),
            bytes_in: ints("semantik_node_bytes_in_total", "Bytes given to a node", NODE),
            batches: ints("semantik_node_batches_total", "Batches worked on by a node", NODE),
            set_aside: ints(
                "semantik_node_set_aside_total",
                "Documents that left at a node, by reason",
                &["pipeline", "node", "reason"],
            ),
            queue_bytes: gauges("semantik_node_queue_bytes", "Bytes that wait in front of a node"),
            queue_batches: gauges(
                "semantik_node_queue_batches",
                "Batches that wait in front of a node",
            ),
            busy: seconds("semantik_node_busy_seconds_total", "Time a node spent working"),
            starved: seconds(
                "semantik_node_starved_seconds_total",
                "Time a node spent waiting for input",
            ),
            blocked: seconds(
                "semantik_node_blocked_seconds_total",
                "Time a node spent waiting for its readers",
            ),
            ended: gauges("semantik_node_ended", "1 once a node has done all that it will do"),
        };
        let seen =
            ints("semantik_documents_seen_total", "Documents given by sources", &["pipeline"]);
        let seen = seen.with_label_values(&[pipeline]);
        let documents = ints(
            "semantik_documents_total",
            "Documents that left the pipeline, by outcome",
            &["pipeline", "outcome"],
        );
        let chunks = ints("semantik_chunks_total", "Chunks of stored documents", &["pipeline"]);
        let tokens = ints("semantik_tokens_total", "Tokens of stored chunks", &["pipeline"]);
        let (chunks, tokens) =
            (chunks.with_label_values(&[pipeline]), tokens.with_label_values(&[pipeline]));
        let pool = register(
            &registry,
            IntGaugeVec::new(
                Opts::new(
                    "semantik_postgres_pool_connections",
                    "Connections to the metadata store: open, idle of those, and the most there may be",
                ),
                &["pipeline", "state"],
            )
            .expect("the names are valid"),
        );
        let under_way = Mutex::default();
        let pipeline = pipeline.to_owned();
        Self { registry, pipeline, node, seen, documents, chunks, tokens, pool, under_way }
    }

    /// The registry, for whoever exposes it.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The metrics in Prometheus' text format.
    pub fn text(&self) -> String {
        let mut out = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut out)
            .expect("a vector takes all that is written");
        String::from_utf8(out).expect("the text format is UTF-8")
    }

    /// How many documents have left the pipeline so far, by outcome: `stored`, or a reason.
    pub fn outcomes(&self) -> BTreeMap<String, u64> {
        let families = self.documents.collect();
        let metrics = families.iter().flat_map(|family| family.get_metric());
        metrics
            .filter_map(|metric| {
                let outcome = metric.get_label().iter().find(|label| label.name() == "outcome")?;
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a count"
                )]
                let count = metric.get_counter().get_value() as u64;
                Some((outcome.value().to_owned(), count))
            })
            .collect()
    }

    /// How many documents sources have given so far.
    pub fn documents_seen(&self) -> u64 {
        self.seen.get()
    }

    /// Chunks of the documents stored so far.
    pub fn chunks(&self) -> u64 {
        self.chunks.get()
    }

    /// Tokens of the documents stored so far.
    pub fn tokens(&self) -> u64 {
        self.tokens.get()
    }

    /// Notes how full the pool of connections to the metadata store is.
    pub fn pool(&self, open: u32, idle: u32, limit: u32) {
        for (state, connections) in [("open", open), ("idle", idle), ("limit", limit)] {
            self.pool.with_label_values(&[&self.pipeline, state]).set(connections.into());
        }
    }

    /// What a node has done so far.
    pub fn node(&self, id: &str) -> NodeProgress {
        self.of(id).progress()
    }

    pub(crate) fn seen(&self, documents: u64) {
        self.seen.inc_by(documents);
    }

    pub(crate) fn left(&self, outcome: &str) {
        self.documents.with_label_values(&[self.pipeline.as_str(), outcome]).inc();
    }

    pub(crate) fn stored(&self, chunks: u64, tokens: u64) {
        self.left("stored");
        self.chunks.inc_by(chunks);
        self.tokens.inc_by(tokens);
    }

    pub(crate) fn of(&self, node: &str) -> Arc<NodeMetrics> {
        let labels = &[self.pipeline.as_str(), node];
        Arc::new(NodeMetrics {
            rows_in: self.node.rows_in.with_label_values(labels),
            rows_out: self.node.rows_out.with_label_values(labels),
            batches: self.node.batches.with_label_values(labels),
            bytes_in: self.node.bytes_in.with_label_values(labels),
            set_aside: self.node.set_aside.clone(),
            queue_bytes: self.node.queue_bytes.with_label_values(labels),
            queue_batches: self.node.queue_batches.with_label_values(labels),
            busy: self.node.busy.with_label_values(labels),
            starved: self.node.starved.with_label_values(labels),
            blocked: self.node.blocked.with_label_values(labels),
            ended: self.node.ended.with_label_values(labels),
            labels: [self.pipeline.clone(), node.to_owned()],
            under_way: Arc::clone(locked(&self.under_way).entry(node.to_owned()).or_default()),
        })
    }
}

fn register<C: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> C {
    registry.register(Box::new(collector.clone())).expect("each name is registered once");
    collector
}

impl NodeMetrics {
    pub(crate) fn queued(&self, bytes: usize) {
        self.queue_bytes.add(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.queue_batches.inc();
    }

    pub(crate) fn dequeued(&self, bytes: usize) {
        self.queue_bytes.sub(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.queue_batches.dec();
        self.bytes_in.inc_by(bytes as u64);
    }

    pub(crate) fn set_aside(&self, reason: &str) {
        let [pipeline, node] = &self.labels;
        self.set_aside.with_label_values(&[pipeline, node, reason]).inc();
    }

    /// A batch of this many documents is being worked on until what this gives is dropped.
    pub(crate) fn work(self: &Arc<Self>, rows: u64) -> Working {
        self.rows_in.inc_by(rows);
        self.batches.inc();
        let mut under_way = locked(&self.under_way);
        under_way.next += 1;
        let batch = under_way.next;
        under_way.batches.insert(batch, (Instant::now(), rows));
        Working { metrics: Arc::clone(self), batch }
    }

    pub(crate) fn busy(&self, time: Duration) {
        self.busy.inc_by(time.as_secs_f64());
    }

    pub(crate) fn starved(&self, time: Duration) {
        self.starved.inc_by(time.as_secs_f64());
    }

    pub(crate) fn blocked(&self, time: Duration) {
        self.blocked.inc_by(time.as_secs_f64());
    }

    pub(crate) fn ended(&self) {
        self.ended.set(1);
    }

    pub(crate) fn progress(&self) -> NodeProgress {
        let under_way = locked(&self.under_way);
        NodeProgress {
            rows_in: self.rows_in.get(),
            rows_under_way: under_way.rows(),
            rows_out: self.rows_out.get(),
            batches: self.batches.get(),
            bytes_in: self.bytes_in.get(),
            queue_bytes: u64::try_from(self.queue_bytes.get()).unwrap_or(0),
            busy: self.busy.get() + under_way.seconds(),
            starved: self.starved.get(),
            blocked: self.blocked.get(),
            ended: self.ended.get() > 0,
        }
    }
}
