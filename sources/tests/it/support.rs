//! Builds sources, and formats rejections.

use std::path::Path;

use pipeline::{NodeKind, Rejection, SourceConfig};
use serde_json::Value;

/// The source with this name and these options, relative to this folder.
pub(crate) fn source(name: &str, options: Value, folder: &Path) -> Box<dyn SourceConfig> {
    let def = sources::NODES.iter().find(|def| def.name == name).expect("a node of this name");
    match (def.parse)(options, folder).expect("valid options") {
        NodeKind::Source(config) => config,
        NodeKind::Stage(_) | NodeKind::Sink(_) => panic!("{name} is not a source"),
    }
}

/// File name and reason of each document that was set aside, sorted.
pub(crate) fn reasons(set_aside: &[Rejection]) -> Vec<(String, String)> {
    let mut all: Vec<_> = set_aside
        .iter()
        .map(|document| {
            let name = document.location.uri.rsplit('/').next().unwrap();
            (name.to_owned(), format!("{}: {}", document.reason.code(), document.reason))
        })
        .collect();
    all.sort();
    all
}
