//! Messages of panics.

use std::any::Any;

/// The message of a caught panic; a fixed text if it has none.
pub fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panic without a message")
}
