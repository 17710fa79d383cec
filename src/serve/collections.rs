//! The port `CollectionService`: searches and operations on the collections of the server's files.
//!
//! A requested operation is queued, like those that the command delegates; the executor of this
//! process or of another one executes it.

use std::path::{Component, Path};
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use metadata::{Actor, EnqueueResult, VisibleCollection};
use operations::{LoadedPipeline, Operator};
use pipeline::{BoxError, OperationRequest};
use search::Target;
use serde_json::Value;
use server::ports::{CollectionService, OperationChange};
use server::problem::{HandlerResult, Problem, ProblemCode};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::targets::Targets;
use crate::cmd::why;
use crate::composition;
use crate::telemetry::Telemetry;

/// Searches and operations of the server.
pub(super) struct ServedCollections {
    pub(super) targets: Arc<Targets>,
    pub(super) changes: broadcast::Sender<OperationChange>,
    pub(super) telemetry: Telemetry,
}

impl ServedCollections {
    fn postgres(&self) -> &metadata::Postgres {
        self.targets.runtime.database.postgres()
    }

    /// Queues an operation if the limits of the collection permit it.
    async fn enqueue(
        &self,
        seen: &VisibleCollection,
        loaded: &LoadedPipeline,
        request: &OperationRequest,
        by: &Actor,
    ) -> HandlerResult<Uuid> {
        let collection = &seen.collection;
        match operations::enqueue(self.postgres(), collection, &loaded.spec, request, by).await? {
            EnqueueResult::Queued(operation) => Ok(operation),
            EnqueueResult::LimitReached { of, most, retry_after } => {
                let detail = format!("the collection has reached its limit of {most} {of}");
                let code = if retry_after.is_some() {
                    ProblemCode::RateLimited
                } else {
                    ProblemCode::LimitReached
                };
                let retry_after = retry_after.and_then(|seconds| u64::try_from(seconds).ok());
                Err(Problem { retry_after, ..Problem::new(code, detail) })
            }
        }
    }

    async fn served(
        &self,
        collection: Uuid,
    ) -> HandlerResult<(VisibleCollection, Arc<LoadedPipeline>)> {
        let served = self.targets.served_collection(collection).await.map_err(internal_problem)?;
        served.ok_or_else(|| Problem::from_code(ProblemCode::NotServed))
    }
}

/// A problem whose cause is logged for the operator of the server and not sent to the client.
#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn internal_problem(error: BoxError) -> Problem {
    Problem {
        cause: Some(pipeline::error_chain(error.as_ref())),
        ..Problem::retry_later(ProblemCode::Unavailable, 5)
    }
}

#[async_trait]
impl CollectionService for ServedCollections {
    fn serves(&self, owner: &str, name: &str) -> bool {
        self.targets.files.find(owner, name, None).is_some()
    }

    async fn start_operation(
        &self,
        collection: Uuid,
        request: OperationRequest,
        by: &Actor,
    ) -> HandlerResult<Uuid> {
        let (seen, loaded) = self.served(collection).await?;
        self.enqueue(&seen, &loaded, &request, by).await
    }

    fn operation_changes(&self) -> BoxStream<'static, OperationChange> {
        // A slow reader misses changes, and polls from time to time.
        let changes = BroadcastStream::new(self.changes.subscribe());
        changes.filter_map(|change| std::future::ready(change.ok())).boxed()
    }

    async fn search_target(&self, collection: Uuid) -> Result<Arc<Target>, BoxError> {
        self.targets.get(collection).await
    }

    fn invalidate(&self, collection: Option<Uuid>) {
        self.targets.invalidate(collection);
    }

    async fn why(&self, collection: Uuid, named: &str) -> HandlerResult<Value> {
        let (seen, loaded) = self.served(collection).await?;
        if !is_document_name(named) {
            let detail =
                "invalid `document`: expected an id, a URL or an absolute path without `..`";
            return Err(Problem::new(ProblemCode::InvalidQuery, detail));
        }
        // Only the name of the file: clients must not learn its folder.
        let file = loaded.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let place = (self.postgres(), &seen.collection);
        let told = why::explain_as_json(named, &loaded.plan, place, file).await;
        told.map_err(|error| match named.parse::<Uuid>() {
            Ok(_) => Problem::not_found("document"),
            Err(_) => internal_problem(error),
        })
    }

    async fn verify(&self, collection: Uuid, wait: bool) -> Result<Value, BoxError> {
        let served = self.targets.served_collection(collection).await?;
        let (_, loaded) = served.ok_or("this server does not serve the collection")?;
        let (runtime, wait) = (self.targets.runtime.clone(), composition::wait_policy(wait));
        let stop = CancellationToken::new();
        let spec = Arc::clone(&loaded.spec);
        let operator = Operator::new(runtime, spec, &loaded.plan, wait, stop)?;
        Ok(serde_json::to_value(operator.verify_beside_operation().await?)?)
    }

    async fn health(&self) -> Vec<(String, Result<(), String>)> {
        let asked = self.postgres().collections().list(None, 1).await;
        let said = asked.map(drop).map_err(|error| pipeline::error_chain(&error));
        let mut health = vec![("postgres".to_owned(), said)];
        for loaded in self.targets.files.loaded() {
            let file = &loaded.spec.file;
            let vectors = self.check_vectors(file).await;
            health.push((
                format!("vectors of {}", file.name),
                vectors.map_err(|it| pipeline::error_chain(it.as_ref())),
            ));
        }
        for (path, fault) in self.targets.files.faults() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            health.push((name, Err(fault)));
        }
        health
    }

    async fn metrics(&self) -> String {
        self.telemetry.render().await
    }
}

impl ServedCollections {
    /// Checks the vectors of a file's collection; succeeds if the collection does not exist yet.
    async fn check_vectors(&self, file: &pipeline::PipelineFile) -> Result<(), BoxError> {
        let collections = self.postgres().collections();
        let Some(collection) = collections.find(Some(&file.owner), &file.collection).await? else {
            return Ok(());
        };
        if collection.deleting_since.is_some() {
            return Ok(());
        }
        self.targets.get(collection.id).await?.index.count().await?;
        Ok(())
    }
}

/// `true` if a client may name a document so: the name must not lead outside its apparent folder or
/// depend on the working directory of the server.
fn is_document_name(named: &str) -> bool {
    let is_whole = named.parse::<Uuid>().is_ok() || named.contains("://") || named.starts_with('/');
    let decoded = named.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/");
    let leads_up = Path::new(&decoded).components().any(|part| part == Component::ParentDir);
    is_whole && !leads_up && !decoded.contains("%00") && !named.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_none() {
        for good in ["/corpus/a.txt", "file:///corpus/a..b.txt", "https://example.org/x", "/"] {
            assert!(is_document_name(good), "{good}");
        }
        for bad in [
            "a.txt",
            "../a.txt",
            "/corpus/../etc/passwd",
            "file:///corpus/%2e%2E/%2e./etc/passwd",
            "file:///corpus/..%2Fetc",
            "/corpus/a\0",
            "",
        ] {
            assert!(!is_document_name(bad), "{bad}");
        }
    }
}
