//! A pipeline that was checked: names resolved, no cycle, an Arrow schema on every edge.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::when::When;
use crate::{
    Finding, Fingerprint, ModelInfo, NodeKind, PipelineSpec, SinkConfig, SourceConfig, Verdict,
};

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

    /// The node whose vectors the pipeline's collection holds, with its model: the first of several that make the same
    /// vectors. Without a sink that writes into the collection, the first node that runs a model.
    pub fn embedding(&self) -> Option<(&str, &ModelInfo)> {
        let is_wanted = self.before_collection();
        let node = self.nodes.iter().zip(is_wanted).find(|(node, is)| *is && node.model.is_some());
        let node =
            node.map(|(node, _)| node).or(self.nodes.iter().find(|it| it.model.is_some()))?;
        Some((&node.id, node.model.as_ref()?))
    }

    /// The model of [`Plan::embedding`].
    pub fn model(&self) -> Option<&ModelInfo> {
        self.embedding().map(|(_, model)| model)
    }

    /// The options on which the output of a stage of this kind depends, with their defaults: of the first that leads to
    /// the collection, or else of the first.
    pub fn options_of(&self, uses: &str) -> Option<Value> {
        let stages =
            || self.nodes.iter().zip(self.before_collection()).filter(|it| it.0.uses == uses);
        let node = stages().find(|(_, is_before)| *is_before).or_else(|| stages().next())?.0;
        match &node.kind {
            NodeKind::Stage(stage) => Some(stage.identity()),
            NodeKind::Source(_) | NodeKind::Sink(_) => None,
        }
    }

    /// Whether each node's output reaches a sink that writes into the collection.
    fn before_collection(&self) -> Vec<bool> {
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

    /// The plan as far as its models: every node that runs one, and every sink, gives way to a sink of the
    /// caller's, and what stands behind a model is left out. Running it does the work that costs least, and
    /// shows what would be given to the models.
    #[must_use]
    pub fn before_models(self, sink: &dyn Fn() -> Box<dyn SinkConfig>) -> Self {
        let Self { nodes, edge_bytes, name } = self;
        let mut kept: Vec<Node> = Vec::with_capacity(nodes.len());
        // Where a node stands now, if its rows still come out of it.
        let mut places: Vec<Option<NodeIdx>> = Vec::with_capacity(nodes.len());
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

    /// The plan with other sources in the places of its own, by their ids; they must give the same columns.
    #[must_use]
    pub fn fed_by(mut self, source: &dyn Fn(&str, &SchemaRef) -> Box<dyn SourceConfig>) -> Self {
        for node in &mut self.nodes {
            if let (NodeKind::Source(_), Some(schema)) = (&node.kind, &node.output) {
                node.kind = NodeKind::Source(source(&node.id, schema));
            }
        }
        self
    }

    /// What each source says of a place, with the source's id; nothing of a source that cannot say.
    pub fn verdicts(&self, uri: &str) -> Vec<(&str, Verdict)> {
        self.sources().filter_map(|(id, source)| Some((id, source.verdict(uri)?))).collect()
    }

    /// The places that its sources read, as they stand in [`crate::column::SOURCE`].
    pub fn places(&self) -> Vec<String> {
        self.sources().flat_map(|(_, source)| source.places()).collect()
    }

    /// What would make a run fail, or find nothing, as things are now, with its place in the file. It looks at the
    /// sources, so it takes time.
    pub fn warnings(&self, spec: &PipelineSpec) -> Vec<Finding> {
        let mut warnings = Vec::new();
        for (id, source) in self.sources() {
            let node = spec.file.nodes.iter().position(|node| node.id == id);
            let pointer = format!("/nodes/{}/with", node.unwrap_or_default());
            warnings.extend(source.warnings().into_iter().map(|warning| {
                let at = spec.at(&format!("{pointer}/{}", warning.option));
                Finding::new(at, warning.message).help(warning.help)
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
