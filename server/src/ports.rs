//! The port of the server: the work on collections, which needs pipeline files, vectors and
//! workers.
//!
//! The root package implements it, because this crate depends on neither vector stores nor
//! operations. Metadata is read from the metadata store itself
//! (docs/adr/0038-domain-types.md). Implementations check no rights; the server does before it
//! calls them.

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use metadata::Actor;
use pipeline::{BoxError, OperationRequest};
use serde_json::Value;
use uuid::Uuid;

use super::problem::HandlerResult;
use search::Target;

/// Notification of a changed operation: requested, started, progressed or ended.
#[derive(Clone, Debug)]
pub struct OperationChange {
    /// Id of the operation.
    pub operation: Uuid,
    /// Its collection, if the notification names it.
    pub collection: Option<Uuid>,
}

/// Operations and searches on the collections that this server serves. Others are refused with
/// [`super::problem::ProblemCode::NotServed`].
#[async_trait]
pub trait CollectionService: Send + Sync {
    /// `true` if this server searches and changes the collection with this owner and name.
    fn serves(&self, owner: &str, name: &str) -> bool;
    /// Requests an operation; returns its id. It starts when the collection has no other.
    async fn start_operation(
        &self,
        collection: Uuid,
        request: OperationRequest,
        by: &Actor,
    ) -> HandlerResult<Uuid>;
    /// Changes of all operations in the database from now on. A slow receiver may miss some.
    fn operation_changes(&self) -> BoxStream<'static, OperationChange>;
    /// The live generation of a collection, for searches.
    async fn search_target(&self, collection: Uuid) -> Result<Arc<Target>, BoxError>;
    /// Invalidates cached data of a collection, or of all with `None`.
    fn invalidate(&self, collection: Option<Uuid>);
    /// History of a document or location, in the form of `semantik why --json`.
    async fn why(&self, collection: Uuid, named: &str) -> HandlerResult<Value>;
    /// Compares the stores of a collection; the report in the form of `operations::VerifyReport`.
    /// With `wait`, after the operation that works on the collection; without, documents that it
    /// is writing are left out.
    ///
    /// # Errors
    /// The cause, for the user who runs the server.
    async fn verify(&self, collection: Uuid, wait: bool) -> Result<Value, BoxError>;
    /// State of each dependency by name: `Ok`, or the cause of the failure.
    async fn health(&self) -> Vec<(String, Result<(), String>)>;
    /// All metrics, in the text format of Prometheus.
    async fn metrics(&self) -> String;
}
