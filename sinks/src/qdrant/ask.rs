//! One call to the server: made again while there is hope, measured, and its error in our words.

use std::future::Future;

use pipeline::StoreError;
use qdrant_client::QdrantError;

use crate::call::call;
use crate::qdrant::error::failed;
use crate::retry::retrying;

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
    call("qdrant", doing, answer).await
}
