//! What a search costs, in points: about one for each passage that a store ranks or reads.
//!
//! `cost = characters of the question + 2 × bytes of patterns
//!        + collections × (candidates + hits + 20 × patterns + 2,500 if exact)`,
//!
//! where `candidates` is how many of each ranking are fused and `hits` how many are read. Both follow from `k`, `offset`
//! and `per_document` unless the request names them. `docs/api.md` tells this to users.

use pipeline::Effort;

use crate::cursor::Cursor;
use crate::filter::Condition;
use crate::request::{Invalid, Request};

/// What one request of a client may cost.
pub const BUDGET: u64 = 50_000;
/// A byte of a pattern is compiled.
pub const PATTERN_BYTE: u64 = 2;
/// A pattern is matched with every value of its field.
const PATTERN: u64 = 20;
/// An exact search compares every vector of a collection.
const EXACT: u64 = 2_500;

impl Request {
    /// What the request costs at least. Documents that are gathered ([`Request::per_document`]) may take more, never
    /// beyond [`Request::budget`].
    ///
    /// # Errors
    /// If the request cannot be answered whatever it costs.
    pub fn cost(&self) -> Result<u64, Invalid> {
        self.check()?;
        let cursor = Cursor::of(self)?;
        Ok(self.fixed_cost() + self.window_cost(&cursor, self.first_window(&cursor)))
    }

    /// The hits that are read first. Documents are gathered from all candidates, so that a page does not depend on where
    /// it begins; one more than asked for tells whether there is another page.
    pub(crate) fn first_window(&self, cursor: &Cursor) -> usize {
        match self.per_document {
            Some(_) => cursor.candidates * 2,
            None => cursor.offset + self.k + 1,
        }
    }

    /// The part that does not depend on how many hits are read.
    pub(crate) fn fixed_cost(&self) -> u64 {
        let patterns = self.filter.as_ref().map_or_else(Vec::new, Condition::patterns);
        let compiled = count(patterns.iter().map(|it| it.bytes()).sum()) * PATTERN_BYTE;
        let matched = count(patterns.iter().map(|it| it.count()).sum()) * PATTERN;
        let exact = if self.effort == Effort::Exact { EXACT } else { 0 };
        let question = count(self.query.chars().count());
        question + compiled + self.asked_collections() * (matched + exact)
    }

    /// Asking every collection for so many hits.
    pub(crate) fn window_cost(&self, cursor: &Cursor, window: usize) -> u64 {
        self.asked_collections() * (count(cursor.candidates) + count(window))
    }

    /// The largest window that costs no more than this.
    pub(crate) fn affordable_window(&self, cursor: &Cursor, points: u64) -> usize {
        let each = points / self.asked_collections().max(1);
        usize::try_from(each.saturating_sub(count(cursor.candidates))).unwrap_or(usize::MAX)
    }

    fn asked_collections(&self) -> u64 {
        count(self.collections.len())
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
