//! The stored state of locations, as a run compares it with its sources.

use chrono::{DateTime, Utc};
use pipeline::{ContentHash, FAILED_REASON, KnownLocation, KnownState, Location};
use serde_json::Value;
use sqlx::{FromRow, PgPool};

use crate::documents::encoding::uri_hash;
use crate::documents::locations::WITHHELD;
use crate::documents::run::RunMetadata;
use crate::documents::status::DocumentStatus;

/// A location with its document, as [`locate`] reads them.
#[derive(FromRow)]
struct KnownLocationRow {
    /// Position in the requested list, counted from 1.
    n: i64,
    source: Option<String>,
    size: i64,
    mtime: Option<DateTime<Utc>>,
    ctime: Option<DateTime<Utc>>,
    inode: Option<i64>,
    content_hash: Option<Vec<u8>>,
    set_aside: Option<Value>,
    /// `true` if the location was set aside under the current settings.
    is_current: bool,
    status: Option<DocumentStatus>,
    document_set_aside: Option<Value>,
    error_message: Option<String>,
    /// `true` if the document was stored with the current settings and its points are complete.
    is_document_current: bool,
}

pub(crate) const LOCATE: &str = "
    SELECT asked.n, s.source_path AS source, l.size, l.mtime, l.ctime, l.inode, l.content_hash,
           l.set_aside, l.fingerprint IS NOT DISTINCT FROM $2 AS is_current,
           d.status, d.set_aside AS document_set_aside, d.error_message,
           d.fingerprint IS NOT DISTINCT FROM $2
               AND NOT EXISTS (SELECT FROM document_writes w
                               WHERE w.document_id = l.document_id AND w.operation_id <> $4 OFFSET 0)
               AND NOT ($5 AND d.status = 'failed' AND coalesce(d.retry_at <= now(), FALSE))
               AS is_document_current
    FROM unnest($3::bytea[]) WITH ORDINALITY AS asked (uri_hash, n)
    CROSS JOIN LATERAL (
        SELECT l.source_id, l.size, l.mtime, l.ctime, l.inode, l.content_hash, l.set_aside, l.fingerprint,
               l.document_id
        FROM document_locations l WHERE l.collection_id = $1 AND l.uri_hash = asked.uri_hash OFFSET 0) l
    LEFT JOIN LATERAL (SELECT s.source_path FROM collection_sources s WHERE s.id = l.source_id OFFSET 0) s ON TRUE
    LEFT JOIN LATERAL (SELECT d.status, d.set_aside, d.error_message, d.fingerprint, d.retry_at
                       FROM documents d WHERE d.id = l.document_id OFFSET 0) d ON TRUE";

/// The stored state of these locations in the order of `uris`, with one query.
pub(crate) async fn locate(
    pool: &PgPool,
    run: &RunMetadata,
    uris: &[String],
) -> Result<Vec<Option<KnownLocation>>, sqlx::Error> {
    let keys: Vec<_> = uris.iter().map(|uri| uri_hash(uri)).collect();
    let rows: Vec<KnownLocationRow> = sqlx::query_as(LOCATE)
        .bind(run.collection)
        .bind(&run.fingerprint.0[..])
        .bind(keys)
        .bind(run.operation)
        .bind(run.retry_failed)
        .fetch_all(pool)
        .await?;
    let mut known = vec![None; uris.len()];
    for row in rows {
        let index = usize::try_from(row.n - 1).expect("an index into the slice, counted from 1");
        known[index] = Some(row.into_known_location(&uris[index]));
    }
    Ok(known)
}

impl KnownLocationRow {
    fn into_known_location(self, uri: &str) -> KnownLocation {
        let state = self.state();
        KnownLocation {
            location: Location {
                uri: uri.to_owned(),
                source: self.source.unwrap_or_default(),
                size: self.size.cast_unsigned(),
                mtime: self.mtime.map(|at| at.timestamp_micros()),
                ctime: self.ctime.map(|at| at.timestamp_micros()),
                inode: self.inode.map(i64::cast_unsigned),
            },
            content_hash: self.content_hash.and_then(|hash| ContentHash::try_from(&*hash).ok()),
            state,
        }
    }

    fn state(&self) -> KnownState {
        if let Some(set_aside) = &self.set_aside {
            if text_field(set_aside, "reason") == WITHHELD {
                return KnownState::Withheld { message: text_field(set_aside, "message") };
            }
            let message = text_field(set_aside, "message");
            return match self.is_current {
                false => KnownState::Stale,
                true if text_field(set_aside, "reason") == FAILED_REASON => {
                    KnownState::Unreadable {
                        node: text_field(set_aside, "node"),
                        message,
                        since: rejected_since(set_aside),
                    }
                }
                true => rejected_state(set_aside, message, rejected_since(set_aside)),
            };
        }
        if !self.is_document_current {
            return KnownState::Stale;
        }
        match (self.status, &self.document_set_aside) {
            (Some(DocumentStatus::Completed), _) => KnownState::Stored,
            (Some(DocumentStatus::Failed), Some(set_aside)) => {
                let message = self.error_message.clone().unwrap_or_default();
                rejected_state(set_aside, message, rejected_since(set_aside))
            }
            _ => KnownState::Stale,
        }
    }
}

fn rejected_state(set_aside: &Value, message: String, since: Option<DateTime<Utc>>) -> KnownState {
    KnownState::Rejected {
        node: text_field(set_aside, "node"),
        reason: text_field(set_aside, "reason"),
        message,
        since,
    }
}

fn text_field(set_aside: &Value, key: &str) -> String {
    set_aside[key].as_str().unwrap_or_default().to_owned()
}

/// The time stored by `rejection_json`; `None` in rows of earlier versions.
fn rejected_since(set_aside: &Value) -> Option<DateTime<Utc>> {
    set_aside["since"].as_str()?.parse().ok()
}
