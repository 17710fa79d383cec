//! Retries of store calls.
//!
//! Only an error with [`Remedy::Retry`] is retried, so a call must be idempotent: a connection may
//! be lost after the server has completed the request. Delays grow and have jitter, so that clients
//! that lost their connections together do not reconnect together.

use std::future::Future;
use std::time::Duration;

use crate::store_call::{STORE_CALLS, STORE_RETRY};
use crate::{Remedy, StoreError};
use backon::{ExponentialBuilder, Retryable as _};

/// Ten attempts in about twenty seconds: longer than a restart of the server, short enough for a
/// user to wait.
fn policy() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(5))
        .with_max_times(9)
        .with_jitter()
}

/// Calls until success, an error that cannot be retried, or the tenth error.
///
/// # Errors
/// The last error.
///
/// ```
/// use pipeline::{Remedy, StoreError, retrying};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let mut attempts = 0;
/// let count = retrying(|| {
///     attempts += 1;
///     let is_first = attempts == 1;
///     async move {
///         if is_first {
///             let source = "connection reset".into();
///             return Err(StoreError { doing: "count points", remedy: Remedy::Retry, source });
///         }
///         Ok(42)
///     }
/// })
/// .await;
/// assert_eq!(count.unwrap(), 42);
/// assert_eq!(attempts, 2);
/// # }
/// ```
pub async fn retrying<T, F, Fut>(call: F) -> Result<T, StoreError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, StoreError>>,
{
    retrying_while(|_| true, call).await
}

/// Like [`retrying`], but gives up immediately if `may_pass` returns `false`, because the error
/// will last longer than the retries.
///
/// # Errors
/// The last error.
///
/// ```
/// use pipeline::{Remedy, StoreError, retrying_while};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let full = || StoreError {
///     doing: "upsert points",
///     remedy: Remedy::Retry,
///     source: "no space left on the device".into(),
/// };
/// let mut attempts = 0;
/// let is_passing = |error: &StoreError| !error.source.to_string().contains("no space");
/// let answer: Result<(), _> = retrying_while(is_passing, || {
///     attempts += 1;
///     let error = full();
///     async move { Err(error) }
/// })
/// .await;
/// assert_eq!(answer.unwrap_err().to_string(), "could not upsert points");
/// assert_eq!(attempts, 1);
/// # }
/// ```
pub async fn retrying_while<T, F, Fut>(
    may_pass: impl Fn(&StoreError) -> bool,
    call: F,
) -> Result<T, StoreError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, StoreError>>,
{
    retrying_with(policy(), may_pass, call).await
}

async fn retrying_with<T, F, Fut>(
    policy: ExponentialBuilder,
    may_pass: impl Fn(&StoreError) -> bool,
    call: F,
) -> Result<T, StoreError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, StoreError>>,
{
    call.retry(policy)
        .when(|error: &StoreError| error.remedy == Remedy::Retry && may_pass(error))
        .notify(|error, wait| {
            tracing::warn!(
                name: STORE_RETRY, target: STORE_CALLS,
                %error, cause = %error.source, ?wait, "retrying a store call"
            );
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn attempts(remedy: Remedy, may_pass: bool) -> u32 {
        let mut calls = 0;
        let at_once = policy().with_min_delay(Duration::ZERO).with_max_delay(Duration::ZERO);
        let result: Result<(), _> = retrying_with(
            at_once,
            |_| may_pass,
            || {
                calls += 1;
                async move { Err(StoreError { doing: "try", remedy, source: "no".into() }) }
            },
        )
        .await;
        assert!(result.is_err());
        calls
    }

    #[tokio::test]
    async fn only_what_may_go_away_is_tried_again_and_not_for_ever() {
        assert_eq!(attempts(Remedy::GiveUp, true).await, 1);
        assert_eq!(attempts(Remedy::Conflict, true).await, 1);
        assert_eq!(attempts(Remedy::Retry, true).await, 10);
        assert_eq!(attempts(Remedy::Retry, false).await, 1);
    }
}
