//! Logs go to standard error, as text or as JSON lines. In addition, a [`MetricsLayer`] counts
//! store calls and operations, whatever the log filter.

use std::io::{IsTerminal as _, stderr};

use pipeline::BoxError;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt, registry};

use crate::cli::{LogFormat, env_var};
use crate::render::{LogWriter, Paint};
#[cfg(feature = "otel")]
use crate::telemetry::TraceExporter;
use crate::telemetry::{MetricsLayer, Telemetry};

/// State to keep until the process ends. Dropping it sends pending spans, which needs a running
/// runtime.
pub(crate) struct LoggingGuard {
    #[cfg(feature = "otel")]
    _traces: TraceExporter,
}

/// Starts logging with this filter and format. Without a filter, a terminal gets warnings only,
/// because progress is drawn there; elsewhere a long-running command (`goes_on`) also logs at level
/// info.
///
/// # Errors
/// If the exporter of spans is configured and cannot be created.
#[cfg_attr(not(feature = "otel"), expect(clippy::unnecessary_wraps, reason = "traces can fail"))]
pub(crate) fn start(
    filter: Option<&str>,
    format: LogFormat,
    goes_on: bool,
    telemetry: &Telemetry,
) -> Result<LoggingGuard, BoxError> {
    let is_terminal = stderr().is_terminal();
    // Postgres sends a notice about existing tables whenever migrations are checked.
    let default = if is_terminal || !goes_on { "warn" } else { "info,sqlx::postgres::notice=warn" };
    let filter = EnvFilter::builder().parse_lossy(filter.unwrap_or(default));
    let json = format == LogFormat::Json;
    let logs = fmt::layer().with_writer(move || LogWriter { json });
    let logs = match format {
        LogFormat::Json => {
            logs.json().flatten_event(true).with_current_span(false).with_span_list(true).boxed()
        }
        LogFormat::Text => {
            let logs =
                logs.with_target(false).with_ansi(Paint::for_stream(is_terminal).has_colours());
            // The systemd journal adds times itself.
            let is_timed = is_terminal || env_var("JOURNAL_STREAM").is_some();
            if is_timed { logs.without_time().boxed() } else { logs.boxed() }
        }
    };
    let listening = registry()
        .with(logs.with_filter(filter))
        .with(telemetry.listener().with_filter(filter_fn(MetricsLayer::is_relevant)));
    #[cfg(feature = "otel")]
    {
        let traces = TraceExporter::new()?;
        listening.with(traces.layer()).init();
        Ok(LoggingGuard { _traces: traces })
    }
    #[cfg(not(feature = "otel"))]
    {
        listening.init();
        Ok(LoggingGuard {})
    }
}
