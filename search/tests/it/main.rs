//! Search over collections in memory: hits, their order, and the fields of an answer.

#![expect(clippy::unwrap_used, reason = "a failed test panics with its location")]

mod costs;
mod documents;
mod evaluation;
mod exact_terms;
mod multi_collection;
mod paging;
mod rerank;
mod search;
mod support;
mod tuning;
mod vocabulary;
