//! The metadata store: Postgres, the source of truth for documents, collections and operations.
//!
//! [`Postgres`] is the connection and the entry point. [`RunMetadata`] implements the port
//! `pipeline::MetadataStore` for a run; an [`OperationLease`] holds the right to write to a
//! collection. The repositories are structs over a pool, with the SQL next to the function. This
//! crate stores no vectors: docs/adr/0005-document-and-location.md describes how the two stores
//! stay consistent.

mod accounts;
mod audit;
mod cluster;
mod collections;
mod connect;
mod documents;
mod operations;
mod query_error;
mod schedules;
mod schema;
mod status;

use std::fmt;
use std::future::Future;
use std::time::Duration;

use pipeline::StoreError;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

pub use accounts::browser_sessions::SessionLifetime;
pub use accounts::keys::{ApiKey, ApiKeys, AuthenticatedKey, NewKey};
pub use accounts::sessions::{NewToken, RotationResult, Sessions, SigningKey};
pub use accounts::users::{NewUser, User, UserUpdate, Users};
pub use audit::{Actor, AuditEntry, AuditLog, ListCursor};
pub use cluster::{EmbeddedError, EmbeddedPostgres};
pub use collections::generations::{
    Generation, GenerationComparison, GenerationSettings, GenerationStatus, Generations, SwapResult,
};
pub use collections::grants::{Grant, Grantee, Grants, Principal, VisibleCollection};
pub use collections::limits::{Limits, ResourceLimits, Usage};
pub use collections::sources::{SourceSummary, Sources};
pub use collections::{
    Collection, CollectionStatus, CollectionUpdate, Collections, DeletedCollection, NewCollection,
};
pub use documents::deletions::{ForgottenBatch, MissingDocuments};
pub use documents::dry_run::{ContentMatch, LocationEntry};
pub use documents::history::{DocumentAction, DocumentDetails, DocumentHistory, SeenLocation};
pub use documents::integrity::Integrity;
pub use documents::listing::{
    DocumentList, DocumentSelection, DocumentSort, ListQuery, ListedDocument, RejectionCount,
    document_list_queries,
};
pub use documents::memory::{MemoryDocument, MemoryMetadata};
pub use documents::rejections::RejectedLocation;
pub use documents::relocations::Relocation;
pub use documents::run::{GenerationSlot, RunMetadata};
pub use documents::{DocumentStatus, Documents};
pub use operations::enqueue::EnqueueResult;
pub use operations::events::{OperationEvent, OperationEvents};
pub use operations::lease::{ExclusiveLock, OPERATION_EVENTS, OperationLease, WaitPolicy};
pub use operations::notifications::{Notification, NotificationOutbox};
pub use operations::queue::{QueuedOperation, WorkerSummary, Workers};
pub use operations::records::OperationRecord;
pub use operations::removal::RemovedSource;
pub use operations::{
    OperationOutcome, OperationStatus, OperationSummary, OperationType, Operations, Throughput,
};
pub use schedules::{
    DueRun, OverlapPolicy, ScheduleKey, SchedulePoll, ScheduleRun, ScheduleSummary,
    ScheduledRunOutcome, Schedules,
};
pub use schema::migrations::{AppliedMigration, DowngradePlan, SchemaState};
pub use schema::query_plans::{HOT_QUERIES, HotQuery, ReadScope};
pub use status::{CollectionFigures, ScheduleStatus, StoreStatus};

use pipeline::retrying_while;
use pipeline::store_call;
use query_error::QueryError;

/// The built-in account that the command line acts as.
pub const LOCAL_ACCOUNT: &str = "local";

/// Planner settings of every session. The hot queries look up a few hundred rows by index,
/// regardless of the statistics (`query_plans.rs`).
#[doc(hidden)]
pub const SESSION_SETTINGS: [(&str, &str); 4] = [
    // A custom plan for the actual arrays often scans a medium-sized table, on every call.
    ("plan_cache_mode", "force_generic_plan"),
    // A plan made for an empty table is kept while the table is filled, and a sequential scan costs
    // nothing then; this also affects foreign key checks. Reads of a whole collection use its
    // indexes.
    ("enable_seqscan", "off"),
    // Read pages in index order instead of sorting all remaining rows.
    ("random_page_cost", "1.1"),
    // The cost of an unavoidable sequential scan is a penalty and must not trigger compilation.
    ("jit", "off"),
];

/// Connection settings.
#[derive(Clone, Copy, Debug)]
pub struct PostgresOptions {
    /// Maximum number of connections of this process, without the one that holds the lock of an
    /// operation; the same number again while a generation is being built.
    pub max_connections: u32,
    /// Longest wait for a connection.
    pub acquire_timeout: Duration,
    /// Longest execution time of a statement.
    pub statement_timeout: Duration,
    /// Longest wait of a statement for a lock.
    pub lock_timeout: Duration,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            max_connections: 8,
            acquire_timeout: Duration::from_secs(30),
            statement_timeout: Duration::from_secs(300),
            lock_timeout: Duration::from_secs(30),
        }
    }
}

/// Usage of a connection pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolState {
    /// Number of open connections.
    pub open: u32,
    /// Number of open connections not in use.
    pub idle: u32,
    /// Maximum number of connections.
    pub limit: u32,
}

/// A metadata store. Clones share its connections.
#[derive(Clone)]
pub struct Postgres {
    pool: PgPool,
    /// Connections whose search path starts with the schema of the generation being built.
    building_pool: PgPool,
    options: PgConnectOptions,
}

