//! The sources and stages. Pure steps: what they need from outside comes as data, or through the
//! ports of `pipeline`. To add one, write `src/<name>.rs` and add its two lines here.

mod byte_size;
mod dedup;
mod embed;
mod hash;
mod scan;
pub mod uri;

use pipeline::NodeDef;

/// Every node of this crate, in order of name.
pub static NODES: &[NodeDef] = &[
    dedup::NODE, //
    embed::NODE,
    hash::NODE,
    scan::NODE,
];
