//! JSON types of document lists: filters, order, cursors and counts.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use metadata::{
    DocumentList, DocumentSelection, DocumentSort, DocumentStatus, ListedDocument, RejectionCount,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{check_limit, invalid_cursor};
use crate::problem::{HandlerResult, Problem, ProblemCode};

/// Largest page of documents.
pub(crate) const MAX_DOCUMENTS: u32 = 1000;
/// Largest length of `q` and `reason`, in characters.
const MAX_TEXT: usize = 200;

/// Direction of the order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SortOrder {
    /// Ascending.
    #[default]
    Asc,
    /// Descending.
    Desc,
}

/// Documents to list, and their order.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DocumentsQuery {
    /// Only documents with this status.
    pub status: Option<DocumentStatus>,
    /// Only documents that were set aside for this reason: `failed`, `empty`, `unsupported`,
    /// `too_large`, …
    #[param(max_length = 200)]
    pub reason: Option<String>,
    /// Only documents with this text in their path, title or rejection message, ignoring case. A
    /// page covers at most the next 10,000 documents, so it may be empty and still have a `next`.
    #[param(max_length = 200)]
    pub q: Option<String>,
    /// Sort key.
    #[serde(default)]
    #[param(inline)]
    pub sort: DocumentSort,
    /// Direction of the order.
    #[serde(default)]
    #[param(inline)]
    pub order: SortOrder,
    /// Maximum number of documents.
    #[serde(default = "super::fifty")]
    #[param(minimum = 1, maximum = 1000, default = 50)]
    pub limit: u32,
    /// The `next` of the previous page; without it the first page. Valid only for the same order.
    pub cursor: Option<String>,
}

/// Position in a list, as encoded in a cursor.
#[derive(Serialize, Deserialize)]
struct DocumentCursor {
    #[serde(rename = "s")]
    sort: DocumentSort,
    #[serde(rename = "o")]
    order: SortOrder,
    #[serde(rename = "k")]
    key: String,
    #[serde(rename = "i")]
    id: Uuid,
}

impl DocumentsQuery {
    /// The validated list and page size.
    pub(crate) fn to_list(&self) -> HandlerResult<(DocumentList, u32)> {
        let limit = check_limit(self.limit, MAX_DOCUMENTS)?;
        for (name, text) in [("q", &self.q), ("reason", &self.reason)] {
            if text.as_ref().is_some_and(|text| text.chars().count() > MAX_TEXT) {
                let detail = format!("`{name}` is too long: at most {MAX_TEXT} characters");
                return Err(Problem::new(ProblemCode::InvalidQuery, detail));
            }
        }
        let (sort, order) = (self.sort, self.order);
        let after = self.cursor.as_deref().map(|it| parse_cursor(it, sort, order)).transpose()?;
        let selection = match (&self.reason, self.status) {
            // Only failed documents have a reason; see `is_contradictory`.
            (Some(reason), _) => DocumentSelection::Reason(reason.clone()),
            (None, Some(status)) => DocumentSelection::Status(status),
            (None, None) => DocumentSelection::All,
        };
        let is_descending = order == SortOrder::Desc;
        Ok((DocumentList { selection, sort, is_descending, after }, limit))
    }

    /// `true` if no document has both the status and a reason: only failed documents have one.
    pub(crate) fn is_contradictory(&self) -> bool {
        self.reason.is_some() && self.status.is_some_and(|it| it != DocumentStatus::Failed)
    }

    /// The searched text in lower case; `None` if it is empty.
    pub(crate) fn search_text(&self) -> Option<String> {
        let text = self.q.as_deref().map(str::trim).filter(|text| !text.is_empty());
        text.map(str::to_lowercase)
    }
}

/// The cursor of the page after this document of a list.
pub(crate) fn document_cursor(list: &DocumentList, listed: &ListedDocument) -> String {
    let DocumentList { sort, is_descending, .. } = *list;
    // Plain id: the cursor format of earlier versions.
    if (sort, is_descending) == (DocumentSort::Id, false) {
        return listed.id.to_string();
    }
    let order = if is_descending { SortOrder::Desc } else { SortOrder::Asc };
    let place = DocumentCursor { sort, order, key: listed.key(sort), id: listed.id };
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&place).expect("strings are JSON"))
}

/// Parses a cursor; one of another order is an error.
fn parse_cursor(
    cursor: &str,
    sort: DocumentSort,
    order: SortOrder,
) -> HandlerResult<(String, Uuid)> {
    if (sort, order) == (DocumentSort::Id, SortOrder::Asc) {
        return Ok((String::new(), cursor.parse().map_err(|_| invalid_cursor())?));
    }
    let json = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| invalid_cursor())?;
    let place: DocumentCursor = serde_json::from_slice(&json).map_err(|_| invalid_cursor())?;
    let is_of_this = place.sort == sort && place.order == order;
    if is_of_this && is_valid_key(sort, &place.key) {
        Ok((place.key, place.id))
    } else {
        Err(invalid_cursor())
    }
}

