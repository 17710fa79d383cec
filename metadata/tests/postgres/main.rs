//! Tests of the metadata store and of the private cluster, on a real PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod embedded;
mod faults;
mod generations;
mod leases;
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
