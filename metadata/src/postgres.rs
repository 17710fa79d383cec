//! The connection to Postgres: pools, session settings, and the retries of every call.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use pipeline::{StoreError, retrying_while, store_call};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::query_error::QueryError;
use crate::{connect, query_error};

/// Maximum number of connections of this process, without the one that holds the lock of an
/// operation; the same number again while a generation is being built.
const MAX_CONNECTIONS: u32 = 8;
/// Longest wait for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest execution time of a statement.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(300);
/// Longest wait of a statement for a lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

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
    pub(crate) pool: PgPool,
    /// Connections whose search path starts with the schema of the generation being built.
    pub(crate) building_pool: PgPool,
    pub(crate) options: PgConnectOptions,
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
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        let connect = connect::parse_url(url)?;
        let connect = connect.application_name("semantik").options(SESSION_SETTINGS).options([
            ("statement_timeout", STATEMENT_TIMEOUT.as_millis().to_string()),
            ("lock_timeout", LOCK_TIMEOUT.as_millis().to_string()),
            ("idle_in_transaction_session_timeout", "120000".to_owned()),
            // A client on a dead machine must not hold the lock of a collection for hours.
            ("tcp_keepalives_idle", "30".to_owned()),
            ("tcp_keepalives_interval", "10".to_owned()),
            ("tcp_keepalives_count", "3".to_owned()),
        ]);
        connect::probe(&connect).await?;
        let pool_of = |connect: PgConnectOptions| {
            PgPoolOptions::new()
                .max_connections(MAX_CONNECTIONS)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .idle_timeout(Duration::from_secs(600))
                .max_lifetime(Duration::from_secs(1800))
                .connect_lazy_with(connect)
        };
        let building = pool_of(connect.clone().options([("search_path", "building,public")]));
        Ok(Self { pool: pool_of(connect.clone()), building_pool: building, options: connect })
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
pub(crate) async fn retry_call<T, F, Fut>(
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
