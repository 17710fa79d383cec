//! The single transaction that changes documents and locations: for a stored batch or for documents
//! that left the pipeline early.
//!
//! Invariants of its steps: a document has a location or is deleted; a location belongs to the
//! document with its content; a content belongs to one document. The right to write is a lock on
//! the row of the operation, so the transactions of a run are serialised, and none commits after
//! the end of the operation, whichever process ended it.

use std::collections::{BTreeMap, BTreeSet};

use pipeline::{DocumentError, IncomingDocument, RejectReason, Rejection, StoredDocument};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::collections::sources;
use crate::documents::encoding::document_meta;
use crate::documents::identify;
use crate::documents::locations::{self, LocationRow, PreviousLocation};
use crate::documents::rows::{self, DocumentOutcome, DocumentRow};
use crate::documents::run::RunMetadata;

/// Records documents as stored. Returns the documents that are deleted as a result.
pub(crate) async fn commit(
    connection: &mut PgConnection,
    run: &RunMetadata,
    stored: &[StoredDocument],
) -> Result<Vec<Uuid>, sqlx::Error> {
    // A document can come from two locations, and a location twice if sources overlap.
    let by_id: BTreeMap<Uuid, &StoredDocument> =
        stored.iter().map(|one| (one.document, one)).collect();
    let documents: Vec<_> = by_id
        .values()
        .map(|one| DocumentRow {
            id: one.document,
            location: &one.incoming.location,
            content_hash: one.incoming.content_hash,
            outcome: DocumentOutcome::Completed {
                chunks: one.chunks,
                digest: one.digest,
                mime_type: &one.mime_type,
                meta: document_meta(one.title.as_deref(), one.language.as_deref(), &one.metadata),
            },
        })
        .collect();
    let locations = deduplicated(stored.iter().map(|one| LocationRow {
        location: &one.incoming.location,
        content_hash: Some(one.incoming.content_hash),
        rejection: None,
    }));
    let ids: Vec<_> = by_id.keys().copied().collect();
    identify::mark_written(connection, &ids).await?;
    write(connection, run, &documents, &locations).await
}

/// Records documents that left early. Returns the documents that are deleted as a result and the
/// failed ones with points.
pub(crate) async fn record(
    connection: &mut PgConnection,
    run: &RunMetadata,
    left: &[(String, Rejection)],
) -> Result<Vec<Uuid>, sqlx::Error> {
    let mut seen = Vec::new();
    let mut touched = Vec::new();
    let mut unreadable = Vec::new();
    let mut moved = Vec::new();
    let mut failed = Vec::new();
    for (node, one) in left {
        let location = &one.location;
        let set_aside =
            || Some(locations::rejection_json(node, one.reason.code(), &one.reason.to_string()));
        match (&one.reason, one.content_hash) {
            (
                RejectReason::Unchanged
                | RejectReason::PreviouslyRejected { .. }
                | RejectReason::Withheld { .. },
                _,
            ) => seen.push(location),
            (RejectReason::MetadataChanged, _) => touched.push(location),
            (RejectReason::Duplicate, Some(_)) => {
                moved.push(LocationRow {
                    location,
                    content_hash: one.content_hash,
                    rejection: None,
                });
            }
            (RejectReason::Failed(DocumentError::Unreadable { .. }), _)
            | (RejectReason::Failed(_), None) => {
                unreadable.push(LocationRow {
                    location,
                    content_hash: None,
                    rejection: set_aside(),
                });
            }
            (
                RejectReason::Duplicate
                | RejectReason::Empty
                | RejectReason::ImagesOnly { .. }
                | RejectReason::TooLarge { .. }
                | RejectReason::Unsupported { .. }
                | RejectReason::Unrouted,
                None,
            ) => moved.push(LocationRow { location, content_hash: None, rejection: set_aside() }),
            (
                RejectReason::Empty
                | RejectReason::ImagesOnly { .. }
                | RejectReason::TooLarge { .. }
                | RejectReason::Unsupported { .. }
                | RejectReason::Unrouted
                | RejectReason::Failed(_),
                Some(content_hash),
            ) => {
                let incoming = IncomingDocument { location: location.clone(), content_hash };
                failed.push((node.as_str(), &one.reason, incoming));
                moved.push(LocationRow {
                    location,
                    content_hash: Some(content_hash),
                    rejection: None,
                });
            }
        }
    }
    if !seen.is_empty() {
        locations::mark_seen(connection, run, &seen).await?;
    }
    if !touched.is_empty() {
        sources::ensure(
            connection,
            run.collection,
            &touched.iter().map(|l| l.source.as_str()).collect(),
        )
        .await?;
        locations::touch(connection, run, &touched).await?;
    }
    if !unreadable.is_empty() {
        let unreadable = deduplicated(unreadable);
        ensure_sources(connection, run, &unreadable).await?;
        locations::upsert(connection, run, &unreadable, PreviousLocation::Kept).await?;
    }
    let documents = failures(connection, run, &failed).await?;
    write(connection, run, &documents, &deduplicated(moved)).await
}

