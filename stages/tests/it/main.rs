//! Tests of the stages, each through its line in `stages::NODES`: options in, batch in, batch out.

mod dedup;
mod embed;
mod hash;
mod scan;
mod support;
