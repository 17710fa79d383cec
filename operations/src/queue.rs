//! Requests for the workers of a collection, as they are stored.

use metadata::{Actor, Collection, EnqueueResult, OperationType, Postgres, QueuedOperation};
use pipeline::{OperationRequest, PipelineSpec, StoreError};
use serde_json::{Value, json};

/// Queues an operation for the workers of a collection, unless a limit of the collection is
/// reached. It starts when no other operation works on the collection.
///
/// # Errors
/// If the store cannot be reached.
pub async fn enqueue(
    postgres: &Postgres,
    collection: &Collection,
    spec: &PipelineSpec,
    request: &OperationRequest,
    by: &Actor,
) -> Result<EnqueueResult, StoreError> {
    let config = request_config(spec, request);
    let queued = QueuedOperation { collection, kind: OperationType::of(request), config: &config };
    postgres.operations().enqueue_within_limits(&queued, request.adds_documents(), by).await
}

/// The value of `operations.config`: the request, the pipeline, and the webhooks to notify of the
/// end. It has no options of the nodes: an operation uses the file as it is when it starts.
pub(crate) fn request_config(spec: &PipelineSpec, request: &OperationRequest) -> Value {
    let mut config = request.to_json();
    config["pipeline"] = spec.file.name.clone().into();
    if !spec.file.notify.is_empty() {
        let notify = spec.file.notify.iter();
        config["notify"] = notify.map(|it| json!({ "target": it.webhook, "on": it.on })).collect();
    }
    config
}
