//! Tests of the sinks through their public interface.

#![expect(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

mod parquet;
mod support;
mod upsert;
