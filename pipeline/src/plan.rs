//! A checked pipeline: names resolved, no cycle, an Arrow schema on every edge.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::when::When;
use crate::{
    Finding, Fingerprint, ModelInfo, NodeKind, PipelineSpec, SinkConfig, SourceConfig,
    SourceDecision,
};

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
}

impl Plan {
    /// Name of the pipeline.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Hash of everything that the rows at the sinks depend on besides the documents: the nodes
    /// before the sinks, their versions, the options that affect their output, and the model.
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

    /// Models that the nodes run, in node order.
    pub fn models(&self) -> impl Iterator<Item = &ModelInfo> {
        self.nodes.iter().filter_map(|node| node.model.as_ref())
    }

    /// The node that makes the vectors of the collection, with its model; the first of several
    /// nodes that make the same vectors. Without a sink that writes into the collection, the first
    /// node that runs a model.
    pub fn embedding_node(&self) -> Option<(&str, &ModelInfo)> {
        let is_wanted = self.reaches_collection();
        let node = self.nodes.iter().zip(is_wanted).find(|(node, is)| *is && node.model.is_some());
        let node =
            node.map(|(node, _)| node).or(self.nodes.iter().find(|it| it.model.is_some()))?;
        Some((&node.id, node.model.as_ref()?))
    }

    /// The model of [`Plan::embedding_node`].
    pub fn model(&self) -> Option<&ModelInfo> {
        self.embedding_node().map(|(_, model)| model)
    }

    /// Options that affect the output of a stage of this type, defaults included: of the first such
    /// stage before the collection, else of the first. `None` if the plan has no such stage.
    pub fn stage_options(&self, uses: &str) -> Option<Value> {
        let stages =
            || self.nodes.iter().zip(self.reaches_collection()).filter(|it| it.0.uses == uses);
        let node = stages().find(|(_, is_before)| *is_before).or_else(|| stages().next())?.0;
        match &node.kind {
            NodeKind::Stage(stage) => Some(stage.identity()),
            NodeKind::Source(_) | NodeKind::Sink(_) => None,
        }
    }

    /// For each node, `true` if its output reaches a sink that writes into the collection.
    fn reaches_collection(&self) -> Vec<bool> {
        let mut reaches = vec![false; self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate().rev() {
            let writes = match &node.kind {
                NodeKind::Sink(sink) => sink.collection_settings().is_some(),
                NodeKind::Source(_) | NodeKind::Stage(_) => false,
            };
            reaches[index] |= writes;
            if reaches[index] {
                node.inputs.iter().for_each(|&input| reaches[input] = true);
            }
        }
        reaches
    }

    /// Cuts the plan before its models: `sink` replaces each node that runs a model and each sink,
    /// and nodes after a model are dropped. A run of the result does only the cheap work and shows
    /// the input of the models.
    #[must_use]
    pub fn truncate_at_models(self, sink: &dyn Fn() -> Box<dyn SinkConfig>) -> Self {
        let Self { nodes, edge_bytes, name } = self;
        let mut kept: Vec<Node> = Vec::with_capacity(nodes.len());
        // New index of each node; `None` if the node has no output in the new plan.
        let mut places: Vec<Option<NodeIndex>> = Vec::with_capacity(nodes.len());
        for node in nodes {
            let is_source = node.inputs.is_empty();
            let inputs: Vec<_> = node.inputs.iter().filter_map(|&input| places[input]).collect();
            if !is_source && inputs.is_empty() {
                places.push(None);
                continue;
            }
            let ends_here = node.model.is_some() || matches!(node.kind, NodeKind::Sink(_));
            places.push((!ends_here).then_some(kept.len()));
            kept.push(if ends_here {
                let kind = NodeKind::Sink(sink());
                Node { inputs, kind, workers: 1, output: None, model: None, ..node }
            } else {
                Node { inputs, ..node }
            });
        }
        Self { nodes: kept, edge_bytes, name }
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

    /// Conditions that would currently make a run fail or find no documents, with their position in
    /// the file. Reads the source roots, so it may be slow.
    pub fn warnings(&self, spec: &PipelineSpec) -> Vec<Finding> {
        let mut warnings = Vec::new();
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
