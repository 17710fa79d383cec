//! Runs store calls in spans, which metrics and traces are derived from. Stores do not count;
//! without a subscriber, `debug_span!` costs one comparison.
//!
//! The target of the spans is [`TARGET`]; their fields are `store`, `call`
//! ([`StoreError::doing`]) and, after an error, `failed`.

use std::future::Future;

use crate::StoreError;
use tracing::Instrument as _;
use tracing::field::Empty;

/// Target of the spans of store calls, and of the events in them that report retries.
pub const TARGET: &str = "semantik::store";

/// Runs a store call in its span.
pub async fn store_call<T>(
    store: &'static str,
    doing: &'static str,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let span = tracing::debug_span!(
        target: TARGET, "store_call", store, call = doing, failed = Empty, otel.status_code = Empty
    );
    let answer = call.instrument(span.clone()).await;
    if answer.is_err() {
        span.record("failed", true);
        // OpenTelemetry collectors read this field.
        span.record("otel.status_code", "ERROR");
    }
    answer
}
