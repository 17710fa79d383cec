//! What a process tells Prometheus: its runs, its calls to the stores, and how things stand in them.
//!
//! Names of what belongs to a run are in `pipeline`; here are those of what outlives one. How things stand is
//! asked when somebody wants to know, not all the time.

mod endpoint;
mod listener;
mod push;
#[cfg(feature = "otel")]
mod traces;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metadata::{OperationStatus, OperationType, Postgres, Standing};
use pipeline::{Exposition, StoreMetrics, gauges, histograms};
use prometheus::{HistogramVec, IntGaugeVec};

pub(crate) use self::listener::Listener;
pub(crate) use self::push::push;
#[cfg(feature = "otel")]
pub(crate) use self::traces::Traces;
use crate::render::word;

/// Seconds that an operation may take: from a run that finds nothing new to a night.
const OPERATION_SECONDS: [f64; 10] =
    [1.0, 4.0, 15.0, 60.0, 240.0, 900.0, 3600.0, 7200.0, 14400.0, 28800.0];

/// How long a store may take to say how things stand; a scrape must not wait for one that is away.
const PATIENCE: Duration = Duration::from_secs(3);

/// The metrics of a process. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Telemetry {
    exposition: Exposition,
    operation_seconds: HistogramVec,
    standing: Arc<StandingMetrics>,
    watched: Arc<Mutex<Vec<Watched>>>,
}

/// A metadata store, and the folder of what is embedded beside it.
#[derive(Clone)]
struct Watched {
    postgres: Postgres,
    data: PathBuf,
}

struct StandingMetrics {
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
        let exposition = Exposition::new();
        let registry = exposition.registry();
        let version = &["version"];
        let build = gauges(registry, "semantik_build_info", "The version of this process", version);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let collection = &["owner", "collection"];
        let gauge = |name, help, labels| gauges(registry, name, help, labels);
        let standing = StandingMetrics {
            up: gauge("semantik_postgres_up", "1 if the metadata store answers", &[]),
            pool: gauge(
                "semantik_postgres_pool_connections",
                "Connections to the metadata store: open, idle of those, and the most there may be",
                &["state"],
            ),
            operations: gauge(
                "semantik_operations",
                "Operations that have not ended, by type and status",
                &["type", "status"],
            ),
            last_success: gauge(
                "semantik_operation_last_success_timestamp_seconds",
                "When a pipeline has last brought its collection up to date",
                &["pipeline"],
            ),
            schedule_created: gauge(
                "semantik_schedule_created_timestamp_seconds",
                "Since when there has been a schedule",
                &["pipeline"],
            ),
            next_run: gauge(
                "semantik_schedule_next_run_timestamp_seconds",
                "When a schedule is due next; in the past if nobody has fired it",
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
                "Memory of this process that is in RAM, mapped files included",
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
        let operation_seconds = histograms(
            registry,
            "semantik_operation_seconds",
            "Time from the start of an operation to its end, by how it ended",
            &["type", "status"],
            &OPERATION_SECONDS,
        );
        // None has failed yet: without a zero the first one would be no increase.
        for kind in OperationType::ALL {
            for status in OperationStatus::ENDED {
                operation_seconds.with_label_values(&[word(kind), word(status)]);
            }
        }
        let watched = Arc::default();
        Self { operation_seconds, standing: Arc::new(standing), watched, exposition }
    }

    /// Where runs are exposed, and others register what is theirs.
    pub(crate) fn exposition(&self) -> &Exposition {
        &self.exposition
    }

    /// What counts by listening to what others tell.
    pub(crate) fn listener(&self) -> Listener {
        let stores = StoreMetrics::new(self.exposition.registry());
        Listener::new(stores, self.operation_seconds.clone())
    }

    /// From now on it is told how things stand in this store, and in the data folder beside it.
    pub(crate) fn watch(&self, postgres: &Postgres, data: &Path) {
        let watched = Watched { postgres: postgres.clone(), data: data.to_owned() };
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).push(watched);
    }

    /// All of it, as it is now, in Prometheus' text format.
    pub(crate) async fn text(&self) -> String {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for Watched { postgres, data } in &watched {
            let standing = tokio::time::timeout(PATIENCE, postgres.standing()).await;
            let standing = standing.ok().and_then(Result::ok);
            self.standing.up.with_label_values::<&str>(&[]).set(standing.is_some().into());
            if let Some(standing) = standing {
                self.standing.stands(&standing);
            }
            let pool = postgres.pool_state();
            for (state, connections) in
                [("open", pool.open), ("idle", pool.idle), ("limit", pool.limit)]
            {
                self.standing.pool.with_label_values(&[state]).set(connections.into());
            }
            self.standing.space(data);
        }
        if let Some(bytes) = resident_bytes() {
            self.standing.memory.with_label_values::<&str>(&[]).set(bytes);
        }
        self.exposition.text()
    }
}

/// As Linux tells it (proc(5), `statm`); `None` elsewhere.
fn resident_bytes() -> Option<i64> {
    let pages: i64 =
        fs_err::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()?;
    Some(pages * i64::try_from(rustix::param::page_size()).ok()?)
}

impl StandingMetrics {
    fn stands(&self, standing: &Standing) {
        for kind in OperationType::ALL {
            for status in OperationStatus::OPEN {
                let mut found = standing.operations.iter();
                let found = found.find(|(of, is, _)| (*of, *is) == (kind, status));
                let count = found.map_or(0, |(_, _, count)| *count);
                self.operations.with_label_values(&[word(kind), word(status)]).set(count);
            }
        }
        for (pipeline, at) in &standing.last_success {
            self.last_success.with_label_values(&[pipeline]).set(at.timestamp());
        }
        // One that was deleted or paused is no more.
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

    fn space(&self, data: &Path) {
        // Before the first run the folder is not there yet; its file system is that of what is above it.
        let Some(there) = data.ancestors().find(|it| it.exists()) else { return };
        let Ok(found) = rustix::fs::statvfs(there) else { return };
        let bytes = |blocks: u64| i64::try_from(blocks * found.f_frsize).unwrap_or(i64::MAX);
        self.data_free.with_label_values::<&str>(&[]).set(bytes(found.f_bavail));
        self.data_size.with_label_values::<&str>(&[]).set(bytes(found.f_blocks));
    }
}
