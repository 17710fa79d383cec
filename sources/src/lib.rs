//! Sources of documents. A new source is a file `src/<name>.rs` and two lines here.

pub mod mime;
pub mod real_path;
mod scan;

use pipeline::NodeDef;

/// All sources, sorted by name.
pub static NODES: &[NodeDef] = &[scan::NODE];
