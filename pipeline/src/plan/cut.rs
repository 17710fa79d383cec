//! Parts of a plan: the nodes before a cut, which end in other sinks, and the nodes behind it,
//! which begin with other sources.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use serde_json::Value;

use crate::plan::{Node, NodeIndex, Plan};
use crate::{
    BoxError, Fingerprint, NodeKind, Outcome, Resources, SchemaError, SinkConfig, SourceConfig,
    SplitSource, Stage, StageConfig,
};

/// The part of a plan before its cut: the sources, which list documents and detect changes.
pub struct PlanHead {
    sources: Vec<Node>,
    frame: PlanFrame,
}

/// The part of a plan behind its cut: everything that reads the content of documents.
pub struct PlanTail {
    /// The sources before the cut, with the columns of their listings.
    listings: Vec<Listing>,
    nodes: Vec<NodeBehind>,
    frame: PlanFrame,
}

/// What both parts have in common with the whole.
#[derive(Clone)]
struct PlanFrame {
    edge_bytes: u32,
    name: String,
    fingerprint: Fingerprint,
}

struct Listing {
    id: Arc<str>,
    uses: &'static str,
    schema: SchemaRef,
    fingerprint: [u8; 32],
}

impl Plan {
    /// Cuts the plan behind the listing of documents and the detection of changes, so that the two
    /// parts can run in different processes. Each process compiles the same spec and keeps its
    /// part; an equal [`Plan::fingerprint`] proves that they fit together.
    ///
    /// A source that cannot be split ([`SourceConfig::split`]) is before the cut as a whole, so its
    /// rows cross the cut with their content.
    pub fn cut(self) -> (PlanHead, PlanTail) {
        let Self { nodes, edge_bytes, name, fingerprint } = self;
        let frame = PlanFrame { edge_bytes, name, fingerprint };
        // The same pipeline, with each source as a listing and a stage that reads.
        let mut split: Vec<Node> = Vec::with_capacity(nodes.len());
        let mut places: Vec<NodeIndex> = Vec::with_capacity(nodes.len());
        for node in nodes {
            let inputs = node.inputs.iter().map(|&input| places[input]).collect();
            let Node { id, uses, kind, output, fingerprint, .. } = node;
            let source = match kind {
                NodeKind::Source(source) => source,
                kind @ (NodeKind::Stage(_) | NodeKind::Sink(_)) => {
                    places.push(split.len());
                    split.push(Node { id, uses, kind, inputs, output, fingerprint, ..node });
                    continue;
                }
            };
            let SplitSource { listing, reader } = source
                .split()
                .unwrap_or_else(|| SplitSource { reader: Box::new(PassThrough), listing: source });
            let part = |kind, inputs, output| Node {
                id: Arc::clone(&id),
                uses,
                kind,
                inputs,
                when: None,
                workers: 1,
                output,
                model: None,
                fingerprint,
            };
            let schema = listing.schema();
            split.push(part(NodeKind::Source(listing), Vec::new(), Some(schema)));
            places.push(split.len());
            split.push(part(NodeKind::Stage(reader), vec![split.len() - 1], output));
        }
        let NodeCut { before, behind } = cut_nodes(split, &|node| !node.inputs.is_empty());
        let listings = before.iter().map(|node| Listing {
            id: Arc::clone(&node.id),
            uses: node.uses,
            schema: node.output.clone().expect("a source has an output"),
            fingerprint: node.fingerprint,
        });
        let tail = PlanTail { listings: listings.collect(), nodes: behind, frame: frame.clone() };
        (PlanHead { sources: before, frame }, tail)
    }

    /// Cuts the plan before its models: `sink` replaces each node that runs a model and each sink,
    /// and nodes after a model are dropped. A run of the result does only the cheap work and shows
    /// the input of the models.
    #[must_use]
    pub fn truncate_at_models(self, sink: &dyn Fn() -> Box<dyn SinkConfig>) -> Self {
        let ends = |node: &Node| node.model.is_some() || matches!(node.kind, NodeKind::Sink(_));
        let NodeCut { before: mut nodes, behind } = cut_nodes(self.nodes, &ends);
        for NodeBehind { node, from_before } in behind {
            if !from_before.is_empty() {
                let kind = NodeKind::Sink(sink());
                let inputs = from_before;
                nodes.push(Node { inputs, kind, workers: 1, output: None, model: None, ..node });
            }
        }
        Self { nodes, ..self }
    }
}

