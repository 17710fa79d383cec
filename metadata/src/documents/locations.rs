//! Locations: the stored state of files, with their size, times and inode at the last run.

use chrono::{DateTime, Datelike as _, Utc};
use pipeline::{ContentHash, Location};
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::documents::encoding::{uri_hash, without_nul};
use crate::documents::run::RunMetadata;

/// Reject reason of a location whose document a client deleted; it applies under all settings.
pub(crate) const WITHHELD: &str = "withheld";

/// The values to write for one location.
pub(super) struct LocationRow<'a> {
    pub(crate) location: &'a Location,
    /// Hash of its content; the location belongs to the document with this content, if one exists.
    pub(crate) content_hash: Option<ContentHash>,
    /// The rejection, if it leads to no document.
    pub(super) rejection: Option<Value>,
}

/// The rejection as stored: node, reason, message and time.
pub(super) fn rejection_json(node: &str, reason: &str, message: &str) -> Value {
    json!({ "node": node, "reason": reason, "message": without_nul(message), "since": Utc::now() })
}

/// The columns common to all statements, as arrays.
#[derive(Default)]
struct LocationColumns<'a> {
    uris: Vec<&'a str>,
    sources: Vec<&'a str>,
    sizes: Vec<i64>,
    mtimes: Vec<Option<DateTime<Utc>>>,
    ctimes: Vec<Option<DateTime<Utc>>>,
    inodes: Vec<Option<i64>>,
}

impl<'a> LocationColumns<'a> {
    fn of(locations: impl Iterator<Item = &'a Location>) -> Self {
        let mut columns = Self::default();
        for location in locations {
            columns.uris.push(&location.uri);
            columns.sources.push(&location.source);
            columns.sizes.push(i64::try_from(location.size).unwrap_or(i64::MAX));
            columns.mtimes.push(location.mtime.and_then(to_datetime));
            columns.ctimes.push(location.ctime.and_then(to_datetime));
            // The same 64 bits: inode numbers are only compared.
            columns.inodes.push(location.inode.map(u64::cast_signed));
        }
        columns
    }
}

/// The time, or `None` outside the range of Postgres; such a file is read in every run.
fn to_datetime(micros: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(micros).filter(|at| (-4_000..=200_000).contains(&at.year()))
}

pub(crate) const OWNING_DOCUMENTS: &str = "
    SELECT DISTINCT l.document_id FROM unnest($2::bytea[]) AS i (uri_hash)
    CROSS JOIN LATERAL (SELECT l.document_id FROM document_locations l
                        WHERE l.collection_id = $1 AND l.uri_hash = i.uri_hash OFFSET 0) l
    WHERE l.document_id IS NOT NULL";

/// The documents that these locations belong to.
pub(super) async fn owning_documents(
    connection: &mut PgConnection,
    run: &RunMetadata,
    rows: &[LocationRow<'_>],
) -> Result<Vec<Uuid>, sqlx::Error> {
    let hashes: Vec<_> = rows.iter().map(|row| uri_hash(&row.location.uri)).collect();
    sqlx::query_scalar(OWNING_DOCUMENTS)
        .bind(run.collection)
        .bind(hashes)
        .fetch_all(connection)
        .await
}

/// Treatment of the stored state of a location.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum PreviousLocation {
    /// The new values replace it.
    Replaced,
    /// The content is unreadable at present: the stored values stay, with the rejection added.
    Kept,
}

pub(crate) const UPSERT: &str = "
    INSERT INTO document_locations AS l
       (collection_id, uri, source_id, size, mtime, ctime, inode, content_hash, document_id,
        set_aside, fingerprint, last_seen_at)
    SELECT $1, i.uri, s.id, i.size, i.mtime, i.ctime, i.inode, i.content_hash, d.id,
           i.set_aside, CASE WHEN i.set_aside IS NOT NULL THEN $2::bytea END, greatest(now(), $3)
    FROM unnest($4::text[], $5::text[], $6::bigint[], $7::timestamptz[], $8::timestamptz[],
                $9::bigint[], $10::bytea[], $11::jsonb[])
         AS i (uri, source, size, mtime, ctime, inode, content_hash, set_aside)
    LEFT JOIN LATERAL (SELECT s.id FROM collection_sources s
                       WHERE s.collection_id = $1 AND s.source_path = i.source OFFSET 0) s ON TRUE
    LEFT JOIN LATERAL (SELECT d.id FROM documents d
                       WHERE uuid_send(d.collection_id) || d.content_hash = uuid_send($1) || i.content_hash
                         AND d.status <> 'deleted' LIMIT 1) d ON TRUE
    ON CONFLICT (collection_id, uri_hash) DO UPDATE SET
        source_id = excluded.source_id,
        size = CASE WHEN $12 THEN l.size ELSE excluded.size END,
        mtime = CASE WHEN $12 THEN l.mtime ELSE excluded.mtime END,
        ctime = CASE WHEN $12 THEN l.ctime ELSE excluded.ctime END,
        inode = CASE WHEN $12 THEN l.inode ELSE excluded.inode END,
        content_hash = CASE WHEN $12 THEN l.content_hash ELSE excluded.content_hash END,
        document_id = CASE WHEN $12 THEN l.document_id ELSE excluded.document_id END,
        set_aside = excluded.set_aside, fingerprint = excluded.fingerprint,
        last_seen_at = excluded.last_seen_at";

