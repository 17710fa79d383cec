//! Lists of documents: in several orders, filtered by status or by reject reason, one page at a
//! time, with counts by both.
//!
//! Every page starts after the last row of the previous page (keyset pagination) and is read from
//! an index in its order, so its cost does not grow with the collection. The indexes start with the
//! status; a list of all statuses merges one ordered scan for each of them.

use chrono::{DateTime, SecondsFormat, Utc};
use pipeline::StoreError;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{AssertSqlSafe, FromRow, PgPool};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::documents::{DocumentStatus, Documents};
use crate::retry_call;

/// Sort key of a list of documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DocumentSort {
    /// The id: an arbitrary, stable order, and the cheapest.
    #[default]
    Id,
    /// The file name, ignoring the case of ASCII letters.
    Name,
    /// The size in bytes.
    Size,
    /// The time of the last write of the document.
    Updated,
    /// The status, in the order of [`DocumentStatus`].
    Status,
}

/// Filter of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DocumentSelection {
    /// All documents.
    All,
    /// Documents with this status.
    Status(DocumentStatus),
    /// Documents set aside for this reason.
    Reason(String),
}

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

/// A query for a list, with the index that serves it, if one alone does. For the test of the query
/// plans.
#[doc(hidden)]
#[derive(Debug)]
pub struct ListQuery {
    /// Description of the query.
    pub doing: String,
    /// Text of the query.
    pub sql: String,
    /// Name of the index.
    pub index: Option<&'static str>,
}

/// The sort key of a name: its first 200 characters.
const SORT_NAME: &str = r#"left(lower(file_name COLLATE "C"), 200)"#;

const COLUMNS: &str = "id, file_path, file_name, file_size, mime_type, status, error_message,
    set_aside ->> 'reason' AS reason, chunk_count, updated_at, meta, uri";

/// Maximum number of messages over all reasons.
const MAX_MESSAGES: i64 = 50;

const STATUSES: [(DocumentStatus, &str); 5] = [
    (DocumentStatus::Pending, "pending"),
    (DocumentStatus::Processing, "processing"),
    (DocumentStatus::Completed, "completed"),
    (DocumentStatus::Failed, "failed"),
    (DocumentStatus::Deleted, "deleted"),
];

fn status_name(status: DocumentStatus) -> &'static str {
    STATUSES.iter().find(|(it, _)| *it == status).expect("all are listed").1
}

const SORTS: [DocumentSort; 5] = [
    DocumentSort::Id,
    DocumentSort::Name,
    DocumentSort::Size,
    DocumentSort::Updated,
    DocumentSort::Status,
];

impl DocumentSort {
    /// Expression and type of the sort key; `None` for the id, which ends every order.
    fn key(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Id => None,
            Self::Name => Some((SORT_NAME, "text")),
            Self::Size => Some(("file_size", "bigint")),
            Self::Updated => Some(("updated_at", "timestamptz")),
            Self::Status => Some(("status", "document_status")),
        }
    }

    /// A key before (or, descending, after) the key of every document.
    fn boundary_key(self, is_descending: bool) -> String {
        match (self, is_descending) {
            (Self::Id, _) | (Self::Name, false) => String::new(),
            // Longer than any name made of the greatest character.
            (Self::Name, true) => "\u{10FFFF}".repeat(201),
            (Self::Size, false) => "-1".to_owned(),
            (Self::Size, true) => i64::MAX.to_string(),
            (Self::Updated, false) => "-infinity".to_owned(),
            (Self::Updated, true) => "infinity".to_owned(),
            (Self::Status, false) => STATUSES[0].1.to_owned(),
            (Self::Status, true) => STATUSES[STATUSES.len() - 1].1.to_owned(),
        }
    }
}

/// Collection and document id as one key, which is indexed (migration 0010).
const SORT_BY_ID: &str = "uuid_send(collection_id) || uuid_send(id)";

/// The query of a list. Parameters: the collection, the row limit, the id after which the page
/// starts; then its sort key, except in the order of ids; then the status or the reason.
fn list_query(selection: &DocumentSelection, sort: DocumentSort, is_descending: bool) -> String {
    let next = if sort.key().is_none() { 4 } else { 5 };
    let narrowed = match selection {
        DocumentSelection::All => String::new(),
        DocumentSelection::Status(_) => format!("status = ${next} AND"),
        DocumentSelection::Reason(_) => {
            format!("status = 'failed' AND set_aside ->> 'reason' = ${next} AND")
        }
    };
    match (selection, sort) {
        (_, DocumentSort::Id) => {
            page_by_id(&narrowed, "uuid_send($1) || uuid_send($3)", is_descending)
        }
        (DocumentSelection::All, DocumentSort::Status) => {
            merge_statuses(&page_by_status("every.one", "", is_descending), "status", is_descending)
        }
        (DocumentSelection::Status(_), DocumentSort::Status) => {
            page_by_status(&format!("${next}"), "", is_descending)
        }
        (DocumentSelection::Reason(_), DocumentSort::Status) => {
            page_by_status("'failed'::document_status", &narrowed, is_descending)
        }
        (_, DocumentSort::Name | DocumentSort::Size | DocumentSort::Updated) => {
            let (key, kind) = sort.key().expect("all but the id have one");
            match selection {
                DocumentSelection::All => {
                    let of_one = page_by_key(key, kind, "status = every.one AND", is_descending);
                    let key = if key == SORT_NAME { "sort_name" } else { key };
                    merge_statuses(&of_one, key, is_descending)
                }
                DocumentSelection::Status(_) | DocumentSelection::Reason(_) => {
                    page_by_key(key, kind, &narrowed, is_descending)
                }
            }
        }
    }
}

