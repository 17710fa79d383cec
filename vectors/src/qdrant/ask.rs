//! One call to the server: made again while there is hope, measured, and its error in our words.

use std::future::Future;

use pipeline::StoreError;
use qdrant_client::QdrantError;

use crate::qdrant::error::{Unreachable, failed, not_reached};
use pipeline::store_call;
use pipeline::{retrying, retrying_while};

/// Makes an idempotent call until it succeeds or there is no use in it.
///
/// # Errors
/// The last error, as [`failed`] tells it.
pub(super) async fn ask<T, Fut>(
    doing: &'static str,
    mut request: impl FnMut() -> Fut,
) -> Result<T, StoreError>
where
    Fut: Future<Output = Result<T, QdrantError>>,
{
    let answer = retrying(|| {
        let answer = request();
        async move { answer.await.map_err(|error| failed(doing, error)) }
    });
    store_call("qdrant", doing, answer).await
}

/// Makes the first call of a connection. A server that answers and has too much to do is asked again; where nothing
/// answers, or not in this protocol, that is said at once, because it is mostly a wrong address.
///
/// # Errors
/// The last error, with the address of the server.
pub(super) async fn ask_first<T, Fut>(
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
        async move { answer.await.map_err(|error| not_reached(url, doing, error)) }
    });
    store_call("qdrant", doing, answer).await
}
