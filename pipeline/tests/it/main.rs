//! Tests of the framework through its public API, with in-memory nodes.

#![expect(clippy::unwrap_used, reason = "a test that cannot continue panics with its position")]

mod config_errors;
mod cut;
mod own_nodes;
mod pipeline_runs;
mod schedule;
mod support;
mod units_of_work;
