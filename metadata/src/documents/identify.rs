//! Assigns ids to incoming documents: the id of the document with this content, the id of the
//! document of which it is an edit, or a new id derived from the content.
//!
//! The result depends only on committed data, so after a killed run the same points get the same
//! ids. A run records the documents whose points it is about to write (`document_writes`). Points
//! of a killed run are therefore known to be unreliable in any later run, even if the file has
//! changed since.

use std::collections::{HashMap, HashSet};

use pipeline::{ContentHash, DocumentIdentity, IncomingDocument};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::documents::encoding::uri_hash;
use crate::documents::run::RunMetadata;

/// An identity, and whether the document is already stored with the current settings.
#[derive(Clone, Copy)]
pub(super) struct IdentifiedDocument {
    pub(super) identity: DocumentIdentity,
    pub(super) is_current: bool,
}

/// The three documents that an incoming document can match.
#[derive(FromRow)]
struct Candidates {
    /// The document with this content.
    live: Option<Uuid>,
    live_chunks: Option<i64>,
    live_is_current: bool,
    live_digest: Option<Vec<u8>>,
    /// The deleted document that last had this content.
    gone: Option<Uuid>,
    gone_chunks: Option<i64>,
    /// The document with this location as its only one.
    own: Option<Uuid>,
    own_chunks: Option<i64>,
}

pub(crate) const CANDIDATES: &str = "
    SELECT live.id AS live, live.chunk_count AS live_chunks,
           coalesce(live.status = 'completed' AND live.fingerprint = $2, FALSE) AS live_is_current,
           CASE live.status WHEN 'completed' THEN live.points_digest END AS live_digest,
           gone.id AS gone, gone.chunk_count AS gone_chunks,
           own.id AS own, own.chunk_count AS own_chunks
    FROM unnest($3::bytea[], $4::bytea[]) WITH ORDINALITY AS i (content_hash, uri_hash, n)
    LEFT JOIN LATERAL (
        SELECT d.id, d.chunk_count, d.status, d.fingerprint, d.points_digest FROM documents d
        WHERE uuid_send(d.collection_id) || d.content_hash = uuid_send($1) || i.content_hash
          AND d.status <> 'deleted' LIMIT 1) live ON TRUE
    LEFT JOIN LATERAL (
        SELECT d.id, d.chunk_count FROM documents d
        WHERE live.id IS NULL AND d.status = 'deleted'
          AND uuid_send(d.collection_id) || d.content_hash = uuid_send($1) || i.content_hash
        ORDER BY d.deleted_at DESC, d.id LIMIT 1) gone ON TRUE
    LEFT JOIN LATERAL (
        SELECT d.id, d.chunk_count
        FROM (SELECT l.document_id FROM document_locations l
              WHERE l.collection_id = $1 AND l.uri_hash = i.uri_hash
                AND live.id IS NULL AND gone.id IS NULL OFFSET 0) l
        CROSS JOIN LATERAL (SELECT d.id, d.chunk_count, d.status FROM documents d
                            WHERE d.id = l.document_id OFFSET 0) d
        WHERE d.status <> 'deleted'
          AND NOT EXISTS (SELECT FROM document_locations o
                          WHERE o.document_id = l.document_id AND o.uri_hash <> i.uri_hash OFFSET 0)
        LIMIT 1) own ON TRUE
    ORDER BY i.n";

/// Finds the identities of documents, in the order of `incoming`.
pub(super) async fn identify(
    connection: &mut PgConnection,
    run: &RunMetadata,
    incoming: &[IncomingDocument],
) -> Result<Vec<IdentifiedDocument>, sqlx::Error> {
    let contents: Vec<_> = incoming.iter().map(|one| one.content_hash.0.to_vec()).collect();
    let places: Vec<_> = incoming.iter().map(|one| uri_hash(&one.location.uri)).collect();
    let candidates: Vec<Candidates> = sqlx::query_as(CANDIDATES)
        .bind(run.collection)
        .bind(&run.fingerprint.0[..])
        .bind(contents)
        .bind(places)
        .fetch_all(&mut *connection)
        .await?;

    let mut found: HashMap<ContentHash, IdentifiedDocument> = HashMap::new();
    let mut taken = HashSet::new();
    // Contents first: a document whose content is incoming cannot be edited by another one.
    for (one, candidate) in incoming.iter().zip(&candidates) {
        let Some(document) = candidate.live.or(candidate.gone) else { continue };
        let chunks = candidate.live_chunks.or(candidate.gone_chunks);
        taken.insert(document);
        let mut holder = IdentifiedDocument::new(document, chunks, candidate.live_is_current);
        holder.identity.previous_digest =
            candidate.live_digest.as_deref().and_then(|digest| digest.try_into().ok());
        found.insert(one.content_hash, holder);
    }
    for (one, candidate) in incoming.iter().zip(&candidates) {
        let Some(own) = candidate.own else { continue };
        if !found.contains_key(&one.content_hash) && taken.insert(own) {
            found.insert(
                one.content_hash,
                IdentifiedDocument::new(own, candidate.own_chunks, false),
            );
        }
    }
    let contents = incoming.iter().map(|one| one.content_hash);
    let new: Vec<_> = contents.filter(|hash| !found.contains_key(hash)).collect();
    let ids = new_ids(connection, run.collection, &new).await?;
    found
        .extend(ids.into_iter().map(|(hash, id)| (hash, IdentifiedDocument::new(id, None, false))));

    let ids: Vec<_> = found.values().map(|found| found.identity.document).collect();
    let distrusted: HashSet<Uuid> =
        half_written(connection, run, &ids).await?.into_iter().collect();
    for found in found.values_mut().filter(|found| distrusted.contains(&found.identity.document)) {
        found.identity.previous_chunks = u32::MAX;
        found.identity.previous_digest = None;
        found.is_current = false;
    }
    Ok(incoming.iter().map(|one| found[&one.content_hash]).collect())
}

