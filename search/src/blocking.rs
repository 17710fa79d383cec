//! Work that takes a thread for a while: hashing a password, reading a question with a model. It happens beside the
//! threads that serve requests, on tokio's blocking ones; this is the one place of the crate that goes there.

/// Does something on a thread of its own, and waits for it.
///
/// # Cancellation
/// The work goes on to its end when nobody waits for it any more.
///
/// # Panics
/// If the work does.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