/// Rows of failed documents, without those stored with the current settings: for these, another
/// location, for example with another type, produced rows from the same content.
async fn failures<'a>(
    connection: &mut PgConnection,
    run: &RunMetadata,
    failed: &'a [(&'a str, &'a RejectReason, IncomingDocument)],
) -> Result<Vec<DocumentRow<'a>>, sqlx::Error> {
    if failed.is_empty() {
        return Ok(Vec::new());
    }
    let incoming: Vec<_> = failed.iter().map(|(_, _, incoming)| incoming.clone()).collect();
    let found = identify::identify(connection, run, &incoming).await?;
    let rows: BTreeMap<Uuid, DocumentRow<'_>> = failed
        .iter()
        .zip(found)
        .filter(|(_, found)| !found.is_current)
        .map(|((node, why, incoming), found)| {
            let id = found.identity.document;
            let outcome =
                DocumentOutcome::Failed { node, reason: why.code(), message: why.to_string() };
            let row = DocumentRow {
                id,
                location: &incoming.location,
                content_hash: incoming.content_hash,
                outcome,
            };
            (id, row)
        })
        .collect();
    Ok(rows.into_values().collect())
}

/// Writes documents, then locations. Returns the documents whose points must be removed.
async fn write(
    connection: &mut PgConnection,
    run: &RunMetadata,
    documents: &[DocumentRow<'_>],
    locations: &[LocationRow<'_>],
) -> Result<Vec<Uuid>, sqlx::Error> {
    if locations.is_empty() {
        return Ok(Vec::new());
    }
    ensure_sources(connection, run, locations).await?;
    let ids: Vec<_> = documents.iter().map(|row| row.id).collect();
    let mut candidates = locations::owning_documents(connection, run, locations).await?;
    let mut lost = Vec::new();
    if !documents.is_empty() {
        lost = rows::delete_superseded(connection, run, documents).await?;
        rows::upsert(connection, run, documents).await?;
        let changed = [&ids[..], &lost[..]].concat();
        locations::detach(connection, &changed).await?;
    }
    locations::upsert(connection, run, locations, PreviousLocation::Replaced).await?;
    if !documents.is_empty() {
        locations::attach(connection, run, &ids).await?;
    }
    candidates.extend(&ids);
    lost.extend(rows::delete_without_location(connection, run, &candidates).await?);
    lost.extend(rows::failed_with_points(connection, &ids).await?);
    Ok(lost)
}

async fn ensure_sources(
    connection: &mut PgConnection,
    run: &RunMetadata,
    rows: &[LocationRow<'_>],
) -> Result<(), sqlx::Error> {
    let sources: BTreeSet<_> = rows.iter().map(|row| row.location.source.as_str()).collect();
    sources::ensure(connection, run.collection, &sources).await
}

/// Each location once, with its last row, in order of URI.
fn deduplicated<'a>(rows: impl IntoIterator<Item = LocationRow<'a>>) -> Vec<LocationRow<'a>> {
    let by_uri: BTreeMap<_, _> =
        rows.into_iter().map(|row| (row.location.uri.as_str(), row)).collect();
    by_uri.into_values().collect()
}
