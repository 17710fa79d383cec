//! Tests of the sources, each through its entry in `sources::NODES`: options in, batches out.

#![expect(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

mod opening;
mod scan;
mod support;
