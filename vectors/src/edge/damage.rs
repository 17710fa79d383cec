//! Errors of damaged shards.

use std::path::{Path, PathBuf};

use pipeline::{BoxError, StoreError};
use qdrant_edge::OperationError;

use crate::shape::permanent_error;

/// Operation named by errors of opening a shard.
pub(super) const OPENING: &str = "open the vector collection";

/// A shard that is probably damaged.
#[derive(Debug, thiserror::Error)]
#[error(
    "the shard {} cannot be used: {cause}; if its files are damaged, rebuild it with `semantik \
     verify FILE --repair`",
    shard.display()
)]
struct DamagedShard {
    shard: PathBuf,
    cause: BoxError,
}

/// An error that marks the shard as damaged.
pub(super) fn damage_error(
    doing: &'static str,
    folder: &Path,
    cause: impl Into<BoxError>,
) -> StoreError {
    permanent_error(doing, DamagedShard { shard: folder.to_owned(), cause: cause.into() })
}

/// Returns true if the error is probably caused by damaged files of an embedded store.
pub fn is_damage_error(error: &StoreError) -> bool {
    error.source.is::<DamagedShard>() || error.source.is::<OperationError>()
}
