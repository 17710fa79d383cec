//! Logs go to standard error, as text unless JSON lines are asked for. Beside them calls to the stores and operations are
//! counted ([`Listener`]), whatever is logged.

use std::io::{IsTerminal as _, stderr};

use pipeline::BoxError;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt, registry};

use crate::cli::{LogFormat, variable};
use crate::render::{LogWriter, Paint};
#[cfg(feature = "otel")]
use crate::telemetry::Traces;
use crate::telemetry::{Listener, Telemetry};

/// What has to be kept until the process ends; dropped while the runtime is there, it sends what is still to be sent.
pub(crate) struct Started {
    #[cfg(feature = "otel")]
    _traces: Traces,
}

/// Starts logging by the given filter, in the given format. Without a filter, a terminal gets warnings only, since
/// progress is drawn there; elsewhere a command that goes on for long also says what an operator wants to know.
///
/// # Errors
/// If spans are to go somewhere, and cannot.
#[cfg_attr(not(feature = "otel"), expect(clippy::unnecessary_wraps, reason = "traces can fail"))]
pub(crate) fn start(
    filter: Option<&str>,
    format: LogFormat,
    goes_on: bool,
    telemetry: &Telemetry,
) -> Result<Started, BoxError> {
    let is_terminal = stderr().is_terminal();
    // Postgres notices that a table is there already whenever migrations are looked at.
    let default = if is_terminal || !goes_on { "warn" } else { "info,sqlx::postgres::notice=warn" };
    let filter = EnvFilter::builder().parse_lossy(filter.unwrap_or(default));
    let json = format == LogFormat::Json;
    let logs = fmt::layer().with_writer(move || LogWriter { json });
    let logs = match format {
        LogFormat::Json => {
            logs.json().flatten_event(true).with_current_span(false).with_span_list(true).boxed()
        }
        LogFormat::Text => {
            let logs = logs.with_target(false).with_ansi(Paint::of(is_terminal).colours());
            // The journal of systemd has times of its own.
            let is_timed = is_terminal || variable("JOURNAL_STREAM").is_some();
            if is_timed { logs.without_time().boxed() } else { logs.boxed() }
        }
    };
    let listening = registry()
        .with(logs.with_filter(filter))
        .with(telemetry.listener().with_filter(filter_fn(Listener::concerns)));
    #[cfg(feature = "otel")]
    {
        let traces = Traces::new()?;
        listening.with(traces.layer()).init();
        Ok(Started { _traces: traces })
    }
    #[cfg(not(feature = "otel"))]
    {
        listening.init();
        Ok(Started {})
    }
}
