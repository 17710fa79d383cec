//! The story of one place and its document: what is known of both, and who has done it.

use chrono::{DateTime, Utc};
use pipeline::StoreError;
use serde_json::Value;
use sqlx::FromRow;
use uuid::Uuid;

use super::attempt;
use super::documents::{DocumentStatus, Documents, file_path};
use super::locations::uri_hash;
use super::operations::OperationType;

/// A place as it was seen last.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct Place {
    /// Where.
    pub uri: String,
    /// The source that gave it.
    pub source: Option<String>,
    /// The document that it leads to.
    pub document_id: Option<Uuid>,
    /// Whether its content was read.
    pub was_read: bool,
    /// Bytes.
    pub size: i64,
    /// When the file was modified.
    pub mtime: Option<DateTime<Utc>>,
    /// When the file was changed in any way.
    pub ctime: Option<DateTime<Utc>>,
    /// Its inode.
    pub inode: Option<i64>,
    /// Why it leads to no document: `node`, `reason`, `message`.
    pub set_aside: Option<Value>,
    /// When it was seen first.
    pub created_at: DateTime<Utc>,
    /// When it was seen last.
    pub last_seen_at: DateTime<Utc>,
}

/// A document with its past.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct DocumentStory {
    /// Its id.
    pub id: Uuid,
    /// Where it was when it was last written.
    pub file_path: String,
    /// Bytes.
    pub file_size: i64,
    /// Media type.
    pub mime_type: Option<String>,
    /// What became of it.
    pub status: DocumentStatus,
    /// Why it was set aside, in words.
    pub error_message: Option<String>,
    /// Why it was set aside: `node` and `reason`.
    pub set_aside: Option<Value>,
    /// Chunks; of one that is deleted or failed, points that are still to be removed.
    pub chunk_count: i64,
    /// The settings that made it.
    pub fingerprint: Option<Vec<u8>>,
    /// When it was taken in first.
    pub created_at: DateTime<Utc>,
    /// When it was changed last.
    pub updated_at: DateTime<Utc>,
    /// When it was deleted.
    pub deleted_at: Option<DateTime<Utc>>,
    /// How often it has failed with this content.
    pub attempts: i64,
    /// When `--retry-failed` tries it again.
    pub retry_at: Option<DateTime<Utc>>,
    /// `title`, `language` and `metadata`.
    pub meta: Value,
    /// The operation that wrote it last.
    pub operation_id: Option<Uuid>,
    /// What that one was.
    pub operation_type: Option<OperationType>,
    /// When that one began.
    pub operation_started_at: Option<DateTime<Utc>>,
}

/// Somebody deleted it, or took it in again.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Deed {
    /// `documents_deleted` or `documents_undeleted`.
    pub action: String,
    /// Who.
    pub by: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
    /// The operation that did it.
    pub operation_id: Option<Uuid>,
}

/// Everything that is known of a document, or of a place that led to none.
#[derive(Clone, Debug, PartialEq)]
pub struct Story {
    /// The document.
    pub document: Option<DocumentStory>,
    /// The places where it is seen, or the one that was asked for; not more than a hundred.
    pub places: Vec<Place>,
    /// What people have done to it, latest first.
    pub deeds: Vec<Deed>,
}

macro_rules! places {
    ($rest:literal) => {
        concat!(
            "SELECT l.uri, s.source_path AS source, l.document_id, l.content_hash IS NOT NULL AS was_read,
                    l.size, l.mtime, l.ctime, l.inode, l.set_aside, l.created_at, l.last_seen_at
             FROM document_locations l
             LEFT JOIN LATERAL (SELECT s.source_path FROM collection_sources s
                                WHERE s.id = l.source_id OFFSET 0) s ON TRUE ",
            $rest
        )
    };
}

pub(super) const PLACE: &str = places!("WHERE l.collection_id = $1 AND l.uri_hash = $2");

pub(super) const PLACES_OF: &str = places!("WHERE l.document_id = $1 ORDER BY l.uri LIMIT 100");

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
    /// What is known of a place.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn story_at(&self, collection: Uuid, uri: &str) -> Result<Story, StoreError> {
        let place: Option<Place> = attempt(self.0, "find the location", || async {
            Ok(sqlx::query_as(PLACE)
                .bind(collection)
                .bind(uri_hash(uri))
                .fetch_optional(self.0)
                .await?)
        })
        .await?;
        let document = match &place {
            Some(Place { document_id: Some(document), .. }) => Some(*document),
            // One that somebody has deleted is known by the content of its place.
            Some(_) => self.at(collection, uri).await?,
            None => self.last_deleted_at(collection, uri).await?,
        };
        let mut story = match document {
            Some(document) => self.story_of(collection, document).await?,
            None => Story { document: None, places: Vec::new(), deeds: Vec::new() },
        };
        if let Some(place) = place {
            story.places.retain(|other| other.uri != place.uri);
            story.places.insert(0, place);
        }
        Ok(story)
    }

    /// What is known of a document; nothing if there is none.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn story_of(&self, collection: Uuid, document: Uuid) -> Result<Story, StoreError> {
        attempt(self.0, "read what is known of the document", || async {
            let found: Option<DocumentStory> =
                sqlx::query_as(documents!("WHERE d.collection_id = $1 AND d.id = $2"))
                    .bind(collection)
                    .bind(document)
                    .fetch_optional(self.0)
                    .await?;
            let places =
                sqlx::query_as(PLACES_OF).bind(document).fetch_all(self.0).await?;
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
            Ok(Story { document: found, places, deeds })
        })
        .await
    }

    /// The document that was last at a place of which nothing is known any more.
    async fn last_deleted_at(
        &self,
        collection: Uuid,
        uri: &str,
    ) -> Result<Option<Uuid>, StoreError> {
        attempt(self.0, "find the document", || async {
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