/// Inserts or updates locations; each belongs to the document that now has its content.
pub(super) async fn upsert(
    connection: &mut PgConnection,
    run: &RunMetadata,
    rows: &[LocationRow<'_>],
    former: PreviousLocation,
) -> Result<(), sqlx::Error> {
    let columns = LocationColumns::of(rows.iter().map(|row| row.location));
    let hashes: Vec<_> =
        rows.iter().map(|row| row.content_hash.map(|hash| hash.0.to_vec())).collect();
    let set_asides: Vec<_> = rows.iter().map(|row| row.rejection.clone()).collect();
    sqlx::query(UPSERT)
        .bind(run.collection)
        .bind(&run.fingerprint.0[..])
        .bind(run.started_at)
        .bind(columns.uris)
        .bind(columns.sources)
        .bind(columns.sizes)
        .bind(columns.mtimes)
        .bind(columns.ctimes)
        .bind(columns.inodes)
        .bind(hashes)
        .bind(set_asides)
        .bind(former == PreviousLocation::Kept)
        .execute(connection)
        .await
        .map(drop)
}

pub(crate) const DETACH: &str = "
    UPDATE document_locations l SET document_id = NULL
    WHERE l.ctid = ANY(ARRAY(
        SELECT o.ctid FROM unnest($1::uuid[]) AS i (id)
        CROSS JOIN LATERAL (SELECT d.status, d.content_hash FROM documents d WHERE d.id = i.id OFFSET 0) d
        CROSS JOIN LATERAL (SELECT o.ctid, o.content_hash FROM document_locations o
                            WHERE o.document_id = i.id OFFSET 0) o
        WHERE d.status = 'deleted' OR o.content_hash IS DISTINCT FROM d.content_hash))";

/// Detaches from these documents every location with a different content.
pub(crate) async fn detach(
    connection: &mut PgConnection,
    documents: &[Uuid],
) -> Result<(), sqlx::Error> {
    sqlx::query(DETACH).bind(documents).execute(connection).await.map(drop)
}

pub(crate) const ATTACH: &str = "
    UPDATE document_locations l SET document_id = f.id, set_aside = NULL, fingerprint = NULL
    FROM (SELECT o.place, i.id FROM unnest($2::uuid[]) AS i (id)
          CROSS JOIN LATERAL (SELECT d.status, d.content_hash FROM documents d WHERE d.id = i.id OFFSET 0) d
          CROSS JOIN LATERAL (
              SELECT o.ctid AS place, o.set_aside FROM document_locations o
              WHERE uuid_send(o.collection_id) || o.content_hash = uuid_send($1) || d.content_hash
                AND num_nulls(o.document_id) = 1 OFFSET 0) o
          WHERE d.status <> 'deleted' AND o.set_aside ->> 'reason' IS DISTINCT FROM 'withheld') f
    WHERE l.ctid = f.place";

/// Attaches to these documents every unattached location with their content, except locations whose
/// document a client deleted: the content may come from another location.
pub(crate) async fn attach(
    connection: &mut PgConnection,
    run: &RunMetadata,
    documents: &[Uuid],
) -> Result<(), sqlx::Error> {
    sqlx::query(ATTACH).bind(run.collection).bind(documents).execute(connection).await.map(drop)
}

pub(crate) const TOUCH: &str = "
    UPDATE document_locations l
    SET source_id = f.source_id, size = f.size, mtime = f.mtime, ctime = f.ctime, inode = f.inode,
        set_aside = NULL, fingerprint = NULL, last_seen_at = greatest(now(), $2)
    FROM (SELECT o.place, s.id AS source_id, i.size, i.mtime, i.ctime, i.inode
          FROM unnest($3::bytea[], $4::text[], $5::bigint[], $6::timestamptz[], $7::timestamptz[],
                      $8::bigint[]) AS i (uri_hash, source, size, mtime, ctime, inode)
          CROSS JOIN LATERAL (SELECT o.ctid AS place FROM document_locations o
                              WHERE o.collection_id = $1 AND o.uri_hash = i.uri_hash OFFSET 0) o
          LEFT JOIN LATERAL (SELECT s.id FROM collection_sources s
                             WHERE s.collection_id = $1 AND s.source_path = i.source OFFSET 0) s ON TRUE) f
    WHERE l.ctid = f.place";

/// Records that locations exist with unchanged content; size, times and inode are updated.
pub(crate) async fn touch(
    connection: &mut PgConnection,
    run: &RunMetadata,
    locations: &[&Location],
) -> Result<(), sqlx::Error> {
    let columns = LocationColumns::of(locations.iter().copied());
    let keys: Vec<_> = locations.iter().map(|location| uri_hash(&location.uri)).collect();
    sqlx::query(TOUCH)
        .bind(run.collection)
        .bind(run.started_at)
        .bind(keys)
        .bind(columns.sources)
        .bind(columns.sizes)
        .bind(columns.mtimes)
        .bind(columns.ctimes)
        .bind(columns.inodes)
        .execute(connection)
        .await
        .map(drop)
}

pub(crate) const MARK_SEEN: &str = "
    UPDATE document_locations l SET last_seen_at = greatest(now(), $2)
    WHERE l.ctid = ANY(ARRAY(
        SELECT o.ctid FROM unnest($3::bytea[]) AS i (uri_hash)
        CROSS JOIN LATERAL (SELECT o.ctid FROM document_locations o
                            WHERE o.collection_id = $1 AND o.uri_hash = i.uri_hash OFFSET 0) o))";

/// Records that locations exist, without other changes.
pub(super) async fn mark_seen(
    connection: &mut PgConnection,
    run: &RunMetadata,
    locations: &[&Location],
) -> Result<(), sqlx::Error> {
    let keys: Vec<_> = locations.iter().map(|location| uri_hash(&location.uri)).collect();
    sqlx::query(MARK_SEEN)
        .bind(run.collection)
        .bind(run.started_at)
        .bind(keys)
        .execute(connection)
        .await
        .map(drop)
}