/// Returns true if the value is a valid sort key.
fn is_valid_key(sort: DocumentSort, key: &str) -> bool {
    match sort {
        DocumentSort::Id => true,
        DocumentSort::Name => key.chars().count() <= MAX_TEXT && !key.contains('\0'),
        DocumentSort::Size => key.parse::<i64>().is_ok(),
        DocumentSort::Updated => {
            let year = |it: DateTime<_>| chrono::Datelike::year(&it);
            DateTime::parse_from_rfc3339(key).is_ok_and(|it| (1..=9999).contains(&year(it)))
        }
        DocumentSort::Status => {
            serde_json::from_value::<DocumentStatus>(serde_json::Value::from(key)).is_ok()
        }
    }
}

/// Number of documents of a collection by status.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct DocumentCounts {
    pending: i64,
    processing: i64,
    completed: i64,
    failed: i64,
    deleted: i64,
    /// Documents that were set aside, by reason, the most frequent first.
    reasons: Vec<ReasonCount>,
}

impl DocumentCounts {
    /// The counts from the numbers by status, and by reason and message.
    pub(crate) fn new(statuses: &[(DocumentStatus, i64)], set_aside: Vec<RejectionCount>) -> Self {
        let of = |status| statuses.iter().find(|(it, _)| *it == status).map_or(0, |(_, n)| *n);
        let (sums, messages): (Vec<_>, Vec<_>) =
            set_aside.into_iter().partition(|it| it.message.is_none());
        let mut reasons: Vec<ReasonCount> = sums
            .into_iter()
            .map(|it| ReasonCount { reason: it.reason, count: it.count, messages: Vec::new() })
            .collect();
        for RejectionCount { reason, message, count } in messages {
            let of_reason = reasons.iter_mut().find(|it| it.reason == reason);
            if let (Some(of_reason), Some(message)) = (of_reason, message) {
                of_reason.messages.push(MessageCount { message, count });
            }
        }
        Self {
            pending: of(DocumentStatus::Pending),
            processing: of(DocumentStatus::Processing),
            completed: of(DocumentStatus::Completed),
            failed: of(DocumentStatus::Failed),
            deleted: of(DocumentStatus::Deleted),
            reasons,
        }
    }
}

/// Documents that were set aside for one reason.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReasonCount {
    /// `failed`, `empty`, `unsupported`, …
    reason: String,
    count: i64,
    /// The most frequent messages; at most fifty for all reasons together.
    messages: Vec<MessageCount>,
}

/// Documents that were set aside with one message.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MessageCount {
    /// The first 200 characters of the message.
    message: String,
    count: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn which(sort: DocumentSort, order: SortOrder, cursor: Option<String>) -> DocumentsQuery {
        DocumentsQuery { status: None, reason: None, q: None, sort, order, limit: 50, cursor }
    }

    fn encoded(place: &serde_json::Value) -> String {
        URL_SAFE_NO_PAD.encode(place.to_string())
    }

    #[test]
    fn a_cursor_of_another_order_or_of_nobody_is_refused() {
        let id = Uuid::new_v4();
        let place = |sort: &str, key: &str| {
            encoded(&serde_json::json!({ "s": sort, "o": "desc", "k": key, "i": id }))
        };
        let all = [
            (DocumentSort::Id, "id", "x", None),
            (DocumentSort::Name, "name", "a.txt", Some("\0")),
            (DocumentSort::Size, "size", "12", Some("large")),
            (DocumentSort::Updated, "updated", "2026-11-30T12:00:00.000001Z", Some("infinity")),
            (DocumentSort::Status, "status", "failed", Some("broken")),
        ];
        for (sort, word, key, bad) in all {
            let read = |cursor: String| which(sort, SortOrder::Desc, Some(cursor)).to_list();
            let (list, _) = read(place(word, key)).expect("a cursor of this order");
            assert_eq!(list.after, Some((key.to_owned(), id)));
            if let Some(bad) = bad {
                assert!(read(place(word, bad)).is_err(), "{word} {bad}");
            }
            let other = if word == "size" { "name" } else { "size" };
            assert!(read(place(other, "12")).is_err(), "{word}");
            let upwards = which(sort, SortOrder::Asc, Some(place(word, key)));
            assert!(upwards.to_list().is_err(), "{word}");
            for nonsense in ["", "-", "e30", "x y", &id.to_string()] {
                assert!(read(nonsense.to_owned()).is_err(), "{word} {nonsense}");
            }
        }
        let by_id = which(DocumentSort::Id, SortOrder::Asc, Some(id.to_string()));
        assert_eq!(by_id.to_list().expect("an id").0.after, Some((String::new(), id)));
        let long = DocumentsQuery {
            q: Some("x".repeat(201)),
            ..which(DocumentSort::Id, SortOrder::Asc, None)
        };
        assert!(long.to_list().is_err());
    }
}
