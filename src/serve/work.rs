//! The port `Work`: searches and operations on the collections of the server's files.
//!
//! A requested operation is queued, like those that the command delegates; the executor of this
//! process or of another one executes it.

use std::path::{Component, Path};
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use metadata::{Asked, HandedOver, Seen};
use pipeline::BoxError;
use search::Target;
use serde_json::{Value, json};
use server::ports::{By, Change, Order, Work};
use server::problem::{Answer, Code, Problem};
use server::wire;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use uuid::Uuid;

use super::rows;
use super::targets::Targets;
use crate::cmd::why;
use crate::operate::{Errand, Loaded, Wish};
use crate::telemetry::Telemetry;

/// Searches and operations of the server.
pub(super) struct ServedWork {
    pub(super) targets: Arc<Targets>,
    pub(super) changes: broadcast::Sender<Change>,
    pub(super) telemetry: Telemetry,
}

impl ServedWork {
    fn postgres(&self) -> &metadata::Postgres {
        self.targets.workplace.database.postgres()
    }

    /// Queues an operation if the limits of the collection permit it.
    async fn ask(&self, seen: &Seen, loaded: &Loaded, errand: &Errand, by: &By) -> Answer<Uuid> {
        let mut config = errand.details();
        config["pipeline"] = json!(loaded.spec.file.name);
        let kind = errand.kind();
        let what = HandedOver { collection: &seen.collection, kind, config: &config };
        let operations = self.postgres().operations();
        match operations.ask(&what, takes_in(errand), &rows::by(by)).await? {
            Asked::For(operation) => Ok(operation),
            Asked::Limit { of, most, retry_after } => {
                let detail = format!("the collection has reached its limit of {most} {of}");
                let code =
                    if retry_after.is_some() { Code::RateLimited } else { Code::LimitReached };
                let retry_after = retry_after.and_then(|seconds| u64::try_from(seconds).ok());
                Err(Problem { retry_after, ..Problem::new(code, detail) })
            }
        }
    }

    async fn served(&self, collection: Uuid) -> Answer<(Seen, Arc<Loaded>)> {
        let served = self.targets.served(collection).await.map_err(failed)?;
        served.ok_or_else(|| Problem::of(Code::NotServed))
    }
}

/// A problem whose cause is logged for the operator of the server and not sent to the client.
#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn failed(error: BoxError) -> Problem {
    Problem { cause: Some(pipeline::chain(error.as_ref())), ..Problem::later(Code::Unavailable, 5) }
}

fn errand(order: Order) -> Errand {
    match order {
        Order::Run { kind, allow_deletes, retry_failed } => {
            let anew = kind == wire::Wanted::Reindex;
            Errand::run(Wish { allow_deletes, retry_failed, anew, ..Wish::default() })
        }
        Order::RemoveSource { source } => Errand::RemoveSource { source },
        Order::DeleteDocuments(documents) => Errand::DeleteDocuments { documents },
        // The run restores them, so they are stored when it ends.
        Order::UndeleteDocuments(documents) => Errand::run_letting_in(documents, Wish::default()),
        Order::Delete => Errand::DeleteCollection,
    }
}

fn takes_in(errand: &Errand) -> bool {
    matches!(errand, Errand::Run { .. })
}

#[async_trait]
impl Work for ServedWork {
    async fn start(&self, collection: Uuid, order: Order, by: &By) -> Answer<Uuid> {
        let (seen, loaded) = self.served(collection).await?;
        self.ask(&seen, &loaded, &errand(order), by).await
    }

    async fn cancel(&self, operation: Uuid, by: &By) -> Answer<()> {
        let ended = || Problem::new(Code::Conflict, "the operation has ended");
        let operations = self.postgres().operations();
        let found = operations.find(operation).await?;
        let collection = found.ok_or_else(|| Problem::not_found("operation"))?.collection_id;
        operations.cancel(operation).await.map_err(|error| match error.remedy {
            pipeline::Remedy::Conflict => ended(),
            pipeline::Remedy::Retry | pipeline::Remedy::GiveUp => error.into(),
        })?;
        Ok(operations.note_cancelled(collection, operation, &rows::by(by)).await?)
    }

    fn changes(&self) -> BoxStream<'static, Change> {
        // A slow reader misses changes, and polls from time to time.
        let changes = BroadcastStream::new(self.changes.subscribe());
        changes.filter_map(|change| std::future::ready(change.ok())).boxed()
    }

    async fn target(&self, collection: Uuid) -> Result<Arc<Target>, BoxError> {
        self.targets.get(collection).await
    }

    fn doubt(&self, collection: Option<Uuid>) {
        self.targets.doubt(collection);
    }

    async fn chunks(
        &self,
        collection: Uuid,
        document: Uuid,
        from: u32,
        limit: u32,
    ) -> Answer<wire::Chunks> {
        self.served(collection).await?;
        let found = self.postgres().documents().find(collection, document).await?;
        let total = found.map_or(0, |it| it.chunk_count);
        let target = self.targets.get(collection).await.map_err(failed)?;
        let chunks = target.index.chunks(document, from, limit).await?;
        let items = chunks.into_iter().map(|chunk| wire::Chunk {
            index: chunk.chunk_index,
            text: chunk.content,
            headings: chunk.headings,
            page: chunk.page,
            start: chunk.start,
            end: chunk.end,
        });
        Ok(wire::Chunks { items: items.collect(), total: u32::try_from(total).unwrap_or(u32::MAX) })
    }

    async fn why(&self, collection: Uuid, named: &str) -> Answer<Value> {
        let (seen, loaded) = self.served(collection).await?;
        if !is_name(named) {
            let detail =
                "invalid `document`: expected an id, a URL or an absolute path without `..`";
            return Err(Problem::new(Code::InvalidQuery, detail));
        }
        // Only the name of the file: clients must not learn its folder.
        let file = loaded.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let place = (self.postgres(), &seen.collection);
        let told = why::told_as_json(named, &loaded.plan, place, file).await;
        told.map_err(|error| match named.parse::<Uuid>() {
            Ok(_) => Problem::not_found("document"),
            Err(_) => failed(error),
        })
    }

    async fn health(&self) -> Vec<(String, Result<(), String>)> {
        let asked = self.postgres().collections().list(None, 1).await;
        let said = asked.map(drop).map_err(|error| pipeline::chain(&error));
        let mut health = vec![("postgres".to_owned(), said)];
        for loaded in self.targets.files.loaded() {
            let file = &loaded.spec.file;
            let vectors = self.vectors_of(file).await;
            health.push((
                format!("vectors of {}", file.name),
                vectors.map_err(|it| pipeline::chain(it.as_ref())),
            ));
        }
        for (path, fault) in self.targets.files.faults() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            health.push((name, Err(fault)));
        }
        health
    }

    async fn metrics(&self) -> String {
        self.telemetry.text().await
    }
}

impl ServedWork {
    /// Checks the vectors of a file's collection; succeeds if the collection does not exist yet.
    async fn vectors_of(&self, file: &pipeline::PipelineFile) -> Result<(), BoxError> {
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
fn is_name(named: &str) -> bool {
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
            assert!(is_name(good), "{good}");
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
            assert!(!is_name(bad), "{bad}");
        }
    }
}
