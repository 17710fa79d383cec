//! The status of a document.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Status of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type, Serialize, Deserialize, ToSchema)]
#[sqlx(type_name = "document_status", rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum DocumentStatus {
    /// Known, not processed yet.
    Pending,
    /// Being processed.
    Processing,
    /// Stored with its vectors.
    Completed,
    /// Set aside: it has no vectors.
    Failed,
    /// Its last location is gone, or a client deleted it.
    Deleted,
}

impl DocumentStatus {
    /// All values.
    pub const ALL: [Self; 5] =
        [Self::Pending, Self::Processing, Self::Completed, Self::Failed, Self::Deleted];
}
