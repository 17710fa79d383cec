//! The position in a filter while it is parsed, with the counts that are limited, and the errors at
//! a position.

use std::cell::Cell;
use std::fmt;

/// An invalid filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct FilterError {
    /// Position of the error: `filter.or[1].page.gte`.
    pub path: String,
    /// The error at this position.
    pub message: String,
}

/// Maximum number of conditions, at any depth: fields, `and`, `or` and `not`.
const MAX_CONDITIONS: usize = 100;
/// Maximum nesting of `and`, `or` and `not`.
const MAX_DEPTH: usize = 8;
/// Number of characters of a key that an error repeats.
pub(super) const MAX_SHOWN_KEY: usize = 100;

/// Counts of the filter parsed so far.
#[derive(Default)]
pub(super) struct FilterUsage {
    pub(super) conditions: Cell<usize>,
    pub(super) patterns: Cell<usize>,
    pub(super) pattern_bytes: Cell<usize>,
    pub(super) values: Cell<usize>,
    /// `true` in the second pass.
    pub(super) compiles: bool,
}

/// The current position in a filter.
#[derive(Clone)]
pub(super) struct FilterPath<'a> {
    path: String,
    /// Number of enclosing `and`, `or` and `not`.
    depth: usize,
    pub(super) counts: &'a FilterUsage,
}

impl<'a> FilterPath<'a> {
    pub(super) fn root(counts: &'a FilterUsage) -> Self {
        Self { path: "filter".to_owned(), depth: 0, counts }
    }

    pub(super) fn key(&self, key: &str) -> Self {
        let shown: String = key.chars().take(MAX_SHOWN_KEY).collect();
        Self { path: format!("{}.{shown}", self.path), ..self.clone() }
    }

    pub(super) fn item(&self, index: usize) -> Self {
        Self { path: format!("{}[{index}]", self.path), ..self.clone() }
    }

    /// The position inside the `and`, `or` or `not` at this position.
    pub(super) fn nested(&self) -> Result<Self, FilterError> {
        if self.depth == MAX_DEPTH {
            return self.error(format_args!(
                "`and`, `or` and `not` are nested more than {MAX_DEPTH} deep"
            ));
        }
        Ok(Self { depth: self.depth + 1, ..self.clone() })
    }

    pub(super) fn count(
        &self,
        of: impl Fn(&FilterUsage) -> &Cell<usize>,
        more: usize,
        most: usize,
        what: &str,
    ) -> Result<(), FilterError> {
        let count = of(self.counts);
        count.set(count.get() + more);
        if count.get() > most {
            return self.error(format_args!("the filter has more than {most} {what}"));
        }
        Ok(())
    }

    pub(super) fn conditions(&self, more: usize) -> Result<(), FilterError> {
        self.count(|counts| &counts.conditions, more, MAX_CONDITIONS, "conditions")
    }

    pub(super) fn error<T>(&self, message: impl fmt::Display) -> Result<T, FilterError> {
        Err(FilterError { path: self.path.clone(), message: message.to_string() })
    }
}
