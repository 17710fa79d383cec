//! Calls to a store are spans, by which whoever wants to measures and traces them. The stores themselves count
//! nothing: `debug_span!` costs a comparison where nobody listens.
//!
//! The span's target is [`TARGET`]; its fields are `store`, `call` (what is done, in the words of
//! [`StoreError::doing`]) and, when it has ended badly, `failed`.

use std::future::Future;

use crate::StoreError;
use tracing::Instrument as _;
use tracing::field::Empty;

/// The target of the spans of calls, and of the events in them that say that a call is made again.
pub const TARGET: &str = "semantik::store";

/// Puts a call to a store into its span.
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
        // What a collector goes by.
        span.record("otel.status_code", "ERROR");
    }
    answer
}
