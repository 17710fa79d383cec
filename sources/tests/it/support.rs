//! Builds sources.

use std::path::Path;

use pipeline::{NodeKind, SourceConfig};
use serde_json::Value;

/// The source with this name and these options, relative to this folder.
pub(crate) fn source(name: &str, options: Value, folder: &Path) -> Box<dyn SourceConfig> {
    let def = sources::NODES.iter().find(|def| def.name == name).expect("a node of this name");
    match (def.parse)(options, folder).expect("valid options") {
        NodeKind::Source(config) => config,
        NodeKind::Stage(_) | NodeKind::Sink(_) => panic!("{name} is not a source"),
    }
}
