//! A checked pipeline: names resolved, no cycle, an Arrow schema on every edge.

mod cut;
mod facts;

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use sha2::{Digest as _, Sha256};

use crate::when::When;
use crate::{
    Finding, Fingerprint, ModelInfo, NodeKind, PipelineSpec, SourceConfig, SourceDecision,
};

pub use cut::{PlanHead, PlanTail};

/// Index into [`Plan::nodes`]; the inputs of a node have smaller indices than the node.
pub(crate) type NodeIndex = usize;

pub(crate) struct Node {
    pub id: Arc<str>,
    pub uses: &'static str,
    pub kind: NodeKind,
    pub inputs: Vec<NodeIndex>,
    pub when: Option<When>,
    pub workers: usize,
    /// `None` for a sink.
    pub output: Option<SchemaRef>,
    /// `None` if the node runs no model.
    pub model: Option<ModelInfo>,
    /// Hash of everything that the output of the node depends on.
    pub fingerprint: [u8; 32],
}

/// A checked pipeline that can be run.
pub struct Plan {
    pub(crate) nodes: Vec<Node>,
    pub(crate) edge_bytes: u32,
    pub(crate) name: String,
    /// Of the compiled pipeline, also in a part of it.
    pub(crate) fingerprint: Fingerprint,
}

impl Plan {
    /// Name of the pipeline.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Hash of everything that the rows at the sinks depend on besides the documents: the nodes
    /// before the sinks, their versions, the options that affect their output, and the model. A
    /// part of a plan ([`Plan::cut`], [`Plan::truncate_at_models`]) has that of the whole.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    pub(crate) fn new(nodes: Vec<Node>, spec: &PipelineSpec) -> Self {
        let mut sinks: Vec<&[u8; 32]> = nodes
            .iter()
            .filter(|node| matches!(node.kind, NodeKind::Sink(_)))
            .map(|node| &node.fingerprint)
            .collect();
        sinks.sort_unstable();
        let mut hash = Sha256::new();
        sinks.into_iter().for_each(|print| hash.update(print));
        let fingerprint = Fingerprint(hash.finalize().into());
        let (edge_bytes, name) = (spec.file.edge_bytes, spec.file.name.clone());
        Self { nodes, edge_bytes, name, fingerprint }
    }

    /// Replaces each source with `source(id, schema)`, which must produce the same columns.
    #[must_use]
    pub fn with_sources(
        mut self,
        source: &dyn Fn(&str, &SchemaRef) -> Box<dyn SourceConfig>,
    ) -> Self {
        for node in &mut self.nodes {
            if let (NodeKind::Source(_), Some(schema)) = (&node.kind, &node.output) {
                node.kind = NodeKind::Source(source(&node.id, schema));
            }
        }
        self
    }

    /// Decision of each source about a URI, with the id of the source; sources that cannot decide
    /// are left out.
    pub fn source_decisions(&self, uri: &str) -> Vec<(&str, SourceDecision)> {
        self.sources().filter_map(|(id, source)| Some((id, source.decide(uri)?))).collect()
    }

    /// Source roots of all sources, as in [`crate::column::SOURCE`].
    pub fn source_roots(&self) -> Vec<String> {
        self.sources().flat_map(|(_, source)| source.roots()).collect()
    }

    /// A warning for each top-level key of the file that has no effect, because it concerns
    /// operations, which an export is not; empty if the pipeline writes a collection.
    pub fn ineffective_keys(&self, spec: &PipelineSpec) -> Vec<Finding> {
        if self.writes_collection() {
            return Vec::new();
        }
        let keys = ["lifecycle", "notify", "schedule"].map(|key| (key, format!("/{key}")));
        keys.iter()
            .filter(|(_, pointer)| spec.has(pointer))
            .map(|(key, pointer)| {
                let message = format!("`{key}` has no effect: the pipeline writes no collection");
                Finding::new(spec.span_of(pointer), message)
                    .with_help(format!("remove `{key}`, or add a sink that writes the collection"))
            })
            .collect()
    }

    /// Conditions that would currently make a run fail or find no documents, and keys without
    /// effect, with their position in the file. Reads the source roots, so it may be slow.
    pub fn warnings(&self, spec: &PipelineSpec) -> Vec<Finding> {
        let mut warnings = self.ineffective_keys(spec);
        for (id, source) in self.sources() {
            let node = spec.file.nodes.iter().position(|node| node.id == id);
            let pointer = format!("/nodes/{}/with", node.unwrap_or_default());
            warnings.extend(source.warnings().into_iter().map(|warning| {
                let at = spec.span_of(&format!("{pointer}/{}", warning.option));
                Finding::new(at, warning.message).with_help(warning.help)
            }));
        }
        warnings
    }

    fn sources(&self) -> impl Iterator<Item = (&str, &dyn SourceConfig)> {
        self.nodes.iter().filter_map(|node| match &node.kind {
            NodeKind::Source(source) => Some((&*node.id, source.as_ref())),
            NodeKind::Stage(_) | NodeKind::Sink(_) => None,
        })
    }

    /// Schema of the edges after a node; `None` for a sink or an unknown id.
    pub fn output_schema(&self, id: &str) -> Option<&SchemaRef> {
        self.nodes.iter().find(|node| &*node.id == id)?.output.as_ref()
    }

    /// Id, `uses` and input ids of every node; inputs come before the nodes that read them.
    pub fn graph(&self) -> impl Iterator<Item = (&str, &'static str, Vec<&str>)> {
        self.nodes.iter().map(|node| {
            let inputs = node.inputs.iter().map(|&input| &*self.nodes[input].id).collect();
            (&*node.id, node.uses, inputs)
        })
    }
}

/// Prints the graph: one line per node, followed by its output columns.
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
