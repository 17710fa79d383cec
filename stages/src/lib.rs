//! The stages: pure functions of a batch. Input from outside comes as data or through the ports of
//! `pipeline`. To add a stage, write `src/<name>.rs` and add its two lines here.

mod bm25;
mod chunk;
mod dedup;
mod embed;
mod extract;
mod hash;

pub use bm25::{default_sparse_encoder, sparse_encoder};
pub use extract::{EXTRACT_BUILD, extract_worker};
use pipeline::NodeDef;

/// All stages, sorted by name.
pub static NODES: &[NodeDef] = &[
    chunk::NODE, //
    dedup::NODE,
    embed::NODE,
    extract::NODE,
    hash::NODE,
];
