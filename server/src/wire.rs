//! JSON types of requests, and of responses that are not types of the metadata store itself: pages,
//! and views that omit, add or compute fields.

mod account;
mod collection;
mod document;
mod listing;
mod local;
mod operation;
mod search;

pub use self::search::*;
pub(crate) use self::search::{group_by_key, to_character_ranges};
pub use account::*;
pub use collection::*;
pub use document::*;
pub use listing::*;
pub use local::*;
pub use operation::*;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::problem::{HandlerResult, Problem, ProblemCode};

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// Items in the order of the list.
    pub items: Vec<T>,
    /// The `cursor` of the next page; missing on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// A page of at most `limit` items; a further item in `items` means that the list has another
    /// page.
    pub(super) fn new(mut items: Vec<T>, limit: u32, cursor: impl Fn(&T) -> String) -> Self {
        let goes_on = items.len() > limit as usize;
        items.truncate(limit as usize);
        let next = items.last().filter(|_| goes_on).map(cursor);
        Self { items, next }
    }
}

/// Page of a list to return.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// Maximum number of items.
    #[serde(default = "fifty")]
    #[param(minimum = 1, maximum = 1000, default = 50)]
    pub limit: u32,
    /// The `next` of the previous page; without it the first page.
    #[param(min_length = 1, max_length = 100)]
    pub cursor: Option<String>,
}

fn fifty() -> u32 {
    50
}

/// Largest page of a list.
pub(super) const MAX_LIMIT: u32 = 1000;

impl Paging {
    /// The validated page size.
    pub(super) fn limit(&self) -> HandlerResult<u32> {
        check_limit(self.limit, MAX_LIMIT)
    }

    /// The validated cursor of a list in order of id.
    pub(super) fn after(&self) -> HandlerResult<Option<Uuid>> {
        let parse = |cursor: &String| cursor.parse().map_err(|_| invalid_cursor());
        self.cursor.as_ref().map(parse).transpose()
    }

    /// The validated cursor of a list from new to old.
    pub(super) fn before(&self) -> HandlerResult<Option<(DateTime<Utc>, Uuid)>> {
        self.cursor.as_deref().map(read_time_cursor).transpose()
    }
}

/// Checks that a limit is between 1 and `longest`.
pub(super) fn check_limit(limit: u32, longest: u32) -> HandlerResult<u32> {
    if (1..=longest).contains(&limit) {
        return Ok(limit);
    }
    Err(Problem::new(
        ProblemCode::InvalidQuery,
        format!("invalid `limit`: expected 1 to {longest}"),
    ))
}

/// Cursor of an item in a list from new to old.
pub(super) fn time_cursor(at: DateTime<Utc>, id: Uuid) -> String {
    format!("{}-{}", at.timestamp_micros(), id.simple())
}

fn read_time_cursor(cursor: &str) -> HandlerResult<(DateTime<Utc>, Uuid)> {
    // The range of Postgres; every cursor of this server is within it.
    const YEAR_9999: i64 = 253_402_300_799_000_000;
    let (at, id) = cursor.split_once('-').ok_or_else(invalid_cursor)?;
    let micros = at.parse().ok().filter(|micros| (0..YEAR_9999).contains(micros));
    let at = micros.and_then(DateTime::from_timestamp_micros).ok_or_else(invalid_cursor)?;
    Ok((at, id.parse().map_err(|_| invalid_cursor())?))
}

fn invalid_cursor() -> Problem {
    Problem::new(
        ProblemCode::InvalidQuery,
        "invalid `cursor`: expected the `next` of a previous response to the same list",
    )
}

/// Confirmation of a destructive request.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Confirm {
    /// The name of the collection.
    pub confirm: Option<String>,
}

impl Confirm {
    /// Checks that the request repeats the name of the collection.
    pub(super) fn ensure_names(&self, collection: &str) -> HandlerResult<()> {
        if self.confirm.as_deref() == Some(collection) {
            return Ok(());
        }
        let detail =
            format!("repeat the name of the collection to confirm: `confirm={collection}`");
        Err(Problem::new(ProblemCode::ConfirmationRequired, detail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_others_are_refused() {
        let (at, id) = (DateTime::from_timestamp_micros(1_700_000_000_123_456), Uuid::new_v4());
        let at = at.expect("a valid time");
        let read = read_time_cursor(&time_cursor(at, id)).expect("it was just written");
        assert_eq!(read, (at, id));
        for bad in
            ["", "-", "1", "x-y", "9999999999999999999-0", "-5-00000000000000000000000000000000"]
        {
            assert!(read_time_cursor(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_page_knows_whether_the_list_goes_on() {
        let page = |n: u32| Page::new((0..n).collect(), 3, u32::to_string);
        assert_eq!(page(3).next, None);
        assert_eq!((page(4).items, page(4).next), (vec![0, 1, 2], Some("2".to_owned())));
    }
}
