//! Permits deleted documents again; the next run stores them.

use metadata::OperationLease;
use pipeline::BoxError;
use uuid::Uuid;

use super::{Completion, documents_done};

pub(super) async fn execute(
    lease: &OperationLease,
    documents: &[Uuid],
) -> Result<Completion, BoxError> {
    let readmitted = lease.readmit(documents).await?.len() as u64;
    Ok(documents_done("documents_undeleted", readmitted))
}
