//! Deletes documents until they are undeleted.

use metadata::OperationLease;
use pipeline::BoxError;
use uuid::Uuid;

use super::{Completion, documents_done, purge_live};
use crate::context::Context;

pub(super) async fn execute(
    context: &Context,
    lease: &OperationLease,
    documents: &[Uuid],
) -> Result<Completion, BoxError> {
    let by = format!("`{}`", context.spec.file.owner);
    let deleted = lease.withhold(documents, &by).await?;
    purge_live(context, lease).await?;
    Ok(documents_done("documents_deleted", deleted.len() as u64))
}
