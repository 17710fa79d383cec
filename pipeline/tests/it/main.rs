//! Tests of the framework through its public API, with in-memory nodes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics, and says where")]

mod check;
mod flow;
mod schedule;
mod support;