impl PlanHead {
    /// The part as a plan: `sink(id)` receives what the source with this id lists. Its report
    /// counts a document as stored once that sink has written it.
    pub fn with_sinks(self, sink: &dyn Fn(&str) -> Box<dyn SinkConfig>) -> Plan {
        let mut nodes = self.sources;
        for index in 0..nodes.len() {
            let source = &nodes[index];
            nodes.push(Node {
                id: id_at_cut(&source.id),
                uses: source.uses,
                kind: NodeKind::Sink(sink(&source.id)),
                inputs: vec![index],
                when: None,
                workers: 1,
                output: None,
                model: None,
                fingerprint: source.fingerprint,
            });
        }
        self.frame.plan(nodes)
    }
}

impl PlanTail {
    /// Hash of everything that the rows at the sinks depend on; see [`Plan::fingerprint`].
    pub fn fingerprint(&self) -> Fingerprint {
        self.frame.fingerprint
    }

    /// The part as a plan: `source(id, schema)` produces what the source with this id listed, with
    /// these columns.
    pub fn with_sources(self, source: &dyn Fn(&str, &SchemaRef) -> Box<dyn SourceConfig>) -> Plan {
        let listings = self.listings.iter().map(|listing| Node {
            id: id_at_cut(&listing.id),
            uses: listing.uses,
            kind: NodeKind::Source(source(&listing.id, &listing.schema)),
            inputs: Vec::new(),
            when: None,
            workers: 1,
            output: Some(Arc::clone(&listing.schema)),
            model: None,
            fingerprint: listing.fingerprint,
        });
        let mut nodes: Vec<Node> = listings.collect();
        let offset = nodes.len();
        nodes.extend(self.nodes.into_iter().map(|NodeBehind { node, from_before }| {
            let behind = node.inputs.iter().map(|input| offset + input);
            Node { inputs: from_before.into_iter().chain(behind).collect(), ..node }
        }));
        self.frame.plan(nodes)
    }
}

impl PlanFrame {
    fn plan(self, nodes: Vec<Node>) -> Plan {
        let Self { edge_bytes, name, fingerprint } = self;
        Plan { nodes, edge_bytes, name, fingerprint }
    }
}

/// Id of the node that replaces the other part; no node of a file has a dot in its id.
fn id_at_cut(source: &str) -> Arc<str> {
    format!("{source}.cut").into()
}

/// The nodes of a graph on both sides of a cut.
struct NodeCut {
    before: Vec<Node>,
    behind: Vec<NodeBehind>,
}

/// A node behind a cut; its `inputs` are indices into [`NodeCut::behind`].
struct NodeBehind {
    node: Node,
    /// Further inputs, as indices into [`NodeCut::before`].
    from_before: Vec<NodeIndex>,
}

/// Cuts a graph: `starts` holds for the first nodes behind the cut.
fn cut_nodes(nodes: Vec<Node>, starts: &dyn Fn(&Node) -> bool) -> NodeCut {
    #[derive(Clone, Copy)]
    enum Place {
        Before(NodeIndex),
        Behind(NodeIndex),
    }
    let mut cut = NodeCut { before: Vec::new(), behind: Vec::new() };
    let mut places: Vec<Place> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let (mut from_before, mut from_behind) = (Vec::new(), Vec::new());
        for &input in &node.inputs {
            match places[input] {
                Place::Before(input) => from_before.push(input),
                Place::Behind(input) => from_behind.push(input),
            }
        }
        if starts(&node) || !from_behind.is_empty() {
            places.push(Place::Behind(cut.behind.len()));
            let node = Node { inputs: from_behind, ..node };
            cut.behind.push(NodeBehind { node, from_before });
        } else {
            places.push(Place::Before(cut.before.len()));
            cut.before.push(Node { inputs: from_before, ..node });
        }
    }
    cut
}

/// The reader of a source that cannot be split: its rows have their content already.
struct PassThrough;

impl StageConfig for PassThrough {
    fn output_schema(&self, input: &Schema) -> Result<SchemaRef, SchemaError> {
        Ok(Arc::new(input.clone()))
    }

    fn build(&self, _: &Resources) -> Result<Box<dyn Stage>, BoxError> {
        Ok(Box::new(|rows: RecordBatch| Ok(Outcome::from(rows))))
    }

    fn identity(&self) -> Value {
        Value::Null
    }
}
