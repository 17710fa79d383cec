//! Tests of the metadata store and of the private cluster, on a real PostgreSQL.

mod embedded;
mod faults;
mod measure;
mod metadata;
mod migrations;
mod model;
mod operations;
mod plans;
mod support;
