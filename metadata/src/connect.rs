//! The first connection to a server, with error messages that name host, port, database and role,
//! the cause, and a remedy.

use std::io::ErrorKind;
use std::str::FromStr as _;
use std::time::Duration;

use pipeline::{StoreError, io_error_text};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};

use crate::query_error::QueryError;
use crate::server_name::address;

/// Timeout for the first connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

const DOING: &str = "connect to Postgres";

/// Parses a `postgres:` URL.
///
/// # Errors
/// If the URL is invalid. The error contains no part of it, because it may hold a password.
pub(super) fn parse_url(url: &str) -> Result<PgConnectOptions, StoreError> {
    let refuse = |why: &str| QueryError::Permanent(why.to_owned()).into_store_error(DOING);
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(refuse(
            "the URL is not a valid postgres: URL; write postgres://USER:PASSWORD@HOST:PORT/DATABASE",
        ));
    };
    if !matches!(scheme, "postgres" | "postgresql") {
        return Err(refuse("the URL is not a valid postgres: URL; it must begin with postgres://"));
    }
    // Messages show the part after the authority, so it must not contain the rest of a password.
    let (authority, behind) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if !authority.contains('@') && behind.contains('@') {
        return Err(refuse(
            "the URL has an `@` after its first `/`, `?` or `#`; in user names, passwords and options write `@` as %40, \
             `/` as %2F, `?` as %3F and `#` as %23",
        ));
    }
    PgConnectOptions::from_str(url)
        .map_err(|_| refuse("the URL is not a valid postgres: URL; write postgres://USER:PASSWORD@HOST:PORT/DATABASE"))
}

/// Connects once and explains a failure. A pool would retry an unreachable server until its
/// timeout.
///
/// # Errors
/// If the server is unreachable or refuses the role.
pub(super) async fn probe(options: &PgConnectOptions) -> Result<(), StoreError> {
    let attempt = async { PgConnection::connect_with(options).await?.close().await };
    match tokio::time::timeout(CONNECT_TIMEOUT, attempt).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            Err(QueryError::Sql(error)
                .into_store_error_with(DOING, |error| explain(options, error)))
        }
        Err(_) => {
            let address = address(options);
            let seconds = CONNECT_TIMEOUT.as_secs();
            let why = format!(
                "{address} did not answer within {seconds} s; check host, port and firewall"
            );
            Err(QueryError::Sql(sqlx::Error::PoolTimedOut).into_store_error_with(DOING, |_| why))
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "sqlx adds variants in minor versions")]
fn explain(options: &PgConnectOptions, error: &sqlx::Error) -> String {
    let address = address(options);
    let user = options.get_username();
    let database = options.get_database().unwrap_or(user);
    match error {
        sqlx::Error::Io(error) => match error.kind() {
            ErrorKind::ConnectionRefused => format!(
                "{address} refused the connection (database `{database}`, user `{user}`); start the server, or correct \
                 host and port"
            ),
            ErrorKind::NotFound => {
                format!(
                    "{address} does not exist; start the server, or correct the folder of the socket"
                )
            }
            ErrorKind::PermissionDenied => {
                format!("permission denied for {address}; run semantik as a user with access to it")
            }
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                format!(
                    "{address} closed the connection immediately; check that it is a PostgreSQL server, and its log"
                )
            }
            ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                format!(
                    "{address} cannot be reached ({}); check host, port and firewall",
                    io_error_text(error)
                )
            }
            _ if error.to_string().contains("lookup") => format!(
                "the host name `{}` could not be resolved; correct it, or check the name server",
                options.get_host()
            ),
            _ => format!("{address} cannot be reached: {}", io_error_text(error)),
        },
        sqlx::Error::Tls(cause) => format!(
            "TLS with {address} failed: {}; check the server's certificate, or set `sslmode` and `sslrootcert` in the URL",
            pipeline::strip_os_error_code(&cause.to_string())
        ),
        sqlx::Error::Database(said) => {
            let code = said.code().unwrap_or_default();
            let message = said.message();
            match &*code {
                "28P01" | "28000" => format!(
                    "{address} rejected user `{user}`: {message}; check user and password, and the server's \
                     pg_hba.conf"
                ),
                "3D000" => format!(
                    "database `{database}` does not exist at {address}; create it with `createdb -h HOST -p PORT {database}`, or \
                     correct the name"
                ),
                "42501" => format!(
                    "user `{user}` has no access to database `{database}` of {address}: {message}; grant it CONNECT"
                ),
                "53300" => format!(
                    "{address} has too many connections: {message}; raise its `max_connections`, or stop other clients"
                ),
                "57P03" => format!("{address} is not ready yet: {message}; try again in a moment"),
                _ => format!("{address} refused database `{database}` to user `{user}`: {message}"),
            }
        }
        sqlx::Error::Protocol(_) => {
            format!("{address} does not answer like a PostgreSQL server; correct host and port")
        }
        other => format!("{address}: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_of_a_password_is_taken_for_something_else() {
        for url in [
            "postgres://me:12/secret@host/db",
            "postgres://me:12?secret@host/db",
            "postgres://me:12#secret@host/db",
            "postgres://me:secret",
            "me:secret@host/db",
            "mysql://me:secret@host/db",
            "postgres://me:secret@[broken/db",
        ] {
            let error = parse_url(url).unwrap_err();
            assert!(!pipeline::error_chain(&error).contains("secret"), "{error}");
        }
        for url in
            ["postgres://me:p%2Fw@host:1/db", "postgres:///db?host=/run", "postgresql://h/d?user=a"]
        {
            assert!(parse_url(url).is_ok(), "{url}");
        }
    }
}
