//! Spans of operations, nodes and store calls for an OpenTelemetry collector.
//!
//! Requires the feature `otel`, and is active if `OTEL_EXPORTER_OTLP_ENDPOINT` names a collector.
//! Further variables: <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>.

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use pipeline::BoxError;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// The exporter of spans, if configured. Dropping it sends pending spans.
pub(crate) struct TraceExporter(Option<SdkTracerProvider>);

impl TraceExporter {
    /// Exports spans to the collector named by the environment. Must be called within a Tokio
    /// runtime.
    ///
    /// # Errors
    /// If a setting in the environment is invalid.
    pub(crate) fn new() -> Result<Self, BoxError> {
        if std::env::var_os(ENDPOINT).is_none() {
            return Ok(Self(None));
        }
        let exporter = SpanExporter::builder().with_tonic().build()?;
        let resource = Resource::builder().with_service_name("semantik").build();
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter);
        Ok(Self(Some(provider.with_resource(resource).build())))
    }

    /// The layer that records spans; `None` if no collector is configured.
    pub(crate) fn layer<S>(&self) -> Option<impl Layer<S> + use<S>>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let tracer = self.0.as_ref()?.tracer("semantik");
        Some(tracing_opentelemetry::layer().with_tracer(tracer).with_filter(filter_fn(is_exported)))
    }
}

impl Drop for TraceExporter {
    fn drop(&mut self) {
        if let Some(provider) = &self.0
            && let Err(error) = provider.shutdown()
        {
            tracing::warn!(%error, "failed to export the last spans");
        }
    }
}

/// `true` for spans of this project, and for events up to level info. Excludes spans of single
/// documents, which may be millions, and those of libraries, such as requests of the exporter
/// itself.
fn is_exported(metadata: &Metadata<'_>) -> bool {
    let crates = [
        "semantik",
        "pipeline",
        "stages",
        "embedding",
        "cache",
        "metadata",
        "vectors",
        "sources",
        "sinks",
        "search",
        "server",
        "operations",
    ];
    let of = metadata.target().split("::").next().unwrap_or_default();
    crates.contains(&of) && (metadata.is_span() || *metadata.level() <= Level::INFO)
}
