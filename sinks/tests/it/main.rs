//! Tests of the stores through their public surface.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod child;
mod damage;
mod memo;
mod parquet;
mod rows;
mod upsert;
mod vectors;
