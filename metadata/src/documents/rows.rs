//! The rows of documents: written by a run, and marked as deleted by it.

use std::borrow::Cow;

use chrono::Utc;
use pipeline::{ContentHash, Location};
use serde_json::{Map, Value};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::documents::encoding::{file_path, without_nul};
use crate::documents::run::RunMetadata;

/// The values to write for one document.
pub(super) struct DocumentRow<'a> {
    pub(super) id: Uuid,
    pub(super) location: &'a Location,
    pub(super) content_hash: ContentHash,
    pub(super) outcome: DocumentOutcome<'a>,
}

/// Outcome of a document in this run.
pub(super) enum DocumentOutcome<'a> {
    /// Stored, with this number of chunks.
    Completed { chunks: u32, mime_type: &'a str, meta: Value, digest: [u8; 32] },
    /// Set aside by a node; its points in the vector store are still to be removed.
    Failed { node: &'a str, reason: &'a str, message: String },
}

pub(crate) const UPSERT: &str = "
    INSERT INTO documents AS d
       (id, collection_id, source_id, file_path, file_name, file_size, mime_type, content_hash,
        status, error_message, set_aside, chunk_count, fingerprint, operation_id, meta, attempts, retry_at,
        uri, points_digest)
    SELECT i.id, $1, s.id, i.path, i.name, i.size, i.mime_type, i.content_hash,
           (CASE WHEN i.set_aside IS NULL THEN 'completed' ELSE 'failed' END)::document_status,
           i.error_message, i.set_aside, i.chunk_count, $2, $3, i.meta, (i.set_aside IS NOT NULL)::integer,
           CASE WHEN i.set_aside ->> 'reason' = 'failed' THEN now() + interval '5 minutes' END,
           i.uri, i.points_digest
    FROM unnest($4::uuid[], $5::text[], $6::text[], $7::text[], $8::bigint[], $9::text[],
                $10::bytea[], $11::text[], $12::jsonb[], $13::bigint[], $14::jsonb[], $15::bytea[], $16::text[])
         AS i (id, source, path, name, size, mime_type, content_hash, error_message, set_aside,
               chunk_count, meta, points_digest, uri)
    LEFT JOIN LATERAL (SELECT s.id FROM collection_sources s
                       WHERE s.collection_id = $1 AND s.source_path = i.source OFFSET 0) s ON TRUE
    ORDER BY i.id
    ON CONFLICT (id) DO UPDATE SET
        source_id = excluded.source_id, file_path = excluded.file_path,
        file_name = excluded.file_name, file_size = excluded.file_size,
        mime_type = coalesce(excluded.mime_type, d.mime_type),
        content_hash = excluded.content_hash, status = excluded.status,
        error_message = excluded.error_message, set_aside = excluded.set_aside,
        chunk_count = CASE excluded.status
            WHEN 'completed' THEN excluded.chunk_count ELSE d.chunk_count END,
        fingerprint = excluded.fingerprint, operation_id = excluded.operation_id,
        deleted_at = NULL, meta = excluded.meta, uri = excluded.uri,
        points_digest = excluded.points_digest,
        -- Four times as long after each failure with the same content, and a week at most.
        attempts = CASE WHEN excluded.status = 'failed' AND d.content_hash = excluded.content_hash
            THEN d.attempts + 1 ELSE excluded.attempts END,
        retry_at = CASE WHEN excluded.retry_at IS NOT NULL AND d.content_hash = excluded.content_hash
            THEN now() + least(interval '5 minutes' * 4 ^ least(d.attempts, 10), interval '7 days')
            ELSE excluded.retry_at END
    WHERE d.collection_id = $1";

/// Inserts or updates documents. No other document may have their contents.
pub(super) async fn upsert(
    connection: &mut PgConnection,
    run: &RunMetadata,
    rows: &[DocumentRow<'_>],
) -> Result<(), sqlx::Error> {
    let mut columns = DocumentColumns::default();
    for row in rows {
        columns.push(row);
    }
    sqlx::query(UPSERT)
        .bind(run.collection)
        .bind(&run.fingerprint.0[..])
        .bind(run.operation)
        .bind(columns.ids)
        .bind(columns.sources)
        .bind(columns.paths)
        .bind(columns.names)
        .bind(columns.sizes)
        .bind(columns.mime_types)
        .bind(columns.content_hashes)
        .bind(columns.error_messages)
        .bind(columns.set_asides)
        .bind(columns.chunk_counts)
        .bind(columns.metas)
        .bind(columns.digests)
        .bind(columns.uris)
        .execute(connection)
        .await
        .map(drop)
}

#[derive(Default)]
struct DocumentColumns<'a> {
    ids: Vec<Uuid>,
    sources: Vec<&'a str>,
    paths: Vec<Cow<'a, str>>,
    names: Vec<String>,
    sizes: Vec<i64>,
    mime_types: Vec<Option<Cow<'a, str>>>,
    content_hashes: Vec<Vec<u8>>,
    error_messages: Vec<Option<String>>,
    set_asides: Vec<Option<Value>>,
    chunk_counts: Vec<i64>,
    metas: Vec<Value>,
    digests: Vec<Option<Vec<u8>>>,
    uris: Vec<&'a str>,
}

