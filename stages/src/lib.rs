//! The stages: pure functions of a batch. Input from outside comes as data or through the ports of
//! `pipeline`. To add a stage, write `src/<name>.rs` and add its two lines here.
//!
//! ```
//! use std::path::Path;
//!
//! use arrow::array::Array as _;
//! use pipeline::column::{CHUNKS, TEXT, TITLE};
//! use pipeline::test_util::{document_rows, no_resources};
//! use pipeline::{BoxError, NodeKind};
//! use serde_json::json;
//!
//! let page = "<html lang=en><title>Trees</title><h1>Oaks</h1><p>Oaks live for centuries.</html>";
//! let mut rows = document_rows(&[("trees.html", "text/html", page.as_bytes())]);
//! let characters = json!({ "unit": "characters", "size": 100, "overlap": 0 });
//! for (name, options) in [("hash", json!({})), ("extract", json!({})), ("chunk", characters)] {
//!     let def = stages::NODES.iter().find(|def| def.name == name).unwrap();
//!     let NodeKind::Stage(config) = (def.parse)(options, Path::new("/"))? else { unreachable!() };
//!     let outcome = config.build(&no_resources())?.process(rows)?;
//!     assert!(outcome.rejected.is_empty());
//!     rows = outcome.rows;
//! }
//! assert_eq!(TITLE.of(&rows)?.value(0), "Trees");
//! assert!(TEXT.of(&rows)?.value(0).ends_with("Oaks live for centuries."));
//! assert_eq!(CHUNKS.of(&rows)?.value(0).len(), 1);
//! # Ok::<_, BoxError>(())
//! ```

mod bm25;
mod chunk;
mod context;
mod dedup;
mod embed;
mod extract;
mod hash;

pub use bm25::{default_sparse_encoder, sparse_encoder, vocabulary_words};
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
