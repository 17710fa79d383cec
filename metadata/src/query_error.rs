//! Errors of Postgres, with a message for users and a remedy.

use pipeline::{ReadOnly, Remedy, StoreError};
use sqlx::PgPool;
use sqlx::error::DatabaseError;

use crate::server_name;

/// `read_only_sql_transaction`.
const READ_ONLY: &str = "25006";

/// Cause of a failed call. Its text never contains a connection string.
#[derive(Debug, thiserror::Error)]
pub(super) enum QueryError {
    #[error("{}", cause_text(.0, "Postgres"))]
    Sql(sqlx::Error),
    /// The connection failed, not a statement.
    #[error("{}", cause_text(.error, .server))]
    Connection {
        error: sqlx::Error,
        /// See [`server_name::server`].
        server: String,
    },
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    Permanent(String),
}

impl From<sqlx::Error> for QueryError {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl QueryError {
    /// Adds the server of the pool to a connection error; other errors are unchanged.
    pub(super) fn at(self, pool: &PgPool) -> Self {
        match self {
            Self::Sql(error) if is_of_connection(&error) => {
                Self::Connection { error, server: server_name::server(&pool.connect_options()) }
            }
            unchanged @ (Self::Sql(_)
            | Self::Connection { .. }
            | Self::Conflict(_)
            | Self::Permanent(_)) => unchanged,
        }
    }

    pub(super) fn into_store_error(self, doing: &'static str) -> StoreError {
        if let Self::Sql(error) = &self
            && is_read_only(error)
        {
            return StoreError { doing, remedy: Remedy::GiveUp, source: ReadOnly.into() };
        }
        let remedy = match &self {
            Self::Sql(error) | Self::Connection { error, .. } => remedy(error),
            Self::Conflict(_) => Remedy::Conflict,
            Self::Permanent(_) => Remedy::GiveUp,
        };
        StoreError { doing, remedy, source: self.into() }
    }

    /// Like [`QueryError::into_store_error`], with another message for errors of the server or the
    /// connection.
    pub(super) fn into_store_error_with(
        self,
        doing: &'static str,
        explain: impl FnOnce(&sqlx::Error) -> String,
    ) -> StoreError {
        match self {
            Self::Sql(error) => {
                StoreError { doing, remedy: remedy(&error), source: explain(&error).into() }
            }
            other @ (Self::Connection { .. } | Self::Conflict(_) | Self::Permanent(_)) => {
                other.into_store_error(doing)
            }
        }
    }
}

/// `true` if the pool returned no connection within its timeout.
pub(super) fn is_pool_timeout(error: &StoreError) -> bool {
    matches!(
        error.source.downcast_ref(),
        Some(
            QueryError::Sql(sqlx::Error::PoolTimedOut)
                | QueryError::Connection { error: sqlx::Error::PoolTimedOut, .. }
        )
    )
}

/// `true` for errors of the connection or the whole server, which another host would not have.
#[expect(clippy::wildcard_enum_match_arm, reason = "sqlx adds variants in minor versions")]
fn is_of_connection(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(said) => said.code().is_some_and(|code| ends_connection(&code)),
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_) => true,
        _ => false,
    }
}

/// `true` if the server ends or refuses a connection with this SQLSTATE (PostgreSQL documentation,
/// appendix A): class 08, shutdown, crash, start, terminated session, too many connections.
fn ends_connection(code: &str) -> bool {
    code.starts_with("08")
        || matches!(code, "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "53300")
}

/// `true` if Postgres refused a write because the database is read-only.
pub(super) fn is_read_only(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(DatabaseError::code).as_deref() == Some(READ_ONLY)
}

/// The message without sqlx's prefix and without repeating the source. Connection errors name
/// `server`.
#[expect(clippy::wildcard_enum_match_arm, reason = "sqlx adds variants in minor versions")]
fn cause_text(error: &sqlx::Error, server: &str) -> String {
    match error {
        sqlx::Error::Database(said) => match said.code().as_deref() {
            // A table or column that every migrated database has.
            Some(code @ ("42P01" | "42703")) => format!(
                "{} (SQLSTATE {code}); the database was changed by hand or restored in part: restore it from a backup, \
                 or index into a new database",
                said.message()
            ),
            Some("53100") => format!(
                "{}; the volume of the database is full: free some space there",
                said.message()
            ),
            Some("25006") => format!(
                "{}; the server is read-only: use one that is not a standby",
                said.message()
            ),
            Some(code) if ends_connection(code) => {
                format!("{server} ended or refused the connection: {}", said.message())
            }
            _ => said.message().to_owned(),
        },
        sqlx::Error::Io(error) => format!(
            "the connection to {server} failed: {}; check that the server runs, and its log",
            pipeline::io_error_text(error)
        ),
        sqlx::Error::PoolTimedOut => format!(
            "no connection to {server} became available in time; check that the server runs and is not \
             overloaded"
        ),
        sqlx::Error::PoolClosed => {
            "the connections to Postgres are closed: this process is shutting down".to_owned()
        }
        sqlx::Error::Tls(error) => format!("TLS with {server} failed: {error}"),
        sqlx::Error::Protocol(_) => {
            format!(
                "{server} does not answer like a PostgreSQL server; check what runs at that address"
            )
        }
        other => other.to_string(),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "sqlx adds variants in minor versions")]
fn remedy(error: &sqlx::Error) -> Remedy {
    match error {
        sqlx::Error::Database(said) => {
            said.code().map_or(Remedy::GiveUp, |code| remedy_of_sqlstate(&code, &**said))
        }
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => Remedy::Retry,
        _ => Remedy::GiveUp,
    }
}

/// By SQLSTATE (PostgreSQL documentation, appendix A).
fn remedy_of_sqlstate(code: &str, said: &dyn DatabaseError) -> Remedy {
    match code {
        // Serialisation failure, deadlock, outcome unknown.
        "40001" | "40P01" | "40003" => Remedy::Retry,
        // Too many connections, out of memory; lock timeout.
        "53300" | "53200" | "55P03" => Remedy::Retry,
        // Shutdown, crash, start, or a terminated idle session.
        "57P01" | "57P02" | "57P03" | "57P05" | "25P03" => Remedy::Retry,
        // Unique violation: another client was faster.
        "23505" => Remedy::Conflict,
        // The state machine of operations, enforced by the database.
        "23514" if said.constraint() == Some("check_operations_transition") => Remedy::Conflict,
        _ if code.starts_with("08") => Remedy::Retry,
        _ => Remedy::GiveUp,
    }
}
