//! Spans of operations, nodes and calls to the stores, for an OpenTelemetry collector.
//!
//! Compiled in by the feature `otel`, and at work where `OTEL_EXPORTER_OTLP_ENDPOINT` names a collector; what else
//! can be set is that of <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>.

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

/// Where spans go, if anywhere. When it is dropped, what was not sent yet is sent.
pub(crate) struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Spans go to the collector that the environment names. A runtime must be entered.
    ///
    /// # Errors
    /// If what is set in the environment is not right.
    pub(crate) fn new() -> Result<Self, BoxError> {
        if std::env::var_os(ENDPOINT).is_none() {
            return Ok(Self(None));
        }
        let exporter = SpanExporter::builder().with_tonic().build()?;
        let resource = Resource::builder().with_service_name("semantik").build();
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter);
        Ok(Self(Some(provider.with_resource(resource).build())))
    }

    /// What gives spans to it.
    pub(crate) fn layer<S>(&self) -> Option<impl Layer<S> + use<S>>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let tracer = self.0.as_ref()?.tracer("semantik");
        Some(tracing_opentelemetry::layer().with_tracer(tracer).with_filter(filter_fn(is_ours)))
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        if let Some(provider) = &self.0
            && let Err(error) = provider.shutdown()
        {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// Spans of ours down to calls to the stores; not the documents, of which there may be millions, and not what
/// libraries say, the exporter's own requests among them.
fn is_ours(metadata: &Metadata<'_>) -> bool {
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
    ];
    let of = metadata.target().split("::").next().unwrap_or_default();
    crates.contains(&of) && (metadata.is_span() || *metadata.level() <= Level::INFO)
}
