//! Tests of the sources, each through its line in `sources::NODES`: options in, batches out.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod opening;
mod scan;
mod support;
