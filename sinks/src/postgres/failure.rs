//! What Postgres says when it does not do something, and what can be done about it.

use pipeline::{ReadOnly, Remedy, StoreError};
use sqlx::error::DatabaseError;

/// `read_only_sql_transaction`.
const READ_ONLY: &str = "25006";

/// Why a call failed. Its text never has a connection string in it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{}", words(.0))]
    Sql(sqlx::Error),
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    GiveUp(String),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl Failure {
    pub(super) fn doing(self, doing: &'static str) -> StoreError {
        if let Self::Sql(error) = &self
            && is_read_only(error)
        {
            return StoreError { doing, remedy: Remedy::GiveUp, source: ReadOnly.into() };
        }
        let remedy = match &self {
            Self::Sql(error) => remedy(error),
            Self::Conflict(_) => Remedy::Conflict,
            Self::GiveUp(_) => Remedy::GiveUp,
        };
        StoreError { doing, remedy, source: self.into() }
    }
}

/// Whether Postgres refused to write since the database is read-only.
pub(super) fn is_read_only(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(DatabaseError::code).as_deref() == Some(READ_ONLY)
}

/// The cause in words, without sqlx's words around it and without repeating it as a source.
fn words(error: &sqlx::Error) -> String {
    match error.as_database_error() {
        Some(said) => said.message().to_owned(),
        None => error.to_string(),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "sqlx adds variants as it likes")]
fn remedy(error: &sqlx::Error) -> Remedy {
    match error {
        sqlx::Error::Database(said) => {
            said.code().map_or(Remedy::GiveUp, |code| of_code(&code, &**said))
        }
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => Remedy::Retry,
        _ => Remedy::GiveUp,
    }
}

/// By SQLSTATE (PostgreSQL documentation, appendix A).
fn of_code(code: &str, said: &dyn DatabaseError) -> Remedy {
    match code {
        // Serialisation failure, deadlock, outcome unknown.
        "40001" | "40P01" | "40003" => Remedy::Retry,
        // Too many connections, out of memory; a lock that did not come in time.
        "53300" | "53200" | "55P03" => Remedy::Retry,
        // The server shuts down, has crashed, starts, or ended an idle session.
        "57P01" | "57P02" | "57P03" | "57P05" | "25P03" => Remedy::Retry,
        // Unique violation: somebody else was there first.
        "23505" => Remedy::Conflict,
        // The state machine of operations, in the database.
        "23514" if said.constraint() == Some("check_operations_transition") => Remedy::Conflict,
        _ if code.starts_with("08") => Remedy::Retry,
        _ => Remedy::GiveUp,
    }
}
