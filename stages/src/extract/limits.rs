//! The limits of the extraction of one document.

use std::time::Duration;

/// The limits of one document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExtractLimits {
    pub(crate) time: Duration,
    pub(crate) memory: u64,
}

impl ExtractLimits {
    /// Limit of unpacked content in bytes: a quarter of the memory, because the parsed form and the
    /// text must fit too.
    pub(crate) fn max_unpacked_bytes(self) -> u64 {
        self.memory / 4
    }
}
