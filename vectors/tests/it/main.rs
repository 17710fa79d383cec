//! Tests of the vector stores through their public surface.

#![expect(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

mod damage;
mod qdrant_server;
mod vectors;