/// A page in order of id, of the documents after a position.
fn page_by_id(narrowed: &str, begin: &str, is_descending: bool) -> String {
    let (behind, bounded, direction) = if is_descending {
        ("<", ">= uuid_send($1)", "DESC")
    } else {
        (">", "<= uuid_send($1) || uuid_send('ffffffff-ffff-ffff-ffff-ffffffffffff')", "ASC")
    };
    format!(
        "SELECT {COLUMNS}, {SORT_NAME} AS sort_name FROM documents
         WHERE {narrowed} {SORT_BY_ID} {behind} {begin} AND {SORT_BY_ID} {bounded}
         ORDER BY {SORT_BY_ID} {direction} LIMIT $2"
    )
}

/// A page of the documents of one status, in order of status and then id: all of them if the page
/// starts in an earlier status, none if it starts in a later one.
fn page_by_status(one: &str, narrowed: &str, is_descending: bool) -> String {
    let (not_before, start) = if is_descending {
        ("<=", "uuid_send($1) || uuid_send('ffffffff-ffff-ffff-ffff-ffffffffffff')")
    } else {
        (">=", "uuid_send($1)")
    };
    let narrowed =
        format!("{narrowed} status = {one} AND {one} {not_before} $4::document_status AND");
    let begin = format!(
        "CASE WHEN {one} = $4::document_status THEN uuid_send($1) || uuid_send($3) ELSE {start} END"
    );
    page_by_id(&narrowed, &begin, is_descending)
}

/// A page in order of a key, with ties in order of id.
fn page_by_key(key: &str, kind: &str, narrowed: &str, is_descending: bool) -> String {
    let (behind, direction) = if is_descending { ("<", "DESC") } else { (">", "ASC") };
    format!(
        "SELECT {COLUMNS}, {SORT_NAME} AS sort_name FROM documents
         WHERE collection_id = $1 AND {narrowed} ({key}, uuid_send(id)) {behind} ($4::{kind}, uuid_send($3))
         ORDER BY {key} {direction}, uuid_send(id) {direction} LIMIT $2"
    )
}

/// Merges one page of each status.
fn merge_statuses(of_one: &str, key: &str, is_descending: bool) -> String {
    let direction = if is_descending { "DESC" } else { "ASC" };
    format!(
        "SELECT d.* FROM unnest(enum_range(NULL::document_status)) AS every (one)
         CROSS JOIN LATERAL ({of_one}) AS d ORDER BY {key} {direction}, id {direction} LIMIT $2"
    )
}

/// Every possible query of a list.
#[doc(hidden)]
pub fn document_list_queries() -> Vec<ListQuery> {
    let selections = [
        DocumentSelection::All,
        DocumentSelection::Status(DocumentStatus::Failed),
        DocumentSelection::Reason(String::new()),
    ];
    let mut queries = Vec::new();
    for selection in &selections {
        for sort in SORTS {
            for is_descending in [false, true] {
                let index = match (selection, sort) {
                    (DocumentSelection::Reason(_), DocumentSort::Name) => {
                        Some("idx_documents_set_aside_name")
                    }
                    // Another order of one reason sorts the documents of that reason.
                    (DocumentSelection::Reason(_), _) => None,
                    (DocumentSelection::All, DocumentSort::Id) => {
                        Some("idx_documents_collection_id")
                    }
                    (_, DocumentSort::Id | DocumentSort::Status) => Some("idx_documents_status"),
                    (_, DocumentSort::Name) => Some("idx_documents_status_name"),
                    (_, DocumentSort::Size) => Some("idx_documents_status_size"),
                    (_, DocumentSort::Updated) => Some("idx_documents_status_updated_at"),
                };
                queries.push(ListQuery {
                    doing: format!("list {selection:?} by {sort:?}, descending: {is_descending}"),
                    sql: list_query(selection, sort, is_descending),
                    index,
                });
            }
        }
    }
    queries
}

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
) -> Result<Option<ListedDocument>, crate::query_error::QueryError> {
    let sql = format!(
        "SELECT {COLUMNS}, {SORT_NAME} AS sort_name FROM documents WHERE collection_id = $1 AND id = $2"
    );
    Ok(sqlx::query_as(AssertSqlSafe(sql))
        .bind(collection)
        .bind(document)
        .fetch_optional(pool)
        .await?)
}
