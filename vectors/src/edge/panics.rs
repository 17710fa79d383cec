//! Catches panics of Qdrant Edge and returns them as errors.
//!
//! Edge asserts on data that it reads, so a damaged file can cause a panic whenever the shard is
//! used: opened, searched, flushed or closed. No such panic may end the process or print a
//! backtrace to standard error: the caller gets the message as an error, and the log gets the
//! source location.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;

use pipeline::panic_message;

thread_local! {
    /// Set while a panic on this thread is caught by [`catch_panic`].
    static CATCHING: Cell<bool> = const { Cell::new(false) };
}

/// Runs a job that may panic; `Err` is the message of the panic.
pub(super) fn catch_panic<T>(job: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if CATCHING.get() || is_from_edge(info) { log(info) } else { usual(info) }
        }));
    });
    let outer = CATCHING.replace(true);
    let result = catch_unwind(AssertUnwindSafe(job));
    CATCHING.set(outer);
    result.map_err(|panic| panic_message(panic.as_ref()).to_owned())
}

/// Edge propagates panics of its own threads to the calling thread, where [`catch_panic`] reports
/// them.
fn is_from_edge(info: &PanicHookInfo<'_>) -> bool {
    info.location().is_some_and(|at| at.file().contains("/qdrant-edge-"))
}

fn log(info: &PanicHookInfo<'_>) {
    let at = info.location().map(ToString::to_string).unwrap_or_default();
    tracing::warn!(at, "Qdrant Edge panicked: {}", panic_message(info.payload()));
}
