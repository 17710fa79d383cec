//! Prometheus metrics of a process: its runs, its store calls and the state of its stores.
//!
//! `pipeline` defines the metrics of a run; this module defines those that outlive a run. The state
//! of the stores is queried on each scrape, not continuously.

mod endpoint;
mod metrics_layer;
mod push;
#[cfg(feature = "otel")]
mod traces;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use metadata::{OperationStatus, OperationType, Postgres, StoreStatus};
use pipeline::{MetricsExporter, StoreMetrics, lock, register_gauges, register_histograms};
use prometheus::{HistogramVec, IntGaugeVec};

pub(crate) use self::metrics_layer::MetricsLayer;
pub(crate) use self::push::push;
#[cfg(feature = "otel")]
pub(crate) use self::traces::TraceExporter;

/// Buckets of the duration of an operation in seconds, from a run without changes to a whole night.
const OPERATION_SECONDS: [f64; 10] =
    [1.0, 4.0, 15.0, 60.0, 240.0, 900.0, 3600.0, 7200.0, 14400.0, 28800.0];

/// Time limit of the query for the state of a store: a scrape must not wait for an unreachable one.
const STATUS_TIMEOUT: Duration = Duration::from_secs(3);

/// The metrics of a process. Clones share them.
#[derive(Clone)]
pub(crate) struct Telemetry {
    exposition: MetricsExporter,
    operation_seconds: HistogramVec,
    status_metrics: Arc<StatusMetrics>,
    watched: Arc<Mutex<Vec<WatchedStore>>>,
}

/// A metadata store, and the data folder of the pipeline.
#[derive(Clone)]
struct WatchedStore {
    postgres: Postgres,
    data: PathBuf,
}

struct StatusMetrics {
    up: IntGaugeVec,
    pool: IntGaugeVec,
    operations: IntGaugeVec,
    last_success: IntGaugeVec,
    schedule_created: IntGaugeVec,
    next_run: IntGaugeVec,
    documents: IntGaugeVec,
    points: IntGaugeVec,
    bytes: IntGaugeVec,
    memory: IntGaugeVec,
    data_free: IntGaugeVec,
    data_size: IntGaugeVec,
}

impl Telemetry {
    pub(crate) fn new() -> Self {
        let exposition = MetricsExporter::new();
        let registry = exposition.registry();
        let version = &["version"];
        let build = register_gauges(
            registry,
            "semantik_build_info",
            "The version of this process",
            version,
        );
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let collection = &["owner", "collection"];
        let gauge = |name, help, labels| register_gauges(registry, name, help, labels);
        let standing = StatusMetrics {
            up: gauge("semantik_postgres_up", "1 if the metadata store answers", &[]),
            pool: gauge(
                "semantik_postgres_pool_connections",
                "Connections to the metadata store: open, idle (of the open ones) and limit",
                &["state"],
            ),
            operations: gauge(
                "semantik_operations",
                "Operations that have not ended, by type and status",
                &["type", "status"],
            ),
            last_success: gauge(
                "semantik_operation_last_success_timestamp_seconds",
                "Time of the last successful run of a pipeline",
                &["pipeline"],
            ),
            schedule_created: gauge(
                "semantik_schedule_created_timestamp_seconds",
                "Creation time of a schedule",
                &["pipeline"],
            ),
            next_run: gauge(
                "semantik_schedule_next_run_timestamp_seconds",
                "Next due time of a schedule; in the past if no worker has started the run",
                &["pipeline"],
            ),
            documents: gauge(
                "semantik_collection_documents",
                "Documents of a collection when its last operation ended",
                collection,
            ),
            points: gauge(
                "semantik_collection_points",
                "Points of a collection when its last operation ended",
                collection,
            ),
            bytes: gauge(
                "semantik_collection_bytes",
                "Bytes of the documents of a collection when its last operation ended",
                collection,
            ),
            memory: gauge(
                "process_resident_memory_bytes",
                "Resident memory of this process, mapped files included",
                &[],
            ),
            data_free: gauge(
                "semantik_data_free_bytes",
                "Free space on the file system of the data folder",
                &[],
            ),
            data_size: gauge(
                "semantik_data_size_bytes",
                "Size of the file system of the data folder",
                &[],
            ),
        };
        let operation_seconds = register_histograms(
            registry,
            "semantik_operation_seconds",
            "Duration of an operation, by final status",
            &["type", "status"],
            &OPERATION_SECONDS,
        );
        // Zero before the first failure, so that the first failure is an increase.
        for kind in OperationType::ALL {
            for status in OperationStatus::FINISHED {
                operation_seconds.with_label_values(&[kind.to_string(), status.to_string()]);
            }
        }
        let watched = Arc::default();
        Self { operation_seconds, status_metrics: Arc::new(standing), watched, exposition }
    }