impl<'a> DocumentColumns<'a> {
    fn push(&mut self, row: &'a DocumentRow<'a>) {
        let path = file_path(&row.location.uri);
        let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or(&path).to_owned();
        self.ids.push(row.id);
        self.sources.push(&row.location.source);
        self.uris.push(&row.location.uri);
        self.names.push(without_nul(&name).into_owned());
        self.paths.push(without_nul(&path).into_owned().into());
        self.sizes.push(i64::try_from(row.location.size).unwrap_or(i64::MAX));
        self.content_hashes.push(row.content_hash.0.to_vec());
        match &row.outcome {
            DocumentOutcome::Completed { chunks, mime_type, meta, digest } => {
                self.digests.push(Some(digest.to_vec()));
                self.mime_types.push(Some(without_nul(mime_type)));
                self.error_messages.push(None);
                self.set_asides.push(None);
                self.chunk_counts.push(i64::from(*chunks));
                self.metas.push(meta.clone());
            }
            DocumentOutcome::Failed { node, reason, message } => {
                self.digests.push(None);
                self.mime_types.push(None);
                self.error_messages.push(Some(without_nul(message).into_owned()));
                self.set_asides.push(Some(serde_json::json!({
                    "node": node, "reason": reason, "since": Utc::now(),
                })));
                self.chunk_counts.push(0);
                self.metas.push(Value::Object(Map::new()));
            }
        }
    }
}

pub(crate) const DELETE_SUPERSEDED: &str = "
    UPDATE documents d SET status = 'deleted', deleted_at = now(), operation_id = $2
    WHERE d.ctid = ANY(ARRAY(
        SELECT o.ctid FROM unnest($3::uuid[], $4::bytea[]) AS i (id, content_hash)
        CROSS JOIN LATERAL (
            SELECT o.ctid, o.id FROM documents o
            WHERE uuid_send(o.collection_id) || o.content_hash = uuid_send($1) || i.content_hash
              AND o.status <> 'deleted' OFFSET 0) o
        WHERE o.id <> i.id))
    RETURNING d.id";

/// Marks other documents with the same contents as deleted and returns their ids. They exist only
/// if copies of one content took different ways through a pipeline.
pub(super) async fn delete_superseded(
    connection: &mut PgConnection,
    run: &RunMetadata,
    rows: &[DocumentRow<'_>],
) -> Result<Vec<Uuid>, sqlx::Error> {
    let (ids, hashes): (Vec<Uuid>, Vec<Vec<u8>>) =
        rows.iter().map(|row| (row.id, row.content_hash.0.to_vec())).unzip();
    sqlx::query_scalar(DELETE_SUPERSEDED)
        .bind(run.collection)
        .bind(run.operation)
        .bind(ids)
        .bind(hashes)
        .fetch_all(connection)
        .await
}

pub(crate) const DELETE_WITHOUT_LOCATION: &str = "
    UPDATE documents d SET status = 'deleted', deleted_at = now(), operation_id = $2
    WHERE d.ctid = ANY(ARRAY(
        SELECT o.ctid FROM unnest($3::uuid[]) AS i (id)
        CROSS JOIN LATERAL (SELECT o.ctid, o.collection_id, o.status FROM documents o
                            WHERE o.id = i.id OFFSET 0) o
        WHERE o.collection_id = $1 AND o.status <> 'deleted'
          AND NOT EXISTS (SELECT FROM document_locations l WHERE l.document_id = i.id OFFSET 0)
          AND NOT EXISTS (SELECT FROM document_writes w
                          WHERE w.document_id = i.id AND w.operation_id IS NOT DISTINCT FROM $2 OFFSET 0)))
    RETURNING d.id";

/// Marks the candidates without a location as deleted and returns their ids. A document whose
/// points this run is writing is kept: its commit decides.
pub(super) async fn delete_without_location(
    connection: &mut PgConnection,
    run: &RunMetadata,
    candidates: &[Uuid],
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar(DELETE_WITHOUT_LOCATION)
        .bind(run.collection)
        .bind(run.operation)
        .bind(candidates)
        .fetch_all(connection)
        .await
}

pub(crate) const FAILED_WITH_POINTS: &str = "
    SELECT d.id FROM unnest($1::uuid[]) AS i (id)
    CROSS JOIN LATERAL (SELECT d.id, d.status, d.chunk_count FROM documents d WHERE d.id = i.id OFFSET 0) d
    WHERE d.status = 'failed' AND d.chunk_count > 0";

/// The failed documents among these that still have points.
pub(super) async fn failed_with_points(
    connection: &mut PgConnection,
    ids: &[Uuid],
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar(FAILED_WITH_POINTS).bind(ids).fetch_all(connection).await
}
