//! Lists of documents: which, in what order, from where on; and how many there are, as JSON.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{DocumentStatus, no_cursor, within};
use crate::ports::Listed;
use crate::problem::{Answer, Code, Problem};

/// The most documents of a page.
pub(crate) const MOST_LISTED: u32 = 1000;
/// The longest text that is looked for, and the longest reason, in characters.
const LONGEST: usize = 200;

/// What a list of documents is ordered by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DocumentSort {
    /// The id: an order that means nothing and costs least.
    #[default]
    Id,
    /// The name of the file.
    Name,
    /// Its size in bytes.
    Size,
    /// When the document was last written.
    Updated,
    /// What became of it.
    Status,
}

/// The direction of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SortOrder {
    /// The smallest, the oldest, the first of the alphabet first.
    #[default]
    Asc,
    /// The other way around.
    Desc,
}

/// Which documents, in what order.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct WhichDocuments {
    /// Only those of this status.
    pub status: Option<DocumentStatus>,
    /// Only those that were set aside for this reason: `failed`, `empty`, `unsupported`, `too_large`, …
    #[param(max_length = 200)]
    pub reason: Option<String>,
    /// Only those that have this text in their path, their title or the message with which they were set aside,
    /// whatever the case of its letters. A page is made of at most 10,000 documents that were looked at, so it may
    /// have few documents or none and a `next` all the same.
    #[param(max_length = 200)]
    pub q: Option<String>,
    /// What they are ordered by.
    #[serde(default)]
    #[param(inline)]
    pub sort: DocumentSort,
    /// In which direction.
    #[serde(default)]
    #[param(inline)]
    pub order: SortOrder,
    /// How many at most.
    #[serde(default = "super::fifty")]
    #[param(minimum = 1, maximum = 1000, default = 50)]
    pub limit: u32,
    /// The `next` of the part before; the beginning without it.
    pub cursor: Option<String>,
}

/// A list that is asked for, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentList {
    pub status: Option<DocumentStatus>,
    pub reason: Option<String>,
    pub sort: DocumentSort,
    pub order: SortOrder,
    /// What the list is ordered by, as text, and the id, of the document behind which the page begins.
    pub after: Option<(String, Uuid)>,
}

/// A place in a list, as a cursor keeps it.
#[derive(Serialize, Deserialize)]
struct Place {
    #[serde(rename = "s")]
    sort: DocumentSort,
    #[serde(rename = "o")]
    order: SortOrder,
    #[serde(rename = "k")]
    key: String,
    #[serde(rename = "i")]
    id: Uuid,
}

impl WhichDocuments {
    /// The list, if it can be one, and the most documents of its page.
    pub(crate) fn list(&self) -> Answer<(DocumentList, u32)> {
        let limit = within(self.limit, MOST_LISTED)?;
        for (name, text) in [("q", &self.q), ("reason", &self.reason)] {
            if text.as_ref().is_some_and(|text| text.chars().count() > LONGEST) {
                let detail = format!("`{name}` has {LONGEST} characters at most");
                return Err(Problem::new(Code::InvalidQuery, detail));
            }
        }
        let (sort, order) = (self.sort, self.order);
        let after = self.cursor.as_deref().map(|it| read(it, sort, order)).transpose()?;
        let list =
            DocumentList { status: self.status, reason: self.reason.clone(), sort, order, after };
        Ok((list, limit))
    }

    /// The text that is looked for, in small letters.
    pub(crate) fn text(&self) -> Option<String> {
        let text = self.q.as_deref().map(str::trim).filter(|text| !text.is_empty());
        text.map(str::to_lowercase)
    }
}

impl DocumentList {
    /// The cursor of a page that begins behind this document.
    pub(crate) fn cursor(&self, listed: &Listed) -> String {
        let Self { sort, order, .. } = *self;
        let id = listed.document.id;
        // What it always was.
        if (sort, order) == (DocumentSort::Id, SortOrder::Asc) {
            return id.to_string();
        }
        let place = Place { sort, order, key: listed.key.clone(), id };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&place).expect("strings are JSON"))
    }
}

/// Reads a cursor; one of another order leads nowhere.
fn read(cursor: &str, sort: DocumentSort, order: SortOrder) -> Answer<(String, Uuid)> {
    if (sort, order) == (DocumentSort::Id, SortOrder::Asc) {
        return Ok((String::new(), cursor.parse().map_err(|_| no_cursor())?));
    }
    let json = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| no_cursor())?;
    let place: Place = serde_json::from_slice(&json).map_err(|_| no_cursor())?;
    let is_of_this = place.sort == sort && place.order == order;
    if is_of_this && is_key(sort, &place.key) {
        Ok((place.key, place.id))
    } else {
        Err(no_cursor())
    }
}

/// Whether a list can be ordered by this value.
fn is_key(sort: DocumentSort, key: &str) -> bool {
    match sort {
        DocumentSort::Id => true,
        DocumentSort::Name => key.chars().count() <= LONGEST && !key.contains('\0'),
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

/// How many documents a collection has.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct DocumentCounts {
    pub pending: i64,
    pub processing: i64,
    pub completed: i64,
    pub failed: i64,
    pub deleted: i64,
    /// Those that were set aside, by reason, the most frequent first.
    pub reasons: Vec<ReasonCount>,
}

/// Documents that were set aside for one reason.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReasonCount {
    /// `failed`, `empty`, `unsupported`, …
    pub reason: String,
    pub count: i64,
    /// The most frequent messages with which they were; fifty at most for all reasons together.
    pub messages: Vec<MessageCount>,
}

/// Documents that were set aside with one message.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MessageCount {
    /// Its first 200 characters.
    pub message: String,
    pub count: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn which(sort: DocumentSort, order: SortOrder, cursor: Option<String>) -> WhichDocuments {
        WhichDocuments { status: None, reason: None, q: None, sort, order, limit: 50, cursor }
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
            let read = |cursor: String| which(sort, SortOrder::Desc, Some(cursor)).list();
            let (list, _) = read(place(word, key)).expect("a cursor of this order");
            assert_eq!(list.after, Some((key.to_owned(), id)));
            if let Some(bad) = bad {
                assert!(read(place(word, bad)).is_err(), "{word} {bad}");
            }
            let other = if word == "size" { "name" } else { "size" };
            assert!(read(place(other, "12")).is_err(), "{word}");
            let upwards = which(sort, SortOrder::Asc, Some(place(word, key)));
            assert!(upwards.list().is_err(), "{word}");
            for nonsense in ["", "-", "e30", "x y", &id.to_string()] {
                assert!(read(nonsense.to_owned()).is_err(), "{word} {nonsense}");
            }
        }
        let by_id = which(DocumentSort::Id, SortOrder::Asc, Some(id.to_string()));
        assert_eq!(by_id.list().expect("an id").0.after, Some((String::new(), id)));
        let long = WhichDocuments {
            q: Some("x".repeat(201)),
            ..which(DocumentSort::Id, SortOrder::Asc, None)
        };
        assert!(long.list().is_err());
    }
}
