//! The sources: where documents come from. To add one, write `src/<name>.rs` and add its two lines here.

pub mod mime;
pub mod real_path;
mod scan;

use pipeline::NodeDef;

/// Every node of this crate, in order of name.
pub static NODES: &[NodeDef] = &[scan::NODE];
