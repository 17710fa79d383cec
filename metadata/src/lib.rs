//! The metadata store: Postgres, the source of truth for documents, collections and operations.
//!
//! [`Postgres`] is the connection and the entry point to one repository per domain:
//! [`Accounts`], [`Collections`], [`Documents`], [`Generations`], [`Operations`], [`Schedules`] and
//! [`AuditLog`], with the SQL next to the function. [`RunMetadata`] implements the port
//! `pipeline::MetadataStore` for a run; an [`OperationLease`] holds the right to write to a
//! collection. Types that reach a user are serialisable; those with secrets are not
//! (docs/adr/0038-domain-types.md). This crate stores no vectors:
//! docs/adr/0005-document-and-location.md describes how the two stores stay consistent.

mod accounts;
mod audit;
mod cluster;
mod collections;
mod connect;
mod documents;
mod names;
mod operations;
mod postgres;
mod query_error;
mod schedules;
mod schema;
mod server_name;
mod status;
#[cfg(feature = "test-util")]
pub mod test_util;
mod vocabulary;

pub use accounts::{
    Accounts, ApiKey, AuthenticatedKey, LOCAL_ACCOUNT, NewKey, NewToken, NewUser, RotationResult,
    SessionLifetime, SigningKey, User, UserUpdate,
};
pub use audit::{Actor, AuditEntry, AuditLog, ListCursor};
pub use cluster::{EmbeddedError, EmbeddedPostgres};
pub use collections::create::NewCollection;
pub use collections::generations::{
    Generation, GenerationComparison, GenerationSettings, GenerationStatus, Generations, SwapResult,
};
pub use collections::grants::{Grant, Grantee, Principal, VisibleCollection};
pub use collections::limits::{LimitsAndUsage, ResourceLimits};
pub use collections::sources::SourceSummary;
pub use collections::{
    Collection, CollectionStatus, CollectionUpdate, Collections, DeletedCollection,
};
pub use documents::Documents;
#[cfg(feature = "test-util")]
pub use documents::contract;
pub use documents::dry_run::{ContentMatch, LocationEntry};
pub use documents::history::{DocumentAction, DocumentDetails, DocumentHistory, SeenLocation};
pub use documents::integrity::Integrity;
pub use documents::list_queries::{DocumentSelection, DocumentSort};
#[cfg(feature = "test-util")]
pub use documents::list_queries::{ListQuery, document_list_queries};
pub use documents::listing::{DocumentList, ListedDocument, RejectionCount};
pub use documents::memory::{MemoryDocument, MemoryMetadata};
pub use documents::rejections::RejectedLocation;
pub use documents::run::{GenerationSlot, RunMetadata};
pub use documents::status::DocumentStatus;
pub use operations::collection_lock::{ExclusiveLock, WaitPolicy};
pub use operations::enqueue::EnqueueResult;
pub use operations::events::{OperationEvent, OperationEvents};
pub use operations::lease::{OPERATION_ENDED, OPERATION_EVENTS, OperationLease};
pub use operations::notifications::{Notification, NotificationOutbox};
pub use operations::queue::{QueuedOperation, WorkerSummary, Workers};
pub use operations::records::OperationRecord;
pub use operations::removal::RemovedSource;
pub use operations::{
    OperationOutcome, OperationStatus, OperationSummary, OperationType, Operations, Throughput,
};
pub use postgres::{PoolState, Postgres, SESSION_SETTINGS};
pub use schedules::runs::{DueRun, OverlapPolicy, SchedulePoll, ScheduleRun, ScheduledRunOutcome};
pub use schedules::{ScheduleKey, ScheduleSummary, Schedules};
pub use schema::downgrade::DowngradePlan;
pub use schema::migrations::{AppliedMigration, SchemaState};
#[cfg(feature = "test-util")]
pub use schema::query_plans::{HOT_QUERIES, HotQuery, ReadScope};
pub use status::{CollectionFigures, ScheduleStatus, StoreStatus};
pub use vocabulary::GenerationVocabulary;

use pipeline::StoreError;
use postgres::retry_call;

impl Postgres {
    /// The generations of collections.
    pub fn generations(&self) -> Generations<'_> {
        Generations(&self.pool)
    }

    /// The operations.
    pub fn operations(&self) -> Operations<'_> {
        Operations(&self.pool)
    }

    /// Starts an operation on a collection; waits for another operation or fails, according to
    /// `turn`. An orphaned operation is marked as failed first.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] if another process works on the collection, or the operation
    /// was cancelled before its start.
    pub async fn start_operation(
        &self,
        collection: &Collection,
        kind: OperationType,
        config: &serde_json::Value,
        turn: WaitPolicy,
    ) -> Result<OperationLease, StoreError> {
        OperationLease::acquire(self, collection, kind, config, turn).await
    }
}