/// Omits the password and the options that may contain one.
impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("host", &self.options.get_host())
            .field("socket", &self.options.get_socket())
            .field("port", &self.options.get_port())
            .field("user", &self.options.get_username())
            .field("database", &self.options.get_database())
            .finish_non_exhaustive()
    }
}

impl Postgres {
    /// Connects to the database of a `postgres:` URL. The URL may contain a password, so errors
    /// never quote it.
    ///
    /// # Errors
    /// If the URL is invalid, or the server is unreachable or refuses the role.
    pub async fn connect(url: &str, options: &PostgresOptions) -> Result<Self, StoreError> {
        let connect = connect::parse_url(url)?;
        let connect = connect.application_name("semantik").options(SESSION_SETTINGS).options([
            ("statement_timeout", options.statement_timeout.as_millis().to_string()),
            ("lock_timeout", options.lock_timeout.as_millis().to_string()),
            ("idle_in_transaction_session_timeout", "120000".to_owned()),
            // A client on a dead machine must not hold the lock of a collection for hours.
            ("tcp_keepalives_idle", "30".to_owned()),
            ("tcp_keepalives_interval", "10".to_owned()),
            ("tcp_keepalives_count", "3".to_owned()),
        ]);
        connect::probe(&connect).await?;
        let pool_of = |connect: PgConnectOptions| {
            PgPoolOptions::new()
                .max_connections(options.max_connections)
                .acquire_timeout(options.acquire_timeout)
                .idle_timeout(Duration::from_secs(600))
                .max_lifetime(Duration::from_secs(1800))
                .connect_lazy_with(connect)
        };
        let building = pool_of(connect.clone().options([("search_path", "building,public")]));
        Ok(Self { pool: pool_of(connect.clone()), building_pool: building, options: connect })
    }

    /// The generations of collections.
    pub fn generations(&self) -> Generations<'_> {
        Generations(&self.pool)
    }

    /// The sources of collections.
    pub fn sources(&self) -> Sources<'_> {
        Sources(&self.pool)
    }

    /// The collections.
    pub fn collections(&self) -> Collections<'_> {
        Collections(&self.pool)
    }

    /// The documents.
    pub fn documents(&self) -> Documents<'_> {
        Documents(&self.pool)
    }

    /// The operations.
    pub fn operations(&self) -> Operations<'_> {
        Operations(&self.pool)
    }

    /// The accounts.
    pub fn users(&self) -> Users<'_> {
        Users(&self.pool)
    }

    /// The sessions of accounts, and the keys that sign their tokens.
    pub fn sessions(&self) -> Sessions<'_> {
        Sessions(&self.pool)
    }

    /// The API keys of accounts.
    pub fn api_keys(&self) -> ApiKeys<'_> {
        ApiKeys(&self.pool)
    }

    /// The grants on collections.
    pub fn grants(&self) -> Grants<'_> {
        Grants(&self.pool)
    }

    /// The resource limits of collections.
    pub fn limits(&self) -> Limits<'_> {
        Limits(&self.pool)
    }

    /// The audit logs.
    pub fn audit_log(&self) -> AuditLog<'_> {
        AuditLog(&self.pool)
    }

    /// Returns the collection with this owner and name. Creates it if it does not exist: row, first
    /// generation, limits and audit entry in one transaction.
    ///
    /// # Errors
    /// If the owner does not exist, or the store cannot be reached.
    pub async fn ensure_collection(&self, new: &NewCollection) -> Result<Collection, StoreError> {
        let collections = self.collections();
        retry_call(&self.pool, "open the collection", || collections.ensure(new)).await
    }

    /// Starts an operation on a collection; waits for another operation or fails, according to
    /// `turn`. An orphaned operation is marked as failed first.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] if another process works on the collection, or the operation
    /// was cancelled before its start.
    pub async fn start_operation(
        &self,
        collection: &Collection,
        kind: OperationType,
        config: &serde_json::Value,
        turn: WaitPolicy,
    ) -> Result<OperationLease, StoreError> {
        OperationLease::acquire(self, collection, kind, config, turn).await
    }

    /// Description of the connection for messages, without secrets.
    pub fn describe(&self) -> String {
        let (options, database) = (&self.options, self.options.get_database().unwrap_or_default());
        let place = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        format!("the database `{database}` at {place}, as `{}`", options.get_username())
    }

    /// `true` if writes are impossible: the server is a standby, or the database is read-only.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn is_read_only(&self) -> Result<bool, StoreError> {
        retry_call(&self.pool, "check whether the database is read-only", || async {
            Ok(sqlx::query_scalar(
                "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean",
            )
            .fetch_one(&self.pool)
            .await?)
        })
        .await
    }

    /// Current usage of the connection pool.
    pub fn pool_state(&self) -> PoolState {
        PoolState {
            open: self.pool.size(),
            idle: u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX),
            limit: self.pool.options().get_max_connections(),
        }
    }

    /// Closes the connections after the calls in progress.
    pub async fn close(&self) {
        self.pool.close().await;
        self.building_pool.close().await;
    }
}

/// Retries an idempotent call until it succeeds or a retry is pointless. Connection errors name the
/// server and the database of `pool`.
async fn retry_call<T, F, Fut>(
    pool: &PgPool,
    doing: &'static str,
    mut ask: F,
) -> Result<T, StoreError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, QueryError>>,
{
    // A pool timeout already lasted longer than all retries would.
    let may_pass = |error: &StoreError| !query_error::is_pool_timeout(error);
    let answer = retrying_while(may_pass, || {
        let answer = ask();
        async move { answer.await.map_err(|failure| failure.at(pool).into_store_error(doing)) }
    });
    store_call("postgres", doing, answer).await
}
