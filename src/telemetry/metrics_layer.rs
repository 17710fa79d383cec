//! A tracing layer that counts store calls by their spans, and finished operations by their events.

use std::time::Instant;

use metadata::{OPERATION_ENDED, OPERATION_EVENTS};
use pipeline::{STORE_CALL, STORE_CALLS, STORE_RETRY, StoreMetrics};
use prometheus::HistogramVec;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// The tracing layer.
pub(crate) struct MetricsLayer {
    stores: StoreMetrics,
    /// Labels: type and status.
    operation_seconds: HistogramVec,
}

impl MetricsLayer {
    pub(super) fn new(stores: StoreMetrics, operation_seconds: HistogramVec) -> Self {
        Self { stores, operation_seconds }
    }

    /// `true` for spans and events that the layer evaluates.
    pub(crate) fn is_relevant(metadata: &Metadata<'_>) -> bool {
        [STORE_CALLS, OPERATION_EVENTS].contains(&metadata.target())
    }
}

/// A store call in progress.
struct CallSpan {
    began: Instant,
    store: String,
    call: String,
    failed: bool,
}

impl Visit for CallSpan {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "store" => value.clone_into(&mut self.store),
            // Label values contain no spaces.
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

/// Fields of the event of a finished operation.
#[derive(Default)]
struct OperationEnd {
    kind: String,
    status: String,
    seconds: f64,
}

impl Visit for OperationEnd {
    fn record_f64(&mut self, field: &Field, value: f64) {
        if field.name() == "seconds" {
            self.seconds = value;
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "kind" => value.clone_into(&mut self.kind),
            "status" => value.clone_into(&mut self.status),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for MetricsLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let metadata = attributes.metadata();
        if (metadata.target(), metadata.name()) != (STORE_CALLS, STORE_CALL) {
            return;
        }
        let (store, call) = (String::new(), String::new());
        let mut call = CallSpan { began: Instant::now(), store, call, failed: false };
        attributes.record(&mut call);
        self.stores.call_started(&call.store);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(call);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(call) = span.extensions_mut().get_mut::<CallSpan>()
        {
            values.record(call);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        match (event.metadata().target(), event.metadata().name()) {
            (OPERATION_EVENTS, OPERATION_ENDED) => {
                let mut ended = OperationEnd::default();
                event.record(&mut ended);
                let labels = &[ended.kind.as_str(), ended.status.as_str()];
                self.operation_seconds.with_label_values(labels).observe(ended.seconds);
            }
            (STORE_CALLS, STORE_RETRY) => {
                if let Some(span) = context.event_span(event)
                    && let Some(call) = span.extensions().get::<CallSpan>()
                {
                    self.stores.count_retry(&call.store);
                }
            }
            _ => {}
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        if let Some(span) = context.span(&id)
            && let Some(call) = span.extensions().get::<CallSpan>()
        {
            self.stores.call_finished(&call.store, &call.call, call.began.elapsed(), call.failed);
        }
    }
}

#[cfg(test)]
mod tests {
    use metadata::{OperationStatus, OperationType};
    use tracing::Instrument as _;
    use tracing_subscriber::filter::filter_fn;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::telemetry::Telemetry;

    #[test]
    fn calls_and_operations_are_counted_by_what_is_told() {
        let telemetry = Telemetry::new();
        // Series start at zero: an alert on an increase must see the first failure.
        let text = telemetry.exposition().encode_text();
        for kind in ["index", "append", "reindex", "remove_source", "delete"] {
            for status in ["completed", "failed", "cancelled"] {
                let labels = format!(r#"{{status="{status}",type="{kind}"}}"#);
                let line = format!("semantik_operation_seconds_count{labels} 0\n");
                assert!(text.contains(&line), "no `{line}` in:\n{text}");
            }
        }
        let listener = telemetry.listener().with_filter(filter_fn(MetricsLayer::is_relevant));
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.expect("a runtime without drivers");
        tracing::subscriber::with_default(tracing_subscriber::registry().with(listener), || {
            for failed in [false, true] {
                let span = tracing::debug_span!(
                    target: STORE_CALLS, STORE_CALL, store = "edge", call = "upsert points",
                    failed = tracing::field::Empty
                );
                let work = async {
                    tracing::warn!(name: STORE_RETRY, target: STORE_CALLS, "retrying the store call");
                    tracing::warn!(target: STORE_CALLS, "another event of a store call");
                    tracing::warn!("something else");
                };
                runtime.block_on(work.instrument(span.clone()));
                if failed {
                    span.record("failed", true);
                }
            }
            let (kind, status) =
                (OperationType::Append.to_string(), OperationStatus::Failed.to_string());
            tracing::debug!(
                name: OPERATION_ENDED, target: OPERATION_EVENTS, kind, status, seconds = 5.0
            );
        });
        let text = telemetry.exposition().encode_text();
        for line in [
            r#"semantik_store_call_seconds_count{call="upsert_points",store="edge"} 2"#,
            r#"semantik_store_errors_total{call="upsert_points",store="edge"} 1"#,
            r#"semantik_store_retries_total{store="edge"} 2"#,
            r#"semantik_store_calls_under_way{store="edge"} 0"#,
            r#"semantik_operation_seconds_count{status="failed",type="append"} 1"#,
            r#"semantik_operation_seconds_bucket{status="failed",type="append",le="4"} 0"#,
            r#"semantik_operation_seconds_bucket{status="failed",type="append",le="15"} 1"#,
        ] {
            assert!(text.contains(line), "no `{line}` in:\n{text}");
        }
    }
}
