//! The queries of document lists.
//!
//! Every page starts after the last row of the previous page (keyset pagination) and is read from
//! an index in its order, so its cost does not grow with the collection. The indexes start with the
//! status; a list of all statuses merges one ordered scan for each of them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::documents::status::DocumentStatus;

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

/// A query for a list, with the index that serves it, if one alone does. For the test of the query
/// plans.
#[cfg(feature = "test-util")]
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
pub(super) const SORT_NAME: &str = r#"left(lower(file_name COLLATE "C"), 200)"#;

pub(super) const COLUMNS: &str =
    "id, file_path, file_name, file_size, mime_type, status, error_message,
    set_aside ->> 'reason' AS reason, chunk_count, updated_at, meta, uri";

const STATUSES: [(DocumentStatus, &str); 5] = [
    (DocumentStatus::Pending, "pending"),
    (DocumentStatus::Processing, "processing"),
    (DocumentStatus::Completed, "completed"),
    (DocumentStatus::Failed, "failed"),
    (DocumentStatus::Deleted, "deleted"),
];

pub(super) fn status_name(status: DocumentStatus) -> &'static str {
    STATUSES.iter().find(|(it, _)| *it == status).expect("all are listed").1
}

#[cfg(feature = "test-util")]
const SORTS: [DocumentSort; 5] = [
    DocumentSort::Id,
    DocumentSort::Name,
    DocumentSort::Size,
    DocumentSort::Updated,
    DocumentSort::Status,
];

impl DocumentSort {
    /// Expression and type of the sort key; `None` for the id, which ends every order.
    pub(super) fn key(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Id => None,
            Self::Name => Some((SORT_NAME, "text")),
            Self::Size => Some(("file_size", "bigint")),
            Self::Updated => Some(("updated_at", "timestamptz")),
            Self::Status => Some(("status", "document_status")),
        }
    }

    /// A key before (or, descending, after) the key of every document.
    pub(super) fn boundary_key(self, is_descending: bool) -> String {
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
pub(super) fn list_query(
    selection: &DocumentSelection,
    sort: DocumentSort,
    is_descending: bool,
) -> String {
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
#[cfg(feature = "test-util")]
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
