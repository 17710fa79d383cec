//! The facts of the nodes, aggregated over the graph for the code around a plan.

use std::path::PathBuf;

use crate::plan::{Node, Plan};
use crate::{
    CollectionFacts, EmbedderOptions, ModelInfo, ModelUse, NodeKind, SinkFacts, StageFacts,
    VectorLayout,
};

impl Plan {
    /// `true` if a sink writes into the collection. A pipeline without such a sink is an export: it
    /// needs neither store.
    pub fn writes_collection(&self) -> bool {
        self.collection_layout().is_some()
    }

    /// Facts about the collection that the plan writes; `None` if no sink writes into the
    /// collection, or if no model makes its vectors.
    ///
    /// Where several nodes before the collection declare a fact, it is that of the first one.
    pub fn collection_facts(&self) -> Option<CollectionFacts> {
        let layout = self.collection_layout()?;
        let reaches = self.reaches_collection();
        let before = || self.nodes.iter().zip(&reaches).filter(|it| *it.1).map(|it| it.0);
        let (model, embedder) = before().find_map(Node::model_use)?;
        let facts: Vec<StageFacts> = before().filter_map(Node::stage_facts).collect();
        Some(CollectionFacts {
            model: model.clone(),
            embedder,
            sparse: facts.iter().find_map(|it| it.sparse.clone()),
            chunking: facts.iter().find_map(|it| it.chunking),
            layout,
        })
    }

    /// Ids of the nodes that make the sparse vectors of the collection. Their option `sparse` sets
    /// them.
    pub fn sparse_nodes(&self) -> Vec<&str> {
        let reaches = self.reaches_collection();
        let before = self.nodes.iter().zip(reaches).filter(|it| it.1).map(|it| it.0);
        let is_sparse = |node: &&Node| node.stage_facts().is_some_and(|it| it.sparse.is_some());
        before.filter(is_sparse).map(|node| &*node.id).collect()
    }

    fn collection_layout(&self) -> Option<VectorLayout> {
        self.nodes.iter().find_map(|node| node.sink_facts()?.collection)
    }

    /// `true` if a stage starts [`crate::Resources::worker_program`].
    pub fn needs_worker(&self) -> bool {
        self.nodes.iter().filter_map(Node::stage_facts).any(|facts| facts.needs_worker)
    }

    /// Files and folders that the sinks write, each with the id of its sink.
    pub fn artefacts(&self) -> Vec<(&str, PathBuf)> {
        let sinks = self.nodes.iter().filter_map(|node| Some((&*node.id, node.sink_facts()?)));
        sinks.flat_map(|(id, facts)| facts.artefacts.into_iter().map(move |it| (id, it))).collect()
    }

    /// Models that the nodes run, in node order, with the options of the node.
    pub fn model_uses(&self) -> impl Iterator<Item = (&ModelInfo, EmbedderOptions)> {
        self.nodes.iter().filter_map(Node::model_use)
    }

    /// Models that the nodes run, in node order.
    pub fn models(&self) -> impl Iterator<Item = &ModelInfo> {
        self.nodes.iter().filter_map(|node| node.model.as_ref())
    }

    /// The model that makes the vectors of the collection; the first of several nodes that make the
    /// same vectors. Without a sink that writes into the collection, the first model.
    pub fn model(&self) -> Option<&ModelInfo> {
        let is_wanted = self.reaches_collection();
        let before = self.nodes.iter().zip(is_wanted).filter(|it| it.1);
        before.map(|it| it.0).find_map(|node| node.model.as_ref()).or(self.models().next())
    }

    /// For each node, `true` if its output reaches a sink that writes into the collection.
    fn reaches_collection(&self) -> Vec<bool> {
        let mut reaches = vec![false; self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate().rev() {
            reaches[index] |= node.sink_facts().is_some_and(|facts| facts.collection.is_some());
            if reaches[index] {
                node.inputs.iter().for_each(|&input| reaches[input] = true);
            }
        }
        reaches
    }
}

impl Node {
    /// Facts about a stage; `None` for other nodes.
    fn stage_facts(&self) -> Option<StageFacts> {
        match &self.kind {
            NodeKind::Stage(stage) => Some(stage.facts()),
            NodeKind::Source(_) | NodeKind::Sink(_) => None,
        }
    }

    /// Facts about a sink; `None` for other nodes.
    fn sink_facts(&self) -> Option<SinkFacts> {
        match &self.kind {
            NodeKind::Sink(sink) => Some(sink.facts()),
            NodeKind::Source(_) | NodeKind::Stage(_) => None,
        }
    }

    /// The model that the node runs, with its options.
    fn model_use(&self) -> Option<(&ModelInfo, EmbedderOptions)> {
        let NodeKind::Stage(stage) = &self.kind else { return None };
        let ModelUse::Runs { options, .. } = stage.model() else { return None };
        Some((self.model.as_ref()?, options))
    }
}
