//! The stages. Pure steps: what they need from outside comes as data, or through the
//! ports of `pipeline`. To add one, write `src/<name>.rs` and add its two lines here.

mod bm25;
mod chunk;
mod dedup;
mod embed;
mod extract;
mod hash;

pub use bm25::{plain_words, words};
pub use extract::{EXTRACT_BUILD, extract_worker};
use pipeline::NodeDef;

/// Every node of this crate, in order of name.
pub static NODES: &[NodeDef] = &[
    chunk::NODE, //
    dedup::NODE,
    embed::NODE,
    extract::NODE,
    hash::NODE,
];
