//! Search over collections in memory: what is found, in which order, and what a reader is told of it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics, and says where")]

mod costs;
mod evaluation;
mod finding;
mod paging;
mod several;
mod support;
