//! Deletes the documents that only one source provides.

use metadata::{Collection, OperationLease};
use pipeline::BoxError;

use super::{Completion, documents_done, purge_live};
use crate::context::Context;

pub(super) async fn execute(
    context: &Context,
    lease: &OperationLease,
    source: &str,
) -> Result<Completion, BoxError> {
    let mut documents = 0;
    while let Some(some) = lease.remove_source(source).await? {
        documents += some.documents;
    }
    purge_live(context, lease).await?;
    Ok(documents_done("documents_deleted", documents))
}

/// Returns an error that names the sources of the collection if this is not one of them.
pub(super) async fn check(
    context: &Context,
    collection: &Collection,
    source: &str,
) -> Result<(), BoxError> {
    let sources = context.postgres().collections().sources(collection.id).await?;
    if sources.iter().any(|known| known.source_path == source) {
        return Ok(());
    }
    let known: Vec<_> = sources.into_iter().map(|source| source.source_path).collect();
    let known = known.join(", ");
    Err(format!("{source} is not a source of the collection; its sources are: {known}").into())
}
