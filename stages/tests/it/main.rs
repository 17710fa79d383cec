//! Tests of the stages, each through its line in `stages::NODES`: options in, batch in, batch out.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

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