    /// The registry of runs and of metrics defined elsewhere.
    pub(crate) fn exposition(&self) -> &MetricsExporter {
        &self.exposition
    }

    /// The layer that counts store calls and operations from spans and events.
    pub(crate) fn listener(&self) -> MetricsLayer {
        let stores = StoreMetrics::new(self.exposition.registry());
        MetricsLayer::new(stores, self.operation_seconds.clone())
    }

    /// Adds a metadata store and the data folder beside it to the scraped state.
    pub(crate) fn watch(&self, postgres: &Postgres, data: &Path) {
        let watched = WatchedStore { postgres: postgres.clone(), data: data.to_owned() };
        lock(&self.watched).push(watched);
    }

    /// All current metrics in the Prometheus text format.
    pub(crate) async fn render(&self) -> String {
        let watched = lock(&self.watched).clone();
        for WatchedStore { postgres, data } in &watched {
            let standing = tokio::time::timeout(STATUS_TIMEOUT, postgres.status()).await;
            let standing = standing.ok().and_then(Result::ok);
            self.status_metrics.up.with_label_values::<&str>(&[]).set(standing.is_some().into());
            if let Some(standing) = standing {
                self.status_metrics.set_status(&standing);
            }
            let pool = postgres.pool_state();
            for (state, connections) in
                [("open", pool.open), ("idle", pool.idle), ("limit", pool.limit)]
            {
                self.status_metrics.pool.with_label_values(&[state]).set(connections.into());
            }
            self.status_metrics.set_disk_space(data);
        }
        if let Some(bytes) = resident_bytes() {
            self.status_metrics.memory.with_label_values::<&str>(&[]).set(bytes);
        }
        self.exposition.encode_text()
    }
}

/// Resident memory from `statm` of Linux (proc(5)); `None` on other systems.
fn resident_bytes() -> Option<i64> {
    let pages: i64 =
        fs_err::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()?;
    Some(pages * i64::try_from(rustix::param::page_size()).ok()?)
}

impl StatusMetrics {
    fn set_status(&self, standing: &StoreStatus) {
        for kind in OperationType::ALL {
            for status in OperationStatus::UNFINISHED {
                let mut found = standing.operations.iter();
                let found = found.find(|(of, is, _)| (*of, *is) == (kind, status));
                let count = found.map_or(0, |(_, _, count)| *count);
                self.operations
                    .with_label_values(&[kind.to_string(), status.to_string()])
                    .set(count);
            }
        }
        for (pipeline, at) in &standing.last_success {
            self.last_success.with_label_values(&[pipeline]).set(at.timestamp());
        }
        // Removes the series of deleted and paused schedules.
        self.schedule_created.reset();
        self.next_run.reset();
        for schedule in &standing.schedules {
            let pipeline = &[&schedule.pipeline];
            self.schedule_created.with_label_values(pipeline).set(schedule.created_at.timestamp());
            if let Some(at) = schedule.next_due_at {
                self.next_run.with_label_values(pipeline).set(at.timestamp());
            }
        }
        for gauge in [&self.documents, &self.points, &self.bytes] {
            gauge.reset();
        }
        for collection in &standing.collections {
            let labels = &[collection.owner.as_str(), collection.name.as_str()];
            self.documents.with_label_values(labels).set(collection.documents);
            self.points.with_label_values(labels).set(collection.points);
            self.bytes.with_label_values(labels).set(collection.bytes);
        }
    }

    fn set_disk_space(&self, data: &Path) {
        // The data folder does not exist before the first run; its file system is that of the
        // nearest existing parent.
        let Some(there) = data.ancestors().find(|it| it.exists()) else { return };
        let Ok(found) = rustix::fs::statvfs(there) else { return };
        let bytes = |blocks: u64| i64::try_from(blocks * found.f_frsize).unwrap_or(i64::MAX);
        self.data_free.with_label_values::<&str>(&[]).set(bytes(found.f_bavail));
        self.data_size.with_label_values::<&str>(&[]).set(bytes(found.f_blocks));
    }
}
