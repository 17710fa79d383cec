//! One call to the server: with retries, metrics, and the client's error converted.

use std::future::Future;

use pipeline::StoreError;
use qdrant_client::QdrantError;

use crate::qdrant::error::{Unreachable, call_error, connect_error};
use pipeline::store_call;
use pipeline::{retrying, retrying_while};

/// Makes an idempotent call, with retries after transient errors.
///
/// # Errors
/// The last error, converted by [`call_error`].
pub(super) async fn call_retrying<T, Fut>(
    doing: &'static str,
    mut request: impl FnMut() -> Fut,
) -> Result<T, StoreError>
where
    Fut: Future<Output = Result<T, QdrantError>>,
{
    let answer = retrying(|| {
        let answer = request();
        async move { answer.await.map_err(|error| call_error(doing, error)) }
    });
    store_call("qdrant", doing, answer).await
}

/// Makes the first call of a connection. Retried if the server responds that it is overloaded; not
/// if the server cannot be reached or speaks another protocol, because the usual cause is a wrong
/// address.
///
/// # Errors
/// The last error, with the address of the server.
pub(super) async fn connect_retrying<T, Fut>(
    url: &str,
    doing: &'static str,
    mut request: impl FnMut() -> Fut,
) -> Result<T, StoreError>
where
    Fut: Future<Output = Result<T, QdrantError>>,
{
    let may_pass = |error: &StoreError| !error.source.is::<Unreachable>();
    let answer = retrying_while(may_pass, || {
        let answer = request();
        async move { answer.await.map_err(|error| connect_error(url, doing, error)) }
    });
    store_call("qdrant", doing, answer).await
}
