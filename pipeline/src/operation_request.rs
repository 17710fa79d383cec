//! A request for an operation on a collection, as data: what the command line, the HTTP API,
//! schedules and the queue build. It contains no secret; its executor reads the pipeline file.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::spec::ScheduledOperation;

/// A requested change of a collection. The JSON form is stored in `operations.config`, so old forms
/// must stay readable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum OperationRequest {
    /// Stores new and changed documents, and deletes missing ones.
    Run(RunRequest),
    /// Deletes documents until they are undeleted.
    DeleteDocuments {
        /// Their ids.
        documents: Vec<Uuid>,
    },
    /// Permits deleted documents again; the next run stores them.
    UndeleteDocuments {
        /// Their ids.
        documents: Vec<Uuid>,
    },
    /// Deletes the documents that only this source provides.
    RemoveSource {
        /// The URI of the source.
        source: String,
    },
    /// Makes the previous generation live again.
    RollBack,
    /// Removes points that do not belong to the stored documents, and marks incomplete documents
    /// for the next run.
    Repair,
    /// Deletes the collection from both stores.
    DeleteCollection,
}

/// Options of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRequest {
    /// Deletes missing documents whatever their number.
    #[serde(default)]
    pub allow_deletes: bool,
    /// Also tries failed documents again whose delay has passed.
    #[serde(default)]
    pub retry_failed: bool,
    /// Builds a new generation even if the settings are unchanged.
    #[serde(default, rename = "anew")]
    pub rebuild: bool,
    /// Deleted documents that the run restores.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undelete: Vec<Uuid>,
}

impl OperationRequest {
    /// `true` if the operation may add documents, so that the limits of the collection apply.
    pub fn adds_documents(&self) -> bool {
        match self {
            Self::Run(_) => true,
            Self::DeleteDocuments { .. }
            | Self::UndeleteDocuments { .. }
            | Self::RemoveSource { .. }
            | Self::RollBack
            | Self::Repair
            | Self::DeleteCollection => false,
        }
    }

    /// The JSON form.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).expect("an operation request is plain data")
    }
}

impl From<ScheduledOperation> for OperationRequest {
    fn from(scheduled: ScheduledOperation) -> Self {
        let rebuild = scheduled == ScheduledOperation::Reindex;
        Self::Run(RunRequest { rebuild, ..RunRequest::default() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Rows that an earlier version queued.
    #[test]
    fn stored_requests_stay_readable() {
        let id = Uuid::from_u128(7);
        let rebuild = RunRequest { allow_deletes: true, rebuild: true, ..RunRequest::default() };
        let stored = [
            (json!({ "do": "run" }), OperationRequest::Run(RunRequest::default())),
            (
                json!({ "do": "run", "allow_deletes": true, "retry_failed": false, "anew": true,
                        "pipeline": "docs", "fingerprint": "0", "notify": [] }),
                OperationRequest::Run(rebuild),
            ),
            (
                json!({ "do": "run", "undelete": [id] }),
                OperationRequest::Run(RunRequest { undelete: vec![id], ..RunRequest::default() }),
            ),
            (
                json!({ "do": "delete_documents", "documents": [id], "model": "" }),
                OperationRequest::DeleteDocuments { documents: vec![id] },
            ),
            (
                json!({ "do": "undelete_documents", "documents": [] }),
                OperationRequest::UndeleteDocuments { documents: Vec::new() },
            ),
            (
                json!({ "do": "remove_source", "source": "file:///a" }),
                OperationRequest::RemoveSource { source: "file:///a".to_owned() },
            ),
            (json!({ "do": "roll_back" }), OperationRequest::RollBack),
            (json!({ "do": "repair", "pipeline": "docs" }), OperationRequest::Repair),
            (json!({ "do": "delete_collection" }), OperationRequest::DeleteCollection),
        ];
        for (row, request) in stored {
            let read: OperationRequest = serde_json::from_value(row.clone()).unwrap();
            assert_eq!(read, request, "{row}");
            let written: OperationRequest = serde_json::from_value(request.to_json()).unwrap();
            assert_eq!(written, request, "{row}");
        }
    }
}
