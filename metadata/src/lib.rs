//! The metadata store: Postgres, which is the truth about every document.
//!
//! [`Postgres`] is the connection and the way in. What is known during a run is [`RunMetadata`], the
//! implementation of the port `pipeline::MetadataStore`; an [`Operation`] holds the right to write to a
//! collection. The repositories below are structs over a pool, with the SQL beside the function. Nothing
//! here knows a vector: docs/adr/0005-document-and-location.md says how the two stores stay in step.

mod audit;
mod browser_sessions;
mod changes;
mod claim;
mod collections;
mod connect;
mod documents;
mod embedded;
mod failure;
mod foresee;
mod generations;
mod grants;
mod growth;
mod history;
mod hot;
mod identify;
mod integrity;
mod keys;
mod limits;
mod listing;
mod locations;
mod memory;
mod messages;
mod migrations;
mod missing;
mod moved;
mod operations;
mod queue;
mod removal;
mod requests;
mod run;
mod schedules;
mod sessions;
mod set_aside;
mod sources;
mod standing;
mod story;
mod takeover;
mod users;
mod write;

use std::fmt;
use std::future::Future;
use std::time::Duration;

use pipeline::StoreError;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

pub use audit::{Audit, AuditEntry, Before, By};
pub use browser_sessions::Lifetime;
pub use changes::{Change, Changes};
pub use claim::{OPERATIONS, Operation, Stillness, Turn};
pub use collections::{
    Collection, CollectionChange, CollectionStatus, Collections, DeletedCollection, NewCollection,
};
pub use documents::{DocumentStatus, Documents};
pub use embedded::{EmbeddedError, EmbeddedPostgres};
pub use foresee::{KnownPlace, Prospect};
pub use generations::{
    Comparison, Generation, GenerationSettings, GenerationStatus, Generations, Swapped,
};
pub use grants::{Grant, Grantee, Grants, Reader, Seen};
pub use history::PastOperation;
pub use hot::{HOT_QUERIES, HotQuery, Reads};
pub use integrity::Integrity;
pub use keys::{ApiKey, KeyUse, Keys, NewKey};
pub use limits::{Limits, ResourceLimits, Usage};
pub use listing::{
    DocumentList, DocumentSelection, DocumentSort, ListQuery, ListedDocument, SetAsideCount,
    document_list_queries,
};
pub use memory::{MemoryDocument, MemoryMetadata};
pub use messages::{Message, Messages};
pub use migrations::{AppliedMigration, Downgrade, Schema};
pub use missing::{Forgotten, Missing};
pub use moved::Moved;
pub use operations::{Ending, OperationStatus, OperationSummary, OperationType, Operations, Rates};
pub use queue::{ExecutorSummary, Executors, HandedOver};
pub use removal::RemovedSource;
pub use requests::Asked;
pub use run::{RunMetadata, Side};
pub use schedules::{
    DueRun, Look, Meeting, RunFate, ScheduleKey, ScheduleRun, ScheduleSummary, Schedules,
};
pub use sessions::{NewToken, Rotation, Sessions, SigningKey};
pub use set_aside::PlaceSetAside;
pub use sources::{SourceSummary, Sources};
pub use standing::{CollectionStanding, ScheduleStanding, Standing};
pub use story::{Deed, DocumentStory, Place, Story};
pub use users::{NewUser, User, UserChange, Users};

use failure::Failure;
use pipeline::retrying_while;
use pipeline::store_call;

/// The built-in account that the command acts as.
pub const LOCAL_ACCOUNT: &str = "local";

/// What every session sets for its plans. The hot queries look a few hundred things up by index, whatever the statistics
/// say (`hot.rs`).
#[doc(hidden)]
pub const SESSION: [(&str, &str); 4] = [
    // For the arrays at hand Postgres would rather read a table of medium size as a whole, each time.
    ("plan_cache_mode", "force_generic_plan"),
    // A plan that is made while a table is empty is kept while it is filled: a sequential scan costs nothing then, also to
    // those who check foreign keys. What has to read a whole collection does so by its indexes.
    ("enable_seqscan", "off"),
    // Pages are read in the order of an index, and not by reading everything that is left and sorting it.
    ("random_page_cost", "1.1"),
    // Where there is no other way than a sequential scan, its cost is that of a penalty, and no reason to compile.
    ("jit", "off"),
];

/// How to use the server.
#[derive(Clone, Copy, Debug)]
pub struct PostgresOptions {
    /// The most connections that this process opens, besides the one that holds an operation's lock; as
    /// many again while a generation is being built.
    pub max_connections: u32,
    /// How long to wait for a connection.
    pub acquire_timeout: Duration,
    /// How long one statement may take.
    pub statement_timeout: Duration,
    /// How long a statement may wait for a lock.
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

/// How full a pool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolState {
    /// Open connections.
    pub open: u32,
    /// Those of them that nobody uses at the moment.
    pub idle: u32,
    /// The most that there may be.
    pub limit: u32,
}

