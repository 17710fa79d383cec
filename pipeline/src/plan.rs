//! A pipeline that was checked: names resolved, no cycle, an Arrow schema on every edge.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::when::When;
use crate::{Fingerprint, ModelInfo, NodeKind};

/// An index into [`Plan::nodes`]; a node's inputs always have smaller indices than it has.
pub(crate) type NodeIdx = usize;

pub(crate) struct Node {
    pub id: Arc<str>,
    pub uses: &'static str,
    pub kind: NodeKind,
    pub inputs: Vec<NodeIdx>,
    pub when: Option<When>,
    pub workers: usize,
    /// `None` for a sink.
    pub output: Option<SchemaRef>,
    /// The model that it runs.
    pub model: Option<ModelInfo>,
    /// What its output depends on, hashed.
    pub fingerprint: [u8; 32],
}

/// A pipeline that was checked, and can be run.
pub struct Plan {
    pub(crate) nodes: Vec<Node>,
    pub(crate) edge_bytes: u32,
    pub(crate) name: String,
}

impl Plan {
    /// Name of the pipeline.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Identifies everything on which the rows that reach the sinks depend, besides the documents: the
    /// nodes before the sinks, their versions, the options that matter, the model.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut sinks: Vec<&[u8; 32]> = self
            .nodes
            .iter()
            .filter(|node| matches!(node.kind, NodeKind::Sink(_)))
            .map(|node| &node.fingerprint)
            .collect();
        sinks.sort_unstable();
        let mut hash = Sha256::new();
        sinks.into_iter().for_each(|print| hash.update(print));
        Fingerprint(hash.finalize().into())
    }

    /// The models that the pipeline's nodes run, in order of the nodes.
    pub fn models(&self) -> impl Iterator<Item = &ModelInfo> {
        self.nodes.iter().filter_map(|node| node.model.as_ref())
    }

    /// The options on which the output of the first stage of this kind depends, with their defaults.
    pub fn options_of(&self, uses: &str) -> Option<Value> {
        self.nodes.iter().filter(|node| node.uses == uses).find_map(|node| match &node.kind {
            NodeKind::Stage(stage) => Some(stage.identity()),
            NodeKind::Source(_) | NodeKind::Sink(_) => None,
        })
    }

    /// The schema on the edges that leave a node.
    pub fn schema_of(&self, id: &str) -> Option<&SchemaRef> {
        self.nodes.iter().find(|node| &*node.id == id)?.output.as_ref()
    }

    /// Every node: its id, what it uses, and the ids that it reads; inputs before readers.
    pub fn graph(&self) -> impl Iterator<Item = (&str, &'static str, Vec<&str>)> {
        self.nodes.iter().map(|node| {
            let inputs = node.inputs.iter().map(|&input| &*self.nodes[input].id).collect();
            (&*node.id, node.uses, inputs)
        })
    }
}

/// Prints the graph, a node a line, with the columns that each gives.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for node in &self.nodes {
            let inputs: Vec<&str> =
                node.inputs.iter().map(|&input| &*self.nodes[input].id).collect();
            write!(f, "{} ({})", node.id, node.uses)?;
            if !inputs.is_empty() {
                write!(f, " ← {}", inputs.join(", "))?;
            }
            writeln!(f)?;
            if let Some(output) = &node.output {
                let columns: Vec<&str> =
                    output.fields().iter().map(|field| field.name().as_str()).collect();
                writeln!(f, "    {}", columns.join(" "))?;
            }
        }
        Ok(())
    }
}
