//! JSON types of the local socket (`local.rs`).

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The collections that a server searches.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct ServedList {
    /// Their ids.
    pub collections: Vec<Uuid>,
}

/// A request to compare the stores of a collection.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyRequest {
    /// Waits for the operation that works on the collection, instead of leaving out the documents
    /// that it is writing.
    #[serde(default)]
    pub wait: bool,
}