/// A metadata store. Clones share its connections.
#[derive(Clone)]
pub struct Postgres {
    pool: PgPool,
    /// Connections that see the tables of the generation that is being built.
    building: PgPool,
    options: PgConnectOptions,
}

/// Without the password, and without the options that may hold one.
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
    /// Connects to the database of a `postgres:` URL. The URL may hold a password, so no error has any
    /// of it.
    ///
    /// # Errors
    /// If the URL is not one, or the server is not there or does not let us in.
    pub async fn connect(url: &str, options: &PostgresOptions) -> Result<Self, StoreError> {
        let connect = connect::options_of(url)?;
        let connect = connect.application_name("semantik").options(SESSION).options([
            ("statement_timeout", options.statement_timeout.as_millis().to_string()),
            ("lock_timeout", options.lock_timeout.as_millis().to_string()),
            ("idle_in_transaction_session_timeout", "120000".to_owned()),
            // A client whose machine is gone must not hold a collection for hours.
            ("tcp_keepalives_idle", "30".to_owned()),
            ("tcp_keepalives_interval", "10".to_owned()),
            ("tcp_keepalives_count", "3".to_owned()),
        ]);
        connect::attempt(&connect).await?;
        let pool_of = |connect: PgConnectOptions| {
            PgPoolOptions::new()
                .max_connections(options.max_connections)
                .acquire_timeout(options.acquire_timeout)
                .idle_timeout(Duration::from_secs(600))
                .max_lifetime(Duration::from_secs(1800))
                .connect_lazy_with(connect)
        };
        let building = pool_of(connect.clone().options([("search_path", "building,public")]));
        Ok(Self { pool: pool_of(connect.clone()), building, options: connect })
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

    /// Sessions of accounts, and what their tokens are signed with.
    pub fn sessions(&self) -> Sessions<'_> {
        Sessions(&self.pool)
    }

    /// The keys of accounts.
    pub fn keys(&self) -> Keys<'_> {
        Keys(&self.pool)
    }

    /// Who may use which collection.
    pub fn grants(&self) -> Grants<'_> {
        Grants(&self.pool)
    }

    /// How large collections may grow.
    pub fn limits(&self) -> Limits<'_> {
        Limits(&self.pool)
    }

    /// Who has done what.
    pub fn audit(&self) -> Audit<'_> {
        Audit(&self.pool)
    }

    /// Gives the collection of this owner and name, and makes it if there is none: row, first
    /// generation, limits and audit entry together.
    ///
    /// # Errors
    /// If there is no such owner, or no store.
    pub async fn open_collection(&self, new: &NewCollection) -> Result<Collection, StoreError> {
        let collections = self.collections();
        attempt(&self.pool, "open the collection", || collections.open(new)).await
    }

    /// Starts an operation on a collection; waits for another one to end, or says which it is. An operation
    /// whose process has died is marked failed first.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] if another process works on the collection, or somebody has cancelled
    /// the operation before it began.
    pub async fn start_operation(
        &self,
        collection: &Collection,
        kind: OperationType,
        config: &serde_json::Value,
        turn: Turn,
    ) -> Result<Operation, StoreError> {
        Operation::start(self, collection, kind, config, turn).await
    }

    /// The database in words, without any secret.
    pub fn in_words(&self) -> String {
        let (options, database) = (&self.options, self.options.get_database().unwrap_or_default());
        let place = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        format!("the database `{database}` at {place}, as `{}`", options.get_username())
    }

    /// Whether nothing can be written at the moment: the server is a standby, or the database is read-only.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn is_read_only(&self) -> Result<bool, StoreError> {
        attempt(&self.pool, "ask whether the database is read-only", || async {
            Ok(sqlx::query_scalar(
                "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean",
            )
            .fetch_one(&self.pool)
            .await?)
        })
        .await
    }

    /// How full the pool is.
    pub fn pool_state(&self) -> PoolState {
        PoolState {
            open: self.pool.size(),
            idle: u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX),
            limit: self.pool.options().get_max_connections(),
        }
    }

    /// Closes the connections, after what is under way.
    pub async fn close(&self) {
        self.pool.close().await;
        self.building.close().await;
    }
}

/// Calls an idempotent function until it succeeds or there is no use in it. Errors of the connection name the server and
/// the database of `pool`.
async fn attempt<T, F, Fut>(pool: &PgPool, doing: &'static str, mut ask: F) -> Result<T, StoreError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, Failure>>,
{
    // The pool has waited longer by then than the attempts would take.
    let may_pass = |error: &StoreError| !failure::is_pool_timeout(error);
    let answer = retrying_while(may_pass, || {
        let answer = ask();
        async move { answer.await.map_err(|failure| failure.at(pool).doing(doing)) }
    });
    store_call("postgres", doing, answer).await
}
