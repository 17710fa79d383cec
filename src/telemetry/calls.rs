//! Calls to the stores, measured by listening to their spans.

use std::time::Instant;

use pipeline::StoreMetrics;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Listens to the spans of calls to the stores.
pub(crate) struct StoreCalls(StoreMetrics);

impl StoreCalls {
    pub(crate) fn new(metrics: StoreMetrics) -> Self {
        Self(metrics)
    }

    /// What it listens to.
    pub(crate) fn concerns(metadata: &Metadata<'_>) -> bool {
        metadata.target() == sinks::CALLS
    }
}

/// A call that is under way.
struct Call {
    began: Instant,
    store: String,
    call: String,
    failed: bool,
}

impl Visit for Call {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "store" => value.clone_into(&mut self.store),
            // Names of series have no spaces, and their labels better have none either.
            "call" => self.call = value.replace(' ', "_"),
            _ => {}
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        if field.name() == "failed" {
            self.failed = value;
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for StoreCalls {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut call = Call {
            began: Instant::now(),
            store: String::new(),
            call: String::new(),
            failed: false,
        };
        attributes.record(&mut call);
        self.0.begins(&call.store);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(call);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(call) = span.extensions_mut().get_mut::<Call>()
        {
            values.record(call);
        }
    }

    /// The only event among what this listens to: that a call is made again.
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if let Some(span) = context.event_span(event)
            && let Some(call) = span.extensions().get::<Call>()
        {
            self.0.retries(&call.store);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        if let Some(span) = context.span(&id)
            && let Some(call) = span.extensions().get::<Call>()
        {
            self.0.ended(&call.store, &call.call, call.began.elapsed(), call.failed);
        }
    }
}

#[cfg(test)]
mod tests {
    use pipeline::Exposition;
    use tracing::Instrument as _;
    use tracing_subscriber::filter::filter_fn;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn calls_are_measured_by_their_spans() {
        let exposition = Exposition::new();
        let calls = StoreCalls::new(StoreMetrics::new(exposition.registry()));
        let listens =
            tracing_subscriber::registry().with(calls.with_filter(filter_fn(StoreCalls::concerns)));
        tracing::subscriber::with_default(listens, || {
            let call = |failed: bool| {
                let span = tracing::debug_span!(
                    target: sinks::CALLS, "store_call", store = "edge", call = "upsert points",
                    failed = tracing::field::Empty
                );
                let work = async {
                    tracing::warn!(target: sinks::CALLS, "the store is asked again");
                    tracing::warn!("something else");
                };
                let runtime = tokio::runtime::Builder::new_current_thread().build();
                runtime.expect("a runtime without drivers").block_on(work.instrument(span.clone()));
                if failed {
                    span.record("failed", true);
                }
            };
            call(false);
            call(true);
        });
        let text = exposition.text();
        for line in [
            r#"semantik_store_call_seconds_count{call="upsert_points",store="edge"} 2"#,
            r#"semantik_store_errors_total{call="upsert_points",store="edge"} 1"#,
            r#"semantik_store_retries_total{store="edge"} 2"#,
            r#"semantik_store_calls_under_way{store="edge"} 0"#,
        ] {
            assert!(text.contains(line), "no `{line}` in:\n{text}");
        }
    }
}
