//! Tests of the stages, each through its entry in `stages::NODES`: options in, batch in, batch out.

#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

mod chunk;
mod dedup;
mod embed;
mod extract;
mod hash;
mod hostile;
mod remembered;
mod sandbox;
mod support;
mod words;
