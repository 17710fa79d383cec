//! JSON types of requests for operations.

use pipeline::{OperationRequest, RunRequest};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Types of operations that can be requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequestedOperation {
    /// Add new and changed documents, and delete missing ones. Builds a new generation if the
    /// pipeline file requires other vectors than the live ones.
    Append,
    /// Build a new generation, which then replaces the live one.
    Reindex,
}

/// A requested operation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartOperation {
    /// The operation to start.
    #[serde(rename = "type")]
    pub kind: RequestedOperation,
    /// Delete missing documents, whatever their number.
    #[serde(default)]
    pub allow_deletes: bool,
    /// Retry failed documents whose delay has passed.
    #[serde(default)]
    pub retry_failed: bool,
}

impl From<StartOperation> for OperationRequest {
    fn from(start: StartOperation) -> Self {
        let StartOperation { kind, allow_deletes, retry_failed } = start;
        let rebuild = kind == RequestedOperation::Reindex;
        Self::Run(RunRequest { allow_deletes, retry_failed, rebuild, ..RunRequest::default() })
    }
}
