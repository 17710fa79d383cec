//! The name of a database server in messages.

use sqlx::postgres::PgConnectOptions;

/// The server and its database for messages: ``127.0.0.1:5432 (database `x`)``.
pub(super) fn server(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or(options.get_username());
    format!("{} (database `{database}`)", address(options))
}

/// `host:port`, or the path of the socket.
pub(super) fn address(options: &PgConnectOptions) -> String {
    match options.get_socket() {
        Some(socket) => format!("the socket {}/.s.PGSQL.{}", socket.display(), options.get_port()),
        // The host may be an IPv6 address, which contains colons.
        None if options.get_host().contains(':') => {
            format!("[{}]:{}", options.get_host(), options.get_port())
        }
        None => format!("{}:{}", options.get_host(), options.get_port()),
    }
}
