//! Tests of the stages, each through its entry in `stages::NODES`: options in, batch in, batch out.

#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

mod adversarial_inputs;
mod chunk;
mod chunk_context;
mod dedup;
mod embed;
mod extract;
mod extraction_cache;
mod hash;
mod markup;
mod office;
mod sandbox;
mod sparse_fields;
mod sparse_vectors;
mod spreadsheets;
mod support;
