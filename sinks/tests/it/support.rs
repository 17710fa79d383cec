//! Resources for a sink.

use std::sync::Arc;

use metadata::MemoryMetadata;
use pipeline::Resources;
use pipeline::test_util::no_resources;
use sinks::test_util::DIM;
use uuid::Uuid;
use vectors::MemoryVectors;

pub(crate) const COLLECTION: Uuid = Uuid::from_u128(42);

/// Resources with stores in memory.
pub(crate) fn resources() -> Resources {
    Resources {
        collection: COLLECTION,
        metadata: Arc::new(MemoryMetadata::new(COLLECTION)),
        vectors: Arc::new(MemoryVectors::new(DIM)),
        ..no_resources()
    }
}
