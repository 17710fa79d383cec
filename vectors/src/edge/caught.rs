//! Panics of the embedded store, caught and turned into errors.
//!
//! Edge asserts what it reads from its files, so a damaged file can end in a panic wherever the shard is touched: while
//! it is opened, searched, flushed or closed. None of them may end the process or reach standard error as a backtrace:
//! the caller gets the message as an error, and the place in the source goes to the log.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;

thread_local! {
    /// Whether a panic on this thread is caught here.
    static CATCHING: Cell<bool> = const { Cell::new(false) };
}

/// Runs a job that may panic; an `Err` is the message of the panic.
pub(super) fn caught<T>(job: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if CATCHING.get() || is_of_edge(info) { log(info) } else { usual(info) }
        }));
    });
    let outer = CATCHING.replace(true);
    let result = catch_unwind(AssertUnwindSafe(job));
    CATCHING.set(outer);
    result.map_err(|panic| message(panic.as_ref()).to_owned())
}

/// Edge has threads of its own; it hands their panics to the caller, who is told here.
fn is_of_edge(info: &PanicHookInfo<'_>) -> bool {
    info.location().is_some_and(|at| at.file().contains("/qdrant-edge-"))
}

fn log(info: &PanicHookInfo<'_>) {
    let at = info.location().map(ToString::to_string).unwrap_or_default();
    tracing::warn!(at, "the vector collection panicked: {}", message(info.payload()));
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}