impl IdentifiedDocument {
    fn new(document: Uuid, chunks: Option<i64>, is_current: bool) -> Self {
        let chunks_before = u32::try_from(chunks.unwrap_or(0)).unwrap_or(u32::MAX);
        Self {
            identity: DocumentIdentity {
                document,
                previous_chunks: chunks_before,
                previous_digest: None,
            },
            is_current,
        }
    }
}

pub(crate) const EXISTING_IDS: &str = "
    SELECT d.id FROM unnest($1::uuid[]) AS i (id)
    CROSS JOIN LATERAL (SELECT d.id FROM documents d WHERE d.id = i.id OFFSET 0) d";

/// Ids for contents without a document: UUID version 5 of the content in the namespace of the
/// collection. If a document created from this content has another content now, a counter is
/// appended.
async fn new_ids(
    connection: &mut PgConnection,
    collection: Uuid,
    contents: &[ContentHash],
) -> Result<Vec<(ContentHash, Uuid)>, sqlx::Error> {
    let mut ids = Vec::with_capacity(contents.len());
    let mut open = contents.to_vec();
    for attempt in 0_u32.. {
        if open.is_empty() {
            break;
        }
        let candidate = |hash: ContentHash| match attempt {
            0 => Uuid::new_v5(&collection, &hash.0),
            _ => Uuid::new_v5(&collection, &[&hash.0[..], &attempt.to_be_bytes()].concat()),
        };
        let candidates: Vec<_> = open.iter().map(|hash| candidate(*hash)).collect();
        let taken: Vec<Uuid> =
            sqlx::query_scalar(EXISTING_IDS).bind(&candidates).fetch_all(&mut *connection).await?;
        let taken: HashSet<Uuid> = taken.into_iter().collect();
        let mut rest = Vec::new();
        for (hash, id) in open.into_iter().zip(candidates) {
            if taken.contains(&id) { rest.push(hash) } else { ids.push((hash, id)) }
        }
        open = rest;
    }
    Ok(ids)
}

pub(crate) const HALF_WRITTEN: &str = "
    SELECT w.document_id FROM unnest($1::uuid[]) AS i (id)
    CROSS JOIN LATERAL (SELECT w.document_id FROM document_writes w
                        WHERE w.document_id = i.id AND w.operation_id <> $2 OFFSET 0) w";

/// The documents whose points an orphaned operation was writing.
async fn half_written(
    connection: &mut PgConnection,
    run: &RunMetadata,
    ids: &[Uuid],
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar(HALF_WRITTEN).bind(ids).bind(run.operation).fetch_all(connection).await
}

pub(crate) const MARK_WRITING: &str = "
    INSERT INTO document_writes (document_id, operation_id, collection_id)
    SELECT DISTINCT i.id, $2::uuid, $1::uuid FROM unnest($3::uuid[]) AS i (id)
    ON CONFLICT (document_id, operation_id) DO NOTHING";

/// Records that the points of these documents are about to be written.
pub(super) async fn mark_writing(
    connection: &mut PgConnection,
    run: &RunMetadata,
    found: &[IdentifiedDocument],
) -> Result<(), sqlx::Error> {
    let ids: Vec<_> = found.iter().map(|found| found.identity.document).collect();
    sqlx::query(MARK_WRITING)
        .bind(run.collection)
        .bind(run.operation)
        .bind(ids)
        .execute(connection)
        .await
        .map(drop)
}

pub(crate) const MARK_WRITTEN: &str = "
    DELETE FROM document_writes WHERE ctid = ANY(ARRAY(
        SELECT w.ctid FROM unnest($1::uuid[]) AS i (id)
        CROSS JOIN LATERAL (SELECT w.ctid FROM document_writes w WHERE w.document_id = i.id OFFSET 0) w))";

/// Records that the points of these documents are written.
pub(super) async fn mark_written(
    connection: &mut PgConnection,
    ids: &[Uuid],
) -> Result<(), sqlx::Error> {
    sqlx::query(MARK_WRITTEN).bind(ids).execute(connection).await.map(drop)
}
