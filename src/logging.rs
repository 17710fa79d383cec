//! Logs go to standard error: as JSON lines, or in words where a person looks at a terminal.

use std::io::{IsTerminal as _, stderr};

use tracing_subscriber::EnvFilter;

/// Starts logging by the given filter. Without one, a terminal gets warnings only, since progress is
/// drawn there; elsewhere a command that goes on for long also says what an operator wants to know.
pub(crate) fn start(filter: Option<&str>, goes_on: bool) {
    let is_terminal = stderr().is_terminal();
    // Postgres notices that a table is there already whenever migrations are looked at.
    let default = if is_terminal || !goes_on { "warn" } else { "info,sqlx::postgres::notice=warn" };
    let filter = EnvFilter::builder().parse_lossy(filter.unwrap_or(default));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    if is_terminal {
        logs.with_target(false).without_time().init();
    } else {
        logs.json().flatten_event(true).with_current_span(false).init();
    }
}
