//! Tests of the metadata store and the embedded cluster on a real PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod connection_faults;
mod embedded;
mod generations;
mod leases;
mod lifecycle;
mod lists;
mod measure;
mod metadata;
mod migrations;
mod model;
mod operations;
mod plans;
mod queue;
mod removal;
mod support;
mod vocabulary;
