//! The causes for which files are set aside, as text.

use std::io;

/// Cause for a file that is not the one of the walk.
pub(super) const CHANGED_WHILE_READ: &str =
    "it changed while the run read it; the next run reads it";

/// The message of the system's error, without the path.
pub(crate) fn io_cause(error: &io::Error) -> String {
    let kind = error.kind();
    if kind == io::ErrorKind::NotFound {
        return "file not found or dangling link".to_owned();
    }
    // fs_err adds the path to the error's message; the message of the raw error code has none.
    let said = error.raw_os_error().map(|code| io::Error::from_raw_os_error(code).to_string());
    let said = said.unwrap_or_else(|| kind.to_string()).to_lowercase();
    said.split(" (os error").next().unwrap_or_default().to_owned()
}
