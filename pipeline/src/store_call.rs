//! Runs store calls in spans, which metrics and traces are derived from. Stores do not count;
//! without a subscriber, `debug_span!` costs one comparison.
//!
//! The target of the spans is [`STORE_CALLS`] and their name [`STORE_CALL`]; their fields are
//! `store`, `call` ([`StoreError::doing`]) and, after an error, `failed`. Each retry within a call
//! is an event with the same target and the name [`STORE_RETRY`]. Listeners compare these names, so
//! other spans and events within a call do not count.

use std::future::Future;

use crate::StoreError;
use tracing::Instrument as _;
use tracing::field::Empty;

/// Target of the spans of store calls, and of the events in them that report retries.
pub const STORE_CALLS: &str = "semantik::store";

/// Name of the span of a store call.
pub const STORE_CALL: &str = "store_call";

/// Name of the event of a retry, in the span of its call.
pub const STORE_RETRY: &str = "store_retry";

/// Runs a store call in its span.
pub async fn store_call<T>(
    store: &'static str,
    doing: &'static str,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let span = tracing::debug_span!(
        target: STORE_CALLS, STORE_CALL, store, call = doing, failed = Empty, otel.status_code = Empty
    );
    let answer = call.instrument(span.clone()).await;
    if answer.is_err() {
        span.record("failed", true);
        // OpenTelemetry collectors read this field.
        span.record("otel.status_code", "ERROR");
    }
    answer
}
