//! Lists of documents: in several orders, filtered by status or by reject reason, one page at a
//! time, with counts by both. `list_queries.rs` has the queries.

use chrono::{DateTime, SecondsFormat, Utc};
use pipeline::StoreError;
use serde_json::Value;
use sqlx::{AssertSqlSafe, FromRow, PgPool};
use uuid::Uuid;

use crate::documents::Documents;
use crate::documents::list_queries::{
    COLUMNS, DocumentSelection, DocumentSort, SORT_NAME, list_query, status_name,
};
use crate::documents::status::DocumentStatus;
use crate::query_error::QueryError;
use crate::retry_call;

/// A list of documents, and the position at which a page starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentList {
    /// Filter of the list.
    pub selection: DocumentSelection,
    /// Sort key; ties are in order of id.
    pub sort: DocumentSort,
    /// `true` if the largest comes first.
    pub is_descending: bool,
    /// The [`ListedDocument::key`] and the id of the last document of the previous page; `None` for
    /// the first page.
    pub after: Option<(String, Uuid)>,
}

/// A document, as lists return it.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct ListedDocument {
    /// Id of the document.
    pub id: Uuid,
    /// Path of its location at the last write.
    pub file_path: String,
    /// Last component of the path.
    pub file_name: String,
    /// Size in bytes.
    pub file_size: i64,
    /// Media type, if it was detected.
    pub mime_type: Option<String>,
    /// Status of the document.
    pub status: DocumentStatus,
    /// Message of the rejection, if it was set aside.
    pub error_message: Option<String>,
    /// Reason code of the rejection, if it was set aside.
    pub reason: Option<String>,
    /// Number of chunks.
    pub chunk_count: i64,
    /// Time of the last change.
    pub updated_at: DateTime<Utc>,
    /// `title`, `language` and `metadata`.
    pub meta: Value,
    /// URI of its location at the last write; `None` during a relocation.
    pub uri: Option<String>,
    sort_name: String,
}

impl ListedDocument {
    /// The sort key of the document as text.
    pub fn key(&self, sort: DocumentSort) -> String {
        match sort {
            DocumentSort::Id => self.id.to_string(),
            DocumentSort::Name => self.sort_name.clone(),
            DocumentSort::Size => self.file_size.to_string(),
            DocumentSort::Updated => self.updated_at.to_rfc3339_opts(SecondsFormat::Micros, true),
            DocumentSort::Status => status_name(self.status).to_owned(),
        }
    }
}

/// Number of documents set aside for one reason with one message.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct RejectionCount {
    /// The reason code.
    pub reason: String,
    /// The first 200 characters of the message; `None` for the sum over all messages of the reason.
    pub message: Option<String>,
    /// Number of documents.
    pub count: i64,
}

/// Maximum number of messages over all reasons.
const MAX_MESSAGES: i64 = 50;

impl Documents<'_> {
    /// A page of a list.
    ///
    /// # Errors
    /// If the store cannot be reached, or the sort key of the position is invalid for the order.
    pub async fn page(
        &self,
        collection: Uuid,
        list: &DocumentList,
        limit: u32,
    ) -> Result<Vec<ListedDocument>, StoreError> {
        let DocumentList { selection, sort, is_descending, after } = list;
        let sql = list_query(selection, *sort, *is_descending);
        let edge = if *is_descending { Uuid::max() } else { Uuid::nil() };
        let (key, id) = after.clone().unwrap_or_else(|| (sort.boundary_key(*is_descending), edge));
        retry_call(self.0, "list documents", || async {
            let mut asked = sqlx::query_as(AssertSqlSafe(sql.clone()))
                .bind(collection)
                .bind(i64::from(limit))
                .bind(id);
            if sort.key().is_some() {
                asked = asked.bind(&key);
            }
            asked = match selection {
                DocumentSelection::All => asked,
                DocumentSelection::Status(status) => asked.bind(status),
                DocumentSelection::Reason(reason) => asked.bind(reason),
            };
            Ok(asked.fetch_all(self.0).await?)
        })
        .await
    }

    /// One document, as in a list; `None` if it does not exist.
    pub async fn find(
        &self,
        collection: Uuid,
        document: Uuid,
    ) -> Result<Option<ListedDocument>, StoreError> {
        retry_call(self.0, "find the document", || find(self.0, collection, document)).await
    }

    /// Number of documents set aside by reason and by message, most frequent first.
    pub async fn rejection_counts(
        &self,
        collection: Uuid,
    ) -> Result<Vec<RejectionCount>, StoreError> {
        retry_call(self.0, "count documents that were set aside", || async {
            Ok(sqlx::query_as(
                "WITH counted AS (
                     SELECT coalesce(set_aside ->> 'reason', 'failed') AS reason,
                            left(coalesce(error_message, ''), 200) AS message, count(*) AS count
                     FROM documents WHERE collection_id = $1 AND status = 'failed' GROUP BY 1, 2)
                 (SELECT reason, NULL AS message, sum(count)::bigint AS count FROM counted
                  GROUP BY reason ORDER BY 3 DESC, 1)
                 UNION ALL
                 (SELECT reason, message, count FROM counted ORDER BY count DESC, reason, message LIMIT $2)",
            )
            .bind(collection)
            .bind(MAX_MESSAGES)
            .fetch_all(self.0)
            .await?)
        })
        .await
    }
}

async fn find(
    pool: &PgPool,
    collection: Uuid,
    document: Uuid,
) -> Result<Option<ListedDocument>, QueryError> {
    let sql = format!(
        "SELECT {COLUMNS}, {SORT_NAME} AS sort_name FROM documents WHERE collection_id = $1 AND id = $2"
    );
    Ok(sqlx::query_as(AssertSqlSafe(sql))
        .bind(collection)
        .bind(document)
        .fetch_optional(pool)
        .await?)
}
