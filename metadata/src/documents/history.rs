//! History of one location and its document: stored state, and deletions by clients.

use chrono::{DateTime, Utc};
use pipeline::StoreError;
use serde_json::Value;
use sqlx::FromRow;
use uuid::Uuid;

use crate::documents::Documents;
use crate::documents::encoding::{file_path, uri_hash};
use crate::documents::status::DocumentStatus;
use crate::operations::OperationType;
use crate::retry_call;

/// A location, as last seen.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct SeenLocation {
    /// URI of the location.
    pub uri: String,
    /// Its source.
    pub source: Option<String>,
    /// Id of its document.
    pub document_id: Option<Uuid>,
    /// Size in bytes.
    pub size: i64,
    /// Modification time of the content.
    pub mtime: Option<DateTime<Utc>>,
    /// Time of the last change of content or inode.
    pub ctime: Option<DateTime<Utc>>,
    /// Inode number.
    pub inode: Option<i64>,
    /// Rejection of a location without a document: `node`, `reason`, `message`.
    pub set_aside: Option<Value>,
    /// Time at which a run first saw it.
    pub created_at: DateTime<Utc>,
    /// Time at which a run last saw it.
    pub last_seen_at: DateTime<Utc>,
}

/// A document with its history.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct DocumentDetails {
    /// Id of the document.
    pub id: Uuid,
    /// Path of its location at the last write.
    pub file_path: String,
    /// Size in bytes.
    pub file_size: i64,
    /// Media type.
    pub mime_type: Option<String>,
    /// Status of the document.
    pub status: DocumentStatus,
    /// Message of the rejection.
    pub error_message: Option<String>,
    /// The rejection: `node` and `reason`.
    pub set_aside: Option<Value>,
    /// Number of chunks; for a deleted or failed document, points still to be removed.
    pub chunk_count: i64,
    /// Fingerprint of the settings at the last write.
    pub fingerprint: Option<Vec<u8>>,
    /// Time of creation.
    pub created_at: DateTime<Utc>,
    /// Time of the last change.
    pub updated_at: DateTime<Utc>,
    /// Time of deletion.
    pub deleted_at: Option<DateTime<Utc>>,
    /// Number of failures with this content.
    pub attempts: i64,
    /// Earliest time at which `--retry-failed` retries it.
    pub retry_at: Option<DateTime<Utc>>,
    /// `title`, `language` and `metadata`.
    pub meta: Value,
    /// The operation that wrote it last.
    pub operation_id: Option<Uuid>,
    /// Type of that operation.
    pub operation_type: Option<OperationType>,
    /// Start of that operation.
    pub operation_started_at: Option<DateTime<Utc>>,
}

/// A deletion of the document by a client, or its reversal.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct DocumentAction {
    /// `documents_deleted` or `documents_undeleted`.
    pub action: String,
    /// User name of the actor.
    pub by: Option<String>,
    /// Time of the action.
    pub at: DateTime<Utc>,
    /// The operation that performed it.
    pub operation_id: Option<Uuid>,
}

/// Stored state of a document, or of a location without one.
#[derive(Clone, Debug, PartialEq)]
pub struct DocumentHistory {
    /// The document; `None` if the location led to none.
    pub document: Option<DocumentDetails>,
    /// Its locations, a requested location first; at most about a hundred.
    pub locations: Vec<SeenLocation>,
    /// Deletions and their reversals, latest first.
    pub actions: Vec<DocumentAction>,
}

macro_rules! places {
    ($rest:literal) => {
        concat!(
            "SELECT l.uri, s.source_path AS source, l.document_id, l.size, l.mtime,
                    l.ctime, l.inode, l.set_aside, l.created_at, l.last_seen_at
             FROM document_locations l
             LEFT JOIN LATERAL (SELECT s.source_path FROM collection_sources s
                                WHERE s.id = l.source_id OFFSET 0) s ON TRUE ",
            $rest
        )
    };
}

pub(crate) const LOCATION: &str = places!("WHERE l.collection_id = $1 AND l.uri_hash = $2");

pub(crate) const LOCATIONS_OF: &str = places!("WHERE l.document_id = $1 ORDER BY l.uri LIMIT 100");

macro_rules! documents {
    ($rest:literal) => {
        concat!(
            "SELECT d.id, d.file_path, d.file_size, d.mime_type, d.status, d.error_message, d.set_aside,
                    d.chunk_count, d.fingerprint, d.created_at, d.updated_at, d.deleted_at, d.attempts,
                    d.retry_at, d.meta, d.operation_id, o.type AS operation_type,
                    o.started_at AS operation_started_at
             FROM documents d LEFT JOIN operations o ON o.id = d.operation_id ",
            $rest
        )
    };
}

impl Documents<'_> {
    /// History of a location.
    pub async fn history_at(
        &self,
        collection: Uuid,
        uri: &str,
    ) -> Result<DocumentHistory, StoreError> {
        let place: Option<SeenLocation> = retry_call(self.0, "find the location", || async {
            Ok(sqlx::query_as(LOCATION)
                .bind(collection)
                .bind(uri_hash(uri))
                .fetch_optional(self.0)
                .await?)
        })
        .await?;
        let document = match &place {
            Some(SeenLocation { document_id: Some(document), .. }) => Some(*document),
            // A document that a client deleted is found by the content of its location.
            Some(_) => self.find_by_uri(collection, uri).await?,
            None => self.last_deleted_at(collection, uri).await?,
        };
        let mut story = match document {
            Some(document) => self.history_of(collection, document).await?,
            None => DocumentHistory { document: None, locations: Vec::new(), actions: Vec::new() },
        };
        if let Some(place) = place {
            story.locations.retain(|other| other.uri != place.uri);
            story.locations.insert(0, place);
        }
        Ok(story)
    }

    /// History of a document; empty if it does not exist.
    pub async fn history_of(
        &self,
        collection: Uuid,
        document: Uuid,
    ) -> Result<DocumentHistory, StoreError> {
        retry_call(self.0, "read the history of the document", || async {
            let found: Option<DocumentDetails> =
                sqlx::query_as(documents!("WHERE d.collection_id = $1 AND d.id = $2"))
                    .bind(collection)
                    .bind(document)
                    .fetch_optional(self.0)
                    .await?;
            let places =
                sqlx::query_as(LOCATIONS_OF).bind(document).fetch_all(self.0).await?;
            let deeds = sqlx::query_as(
                "SELECT a.action, u.username AS by, a.created_at AS at, a.operation_id
                 FROM collection_audit_log a LEFT JOIN users u ON u.id = a.user_id
                 WHERE a.collection_id = $1 AND a.action IN ('documents_deleted', 'documents_undeleted')
                   AND a.details -> 'documents' ? $2
                 ORDER BY a.created_at DESC LIMIT 10",
            )
            .bind(collection)
            .bind(document.to_string())
            .fetch_all(self.0)
            .await?;
            Ok(DocumentHistory { document: found, locations: places, actions: deeds })
        })
        .await
    }

    /// The last document at a location that is not stored any more.
    async fn last_deleted_at(
        &self,
        collection: Uuid,
        uri: &str,
    ) -> Result<Option<Uuid>, StoreError> {
        retry_call(self.0, "find the document", || async {
            Ok(sqlx::query_scalar(
                "SELECT id FROM documents
                 WHERE collection_id = $1 AND status = 'deleted' AND file_path = $2
                 ORDER BY deleted_at DESC LIMIT 1",
            )
            .bind(collection)
            .bind(file_path(uri))
            .fetch_optional(self.0)
            .await?)
        })
        .await
    }
}
