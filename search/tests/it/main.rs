//! Search over collections in memory: what is found, in which order, and what a reader is told of it.

mod evaluation;
mod finding;
mod paging;
mod several;
mod support;
